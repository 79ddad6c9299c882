package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/logstead/logstead/interop/local"
)

// levels formats three nodes at an older metadata.version and takes them to the newest while clients run, by Kafka's tool
// and by our command line. No client may be told of an error.
func levels(ctx context.Context, root, dir, kind string) (failed int, err error) {
	nodes, err := local.NewCluster(ctx, kind, filepath.Join(dir, "levels-"+kind), 3)
	if err != nil {
		return 0, err
	}
	nodes.Set = []string{"default.replication.factor=3", "min.insync.replicas=2", "offsets.topic.num.partitions=3", "transaction.state.log.num.partitions=3"}
	// Groups of the new protocol are among the clients.
	nodes.MetadataVersion, nodes.FormatArgs = "3.3-IV3", []string{"--feature", "group.version=1"}
	c := &cluster{Cluster: nodes, root: root}
	defer c.Close()
	if err := errors.Join(c.Format(ctx), c.StartAll(ctx)); err != nil {
		return 0, err
	}
	t, err := c.startTraffic(ctx)
	if err != nil {
		return 0, err
	}
	tool := func(args ...string) func() error {
		return func() error {
			if err := c.onceRegistered(ctx, func() error {
				_, err := c.admin(ctx, features, args...)
				return err
			}); err != nil {
				return err
			}
			return t.progress(ctx)
		}
	}
	return play(kind, []act{
		{"metadata.version is 3.3-IV3, clients run", func() error {
			if err := c.reaches(ctx, "metadata.version", "3.3-IV3"); err != nil {
				return err
			}
			return t.progress(ctx)
		}},
		{"kafka-features takes it to 3.9-IV0", tool("upgrade", "--feature", "metadata.version=21")},
		{"kafka-features takes it to 4.0-IV3, transactions to version 2", tool("upgrade", "--feature", "metadata.version=25", "--feature", "transaction.version=2")},
		{"node 1 restarts", func() error { return c.replace(ctx, t, c.Binary, 1) }},
		{"logstead cluster features takes it to 4.3-IV0", func() error {
			if err := c.onceRegistered(ctx, func() error {
				_, err := c.cli(ctx, "cluster", "features", "upgrade", "--release-version", "4.3")
				return err
			}); err != nil {
				return err
			}
			return errors.Join(c.reaches(ctx, "metadata.version", "4.3-IV0"), c.reaches(ctx, "transaction.version", "2"), t.progress(ctx))
		}},
		{"node 2 restarts", func() error { return c.replace(ctx, t, c.Binary, 2) }},
		{"no client was told of an error, every record is there once", func() error { return t.finish(ctx) }},
	}), nil
}

// level wants a level to be in force, as Kafka's tool shows it.
func (c *cluster) level(ctx context.Context, feature, level string) error {
	out, err := c.admin(ctx, features, "describe")
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		if line = oneLine(line); strings.HasPrefix(line, "Feature: "+feature+" ") && strings.Contains(line, "FinalizedVersionLevel: "+level+" ") {
			return nil
		}
	}
	return fmt.Errorf("%s is not at %s: %s", feature, level, oneLine(out))
}

// reaches waits until a level is in force at whatever broker the tool asks.
func (c *cluster) reaches(ctx context.Context, feature, level string) error {
	return c.patiently(ctx, func() error { return c.level(ctx, feature, level) })
}

// onceRegistered tries again while a controller that is to register has not.
func (c *cluster) onceRegistered(ctx context.Context, change func() error) error {
	_, err := c.until(ctx, startLimit, func() (string, error) {
		err := change()
		if err != nil && !strings.Contains(err.Error(), "has not registered") {
			return "", &final{err}
		}
		return "", err
	})
	return err
}
