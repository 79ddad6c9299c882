package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/logstead/logstead/interop/local"
)

// startLimit is how long a node may take from its port's being open to its knowing of all others.
const startLimit = 3 * time.Minute

// start returns the system that a flag means, starting what it names, and what stops that again.
func start(ctx context.Context, flag string, nodes int, authorizer bool) (*system, func(), error) {
	if nodes > 1 {
		return several(ctx, flag, nodes)
	}
	sys := &system{}
	if authorizer {
		var err error
		if sys.login, err = local.FreeAddr(); err != nil {
			return nil, nil, err
		}
	}
	addr, gate, stop, err := broker(ctx, flag, sys.login)
	sys.addrs, sys.gate = []string{addr}, gate
	return sys, stop, err
}

// broker is start for one node, which may also run already. One that is given an address for logins has an authorizer;
// another one a gate, where clients have to log in by hand.
func broker(ctx context.Context, flag, login string) (addr, gate string, stop func(), err error) {
	if strings.Contains(flag, ":") {
		return flag, "", func() {}, nil
	}
	dir, err := os.MkdirTemp("", "logstead-diff-")
	if err != nil {
		return "", "", nil, err
	}
	if login == "" {
		if gate, err = local.FreeAddr(); err != nil {
			return "", "", nil, err
		}
	}
	var start func(context.Context) error
	var end func() error
	switch flag {
	case "kafka":
		k, err := local.NewKafka(ctx, filepath.Join(dir, "kafka"))
		if err != nil {
			return "", "", nil, err
		}
		settings := withGate(k.Listeners(), gate)
		if login != "" {
			settings = slices.Concat(calm, withAuthorizer(k.Addr, login, k.Controller()))
		}
		set := filepath.Join(dir, "set.properties")
		if err := os.WriteFile(set, []byte(strings.Join(settings, "\n")+"\n"), 0o644); err != nil {
			return "", "", nil, err
		}
		if err := os.Setenv("KAFKA_EXTRA", set); err != nil {
			return "", "", nil, err
		}
		addr, start, end = k.Addr, k.Start, k.Stop
	case "logstead":
		n, err := local.New(ctx, filepath.Join(dir, "logstead"))
		if err != nil {
			return "", "", nil, err
		}
		n.Set = withGate(n.Listeners(), gate)
		if login != "" {
			n.Set = slices.Concat(calm, withAuthorizer(n.Addr, login, ""))
		}
		addr, start, end = n.Addr, n.Start, n.Stop
	default:
		return "", "", nil, fmt.Errorf("%q is none of kafka, logstead and HOST:PORT", flag)
	}
	stop = func() {
		if err := end(); err != nil {
			fmt.Fprintln(os.Stderr, "diff: stop", flag+":", err)
		}
		os.RemoveAll(dir)
	}
	if err := start(ctx); err != nil {
		stop()
		return "", "", nil, err
	}
	return addr, gate, stop, await(ctx, addr, 1)
}

// withGate are the settings of a node that has a gate, where sessions are limited.
func withGate(listeners, gate string) []string {
	return slices.Concat(calm, local.LoginSettings(listeners, gate), []string{"connections.max.reauth.ms=60000"})
}

// calm are settings that keep out of the answers what happens by the clock: records, which are years old, are not
// deleted, members are not thrown out and groups are not forgotten while the machine is busy with other things.
var calm = []string{
	"log.initial.task.delay.ms=86400000", "log.retention.check.interval.ms=86400000",
	"offsets.retention.check.interval.ms=86400000",
	"group.consumer.max.session.timeout.ms=900000", "group.consumer.session.timeout.ms=900000",
}

// How long requests allow: enough for what has to come to an end, never for what must not.
const (
	enough = 60_000
	never  = 900_000
)

// await returns when a broker knows of all brokers, which Apache Kafka does a little after its port is open.
func await(ctx context.Context, addr string, nodes int) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for ctx.Err() == nil {
		if c, err := dial(addr); err == nil {
			req := kmsg.NewPtrMetadataRequest()
			req.SetVersion(9)
			if c.send(c.frame(req, "diff")) == nil {
				if b, err := c.receive(); err == nil {
					if resp, _, err := c.decode(req, b); err == nil && len(resp.(*kmsg.MetadataResponse).Brokers) == nodes {
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
