package api

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

const follower = 2

// followed is a leader of one partition, whose follower fetches by hand.
type followed struct {
	t     *testing.T
	b     *Broker
	p     *partition.Partition
	now   time.Time
	id    int32 // of the session
	epoch int32
}

func newFollowed(t *testing.T) *followed {
	const cluster = "AAAAAAAAAAAAAAAAAAAAAA"
	l := &followed{t: t, now: time.UnixMilli(1_700_000_000_000)}
	fs := vfs.NewMem()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(fs.MkdirAll("/data"))
	must(storage.WriteMeta(fs, "/data", storage.MetaProperties{ClusterID: cluster, NodeID: 1, DirectoryID: base.TopicID{15: 9}}))
	store, err := storage.Open(context.Background(), storage.Options{
		FS: fs, Clock: clock.NewManual(l.now), Dirs: []string{"/data"}, NodeID: 1, ClusterID: cluster,
		Journal: storage.JournalOptions{Disabled: true}, ByHand: true, RecoveryThreads: 1,
	})
	must(err)
	k, id := base.TopicPartition{Topic: "t"}, base.TopicID{15: 1}
	cfg := storage.DefaultLogConfig()
	cfg.Durability = storage.Replicated
	log, err := store.Create(k, id, cfg, "")
	must(err)
	l.p = partition.New(k, id, log, &partition.Settings{Durability: cfg.Durability, MinInSync: 1,
		Validate: batch.ValidateOptions{Partition: k, TimestampAfterMaxMs: 1<<63 - 1, TimestampBeforeMaxMs: 1<<63 - 1, MaxMessageBytes: 1 << 20}})
	l.b = &Broker{Logger: slog.New(slog.DiscardHandler), Clock: clock.NewManual(l.now), NodeID: 1, Parts: partition.NewTable(),
		Image: func() *meta.Image { return meta.Empty(cluster) }, SessionSweep: time.Hour}
	l.b.Init(1<<20, 10)
	l.b.Parts.Put(&partition.Topic{Name: "t", ID: id, Parts: []*partition.Partition{l.p}})
	return l
}

func (l *followed) lead(epoch int32) {
	l.p.MakeLeader(1, partition.State{Replicas: []int32{1, follower}, ISR: []int32{1}, Leader: 1, LeaderEpoch: epoch}, l.now)
}

func (l *followed) produce() {
	l.t.Helper()
	b := batch.NewBuilder(batch.Options{})
	b.Append(l.now.UnixMilli(), nil, []byte("v"))
	built, err := b.Build()
	if err == nil {
		_, err = l.p.Append(slices.Clone(built), partition.AppendOptions{Now: l.now})
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// fetch is the follower's next one: it names the partition with where its log ends, unless that is negative. Something may
// happen while it waits.
func (l *followed) fetch(offset int64, last int32, meanwhile ...func()) []kmsg.FetchResponsePartitionData {
	l.t.Helper()
	req := kmsg.NewFetchRequest()
	req.ReplicaState.ReplicaId, req.ReplicaState.ReplicaEpoch, req.MinBytes, req.MaxBytes = follower, 7, 1, 1<<20
	req.SessionId, req.SessionEpoch = l.id, l.epoch
	if offset >= 0 {
		p := kmsg.NewFetchRequestFetchPartition()
		p.FetchOffset, p.LastFetchedEpoch, p.CurrentLeaderEpoch, p.PartitionMaxBytes = offset, last, l.p.LeaderEpoch(), 1<<20
		req.Topics = []kmsg.FetchRequestFetchTopic{{TopicId: l.p.TopicID, Partitions: []kmsg.FetchRequestFetchPartition{p}}}
	}
	l.now = l.now.Add(time.Millisecond)
	f := l.b.FetchByHand(l.now, &req)
	for _, happens := range meanwhile {
		if f.Enough() {
			l.t.Fatal("a fetch does not wait")
		}
		happens()
	}
	resp := f.Answer(!f.Enough())
	if resp.ErrorCode != 0 {
		l.t.Fatalf("error code %d", resp.ErrorCode)
	}
	l.id, l.epoch = resp.SessionId, l.epoch+1
	dropRanges(resp)
	if len(resp.Responses) == 0 {
		return nil
	}
	return resp.Responses[0].Partitions
}

// TestSessionTellsAgain: a follower that was told where its log diverges, which has it cut its log and do nothing else, hears
// the high watermark with the next answer, though its leader has told it once.
func TestSessionTellsAgain(t *testing.T) {
	l := newFollowed(t)
	l.lead(1)
	l.produce()
	l.lead(3)
	got := l.fetch(2, 2) // the follower has a record that epoch 2 has written
	if len(got) != 1 || got[0].DivergingEpoch.Epoch != 1 || got[0].DivergingEpoch.EndOffset != 1 || got[0].HighWatermark != 1 {
		t.Fatalf("told %+v, want that epoch 1 ends at 1", got)
	}
	if got = l.fetch(1, 1); len(got) != 1 || got[0].HighWatermark != 1 || got[0].ErrorCode != 0 {
		t.Errorf("a follower that was cut is told %+v, want the high watermark 1", got)
	}
	if got = l.fetch(-1, 0); len(got) != 0 {
		t.Errorf("told %+v, and nothing is new", got)
	}
	if got = l.fetch(1, 1); len(got) != 1 || got[0].HighWatermark != 1 {
		t.Errorf("a follower that names its partition again is told %+v, want the high watermark 1", got)
	}
}

// TestSessionHears: each of what a follower is to hear of has a session that looks at all partitions next to never look.
func TestSessionHears(t *testing.T) {
	l := newFollowed(t)
	l.lead(1)
	if got := l.fetch(0, -1); len(got) != 1 {
		t.Fatalf("told %+v", got)
	}
	if got := l.fetch(-1, 0); len(got) != 0 {
		t.Fatalf("told %+v, and nothing is new", got)
	}
	l.produce()
	if got := l.fetch(-1, 0); len(got) != 1 || got[0].HighWatermark != 1 {
		t.Errorf("after an append: told %+v", got)
	}
	l.fetch(1, 1)
	l.p.MakeFollower(1, partition.State{Replicas: []int32{1, follower}, Leader: follower, LeaderEpoch: 2})
	if got := l.fetch(-1, 0); len(got) != 1 || got[0].ErrorCode == 0 {
		t.Errorf("where another leads: told %+v, want an error", got)
	}
	l.lead(3)
	if got := l.fetch(-1, 0); len(got) != 1 || got[0].ErrorCode == 0 {
		t.Errorf("in another leader epoch: told %+v, want an error", got)
	}
	if got := l.fetch(1, 1); len(got) != 1 || got[0].ErrorCode != 0 || got[0].HighWatermark != 1 {
		t.Errorf("once the follower knows the epoch: told %+v", got)
	}
}

// TestSessionFollowerComesBack: a follower that leaves the in-sync set while its fetch waits, which has been noted as that of one in sync,
// is proposed with its next fetch, and not when all partitions are looked at.
func TestSessionFollowerComesBack(t *testing.T) {
	l := newFollowed(t)
	proposed := 0
	l.p.SetCluster(&partition.Cluster{Eligible: func(int32, int64) bool { return true }, Propose: func(*partition.Partition, partition.ISRChange) { proposed++ }})
	s := partition.State{Replicas: []int32{1, follower}, ISR: []int32{1, follower}, Leader: 1, LeaderEpoch: 1}
	l.p.MakeLeader(1, s, l.now)
	l.fetch(0, -1)
	l.fetch(0, -1, func() {
		s.ISR, s.PartitionEpoch = []int32{1}, 1
		l.p.MakeLeader(1, s, l.now)
	})
	if proposed > 0 {
		t.Fatal("proposed before it fetched again")
	}
	if l.fetch(-1, 0); proposed != 1 {
		t.Errorf("%d proposals, want that it joins", proposed)
	}
}
