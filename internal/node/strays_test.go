package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// found lists the directories of a topic in a log directory, by the suffix of their names; "" for logs in use.
func found(t *testing.T, dir, topic string) (suffixes []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), topic+"-")
		if !ok {
			continue
		}
		suffix := ""
		if i := strings.LastIndexByte(rest, '-'); i >= 0 {
			suffix = rest[i:]
		}
		suffixes = append(suffixes, suffix)
	}
	return suffixes
}

// bytesAside are the records that a log which was set aside holds.
func bytesAside(t *testing.T, dir, topic string) (n int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, topic+"-*-stray", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size()
	}
	return n
}

// TestClusterSettlesStrays moves a replica away and deletes a topic while a node is down: when it comes back the first log
// is removed, the other is set aside, and what it has to have stays.
func TestClusterSettlesStrays(t *testing.T) {
	c := startTrio(t, "log.segment.delete.delay.ms=60000")
	for _, topic := range []string{"moved", "deleted", "kept"} {
		c.replicated(topic, 1)
		produceNumbers(t, c.client(), topic, 0, 20)
		c.inSync(topic, 3)
	}
	c.stop(3)
	adm := kadm.NewClient(c.client())
	req := kadm.AlterPartitionAssignmentsReq{}
	req.Assign("moved", 0, []int32{1, 2})
	resps, err := adm.AlterPartitionAssignments(deadline(t), req)
	if err == nil {
		err = resps.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	// That it is not there is the answer to a request that had to be repeated.
	if _, err := adm.DeleteTopic(deadline(t), "deleted"); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Fatal(err)
	}
	c.eventually("deleted", func() bool { return c.nodes[1].image().Topic("deleted") == nil })
	c.eventually("moved", func() bool {
		return slices.Equal(c.nodes[1].image().Topic("moved").Partitions[0].Replicas, []int32{1, 2})
	})
	c.startAll(3)
	c.inSync("kept", 3)
	for topic, want := range map[string][]string{"moved": {"-delete"}, "deleted": {"-stray"}, "kept": {""}} {
		if got := found(t, c.dirs[3], topic); !slices.Equal(got, want) {
			t.Errorf("%s is there as %q, want %q", topic, got, want)
		}
	}
	if bytesAside(t, c.dirs[3], "deleted") == 0 {
		t.Error("the log that was set aside is empty")
	}
	req = kadm.AlterPartitionAssignmentsReq{}
	req.Assign("moved", 0, []int32{3, 2})
	if _, err := adm.AlterPartitionAssignments(deadline(t), req); err != nil {
		t.Fatal(err)
	}
	c.eventually("moved back", func() bool {
		mp := c.nodes[3].image().Topic("moved").Partitions[0]
		return slices.Equal(mp.Replicas, []int32{3, 2}) && len(mp.ISR) == 2
	})
	readAll(t, deadline(t), c.client(kgo.ConsumeTopics("moved"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), 20)
}

// TestOldMetadataLosesNoLog starts a node on a metadata log of before a topic was created: its log stays on the disk.
func TestOldMetadataLosesNoLog(t *testing.T) {
	dir, metadata, old, port := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "old"), freePort(t)
	set := []string{
		"listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:" + port,
		"controller.quorum.bootstrap.servers=127.0.0.1:" + port, "broker.heartbeat.interval.ms=20",
		"metadata.log.dir=" + metadata,
	}
	run := func(use func(ctx context.Context, cl *kgo.Client)) {
		t.Helper()
		n := start(t, dir, set...)
		use(deadline(t), client(t, n))
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	}
	write := func(topic string) func(context.Context, *kgo.Client) {
		return func(ctx context.Context, cl *kgo.Client) {
			if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	run(write("early"))
	if err := os.CopyFS(old, os.DirFS(metadata)); err != nil {
		t.Fatal(err)
	}
	run(write("late"))
	if err := os.RemoveAll(metadata); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(metadata, os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	run(write("early"))
	if got := found(t, dir, "late"); !slices.Equal(got, []string{"-stray"}) || bytesAside(t, dir, "late") == 0 {
		t.Errorf("the topic of after the backup is there as %q with %d bytes", got, bytesAside(t, dir, "late"))
	}
	if got := found(t, dir, "early"); !slices.Equal(got, []string{""}) {
		t.Errorf("the topic of before it is there as %q", got)
	}
}
