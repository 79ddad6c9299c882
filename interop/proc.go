package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxCaptured bounds what is kept of a program's output.
const maxCaptured = 64 << 20

// command prepares a program in a process group of its own that is killed whole when ctx ends.
func command(ctx context.Context, env []string, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// exec runs a program to its end and returns its standard output. A failure carries the end of both outputs.
func (r *Run) exec(ctx context.Context, limit time.Duration, env []string, argv ...string) (string, error) {
	return r.execIn(ctx, limit, env, "", argv...)
}

// execIn is exec with text on the program's standard input.
func (r *Run) execIn(ctx context.Context, limit time.Duration, env []string, stdin string, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := command(ctx, env, argv...)
	var out, errs capped
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("killed after %v: %w", limit, err)
		}
		return out.String(), fmt.Errorf("%s: %w\nstdout: %s\nstderr: %s", brief(argv), err,
			tail(out.String(), 1500), tail(errs.String(), 2500))
	}
	return out.String(), nil
}

// brief is a command line short enough for a report.
func brief(argv []string) string {
	var b strings.Builder
	for _, a := range argv {
		if len(a) > 120 {
			a = a[:60] + "…"
		}
		b.WriteString(a + " ")
	}
	return strings.TrimSpace(b.String())
}

// capped keeps the first maxCaptured bytes written to it.
type capped struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (c *capped) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if room := maxCaptured - c.buf.Len(); room > 0 {
		c.buf.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

func (c *capped) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.String()
}

// member is a program that runs until its standard input ends and hands over what it prints line by line.
type member struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	stdin  io.WriteCloser
	errs   *capped
	argv   []string
	done   chan struct{}
	err    error
}

// startMember starts a program; each line of its output goes to line, from one goroutine.
func startMember(ctx context.Context, env []string, line func(string), argv ...string) (*member, error) {
	ctx, cancel := context.WithCancel(ctx)
	m := &member{cmd: command(ctx, env, argv...), cancel: cancel, errs: &capped{}, argv: argv, done: make(chan struct{})}
	m.cmd.Stderr = m.errs
	stdin, err := m.cmd.StdinPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	stdout, err := m.cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	m.stdin = stdin
	if err := m.cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("start %s: %w", brief(argv), err)
	}
	go func() {
		defer close(m.done)
		s := bufio.NewScanner(stdout)
		s.Buffer(make([]byte, 1<<16), 32<<20)
		for s.Scan() {
			line(s.Text())
		}
		m.err = m.cmd.Wait()
	}()
	return m, nil
}

// stop ends the program's input and waits for it; a program that does not end by itself is killed and is an error.
func (m *member) stop() error {
	m.stdin.Close()
	late := false
	select {
	case <-m.done:
	case <-time.After(30 * time.Second):
		late = true
	}
	m.cancel()
	<-m.done
	switch {
	case late:
		return fmt.Errorf("%s: did not end within 30 s after its input ended\nstderr: %s", brief(m.argv), tail(m.errs.String(), 2000))
	case m.err != nil:
		return fmt.Errorf("%s: %w\nstderr: %s", brief(m.argv), m.err, tail(m.errs.String(), 2000))
	}
	return nil
}
