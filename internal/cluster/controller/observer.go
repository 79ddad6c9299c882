package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Bounds of an observer.
const (
	tailWait     = 500 * time.Millisecond // for the log to go on, as Kafka's
	tailMaxBytes = 8 << 20
	observePause = 100 * time.Millisecond // after an answer that helped nothing
)

// ObserverOptions are what NewObserver needs.
type ObserverOptions struct {
	NodeID      int32
	DirectoryID base.TopicID // of its log directory; shown by DescribeQuorum
	ClusterID   string
	Logger      *slog.Logger
	// Ask sends a request to the active controller, wherever that is, until ctx ends.
	Ask func(ctx context.Context, req kmsg.Request, resp kmsg.Response) error
	// FetchTimeout is controller.quorum.fetch.timeout.ms: who does not answer for so long is not asked on.
	FetchTimeout time.Duration
}

// Observer is the metadata of a node outside the quorum: it pulls the committed log from the active
// controller and keeps the image in memory.
type Observer struct {
	o      ObserverOptions
	image  atomic.Pointer[meta.Image]
	end    atomic.Int64
	leader atomic.Uint64 // as Controller's
	kraft  atomic.Int32  // kraft.version

	published *publisher
	tail      *follower // of the goroutine of Run
}

var _ Metadata = (*Observer)(nil)

// NewObserver returns an observer that knows nothing yet.
func NewObserver(o ObserverOptions) *Observer {
	ob := &Observer{o: o, published: newPublisher(), tail: newFollower(o.NodeID, o.DirectoryID, o.ClusterID)}
	ob.image.Store(ob.tail.image)
	ob.leader.Store(packLeader(-1, 0))
	return ob
}

func packLeader(id, epoch int32) uint64 { return uint64(uint32(id))<<32 | uint64(uint32(epoch)) }

func unpackLeader(packed uint64) (id, epoch int32) {
	return int32(uint32(packed >> 32)), int32(uint32(packed))
}

// Image implements Metadata.
func (ob *Observer) Image() *meta.Image { return ob.image.Load() }

// Subscribe implements Metadata.
func (ob *Observer) Subscribe(fn func(old, now *meta.Image, d meta.Delta)) {
	ob.published.subscribe(fn)
}

// EndOffset implements Metadata.
func (ob *Observer) EndOffset() int64 { return ob.end.Load() }

// KRaftVersion is the level of the feature kraft.version, as of what was pulled.
func (ob *Observer) KRaftVersion() int16 { return int16(ob.kraft.Load()) }

// Leader implements Metadata.
func (ob *Observer) Leader() (id, epoch int32) { return unpackLeader(ob.leader.Load()) }

// Run pulls until ctx ends, or something comes that this version cannot read.
func (ob *Observer) Run(ctx context.Context) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	publishing, published := context.WithCancel(context.Background())
	defer published()
	beside.Go(func() { ob.published.run(publishing) })
	for ctx.Err() == nil {
		if err := ob.pull(ctx); err != nil {
			return fmt.Errorf("metadata from the active controller: %w", err)
		}
	}
	return nil
}

// pull is one exchange.
func (ob *Observer) pull(ctx context.Context) error {
	limit, cancel := context.WithTimeout(ctx, ob.o.FetchTimeout)
	defer cancel()
	req := ob.tail.request()
	var change *publication
	var err error
	switch req := req.(type) {
	case *kmsg.FetchRequest:
		var resp kmsg.FetchResponse
		if err = ob.o.Ask(limit, req, &resp); err == nil {
			change, err = ob.tail.fetched(&resp)
		}
	case *kmsg.FetchSnapshotRequest:
		var resp kmsg.FetchSnapshotResponse
		if err = ob.o.Ask(limit, req, &resp); err == nil {
			err = ob.tail.snapshotRead(&resp)
		}
	}
	var damaged *unreadableError
	if errors.As(err, &damaged) {
		return damaged
	}
	if err != nil && ctx.Err() == nil {
		ob.o.Logger.Debug("metadata was not pulled", "offset", ob.tail.next, "err", err)
		ob.tail.failed()
		wait(ctx, observePause)
	}
	if now := packLeader(ob.tail.leader, ob.tail.leaderEpoch); ob.tail.leader >= 0 && ob.leader.Swap(now) != now {
		ob.o.Logger.Info("the active controller is found", "node_id", ob.tail.leader, "epoch", ob.tail.leaderEpoch)
	}
	if ob.tail.kraft != int16(ob.kraft.Load()) && !ob.tail.anew {
		ob.kraft.Store(int32(ob.tail.kraft))
	}
	if change != nil {
		ob.image.Store(change.now)
		ob.end.Store(change.now.Offset + 1)
		ob.published.put(*change)
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// follower is what decides what an observer asks for next and what an answer means. It is pure.
type follower struct {
	node      int32
	directory base.TopicID
	cluster   string

	image  *meta.Image
	edit   *meta.Edit
	replay replayer
	next   int64
	epoch  int32 // of the last batch, -1 for none

	// anew says that edit did not begin with image: it is published when it has reached the end of the
	// log, so that nobody acts on a past that is over.
	anew bool

	kraft int16 // kraft.version

	leader, leaderEpoch int32

	loading *SnapshotID // on its way
	data    []byte
}

func newFollower(node int32, directory base.TopicID, cluster string) *follower {
	f := &follower{node: node, directory: directory, cluster: cluster, leader: -1}
	f.restart(meta.Empty(cluster), 0, -1)
	f.image = meta.Empty(cluster)
	return f
}

// restart goes on from an image at an offset.
func (f *follower) restart(im *meta.Image, next int64, epoch int32) {
	f.edit, f.next, f.epoch, f.anew = im.Edit(), next, epoch, true
	f.replay = replayer{into: func(rec kmsg.Record) error { return f.edit.Apply(rec) }}
	f.loading, f.data = nil, nil
}

// failed forgets a snapshot that could not be read on: another one is asked for.
func (f *follower) failed() { f.loading, f.data = nil, nil }

func (f *follower) request() kmsg.Request {
	if f.loading == nil {
		return f.fetchRequest()
	}
	req := kmsg.NewFetchSnapshotRequest()
	req.ClusterId, req.ReplicaId, req.MaxBytes = &f.cluster, f.node, snapshotPartBytes
	req.Topics = []kmsg.FetchSnapshotRequestTopicSnapshot{{
		Name: MetadataTopic, Partitions: []kmsg.FetchSnapshotRequestPartitionSnapshot{{
			CurrentLeaderEpoch: -1, Position: int64(len(f.data)), ReplicaDirectoryId: f.directory,
			SnapshotId: kmsg.FetchSnapshotRequestSnapshotId{EndOffset: f.loading.EndOffset, Epoch: f.loading.Epoch},
		}},
	}}
	return &req
}

func (f *follower) fetchRequest() *kmsg.FetchRequest {
	req := kmsg.NewFetchRequest()
	req.ClusterId = &f.cluster
	req.ReplicaId, req.ReplicaState.ReplicaId = f.node, f.node
	req.MaxWaitMs, req.MinBytes, req.MaxBytes = int32(tailWait.Milliseconds()), 1, tailMaxBytes
	req.Topics = []kmsg.FetchRequestFetchTopic{{
		Topic: MetadataTopic, TopicId: metadataTopicID,
		Partitions: []kmsg.FetchRequestFetchPartition{{
			CurrentLeaderEpoch: -1, FetchOffset: f.next, LastFetchedEpoch: f.epoch, LogStartOffset: -1,
			PartitionMaxBytes: tailMaxBytes, ReplicaDirectoryId: f.directory, HighWatermark: f.next,
		}},
	}}
	return &req
}

// unreadableError is metadata that cannot be applied: going on would be to serve something else than the
// cluster has agreed on.
type unreadableError struct{ err error }

func (e *unreadableError) Error() string { return e.err.Error() }
func (e *unreadableError) Unwrap() error { return e.err }

// fetched takes in the answer to a Fetch.
func (f *follower) fetched(resp *kmsg.FetchResponse) (*publication, error) {
	if len(resp.Responses) != 1 || len(resp.Responses[0].Partitions) != 1 {
		return nil, fmt.Errorf("an answer with %d topics to a fetch of %s", len(resp.Responses), MetadataTopic)
	}
	p := &resp.Responses[0].Partitions[0]
	f.heard(p.CurrentLeader.LeaderId, p.CurrentLeader.LeaderEpoch)
	switch {
	case p.ErrorCode != 0:
		return nil, kerr.ErrorForCode(p.ErrorCode)
	case p.SnapshotId.EndOffset >= 0:
		f.loading, f.data = &SnapshotID{p.SnapshotId.EndOffset, p.SnapshotId.Epoch}, nil
		return nil, nil
	case p.DivergingEpoch.EndOffset >= 0:
		// What was applied is not what the cluster has: everything is asked for again.
		f.restart(meta.Empty(f.cluster), 0, -1)
		return nil, nil
	}
	return f.apply(p.Records.Bytes, p.HighWatermark)
}

func (f *follower) heard(leader, epoch int32) {
	if epoch >= f.leaderEpoch && leader >= 0 {
		f.leader, f.leaderEpoch = leader, epoch
	}
}

// apply takes in batches that follow on; end is that of the committed log.
func (f *follower) apply(data []byte, end int64) (*publication, error) {
	for len(data) > 0 {
		b, rest, err := batch.Next(data)
		if err != nil {
			return nil, err
		}
		data = rest
		if b.LastOffset() < f.next {
			continue
		}
		if b.BaseOffset() != f.next {
			return nil, fmt.Errorf("a batch at offset %d, want %d", b.BaseOffset(), f.next)
		}
		if err := b.CheckCRC(); err != nil {
			return nil, err
		}
		if err := f.replay.batch(b); err != nil {
			return nil, &unreadableError{err}
		}
		if f.kraft, err = kraftVersionAfter(b, f.kraft); err != nil {
			return nil, &unreadableError{err}
		}
		f.next, f.epoch = b.LastOffset()+1, b.LeaderEpoch()
	}
	if err := checkLevel(f.edit.Peek()); err != nil {
		return nil, &unreadableError{err}
	}
	if f.anew && f.next < end || !f.anew && f.next == f.image.Offset+1 {
		return nil, nil
	}
	return f.cut(), nil
}

// cut makes what was taken in the image. One that does not follow on from the last is compared with it.
func (f *follower) cut() *publication {
	old := f.image
	im, delta := f.edit.Image(f.next-1, f.epoch)
	if f.anew {
		delta = meta.Difference(old, im)
	}
	f.image, f.edit, f.anew = im, im.Edit(), false
	return &publication{old: old, now: im, delta: delta}
}

// snapshotRead takes in a part of a snapshot.
func (f *follower) snapshotRead(resp *kmsg.FetchSnapshotResponse) error {
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return fmt.Errorf("an answer with %d topics to a fetch of a snapshot of %s", len(resp.Topics), MetadataTopic)
	}
	p := &resp.Topics[0].Partitions[0]
	f.heard(p.CurrentLeader.LeaderId, p.CurrentLeader.LeaderEpoch)
	switch {
	case p.ErrorCode != 0:
		return kerr.ErrorForCode(p.ErrorCode)
	case p.SnapshotId.EndOffset != f.loading.EndOffset || p.SnapshotId.Epoch != f.loading.Epoch ||
		p.Position != int64(len(f.data)) || p.Size > maxSnapshotBytes || p.UnalignedRecords.Len() == 0:
		return fmt.Errorf("%d bytes at %d of %d of snapshot %+v, want those at %d of %+v", p.UnalignedRecords.Len(),
			p.Position, p.Size, p.SnapshotId, len(f.data), *f.loading)
	}
	f.data = append(f.data, p.UnalignedRecords.Bytes...)
	if int64(len(f.data)) < p.Size {
		return nil
	}
	id, data := *f.loading, f.data
	f.restart(meta.Empty(f.cluster), id.EndOffset, id.Epoch)
	if err := eachSnapshotRecord("the snapshot", data, f.replay.apply); err != nil {
		return &unreadableError{err}
	}
	for f.kraft = 0; len(data) > 0; {
		b, rest, err := batch.Next(data)
		if err == nil {
			f.kraft, err = kraftVersionAfter(b, f.kraft)
		}
		if err != nil {
			return &unreadableError{err}
		}
		data = rest
	}
	return nil
}

// leaderNamesDirectories says that a LeaderChange is of version 1, which its first field tells.
func leaderNamesDirectories(value []byte) bool {
	return len(value) >= 2 && value[0] == 0 && value[1] == 1
}

// kraftVersionAfter is kraft.version behind a batch. From 1 on voters have directories, and the log names them.
func kraftVersionAfter(b batch.Batch, now int16) (int16, error) {
	if !b.IsControl() {
		return now, nil
	}
	for rec, err := range b.Records(recordLimits) {
		if err != nil {
			return now, err
		}
		switch kind, ok := rec.Control(); {
		case ok && kind == batch.KRaftVersion:
			r := kmsg.KRaftVersionRecord{}
			in := kmsg.NewReader(rec.Value)
			if err := r.Read(&in, 0); err != nil {
				return now, err
			}
			now = r.KRaftVersion
		case ok && kind == batch.KRaftVoters, ok && kind == batch.LeaderChange && leaderNamesDirectories(rec.Value):
			now = max(now, 1)
		}
	}
	return now, nil
}
