package controller

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/raft"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/storage"
)

// observerTimeout is how long a node that fetches no more is called an observer.
const observerTimeout = 5 * time.Minute

// SnapshotID names a snapshot of the metadata: the offset after its last record, and that record's epoch.
type SnapshotID struct {
	EndOffset int64
	Epoch     int32
}

// TailRequest is what a node outside the quorum asks for.
type TailRequest struct {
	Replica   int32 // -1 for nobody that is to be remembered
	Directory base.TopicID
	Offset    int64
	LastEpoch int32 // of the record before Offset, -1 for none
	MaxBytes  int32
}

// Tail is what there is of the metadata log at an offset. The caller releases Range, which may be nil.
// Snapshot, if not nil, is where the asker has to begin instead.
type Tail struct {
	Leader, Epoch int32
	EndOffset     int64
	LogStart      int64
	Range         *storage.FileRange
	Snapshot      *SnapshotID
	DivergesAt    int64 // the offset after what both have, -1 where nothing diverges
	DivergesEpoch int32
}

// Observed is how far a node outside the quorum is.
type Observed struct {
	ID                    int32
	Directory             base.TopicID
	EndOffset             int64
	Fetched, LastCaughtUp time.Time
}

// observers are the nodes outside the quorum that fetch from the active controller.
type observers struct {
	mu   sync.Mutex
	seen map[int32]Observed
}

func (o *observers) note(r *TailRequest, end int64, now time.Time) {
	if r.Replica < 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen == nil {
		o.seen = map[int32]Observed{}
	}
	at := o.seen[r.Replica]
	at.ID, at.Directory, at.EndOffset, at.Fetched = r.Replica, r.Directory, r.Offset, now
	if r.Offset >= end {
		at.LastCaughtUp = now
	}
	o.seen[r.Replica] = at
}

// list is those that are no voters, in order.
func (o *observers) list(now time.Time, voter func(raft.Voter) bool) (list []Observed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, at := range o.seen {
		switch {
		case now.Sub(at.Fetched) > observerTimeout:
			delete(o.seen, id)
		case !voter(raft.Voter{ID: id, DirectoryID: at.Directory}):
			list = append(list, at)
		}
	}
	slices.SortFunc(list, func(a, b Observed) int { return int(a.ID - b.ID) })
	return list
}

func (o *observers) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = nil
}

// news wakes who waits for the metadata to go on, or for another leader.
type news struct {
	mu sync.Mutex
	ch chan struct{}
}

// next is closed at the next change.
func (n *news) next() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *news) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}

// Tail reads the committed part of the metadata log from an offset on, and waits until there is some,
// ctx ends or this node leads no longer. Only the active controller answers; on others the error is
// NOT_LEADER_OR_FOLLOWER, with the leader that is known.
func (c *Controller) Tail(ctx context.Context, r TailRequest) (Tail, error) {
	for first := true; ; first = false {
		changed := c.news.next()
		t := Tail{EndOffset: -1, LogStart: -1, DivergesAt: -1}
		if t.Leader, t.Epoch = c.Leader(); t.Leader != c.opts.Config.NodeID {
			return t, kerr.NotLeaderForPartition
		}
		t.EndOffset = c.end.Load()
		if first {
			c.observers.note(&r, t.EndOffset, c.opts.Clock.Now())
		}
		done, err := c.readTail(&t, &r)
		if done || err != nil || ctx.Err() != nil {
			return t, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
		case <-c.stopped:
			return t, kerr.NotLeaderForPartition
		}
	}
}

// readTail fills t; done says that it is worth answering.
func (c *Controller) readTail(t *Tail, r *TailRequest) (done bool, err error) {
	t.LogStart = c.log.StartOffset()
	if r.Offset < t.LogStart {
		return c.pointToSnapshot(t)
	}
	if r.LastEpoch >= 0 && r.Offset > t.LogStart {
		epoch, end := c.log.EpochEnd(r.LastEpoch)
		if epoch != r.LastEpoch || end < r.Offset {
			t.DivergesAt, t.DivergesEpoch = max(end, 0), epoch
			return true, nil
		}
	}
	if r.Offset > t.EndOffset {
		return false, nil // it has heard of more from another leader than this one knows to be committed yet
	}
	if r.Offset == t.EndOffset {
		return false, nil
	}
	t.Range, err = c.log.Read(r.Offset, r.MaxBytes, t.EndOffset, true)
	if errors.Is(err, kerr.OffsetOutOfRange) { // a snapshot has taken its place just now
		return c.pointToSnapshot(t)
	}
	return t.Range != nil, err
}

func (c *Controller) pointToSnapshot(t *Tail) (bool, error) {
	ids, err := listSnapshots(c.opts.FS, c.dir)
	if err != nil {
		return false, err
	}
	for _, id := range ids {
		if id.end <= t.EndOffset {
			t.Snapshot = &SnapshotID{id.end, id.epoch}
			return true, nil
		}
	}
	return false, kerr.OffsetOutOfRange
}

// LogStart is where the metadata log begins.
func (c *Controller) LogStart() int64 { return c.log.StartOffset() }

// ReadSnapshot reads a part of a snapshot; size is that of all of it.
func (c *Controller) ReadSnapshot(id SnapshotID, pos int64, maxBytes int32) (part []byte, size int64, err error) {
	if leader, _ := c.Leader(); leader != c.opts.Config.NodeID {
		return nil, 0, kerr.NotLeaderForPartition
	}
	name := path.Join(c.dir, snapshotID{id.EndOffset, id.Epoch}.fileName())
	f, err := c.opts.FS.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, kerr.SnapshotNotFound
	}
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := c.opts.FS.Stat(name)
	if err != nil {
		return nil, 0, err
	}
	size = info.Size()
	if pos < 0 || pos >= size {
		return nil, size, kerr.PositionOutOfRange
	}
	part = make([]byte, min(int64(max(maxBytes, 1)), size-pos, snapshotPartBytes))
	if _, err := f.ReadAt(part, pos); err != nil && !errors.Is(err, io.EOF) {
		return nil, size, err
	}
	return part, size, nil
}

// snapshotPartBytes bounds what one answer holds of a snapshot.
const snapshotPartBytes = 4 << 20
