package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// broker returns the address that a flag means, starting what it names, and what stops that again.
func broker(ctx context.Context, flag string) (addr string, stop func(), err error) {
	if strings.Contains(flag, ":") {
		return flag, func() {}, nil
	}
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", nil, fmt.Errorf("find the repository with go list: %w", err)
	}
	repo := strings.TrimSpace(string(out))
	dir, err := os.MkdirTemp("", "logstead-diff-")
	if err != nil {
		return "", nil, err
	}
	port, err := freePort()
	if err != nil {
		return "", nil, err
	}
	addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	var end func()
	switch flag {
	case "kafka":
		end, err = startKafka(ctx, repo, dir, port)
	case "logstead":
		end, err = startLogstead(ctx, repo, dir, addr)
	default:
		return "", nil, fmt.Errorf("%q is none of kafka, logstead and HOST:PORT", flag)
	}
	if err != nil {
		return "", nil, err
	}
	return addr, func() { end(); os.RemoveAll(dir) }, await(ctx, addr)
}

// freePort returns a port that is free, with a free one after it for Kafka's controller.
func freePort() (int, error) {
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := l.Addr().(*net.TCPAddr).Port
		next, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+1)))
		l.Close()
		if err == nil {
			next.Close()
			return port, nil
		}
	}
	return 0, errors.New("no two free ports side by side")
}

func startKafka(ctx context.Context, repo, dir string, port int) (func(), error) {
	script := filepath.Join(repo, "interop", "kafka.sh")
	// The node inherits the script's output, so that must not be a pipe that somebody reads to its end.
	log, err := os.Create(filepath.Join(dir, "script.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	stop := func() { exec.Command(script, "stop", dir).Run() }
	cmd := exec.CommandContext(ctx, script, "start", dir, strconv.Itoa(port))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		stop()
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("kafka.sh start: %w\n%s", err, text)
	}
	return stop, nil
}

// startLogstead starts the logstead of this repository, or the one that LOGSTEAD_BIN names.
func startLogstead(ctx context.Context, repo, dir, addr string) (func(), error) {
	bin := os.Getenv("LOGSTEAD_BIN")
	if bin == "" {
		bin = filepath.Join(dir, "logstead")
		build := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/logstead")
		build.Dir = repo
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build logstead: %w\n%s", err, out)
		}
	}
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(bin, "server", "--auto-format", "--set", "log.dirs="+filepath.Join(dir, "data"),
		"--set", "listeners=PLAINTEXT://"+addr, "--set", "logstead.http.listeners=127.0.0.1:0", "--set", "group.initial.rebalance.delay.ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	stop := func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(20 * time.Second):
			cmd.Process.Kill()
		}
	}
	for {
		select {
		case err := <-exited:
			exited <- err
			text, _ := os.ReadFile(log.Name())
			return nil, fmt.Errorf("logstead ended at its start: %v\n%s", err, text)
		case <-time.After(10 * time.Millisecond):
		}
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return stop, nil
		}
	}
}

// await returns when a broker knows of itself, which Apache Kafka does a little after its port is open.
func await(ctx context.Context, addr string) error {
	for ctx.Err() == nil {
		if c, err := dial(addr); err == nil {
			req := kmsg.NewPtrMetadataRequest()
			req.SetVersion(9)
			if c.send(c.frame(req, "diff")) == nil {
				if b, err := c.receive(); err == nil {
					if resp, _, err := c.decode(req, b); err == nil && len(resp.(*kmsg.MetadataResponse).Brokers) > 0 {
						c.c.Close()
						return nil
					}
				}
			}
			c.c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("%s did not answer: %w", addr, ctx.Err())
}
