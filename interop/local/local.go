// Package local builds the logstead of this repository and runs it as a process, for suites that must look at it,
// kill it and start it again.
//
// It owns the process, its log file and its addresses, which stay the same over restarts. It must not know what the
// suites do with the broker.
//
// Concurrency: one goroutine starts and ends a Node; Metric and Log may be used beside it.
//
// Invariants:
//  1. no process outlives Stop or Kill
//  2. the broker's output of every run is in one file
package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Node is a broker with a data directory of its own.
type Node struct {
	// Dir holds the binary, the log file and, unless Data says otherwise, the data.
	Dir, Data string
	// Addr and HTTP are where it listens.
	Addr, HTTP string
	// Set are settings of the form key=value; Env is added to the environment.
	Set, Env []string

	bin    string
	cmd    *exec.Cmd
	exited chan error
}

// New builds the broker, or takes the one that INTEROP_BIN names, and picks free ports.
func New(ctx context.Context, dir string) (*Node, error) {
	n := &Node{Dir: dir, Data: filepath.Join(dir, "data"), bin: os.Getenv("INTEROP_BIN")}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if n.bin == "" {
		n.bin = filepath.Join(dir, "logstead")
		if err := Build(ctx, n.bin); err != nil {
			return nil, err
		}
	}
	var err error
	if n.Addr, n.HTTP, err = lowAddrs(nil); err != nil {
		return nil, err
	}
	return n, nil
}

// Root is the folder of this repository.
func Root(ctx context.Context) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the repository with go list: %w", err)
	}
	return strings.TrimSpace(string(root)), nil
}

// Build makes the binary.
func Build(ctx context.Context, bin string) error {
	root, err := Root(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/logstead")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build logstead: %w\n%s", err, out)
	}
	return nil
}

// logPath is the file with everything the broker printed.
func (n *Node) logPath() string { return filepath.Join(n.Dir, "server.log") }

// Start runs the broker and waits until its port answers. A broker that ends instead is an *Ended.
func (n *Node) Start(ctx context.Context) error {
	log, err := os.OpenFile(n.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{
		"server", "--auto-format",
		"--set", "log.dirs=" + n.Data,
		"--set", "listeners=PLAINTEXT://" + n.Addr,
		"--set", "logstead.http.listeners=" + n.HTTP,
		"--set", "group.initial.rebalance.delay.ms=0",
	}
	for _, s := range n.Set {
		args = append(args, "--set", s)
	}
	n.cmd = exec.Command(n.bin, args...)
	n.cmd.Env = append(os.Environ(), n.Env...)
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	n.cmd.Stdout, n.cmd.Stderr = log, log
	mark := n.logSize()
	if err := n.cmd.Start(); err != nil {
		return err
	}
	n.exited = make(chan error, 1)
	go func(cmd *exec.Cmd, exited chan<- error) { exited <- cmd.Wait() }(n.cmd, n.exited)
	return n.await(ctx, mark)
}

// Command runs a command of the binary to its end and returns what it printed.
func (n *Node) Command(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, n.bin, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("logstead %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// Ended is a broker that ended at its start.
type Ended struct {
	Err error
	// Log is what it printed in this run.
	Log string
}

func (e *Ended) Error() string {
	return fmt.Sprintf("logstead ended at its start: %v\n%s", e.Err, e.Log)
}

func (n *Node) await(ctx context.Context, mark int64) error {
	var d net.Dialer
	for {
		select {
		case err := <-n.exited:
			n.cmd = nil
			return &Ended{err, n.LogSince(mark)}
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("logstead does not answer at %s", n.Addr), ctx.Err(), n.Kill())
		case <-time.After(10 * time.Millisecond):
		}
		if c, err := d.DialContext(ctx, "tcp", n.Addr); err == nil {
			return c.Close()
		}
	}
}

// Pid is the process, 0 when it does not run.
func (n *Node) Pid() int {
	if n.cmd == nil || n.cmd.Process == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

// Exited says whether the process has ended by itself.
func (n *Node) Exited() bool {
	if n.cmd == nil {
		return true
	}
	select {
	case err := <-n.exited:
		n.exited <- err
		return true
	default:
		return false
	}
}

// Kill ends the broker at once, as kill -9 does.
func (n *Node) Kill() error { return n.end(syscall.SIGKILL) }

// Stop shuts the broker down in order.
func (n *Node) Stop() error { return n.end(syscall.SIGTERM) }

func (n *Node) end(sig syscall.Signal) error {
	if n.cmd == nil {
		return nil
	}
	if n.Exited() {
		n.cmd = nil
		return fmt.Errorf("logstead had ended by itself; see %s", n.logPath())
	}
	if err := n.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	defer func() { n.cmd = nil }()
	select {
	case err := <-n.exited:
		if sig == syscall.SIGTERM && err != nil {
			return fmt.Errorf("logstead after SIGTERM: %w", err)
		}
		return nil
	case <-time.After(endLimit):
		err := n.cmd.Process.Kill()
		<-n.exited
		return errors.Join(fmt.Errorf("logstead did not end within %v after %v", endLimit, sig), err)
	}
}

func (n *Node) logSize() int64 {
	info, err := os.Stat(n.logPath())
	if err != nil {
		return 0
	}
	return info.Size()
}

// LogMark is a position in the log for LogSince.
func (n *Node) LogMark() int64 { return n.logSize() }

// LogSince is what was printed after the mark.
func (n *Node) LogSince(mark int64) string {
	b, err := os.ReadFile(n.logPath())
	if err != nil {
		return err.Error()
	}
	return string(b[min(mark, int64(len(b))):])
}

// Metrics reads /metrics: values by name, or by name{labels} where there are labels.
func (n *Node) Metrics(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.HTTP+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	req.Close = true // an idle connection would be one more goroutine and file over there
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	m := map[string]float64{}
	sc := bufio.NewScanner(resp.Body)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		line := sc.Text()
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || line[0] == '#' {
			continue
		}
		if v, err := strconv.ParseFloat(line[i+1:], 64); err == nil {
			m[line[:i]] = v
		}
	}
	return m, sc.Err()
}

// PeakBytes is the most memory the process ever held resident, 0 where the system does not say.
func (n *Node) PeakBytes() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.Pid()))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kb * 1024
		}
	}
	return 0
}

// DeletedFiles are the files that the process holds open although they are gone, empty where the system does not say.
func (n *Node) DeletedFiles() (names []string) {
	dir := fmt.Sprintf("/proc/%d/fd", n.Pid())
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.HasSuffix(to, " (deleted)") {
			names = append(names, to)
		}
	}
	return names
}
