package controller

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// node is one run of a controller over a file system.
type node struct {
	*Controller
	store *storage.Store
	clock *clock.Manual
	stop  func() error
}

func open(t *testing.T, fsys vfs.FS, change func(*Options)) *node {
	t.Helper()
	return openJournal(t, fsys, storage.JournalOptions{Disabled: true}, change)
}

func openJournal(t *testing.T, fsys vfs.FS, journal storage.JournalOptions, change func(*Options)) *node {
	t.Helper()
	clk := clock.NewManual(start)
	store, err := storage.Open(t.Context(), storage.Options{
		FS: fsys, Clock: clk, Dirs: []string{"/data"}, NodeID: 1, Journal: journal,
	})
	if err != nil {
		t.Fatal(err)
	}
	static, err := conf.Load(conf.Source{})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Config: Config{NodeID: 1, Static: static}, Store: store, FS: fsys, ClusterID: store.ClusterID(), Clock: clk,
	}
	if change != nil {
		change(&o)
	}
	c, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	n := &node{Controller: c, store: store, clock: clk}
	n.stop = func() error {
		cancel()
		err := <-ended
		return errors.Join(err, store.Close())
	}
	return n
}

func (n *node) register(t *testing.T) {
	t.Helper()
	err := n.Register(t.Context(), Registration{
		Incarnation: base.NewTopicID(), LogDirs: []base.TopicID{n.store.Dirs()[0].DirectoryID},
		Endpoints: []meta.Endpoint{{Listener: "PLAINTEXT", Host: "localhost", Port: 9092}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// create creates topics and waits for the answer.
func (n *node) create(t *testing.T, names ...string) *kmsg.CreateTopicsResponse {
	t.Helper()
	req := kmsg.NewCreateTopicsRequest()
	for _, name := range names {
		topic := kmsg.NewCreateTopicsRequestCreatableTopic()
		topic.Name, topic.NumPartitions, topic.ReplicationFactor = name, 2, 1
		value := "5"
		topic.Configs = []kmsg.CreateTopicsRequestCreatableTopicConfig{{Name: "retention.ms", Value: &value}}
		req.Topics = append(req.Topics, topic)
	}
	answer := make(chan *kmsg.CreateTopicsResponse, 1)
	op := func(m *Machine) ([]kmsg.Record, *kmsg.CreateTopicsResponse) { return m.CreateTopics(Request{}, &req) }
	Do(n.Controller, op,
		func(resp *kmsg.CreateTopicsResponse, err error) {
			if err != nil {
				t.Error(err)
			}
			// What is answered is published.
			for _, r := range resp.Topics {
				if r.ErrorCode == 0 && n.Image().Topic(r.Name) == nil {
					t.Errorf("%s was answered before it was published", r.Name)
				}
			}
			answer <- resp
		})
	return <-answer
}

func TestLifeOfMetadata(t *testing.T) {
	fsys := vfs.NewMem()
	n := open(t, fsys, nil)
	var deltas []meta.Delta
	n.Subscribe(func(old, now *meta.Image, d meta.Delta) {
		if old.Offset >= now.Offset {
			t.Errorf("image at %d follows one at %d", now.Offset, old.Offset)
		}
		deltas = append(deltas, d)
	})
	n.register(t)
	if r := n.create(t, "a", "b").Topics; r[0].ErrorCode != 0 || r[1].ErrorCode != 0 {
		t.Fatalf("%+v", r)
	}
	if len(deltas) != 2 || len(deltas[1].Created) != 2 || len(deltas[1].Configs) != 2 {
		t.Errorf("deltas %+v", deltas)
	}
	first, count, err := n.AllocateProducerIDs(t.Context())
	if err != nil || first != 0 || count != 1000 {
		t.Errorf("block %d+%d, %v", first, count, err)
	}
	id, epoch := n.Image().Topic("a").ID, n.Epoch()
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}

	n = open(t, fsys, nil)
	im := n.Image()
	if a := im.Topic("a"); a == nil || a.ID != id || len(a.Partitions) != 2 || a.Partitions[0].LeaderEpoch != 0 {
		t.Fatalf("topic after the restart: %+v", a)
	}
	if im.Configs(meta.Resource{Type: meta.ResourceTopic, Name: "a"})["retention.ms"] != "5" || n.Epoch() != epoch+1 {
		t.Errorf("epoch %d, configs %v", n.Epoch(), im.Configs(meta.Resource{Type: meta.ResourceTopic, Name: "a"}))
	}
	n.register(t)
	if got := n.Image().Topic("a").Partitions[1].LeaderEpoch; got != 1 {
		t.Errorf("leader epoch %d after the second registration, want 1", got)
	}
	if first, _, _ := n.AllocateProducerIDs(t.Context()); first != 1000 {
		t.Errorf("second block begins at %d: ids would be given out twice", first)
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	if err := n.Submit(func(*Machine, time.Time) Outcome { return Outcome{} }); !errors.Is(err, kerr.NotController) {
		t.Errorf("submit after the end: %v", err)
	}
}

// What was answered survives a power cut, whatever became of the rest.
func TestCrash(t *testing.T) {
	for seed := range uint64(20) {
		fsys := vfs.NewMem()
		journal := storage.JournalOptions{Disabled: seed%2 == 0, FileBytes: 1 << 20, Files: 2}
		n := openJournal(t, fsys, journal, func(o *Options) { o.SnapshotBytes = 600 })
		n.register(t)
		for i := range 6 {
			n.create(t, "t"+strconv.Itoa(i))
		}
		crashed := fsys.CrashClone(vfs.CrashOptions{Seed: seed, KeepUnsynced: 0.5})
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		n = openJournal(t, crashed, journal, nil)
		for i := range 6 {
			if topic := n.Image().Topic("t" + strconv.Itoa(i)); topic == nil || len(topic.Partitions) != 2 {
				t.Errorf("seed %d: t%d is %+v after the crash", seed, i, topic)
			}
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSnapshotsReplaceTheLog(t *testing.T) {
	fsys := vfs.NewMem()
	n := open(t, fsys, func(o *Options) { o.SnapshotBytes = 2000 })
	n.register(t)
	for i := range 30 {
		n.create(t, "t"+strconv.Itoa(i))
	}
	n.create(t, "t0") // one more turn of the loop: the snapshot follows the answer
	log, _ := n.store.Log(base.TopicPartition{Topic: MetadataTopic})
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	ids, err := listSnapshots(fsys, "/data/__cluster_metadata-0")
	if err != nil || len(ids) != 1 || ids[0].end != log.StartOffset() || ids[0].end == 0 {
		t.Fatalf("snapshots %v, log starts at %d, %v", ids, log.StartOffset(), err)
	}
	n = open(t, fsys, nil)
	if got := n.Image().TopicCount(); got != 30 {
		t.Errorf("%d topics from the snapshot, want 30", got)
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	// Without the snapshot the log alone is not enough, and says so.
	if err := fsys.Remove(path.Join("/data/__cluster_metadata-0", ids[0].fileName())); err != nil {
		t.Fatal(err)
	}
	store, err := storage.Open(t.Context(), storage.Options{FS: fsys, Clock: n.clock, Dirs: []string{"/data"}, NodeID: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	if _, err := Open(t.Context(), Options{Store: store, FS: fsys, Config: n.opts.Config}); err == nil {
		t.Error("a log without its beginning was loaded")
	}
}

// copyKafka puts the directory that Apache Kafka 4.3.1 wrote into memory.
func copyKafka(t *testing.T) *vfs.Mem {
	t.Helper()
	fsys, root := vfs.NewMem(), filepath.Join("testdata", "kafka-4.3.1")
	err := filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		to := path.Join("/data", filepath.ToSlash(rel))
		if d.IsDir() {
			return fsys.MkdirAll(to)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return vfs.WriteFile(fsys, to, data)
	})
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

func TestOpensWhatKafkaWrote(t *testing.T) {
	fsys := copyKafka(t)
	n := open(t, fsys, func(o *Options) { o.SnapshotBytes = 1 })
	im := n.Image()
	orders := im.Topic("orders")
	if orders == nil || len(orders.Partitions) != 3 || im.Topic("gone") != nil {
		t.Fatalf("topics %v", im.TopicNames())
	}
	app := "c1"
	quota := im.Quota([]meta.EntityPart{{Type: "client-id", Name: &app}})
	if im.Configs(meta.Resource{Type: meta.ResourceTopic, Name: "orders"})["retention.ms"] != "1000" ||
		im.Configs(meta.Resource{Type: meta.ResourceBroker})["log.retention.ms"] != "5000" ||
		quota == nil || quota.Values["producer_byte_rate"] != 1024 ||
		im.Scram(meta.ScramKey{User: "alice", Mechanism: 1}) == nil || im.Feature("share.version") != 1 {
		t.Error("configs, quotas, credentials or features are missing")
	}
	if got := Finalized(im); got["share.version"] != 0 || got[MetadataVersion] != 30 {
		t.Errorf("finalized for clients: %v", got)
	}
	before := orders.Partitions[0].LeaderEpoch
	n.register(t)
	p := n.Image().Topic("orders").Partitions[0]
	if p.Leader != 1 || p.LeaderEpoch != before+1 || len(p.ISR) != 1 {
		t.Errorf("partition after the registration: %+v", p)
	}
	n.create(t, "ours")
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	n = open(t, fsys, nil)
	if n.Image().TopicCount() != 2 {
		t.Errorf("topics %v", n.Image().TopicNames())
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
}

func TestFormat(t *testing.T) {
	fsys := vfs.NewMem()
	id, err := Format(fsys, FormatOptions{Dirs: []string{"/data"}, NodeID: 1}, start)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Format(fsys, FormatOptions{Dirs: []string{"/data"}, NodeID: 1}, start); !errors.Is(err, ErrFormatted) {
		t.Errorf("second format: %v", err)
	}
	n := open(t, fsys, nil)
	if n.Image().ClusterID != id || n.Image().Feature(GroupVersion) != 1 {
		t.Errorf("cluster %s, features %v", n.Image().ClusterID, n.Image().Features())
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
}

func TestFailedLogStopsTheController(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMem())
	n := open(t, fault, nil)
	n.register(t)
	fault.Inject(vfs.Rule{Kind: vfs.OpSync, Path: "*.log", Err: syscall.EIO})
	answer := make(chan error, 1)
	Do(n.Controller, func(m *Machine) ([]kmsg.Record, int) {
		r, _, _, _ := m.allocateOwnProducerIDs()
		return r, 0
	}, func(_ int, err error) { answer <- err })
	if err := <-answer; !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("answer %v", err)
	}
	if n.Image().NextProducerID() != 0 {
		t.Error("what failed was published")
	}
	if err := n.stop(); err == nil {
		t.Error("the controller went on")
	}
}

func FuzzSnapshot(f *testing.F) {
	data, err := encodeSnapshot(func(yield func(kmsg.Record) bool) {
		for _, r := range bootstrapRecords(newestLevels()) {
			if !yield(r) {
				return
			}
		}
	}, latestMetadata, nil, 1, start)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		fsys := vfs.NewMem()
		if err := vfs.WriteFile(fsys, "/s", data); err != nil {
			t.Fatal(err)
		}
		e := meta.Empty("c").Edit()
		_ = readSnapshot(fsys, "/s", func(r kmsg.Record) error { return e.Apply(r) }) // must not panic
	})
}

// FuzzQuorumState: whatever the file of what a voter must not forget holds, reading it ends in an epoch or an error.
func FuzzQuorumState(f *testing.F) {
	f.Add([]byte(`{"clusterId":"","leaderId":1,"leaderEpoch":7,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		fsys := vfs.NewMem()
		if err := errors.Join(fsys.MkdirAll("/d"), vfs.WriteFile(fsys, "/d/"+quorumStateFile, data)); err != nil {
			t.Fatal(err)
		}
		_, _ = readQuorumEpoch(fsys, "/d") // must not panic
	})
}
