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

	"github.com/twmb/franz-go/pkg/kgo"
)

// target is the broker under test. One that was given by address has neither node nor dir.
type target struct {
	name, addr, dir string
	node            node
}

// node is a broker of our own. Its two implementations are logstead and Apache Kafka.
type node interface {
	start(ctx context.Context, fresh bool) error
	kill() error
	stop() error
	dataDir() string
}

func (t *target) restartable() bool { return t.node != nil }

// alive returns why the broker does not take connections any more.
func (t *target) alive() error {
	c, err := net.DialTimeout("tcp", t.addr, 5*time.Second)
	if err == nil {
		return c.Close()
	}
	log, _ := os.ReadFile(filepath.Join(t.dir, "server.log"))
	return fmt.Errorf("%w\nthe end of its log:\n%s", err, tail(string(log), 3000))
}

func (t *target) stop() {
	if t.node == nil {
		return
	}
	if err := t.node.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "interop: stop the broker:", err)
	}
}

// crash kills the broker with SIGKILL and starts it again on the same data.
func (t *target) crash(ctx context.Context) error {
	if err := t.node.kill(); err != nil {
		return err
	}
	if err := t.node.start(ctx, false); err != nil {
		return fmt.Errorf("start after kill -9: %w", err)
	}
	return ready(ctx, t.addr)
}

// newTarget starts or takes the broker that the flag names.
func newTarget(ctx context.Context, r *Run, flag string) (*target, error) {
	if strings.Contains(flag, ":") {
		return &target{name: "given", addr: flag}, ready(ctx, flag)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	t := &target{addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), dir: filepath.Join(r.work, "broker")}
	if err := os.MkdirAll(t.dir, 0o755); err != nil {
		return nil, err
	}
	switch flag {
	case "", "logstead":
		t.name = "logstead"
		t.node = &logsteadNode{repo: r.repo, dir: t.dir, addr: t.addr}
	case "kafka":
		t.name = "kafka"
		t.node = &kafkaNode{run: r, dir: t.dir, port: strconv.Itoa(port)}
	default:
		return nil, fmt.Errorf("target %q is none of logstead, kafka and HOST:PORT", flag)
	}
	if err := t.node.start(ctx, true); err != nil {
		t.stop()
		return nil, err
	}
	return t, ready(ctx, t.addr)
}

// freePort asks the kernel for a port that is free now, with the next one free too (Kafka's controller).
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

// ready waits until the broker answers a client.
func ready(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RetryTimeout(30*time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		if err = cl.Ping(ctx); err == nil || ctx.Err() != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("broker at %s does not answer: %w", addr, err)
	}
	return nil
}

// logsteadNode is the logstead of this repository, or the one that LOGSTEAD_BIN names.
type logsteadNode struct {
	repo, dir, addr string
	bin             string
	cmd             *exec.Cmd
	exited          chan error
}

func (n *logsteadNode) dataDir() string { return filepath.Join(n.dir, "data") }

func (n *logsteadNode) start(ctx context.Context, fresh bool) error {
	if n.bin == "" {
		n.bin = os.Getenv("LOGSTEAD_BIN")
	}
	if n.bin == "" {
		n.bin = filepath.Join(n.dir, "logstead")
		cmd := command(ctx, []string{"CGO_ENABLED=0"}, "go", "build", "-o", n.bin, "./cmd/logstead")
		cmd.Dir = n.repo
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build logstead: %w\n%s", err, tail(string(out), 2000))
		}
	}
	log, err := os.OpenFile(filepath.Join(n.dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{
		"server",
		"--set", "log.dirs=" + n.dataDir(),
		"--set", "listeners=PLAINTEXT://" + n.addr,
		"--set", "logstead.http.listeners=127.0.0.1:0",
		"--set", "group.initial.rebalance.delay.ms=0",
	}
	if fresh {
		args = append(args, "--auto-format")
	}
	n.cmd = exec.Command(n.bin, args...)
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		return err
	}
	n.exited = make(chan error, 1)
	go func() { n.exited <- n.cmd.Wait() }()
	return n.await(ctx)
}

// await returns once the port answers, or with the log's end once the process is gone.
func (n *logsteadNode) await(ctx context.Context) error {
	var d net.Dialer
	for {
		select {
		case err := <-n.exited:
			n.exited <- err
			log, _ := os.ReadFile(filepath.Join(n.dir, "server.log"))
			return fmt.Errorf("logstead ended at its start: %v\n%s", err, tail(string(log), 2000))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
		if c, err := d.DialContext(ctx, "tcp", n.addr); err == nil {
			return c.Close()
		}
	}
}

func (n *logsteadNode) kill() error { return n.end(syscall.SIGKILL) }

func (n *logsteadNode) stop() error { return n.end(syscall.SIGTERM) }

// end signals the process and waits for it; one that does not go within 30 seconds is killed and is an error.
func (n *logsteadNode) end(sig syscall.Signal) error {
	if n.cmd == nil || n.cmd.Process == nil {
		return nil
	}
	if err := n.cmd.Process.Signal(sig); errors.Is(err, os.ErrProcessDone) {
		return errors.New("logstead had ended by itself; see its server.log")
	}
	defer func() { n.cmd = nil }()
	select {
	case err := <-n.exited:
		if sig == syscall.SIGTERM && err != nil {
			return fmt.Errorf("logstead after SIGTERM: %w", err)
		}
		return nil
	case <-time.After(30 * time.Second):
		n.cmd.Process.Kill()
		return fmt.Errorf("logstead did not end within 30 s after %v", sig)
	}
}

// kafkaNode is an Apache Kafka that kafka.sh runs.
type kafkaNode struct {
	run       *Run
	dir, port string
}

func (n *kafkaNode) dataDir() string { return filepath.Join(n.dir, "data") }

func (n *kafkaNode) start(ctx context.Context, fresh bool) error {
	verb := "restart"
	if fresh {
		verb = "start"
	}
	return n.script(ctx, verb, n.dir, n.port)
}

func (n *kafkaNode) kill() error { return n.script(context.Background(), "kill", n.dir) }

func (n *kafkaNode) stop() error { return n.script(context.Background(), "stop", n.dir) }

// script runs kafka.sh with its output in a file: the node it starts would hold a pipe open.
func (n *kafkaNode) script(ctx context.Context, args ...string) error {
	log, err := os.OpenFile(filepath.Join(n.dir, "script.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, n.run.path("kafka.sh"), args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("kafka.sh %s: %w; see %s", args[0], err, log.Name())
	}
	return nil
}
