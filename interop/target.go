package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/interop/local"
)

// target is the broker under test. One that was given by address has neither node nor dir.
type target struct {
	name, addr string
	// kind is logstead or kafka, empty for one that was given by address.
	kind string
	node node
	// cluster and settler are there in place of node where there are several.
	cluster *local.Cluster
	settler *settler
	// dir holds the broker's log, data its files.
	dir, data string
	// nodes is how many brokers there are.
	nodes int
}

// replicas is how many of each partition there are, as far as the suites say so: on three nodes, or on all of fewer.
func (t *target) replicas() int { return min(t.nodes, 3) }

// node is a broker of our own. Its two implementations are logstead and Apache Kafka.
type node interface {
	Start(ctx context.Context) error
	Kill() error
	Stop() error
}

// ids are those of the brokers, as Kafka's tools take them: suites start them from 1 up.
func (t *target) ids() string {
	var ids []string
	for id := 1; id <= t.nodes; id++ {
		ids = append(ids, strconv.Itoa(id))
	}
	return strings.Join(ids, ",")
}

func (t *target) restartable() bool { return t.node != nil || t.cluster != nil }

// alive returns why the broker does not take connections any more.
func (t *target) alive() error {
	c, err := net.DialTimeout("tcp", t.addr, 30*time.Second)
	if err == nil {
		return c.Close()
	}
	path := filepath.Join(t.dir, "server.log")
	if t.cluster != nil {
		path = t.cluster.LogPath(1)
	}
	log, _ := os.ReadFile(path)
	return fmt.Errorf("%w\nthe end of its log:\n%s", err, tail(string(log), 3000))
}

func (t *target) stop() {
	if t.settler != nil {
		t.settler.close()
	}
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

// crash kills the broker, or every node of several, with SIGKILL and starts it again on the same data.
func (t *target) crash(ctx context.Context) error {
	if t.cluster != nil {
		return t.crashCluster(ctx)
	}
	if err := t.node.Kill(); err != nil {
		return err
	}
	if err := t.node.Start(ctx); err != nil {
		return fmt.Errorf("start after kill -9: %w", err)
	}
	return t.ready(ctx)
}

func (t *target) crashCluster(ctx context.Context) error {
	for id := 1; id <= t.cluster.Nodes(); id++ {
		if err := t.cluster.End(id, syscall.SIGKILL); err != nil {
			return err
		}
	}
	if err := t.cluster.StartAll(ctx); err != nil {
		return fmt.Errorf("start after kill -9 of every node: %w", err)
	}
	return t.ready(ctx)
}

// newCluster starts several nodes, whose internal topics and those made without saying how many have a replica on three
// of them. Clients know the address of the first.
func newCluster(ctx context.Context, r *Run, kind string, nodes int) (*target, error) {
	if kind == "" {
		kind = "logstead"
	}
	c, err := local.NewCluster(ctx, kind, filepath.Join(r.work, "nodes"), nodes)
	if err != nil {
		return nil, err
	}
	t := &target{name: fmt.Sprintf("%d nodes of %s", nodes, kind), kind: kind, addr: c.Addr(1), cluster: c, nodes: nodes}
	c.Set = []string{"group.initial.rebalance.delay.ms=0", fmt.Sprintf("default.replication.factor=%d", t.replicas()), "min.insync.replicas=2"}
	if err := errors.Join(c.Format(ctx), c.StartAll(ctx)); err != nil {
		t.stop()
		return nil, err
	}
	if t.settler, err = newSettler(ctx, c); err != nil {
		t.stop()
		return nil, err
	}
	return t, t.ready(ctx)
}

// settled returns when every broker has acted on what was decided, see settler.
func (t *target) settled(ctx context.Context) error {
	if t.settler == nil {
		return nil
	}
	return t.settler.settle(ctx)
}

// newTarget starts or takes the broker that the flag names.
func newTarget(ctx context.Context, r *Run, flag string) (*target, error) {
	if strings.Contains(flag, ":") {
		t := &target{name: "given", addr: flag}
		return t, t.ready(ctx)
	}
	dir := filepath.Join(r.work, "broker")
	var t *target
	switch flag {
	case "", "logstead":
		n, err := local.New(ctx, dir)
		if err != nil {
			return nil, err
		}
		t = &target{name: "logstead", kind: "logstead", nodes: 1, addr: n.Addr, node: n, dir: dir, data: n.Data}
	case "kafka":
		k, err := local.NewKafka(ctx, dir)
		if err != nil {
			return nil, err
		}
		t = &target{name: "kafka", kind: "kafka", nodes: 1, addr: k.Addr, node: k, dir: dir, data: k.Data()}
	default:
		return nil, fmt.Errorf("target %q is none of logstead, kafka and HOST:PORT", flag)
	}
	if err := t.node.Start(ctx); err != nil {
		t.stop()
		return nil, err
	}
	return t, t.ready(ctx)
}

// ready waits until the broker answers a client and knows of the others, and counts them where that is not known.
func (t *target) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(t.addr), kgo.RetryTimeout(30*time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		var brokers kadm.BrokerDetails
		brokers, err = kadm.NewClient(cl).ListBrokers(ctx)
		if err == nil && len(brokers) < t.nodes {
			err = fmt.Errorf("it knows of %d brokers, expected %d", len(brokers), t.nodes)
		}
		if err == nil {
			t.nodes = len(brokers)
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("broker at %s does not answer: %w", t.addr, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
