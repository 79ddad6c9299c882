package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/interop/local"
)

// target is the broker under test. One that was given by address has neither node nor dir.
type target struct {
	name, addr string
	node       node
	// cluster is there in place of node where there are several.
	cluster *local.Cluster
	// dir holds the broker's log, data its files.
	dir, data string
}

// node is a broker of our own. Its two implementations are logstead and Apache Kafka.
type node interface {
	Start(ctx context.Context) error
	Kill() error
	Stop() error
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
	if t.cluster != nil {
		t.cluster.Close()
	}
	if t.node == nil {
		return
	}
	if err := t.node.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "interop: stop the broker:", err)
	}
}

// crash kills the broker with SIGKILL and starts it again on the same data.
func (t *target) crash(ctx context.Context) error {
	if err := t.node.Kill(); err != nil {
		return err
	}
	if err := t.node.Start(ctx); err != nil {
		return fmt.Errorf("start after kill -9: %w", err)
	}
	return ready(ctx, t.addr)
}

// newCluster starts several nodes, whose internal topics have a replica on three of them. Suites that restart a broker
// are left out.
func newCluster(ctx context.Context, r *Run, kind string, nodes int) (*target, error) {
	if kind == "" {
		kind = "logstead"
	}
	c, err := local.NewCluster(ctx, kind, filepath.Join(r.work, "nodes"), nodes)
	if err != nil {
		return nil, err
	}
	c.Set = []string{"group.initial.rebalance.delay.ms=0"}
	t := &target{name: fmt.Sprintf("%d nodes of %s", nodes, kind), addr: c.Addr(1), cluster: c}
	if err := errors.Join(c.Format(ctx), c.StartAll(ctx)); err != nil {
		t.stop()
		return nil, err
	}
	return t, ready(ctx, t.addr)
}

// newTarget starts or takes the broker that the flag names.
func newTarget(ctx context.Context, r *Run, flag string) (*target, error) {
	if strings.Contains(flag, ":") {
		return &target{name: "given", addr: flag}, ready(ctx, flag)
	}
	dir := filepath.Join(r.work, "broker")
	var t *target
	switch flag {
	case "", "logstead":
		n, err := local.New(ctx, dir)
		if err != nil {
			return nil, err
		}
		t = &target{name: "logstead", addr: n.Addr, node: n, dir: dir, data: n.Data}
	case "kafka":
		k, err := local.NewKafka(ctx, dir)
		if err != nil {
			return nil, err
		}
		t = &target{name: "kafka", addr: k.Addr, node: k, dir: dir, data: k.Data()}
	default:
		return nil, fmt.Errorf("target %q is none of logstead, kafka and HOST:PORT", flag)
	}
	if err := t.node.Start(ctx); err != nil {
		t.stop()
		return nil, err
	}
	return t, ready(ctx, t.addr)
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
