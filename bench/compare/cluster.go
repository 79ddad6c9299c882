package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/logstead/logstead/bench/raw"
)

// clusterNodes is how many nodes a cluster has; each is broker and controller.
const clusterNodes = 3

const clusterID = "bG9nc3RlYWQtYmVuY2gtMw"

// clusterStarts is how each rival starts where rivals are clusters.
func clusterStarts(o options, bin string) map[string]func(context.Context, string) (*rival, error) {
	starts := map[string]func(context.Context, string) (*rival, error){
		"kafka": func(ctx context.Context, d string) (*rival, error) {
			return startCluster(ctx, d, clusterKind{
				jvm:    true,
				format: []string{o.kafka, "tool", "kafka.tools.StorageTool", "format", "-t", clusterID, "-c"},
				serve:  []string{"env", "KAFKA_HEAP=1G", o.kafka, "exec"},
			})
		},
	}
	for _, durability := range []string{"fsync", "replicated"} {
		for name, path := range map[string]string{durability: bin, durability + "-before": o.before} {
			if path == "" {
				continue
			}
			set := []string{"logstead.durability=" + durability}
			if path == bin {
				set = append(set, o.set...)
			}
			starts[name] = func(ctx context.Context, d string) (*rival, error) {
				return startCluster(ctx, d, clusterKind{
					format: []string{path, "storage", "format", "--cluster-id", clusterID, "--config"},
					serve:  []string{path, "server", "--config"},
					set:    set,
				})
			}
		}
	}
	return starts
}

// clusterKind is what the nodes of a cluster are made of: the commands that format and serve take the file with
// the settings as their last argument.
type clusterKind struct {
	jvm           bool
	format, serve []string
	set           []string
}

// startCluster starts a cluster and waits until every node is registered.
func startCluster(ctx context.Context, dir string, k clusterKind) (*rival, error) {
	addrs, err := freeAddrs(3 * clusterNodes)
	if err != nil {
		return nil, err
	}
	r := &rival{addr: addrs[0], jvm: k.jvm, dir: dir}
	r.end = func() error {
		var errs []error
		for _, n := range r.nodes { // in order, the last ones would wait for a quorum to leave
			errs = append(errs, n.kill())
		}
		return errors.Join(append(errs, os.RemoveAll(dir))...)
	}
	started := make(chan error, clusterNodes)
	for i := range clusterNodes {
		n := &rival{addr: addrs[i], jvm: k.jvm, kill: func() error { return nil }}
		if !k.jvm {
			n.http = addrs[2*clusterNodes+i]
		}
		r.nodes = append(r.nodes, n)
		file := filepath.Join(dir, fmt.Sprintf("node-%d.properties", i+1))
		n.again = func(ctx context.Context) error {
			return n.runProcess(ctx, append(append([]string(nil), k.serve...), file))
		}
		if err := k.prepare(ctx, dir, file, i, addrs); err != nil {
			return nil, errors.Join(err, r.end())
		}
	}
	for _, n := range r.nodes {
		go func() { started <- n.again(ctx) }()
	}
	for range r.nodes {
		err = errors.Join(err, <-started)
	}
	if err == nil {
		err = r.awaitNodes(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, r.end())
	}
	return r, nil
}

// prepare writes the settings of a node and formats its directory. Both kinds get the same settings and for all
// others their own defaults, which are the same too.
func (k clusterKind) prepare(ctx context.Context, dir, file string, i int, addrs []string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var voters []string
	for j := range clusterNodes {
		voters = append(voters, fmt.Sprintf("%d@%s", j+1, addrs[clusterNodes+j]))
	}
	lines := []string{
		"process.roles=broker,controller",
		fmt.Sprintf("node.id=%d", i+1),
		"controller.quorum.voters=" + strings.Join(voters, ","),
		fmt.Sprintf("listeners=PLAINTEXT://%s,CONTROLLER://%s", addrs[i], addrs[clusterNodes+i]),
		"controller.listener.names=CONTROLLER",
		"log.dirs=" + filepath.Join(dir, fmt.Sprintf("node-%d", i+1)),
		"default.replication.factor=3", "min.insync.replicas=2", "log.segment.delete.delay.ms=100",
	}
	if !k.jvm {
		lines = append(lines, "logstead.http.listeners="+addrs[2*clusterNodes+i])
	}
	lines = append(lines, k.set...)
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	argv := append(append([]string(nil), k.format...), file)
	if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
	}
	return nil
}

// freeAddrs are addresses on loopback that are free now.
func freeAddrs(n int) (addrs []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// awaitNodes waits until the first node knows of all.
func (r *rival) awaitNodes(ctx context.Context) error {
	for {
		n, err := raw.Brokers(ctx, r.addr)
		if n == clusterNodes {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%d nodes of %d: %w", n, clusterNodes, ctx.Err()), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// replicas is how many the topics have: one on each node.
func (r *rival) replicas() int16 { return int16(len(r.each())) }

// node is the one that listens at an address.
func (r *rival) node(addr string) (*rival, error) {
	for _, n := range r.nodes {
		if n.addr == addr {
			return n, nil
		}
	}
	return nil, fmt.Errorf("no node of %s listens at %s", r.name, addr)
}

func (r *rival) addrs() (list []string) {
	for _, n := range r.each() {
		list = append(list, n.addr)
	}
	return list
}
