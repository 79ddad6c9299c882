package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/logstead/logstead/interop/local"
)

// startLimit is how long a node may take from its start until every partition is in sync on it again.
const startLimit = 3 * time.Minute

// rolling takes three nodes from an earlier build to this one while clients run: one node goes forth, back and forth
// again, so that the builds serve side by side, then the others; then each is restarted once more. A feature goes down
// while the builds are mixed and up at the end, and kraft.version up, which takes away the way back. No client may be told
// of an error.
func rolling(ctx context.Context, root, dir, from string) (failed int, err error) {
	nodes, err := local.NewCluster(ctx, "logstead", filepath.Join(dir, "rolling"), 3)
	if err != nil {
		return 0, err
	}
	nodes.Set = []string{"default.replication.factor=3", "min.insync.replicas=2", "offsets.topic.num.partitions=3", "transaction.state.log.num.partitions=3"}
	c := &cluster{Cluster: nodes, root: root}
	defer c.Close()
	now := c.Binary
	before, err := buildAt(ctx, root, filepath.Join(dir, "before"), from)
	// beside leaves out what needs that build.
	beside := func(run func() error) func() error { return run }
	if err != nil {
		beside = func(func() error) func() error { return nil }
		fmt.Printf("NOT RUN  the build of %s beside this one: %v\n", from, err)
		before = now
	}
	c.Binary = before
	if err := errors.Join(c.Format(ctx), c.StartAll(ctx)); err != nil {
		return 0, err
	}
	t, err := c.startTraffic(ctx)
	if err == nil {
		err = c.startJavaTraffic(ctx, t)
	}
	if err != nil {
		return 0, err
	}
	defer t.java.kill()
	replace := func(binary string, id int) func() error {
		return func() error { return c.replace(ctx, t, binary, id) }
	}
	for _, a := range []act{
		{"every node of the build before", func() error { return t.progress(ctx) }},
		{"node 1 gets this build", replace(now, 1)},
		{"transaction.version goes down while the builds are mixed", func() error {
			return c.onceRegistered(ctx, func() error { return t.feature(ctx, "transaction.version", 1, 2) })
		}},
		{"a topic is made and written while they are", func() error { return t.mixed(ctx) }},
		{"node 1 goes back to the build before", replace(before, 1)},
		{"node 1 gets this build again", replace(now, 1)},
		{"node 2 gets this build", replace(now, 2)},
		{"kraft.version stays at 0 beside a controller of the build before", beside(func() error {
			err := c.patiently(ctx, func() error {
				_, err := c.admin(ctx, features, "upgrade", "--feature", "kraft.version=1")
				return refused(err, "Invalid update version 1 for feature kraft.version.")
			})
			return errors.Join(err, c.reaches(ctx, "kraft.version", "0"), t.progress(ctx))
		})},
		{"node 3 gets this build", replace(now, 3)},
		{"transaction.version goes up with transactions running", func() error {
			return c.onceRegistered(ctx, func() error { return t.feature(ctx, "transaction.version", 2, 1) })
		}},
		{"kraft.version goes to 1", func() error { return errors.Join(c.raiseKRaftVersion(ctx), t.progress(ctx)) }},
		{"a node of the build before does not take part any more", beside(func() error {
			return c.startInVain(ctx, before, 2, "a newer logstead wrote it")
		})},
		{"node 2 is back, with controller.quorum.bootstrap.servers", func() error { return errors.Join(c.bootstrapServers(2), replace(now, 2)()) }},
		{"node 3 restarts, with controller.quorum.bootstrap.servers", func() error { return errors.Join(c.bootstrapServers(3), replace(now, 3)()) }},
		{"no client was told of an error, every record is there once", func() error { return t.finish(ctx) }},
	} {
		if a.run == nil {
			fmt.Printf("NOT RUN  %s\n", a.name)
			continue
		}
		if !perform("rolling", a.name, a.run) {
			return 1, nil // a node may be left down, and an error that was told stays
		}
	}
	return 0, nil
}

// buildAt builds the source of a commit, which the history must hold; a file is a build already.
func buildAt(ctx context.Context, root, dir, commit string) (string, error) {
	if info, err := os.Stat(commit); err == nil && info.Mode().IsRegular() {
		return filepath.Abs(commit)
	}
	if err := local.Command(ctx, "git", "-C", root, "cat-file", "-e", commit+"^{commit}"); err != nil {
		return "", fmt.Errorf("the history here does not hold it: %w", err)
	}
	script := `mkdir -p "$1" && git -C "$2" archive "$3" | tar -x -C "$1" && cd "$1" && CGO_ENABLED=0 go build -buildvcs=false -o logstead ./cmd/logstead`
	if out, err := exec.CommandContext(ctx, "bash", "-c", "set -o pipefail; "+script, "bash", dir, root, commit).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return filepath.Join(dir, "logstead"), nil
}

// replace stops a node in order and starts it with a binary, then waits until it is in sync and clients go on.
func (c *cluster) replace(ctx context.Context, t *traffic, binary string, id int) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := c.End(id, syscall.SIGTERM); err != nil {
		return err
	}
	if err := t.progress(ctx); err != nil {
		return err
	}
	c.Binary = binary
	if err := errors.Join(c.Start(id), c.Await(ctx, id)); err != nil {
		return err
	}
	if err := t.inSync(ctx); err != nil {
		return err
	}
	return t.progress(ctx)
}

// startInVain stops a node and starts it with a binary that must end by itself, with these words.
func (c *cluster) startInVain(ctx context.Context, binary string, id int, words string) error {
	if err := c.End(id, syscall.SIGTERM); err != nil {
		return err
	}
	c.Binary = binary
	if err := c.Start(id); err != nil {
		return err
	}
	_, err := c.until(ctx, patience, func() (string, error) {
		if !c.Exited(id) {
			return "", fmt.Errorf("node %d runs with %s", id, binary)
		}
		return "", nil
	})
	if said := c.LogTail(id, 2000); err == nil && !strings.Contains(said, words) {
		err = fmt.Errorf("node %d ended without %q: %s", id, words, said)
	}
	return err
}

// feature finalizes a level; kind is 1 for an upgrade, 2 for a downgrade.
func (t *traffic) feature(ctx context.Context, name string, level int16, kind int8) error {
	req := kmsg.NewPtrUpdateFeaturesRequest()
	req.TimeoutMillis = 30_000
	f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	f.Feature, f.MaxVersionLevel, f.UpgradeType = name, level, kind
	req.FeatureUpdates = append(req.FeatureUpdates, f)
	resp, err := req.RequestWith(ctx, t.admin)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		if resp != nil && resp.ErrorMessage != nil {
			err = fmt.Errorf("%w: %s", err, *resp.ErrorMessage)
		}
		return err
	}
	return t.progress(ctx)
}

// mixed creates a topic, writes to it and deletes it.
func (t *traffic) mixed(ctx context.Context) error {
	adm := kadm.NewClient(t.admin)
	if _, err := adm.CreateTopic(ctx, 6, 3, nil, "mixed"); err != nil {
		return err
	}
	for i := range 60 {
		if err := t.admin.ProduceSync(ctx, &kgo.Record{Topic: "mixed", Value: fmt.Append(nil, i)}).FirstErr(); err != nil {
			return err
		}
	}
	_, err := adm.DeleteTopic(ctx, "mixed")
	return err
}

// inSync waits until every replica of every topic is in sync.
func (t *traffic) inSync(ctx context.Context) error {
	adm := kadm.NewClient(t.admin)
	behind := "no metadata"
	for ctx.Err() == nil {
		md, err := adm.Metadata(ctx)
		if err == nil {
			behind = ""
			md.Topics.EachPartition(func(p kadm.PartitionDetail) {
				if len(p.ISR) != len(p.Replicas) || p.Leader < 0 {
					behind = fmt.Sprintf("%s-%d has leader %d and in sync %v of %v", p.Topic, p.Partition, p.Leader, p.ISR, p.Replicas)
				}
			})
			if behind == "" && len(md.Brokers) == 3 {
				return nil
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("not in sync in time: %s", behind)
}
