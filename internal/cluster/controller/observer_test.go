package controller

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/cluster/raft"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// direct asks a controller of the same process.
func direct(c *Controller) func(context.Context, kmsg.Request, kmsg.Response) error {
	return func(ctx context.Context, req kmsg.Request, resp kmsg.Response) error {
		switch req := req.(type) {
		case *kmsg.FetchRequest:
			return directFetch(ctx, c, req, resp.(*kmsg.FetchResponse))
		case *kmsg.FetchSnapshotRequest:
			return directSnapshot(c, req, resp.(*kmsg.FetchSnapshotResponse))
		}
		return errors.ErrUnsupported
	}
}

func directFetch(ctx context.Context, c *Controller, req *kmsg.FetchRequest, resp *kmsg.FetchResponse) error {
	in := req.Topics[0].Partitions[0]
	ctx, cancel := context.WithTimeout(ctx, time.Duration(req.MaxWaitMs)*time.Millisecond)
	defer cancel()
	t, err := c.Tail(ctx, TailRequest{
		Replica: req.ReplicaState.ReplicaId, Offset: in.FetchOffset, LastEpoch: in.LastFetchedEpoch, MaxBytes: 1, // one batch
	})
	if err != nil {
		return err
	}
	out := kmsg.NewFetchResponsePartitionData()
	out.HighWatermark, out.CurrentLeader.LeaderId, out.CurrentLeader.LeaderEpoch = t.EndOffset, t.Leader, t.Epoch
	if t.Snapshot != nil {
		out.SnapshotId.EndOffset, out.SnapshotId.Epoch = t.Snapshot.EndOffset, t.Snapshot.Epoch
	}
	if t.DivergesAt >= 0 {
		out.DivergingEpoch.EndOffset, out.DivergingEpoch.Epoch = t.DivergesAt, t.DivergesEpoch
	}
	if t.Range != nil {
		defer t.Range.Release()
		out.Records.Bytes = make([]byte, t.Range.Len())
		if _, err := t.Range.ReadAt(out.Records.Bytes, 0); err != nil {
			return err
		}
	}
	resp.Responses = []kmsg.FetchResponseFetchableTopicResponse{{Partitions: []kmsg.FetchResponsePartitionData{out}}}
	return nil
}

func directSnapshot(c *Controller, req *kmsg.FetchSnapshotRequest, resp *kmsg.FetchSnapshotResponse) error {
	in := req.Topics[0].Partitions[0]
	part, size, err := c.ReadSnapshot(SnapshotID(in.SnapshotId), in.Position, 500)
	if err != nil {
		return err
	}
	out := kmsg.NewFetchSnapshotResponsePartitionSnapshot()
	out.SnapshotId, out.Position, out.Size = kmsg.FetchSnapshotResponseSnapshotId(in.SnapshotId), in.Position, size
	out.UnalignedRecords.Bytes = part
	resp.Topics = []kmsg.FetchSnapshotResponseTopicSnapshot{{Partitions: []kmsg.FetchSnapshotResponsePartitionSnapshot{out}}}
	return nil
}

func observe(t *testing.T, c *Controller) *Observer {
	t.Helper()
	ob := NewObserver(ObserverOptions{
		NodeID: 7, ClusterID: c.opts.ClusterID, Logger: slog.New(slog.DiscardHandler), Ask: direct(c), FetchTimeout: 5 * time.Second,
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- ob.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return ob
}

// everything is an image as bytes.
func everything(t *testing.T, im *meta.Image) []byte {
	t.Helper()
	data, err := encodeSnapshot(im.Records, latestMetadata, nil, 1, start)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestObserver follows a controller from the start, and from a snapshot in the middle of its life.
func TestObserver(t *testing.T) {
	n := open(t, vfs.NewMem(), func(o *Options) { o.SnapshotBytes = 3000 })
	n.register(t)
	early := observe(t, n.Controller)
	seen := 0 // of the goroutine that publishes, until the observer has ended
	early.Subscribe(func(_, now *meta.Image, d meta.Delta) { seen += len(d.Created) })
	for i := range 40 {
		n.create(t, "t"+strconv.Itoa(i))
	}
	n.create(t, "t0")
	late := observe(t, n.Controller)
	for _, ob := range []*Observer{early, late} {
		eventually(t, "the end of the log", func() bool { return ob.EndOffset() == n.EndOffset() })
		if !bytes.Equal(everything(t, ob.Image()), everything(t, n.Image())) {
			t.Errorf("the observer has %d topics and other records, the controller %d", ob.Image().TopicCount(), n.Image().TopicCount())
		}
		if id, epoch := ob.Leader(); id != 1 || epoch != n.Epoch() {
			t.Errorf("node %d leads in epoch %d, as the observer sees it", id, epoch)
		}
	}
	if n.LogStart() == 0 {
		t.Error("no snapshot was taken")
	}
	published := make(chan int, 1)
	early.Subscribe(func(_, _ *meta.Image, _ meta.Delta) { published <- seen })
	n.create(t, "last")
	if got := <-published; got != 41 {
		t.Errorf("%d topics in the deltas, want 41", got)
	}
	st, err := n.Quorum()
	if err != nil || len(st.Observers) != 1 || st.Observers[0].ID != 7 || st.Observers[0].Fetched.IsZero() {
		t.Errorf("quorum %+v, %v", st, err)
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Tail(t.Context(), TailRequest{Replica: -1, Offset: n.EndOffset(), LastEpoch: -1}); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Errorf("a controller that has stopped: %v", err)
	}
}

// TestObserverKnowsKRaftVersion has an observer tell the kraft.version of voters that have not changed since the log began.
func TestObserverKnowsKRaftVersion(t *testing.T) {
	for _, dynamic := range []bool{false, true} {
		fsys, dir := vfs.NewMem(), base.NewTopicID()
		o := FormatOptions{Dirs: []string{"/data"}, NodeID: 1}
		if dynamic {
			o.Voters = []raft.Voter{{ID: 1, DirectoryID: dir, Endpoints: []kmsg.VotersRecordEndpoint{{Name: "C", Host: "h", Port: 1}}}}
		}
		if _, err := Format(fsys, o, start); err != nil {
			t.Fatal(err)
		}
		n := open(t, fsys, func(o *Options) { o.Quorum.DirectoryID, o.SnapshotBytes = dir, 3000 })
		n.register(t)
		early := observe(t, n.Controller)
		eventually(t, "the end of the log", func() bool { return early.EndOffset() == n.EndOffset() })
		for i := range 40 { // enough for a snapshot
			n.create(t, "t"+strconv.Itoa(i))
		}
		eventually(t, "a snapshot", func() bool { return n.LogStart() > 0 }) // which is written beside
		late := observe(t, n.Controller)
		eventually(t, "the end of the log", func() bool { return late.EndOffset() == n.EndOffset() })
		if want := n.KRaftVersion(); early.KRaftVersion() != want || late.KRaftVersion() != want || want == 1 != dynamic {
			t.Errorf("kraft.version %d from the log, %d from a snapshot, want %d", early.KRaftVersion(), late.KRaftVersion(), want)
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestObserverBeginsAgain has what the observer applied turn out to be of another history.
func TestObserverBeginsAgain(t *testing.T) {
	n := open(t, vfs.NewMem(), nil)
	defer func() { _ = n.stop() }()
	n.register(t)
	n.create(t, "a")
	f := newFollower(7, base.TopicID{}, "")
	var last *publication
	step := func() {
		t.Helper()
		var resp kmsg.FetchResponse
		if err := direct(n.Controller)(t.Context(), f.request(), &resp); err != nil {
			t.Fatal(err)
		}
		pub, err := f.fetched(&resp)
		if err != nil {
			t.Fatal(err)
		}
		if pub != nil {
			last = pub
		}
	}
	for f.next < n.EndOffset() {
		step()
	}
	if last == nil || last.now.Topic("a") == nil || last.old.Offset != -1 {
		t.Fatalf("published %+v: want all of it at once", last)
	}
	// The last record that it has is of an epoch that the cluster has not had.
	f.epoch = 99
	step()
	if f.next != 0 || f.image.Topic("a") == nil {
		t.Fatalf("it goes on at offset %d with %d topics, want 0 and what is known shown until then", f.next, f.image.TopicCount())
	}
	n.create(t, "b")
	for f.next < n.EndOffset() {
		step()
	}
	if d := last.delta; len(d.Created) != 1 || d.Created[0].Name != "b" || len(d.Deleted) != 0 {
		t.Errorf("delta %+v, want b created", d)
	}
}

// TestObserverRefuses gives an observer what it must not apply.
func TestObserverRefuses(t *testing.T) {
	n := open(t, vfs.NewMem(), nil)
	defer func() { _ = n.stop() }()
	answer := func() *kmsg.FetchResponse {
		f := newFollower(7, base.TopicID{}, "")
		var resp kmsg.FetchResponse
		if err := direct(n.Controller)(t.Context(), f.request(), &resp); err != nil {
			t.Fatal(err)
		}
		return &resp
	}
	for name, change := range map[string]func(p *kmsg.FetchResponsePartitionData, f *follower){
		"a damaged batch": func(p *kmsg.FetchResponsePartitionData, _ *follower) { p.Records.Bytes[len(p.Records.Bytes)-1] ^= 1 },
		"a gap":           func(_ *kmsg.FetchResponsePartitionData, f *follower) { f.next = -1 },
		"half a batch":    func(p *kmsg.FetchResponsePartitionData, _ *follower) { p.Records.Bytes = p.Records.Bytes[:30] },
		"an error":        func(p *kmsg.FetchResponsePartitionData, _ *follower) { p.ErrorCode = kerr.KafkaStorageError.Code },
	} {
		resp, f := answer(), newFollower(7, base.TopicID{}, "")
		change(&resp.Responses[0].Partitions[0], f)
		if pub, err := f.fetched(resp); err == nil || pub != nil {
			t.Errorf("%s was taken: %v", name, pub)
		}
	}
}
