package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// volume is an ext4 file system of its own on a loop device.
type volume struct {
	image, mount string
	mounted      bool
}

const (
	// ext4Shutdown is EXT4_IOC_SHUTDOWN; noLogFlush drops whatever is not on the disk yet, data and metadata.
	ext4Shutdown = 0x8004587d
	noLogFlush   = 2
)

// newVolume makes and mounts one.
func newVolume(ctx context.Context, dir string, size int64) (*volume, error) {
	if os.Geteuid() != 0 {
		return nil, &notHere{errors.New("mounting a volume needs root")}
	}
	v := &volume{image: filepath.Join(dir, "image"), mount: filepath.Join(dir, "mnt")}
	if err := os.MkdirAll(v.mount, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(v.image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return nil, err
	}
	if err := command(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", v.image); err != nil {
		return nil, &notHere{err}
	}
	if err := v.up(ctx); err != nil {
		return nil, &notHere{err}
	}
	return v, nil
}

func (v *volume) up(ctx context.Context) error {
	err := command(ctx, "mount", "-o", "loop,commit=300", v.image, v.mount)
	v.mounted = err == nil
	return err
}

// down unmounts; nothing may be open on it.
func (v *volume) down() error {
	if !v.mounted {
		return nil
	}
	v.mounted = false
	return command(context.Background(), "umount", v.mount)
}

// cut loses everything that is not on the disk, and fails every write from here on.
func (v *volume) cut() error {
	d, err := os.Open(v.mount)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.IoctlSetPointerInt(int(d.Fd()), ext4Shutdown, noLogFlush); err != nil {
		return fmt.Errorf("shut %s down: %w", v.mount, err)
	}
	return nil
}

// command runs a program and puts what it says into the error.
func command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
