package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/logstead/logstead/interop/local"
)

// leadersVolume picks the leader whose volume is to be harmed.
func leadersVolume(ctx context.Context, x *injection) (*node, error) {
	nd, err := theLeader(ctx, x)
	if err == nil {
		x.what = fmt.Sprintf("volume of node %d", nd.id)
	}
	return nd, err
}

// diskFull fills the volume of a leader.
func diskFull(ctx context.Context, x *injection) error {
	nd, err := leadersVolume(ctx, x)
	if err != nil {
		return err
	}
	name := filepath.Join(nd.vol.Mount, "filler")
	x.onHeal(x.restart(nd)) // it may have ended by itself: its directory is offline
	x.onHeal(func(context.Context) error {
		err := os.Remove(name)
		_ = nd.kill() // a directory that failed a write comes back with a restart
		return err
	})
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for {
		if _, err := f.Write(block); err != nil {
			if errors.Is(err, syscall.ENOSPC) {
				return nil
			}
			return err
		}
	}
}

// diskFails has every write and sync of a leader's volume fail.
func diskFails(ctx context.Context, x *injection) error {
	nd, err := leadersVolume(ctx, x)
	if err != nil {
		return err
	}
	x.onHeal(x.remount(nd))
	if err := nd.vol.Cut(); err != nil {
		return err
	}
	return mustFail(nd)
}

// mustFail checks that a volume takes no write any more.
func mustFail(nd *node) error {
	if err := os.WriteFile(filepath.Join(nd.vol.Mount, "probe"), []byte("x"), 0o644); err == nil {
		return fmt.Errorf("the volume of node %d still takes writes", nd.id)
	}
	return nil
}

// mountAgain brings the volume of a node that has ended back.
func (nd *node) mountAgain(ctx context.Context) error {
	if err := nd.vol.Down(); err != nil {
		return err
	}
	return nd.vol.Up(ctx)
}

// remount is a heal that ends a node, brings its volume back and starts it again.
func (x *injection) remount(nd *node) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := nd.kill(); err != nil {
			return err
		}
		if err := nd.mountAgain(ctx); err != nil {
			return err
		}
		return x.restart(nd)(ctx)
	}
}

// diskHangs freezes the file system of a leader: every write waits.
func diskHangs(ctx context.Context, x *injection) error {
	nd, err := leadersVolume(ctx, x)
	if err != nil {
		return err
	}
	if err := x.beside(ctx, nd); err != nil {
		return err
	}
	if err := local.Command(ctx, "fsfreeze", "--freeze", nd.vol.Mount); err != nil {
		return err
	}
	x.onHeal(func(context.Context) error {
		return local.Command(context.Background(), "fsfreeze", "--unfreeze", nd.vol.Mount)
	})
	return nil
}

func powerOne(ctx context.Context, x *injection) error {
	nd, err := theLeader(ctx, x)
	if err != nil {
		return err
	}
	x.what = fmt.Sprintf("node %d", nd.id)
	return x.power(nd)
}

// power loses what the nodes have not synced, and ends them.
func (x *injection) power(nodes ...*node) error {
	for _, nd := range nodes {
		x.onHeal(func(ctx context.Context) error { return x.c.awaitPort(ctx, nd) })
	}
	for _, nd := range nodes {
		x.onHeal(func(ctx context.Context) error {
			if err := nd.mountAgain(ctx); err != nil {
				return err
			}
			return x.c.start(nd)
		})
	}
	for _, nd := range nodes {
		if err := nd.vol.Cut(); err != nil {
			return err
		}
	}
	for _, nd := range nodes {
		if err := errors.Join(mustFail(nd), nd.kill()); err != nil {
			return err
		}
	}
	return nil
}

func powerAll(_ context.Context, x *injection) error { return x.power(x.c.nodes...) }

// syncFails has everything fail by which a leader makes sure that data is on the disk, while its other writes succeed.
func syncFails(ctx context.Context, x *injection) error {
	nd, err := theLeader(ctx, x)
	if err != nil {
		return err
	}
	told := filepath.Join(nd.dir, "strace.log")
	_ = os.Remove(told)
	calls := "fsync,fdatasync"
	args := []string{"-qq", "-f", "-p", strconv.Itoa(nd.pid()), "-o", told, "-e", "signal=none"}
	durable, err := nd.durableFiles()
	if err != nil {
		return err
	}
	for _, name := range durable {
		calls = "fsync,fdatasync,write,pwrite64,pwritev,pwritev2"
		args = append(args, "-P", name)
	}
	x.what = fmt.Sprintf("of node %d, %s", nd.id, calls)
	cmd := exec.Command("strace", append(args, "-e", "trace="+calls, "-e", "inject="+calls+":error=EIO")...)
	if err := cmd.Start(); err != nil {
		return err
	}
	x.onHeal(x.restart(nd))
	x.onHeal(func(context.Context) error {
		_ = cmd.Process.Signal(syscall.SIGINT)
		_ = cmd.Wait() // it ends by the signal, or with the node
		return nd.kill()
	})
	for range 1000 {
		if text, err := os.ReadFile(told); err == nil && bytes.Contains(text, []byte("(INJECTED)")) {
			return nil
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return &noBite{fmt.Errorf("node %d synced nothing within 10 s that could fail", nd.id)}
}

// durableFiles are the files that a node has open such that each write returns once it is on the disk (O_DSYNC).
func (nd *node) durableFiles() (names []string, err error) {
	dir := fmt.Sprintf("/proc/%d/fd", nd.pid())
	fds, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, fd := range fds {
		info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", nd.pid(), fd.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		_, rest, _ := strings.Cut(string(info), "flags:")
		flags, err := strconv.ParseUint(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]), 8, 64)
		name, gone := os.Readlink(filepath.Join(dir, fd.Name()))
		if err == nil && gone == nil && flags&syscall.O_DSYNC != 0 && strings.HasPrefix(name, nd.data()) {
			names = append(names, name)
		}
	}
	return names, nil
}

// A slow disk writes so much a second.
const (
	slowBytes = 2 << 20
	slowOps   = 20
)

// throttleFile is where limits of writing stand: "bps" or "iops", for processes in no group of their own and for what
// the kernel writes back.
func throttleFile(what string) string {
	return "/sys/fs/cgroup/blkio/blkio.throttle.write_" + what + "_device"
}

// diskSlow slows the writes and syncs of a leader's volume.
func diskSlow(ctx context.Context, x *injection) error {
	nd, err := leadersVolume(ctx, x)
	if err != nil {
		return err
	}
	if err := x.beside(ctx, nd); err != nil {
		return err
	}
	var st syscall.Stat_t
	if err := syscall.Stat(nd.vol.Mount, &st); err != nil {
		return err
	}
	limit := func(bytes, ops int) error {
		device := fmt.Sprintf("%d:%d ", st.Dev>>8&0xfff, st.Dev&0xff|st.Dev>>12&0xfff00)
		return errors.Join(
			os.WriteFile(throttleFile("bps"), []byte(device+strconv.Itoa(bytes)), 0o644),
			os.WriteFile(throttleFile("iops"), []byte(device+strconv.Itoa(ops)), 0o644))
	}
	x.onHeal(func(context.Context) error { return limit(0, 0) })
	if err := limit(slowBytes, slowOps); err != nil {
		return err
	}
	return mustBeSlow(nd)
}

// mustBeSlow checks that a volume takes longer for a few syncs than one that is not held back.
func mustBeSlow(nd *node) error {
	name := filepath.Join(nd.vol.Mount, "probe")
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer os.Remove(name)
	defer f.Close()
	const syncs = 5
	began := time.Now()
	for range syncs {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if d := time.Since(began); d < syncs*time.Second/slowOps {
		return &noBite{fmt.Errorf("%d syncs of node %d's volume took %v, less than %d writes a second allow", syncs, nd.id, d, slowOps)}
	}
	return nil
}
