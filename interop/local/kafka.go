package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// Kafka is a node of Apache Kafka that kafka.sh runs.
type Kafka struct {
	// Dir holds its settings, its log and, in the folder data, its files.
	Dir, Addr string
	// Env is added to the environment of the script.
	Env []string

	script, port string
	// held keeps the controller's port from others until the node is started for the first time.
	held net.Listener
}

// NewKafka picks ports for a node; its artifacts are fetched when they are not there.
func NewKafka(ctx context.Context, dir string) (*Kafka, error) {
	root, err := Root(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	port, held, err := freePorts()
	if err != nil {
		return nil, err
	}
	k := &Kafka{Dir: dir, script: filepath.Join(root, "interop", "kafka.sh"), port: strconv.Itoa(port), held: held}
	k.Addr = net.JoinHostPort("127.0.0.1", k.port)
	return k, nil
}

// freePorts returns a port that is free, with one after it for the controller, which it holds.
func freePorts() (int, net.Listener, error) {
	for range 200 {
		port := lowPort()
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		next, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+1)))
		l.Close()
		if err == nil {
			return port, next, nil
		}
	}
	return 0, nil, errors.New("no two free ports side by side")
}

// Controller is where its controller listens.
func (k *Kafka) Controller() string {
	port, _ := strconv.Atoi(k.port) // written by NewKafka
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port+1))
}

// Data is where its log directories are.
func (k *Kafka) Data() string { return filepath.Join(k.Dir, "data") }

// Start runs the node and waits until its port answers; a directory that holds nothing is formatted.
func (k *Kafka) Start(ctx context.Context) error {
	verb := "restart"
	if _, err := os.Stat(k.Data()); err != nil {
		verb = "start"
	}
	return k.run(ctx, verb, k.Dir, k.port)
}

// Adopt runs the node on the files that a logstead left in Data, and waits until its port answers.
func (k *Kafka) Adopt(ctx context.Context) error { return k.run(ctx, "adopt", k.Dir, k.port) }

// Kill ends the node at once, as kill -9 does.
func (k *Kafka) Kill() error { return k.run(context.Background(), "kill", k.Dir) }

// Stop shuts the node down in order.
func (k *Kafka) Stop() error { return k.run(context.Background(), "stop", k.Dir) }

// run calls the script with its output in a file: the node that it starts would hold a pipe open.
func (k *Kafka) run(ctx context.Context, args ...string) error {
	if k.held != nil {
		k.held.Close()
		k.held = nil
	}
	log, err := os.OpenFile(filepath.Join(k.Dir, "script.log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, k.script, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, append(os.Environ(), k.Env...)
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("kafka.sh %s: %w\n%s", args[0], err, text)
	}
	return nil
}
