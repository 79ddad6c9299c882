// Package partition holds one replica of one topic partition on this broker, and the table of all
// of them.
//
// It owns the storage.Log's role (leader epoch), the in-sync set, the high watermark and those who wait
// for it. It does not know requests, sessions or sockets (packages api and server) and never talks to another
// broker.
//
// Concurrency: every exported method may be called from any goroutine and returns without waiting
// for anything but the file write itself. Callbacks of waiters run without any lock held.
//
// Invariants, asserted after each change:
//  1. logStart <= HW <= LEO
//  2. HW never moves back within a leader epoch
//  3. LSO <= HW
//  4. a waiter fires at most once
//  5. HW <= what every in-sync replica has stored, and it stands still below min.insync.replicas
//  6. only the leader of the current epoch appends, and only a follower truncates
package partition

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/storage"
)

// Partition is one replica. Where this node is the only replica it always leads.
type Partition struct {
	TP      base.TopicPartition
	TopicID base.TopicID

	log      atomic.Pointer[storage.Log]
	settings atomic.Pointer[Settings]
	epoch    atomic.Int32
	leads    atomic.Bool
	closed   atomic.Bool
	// remoted says that other replicas have a say in the high watermark. A lone replica never looks
	// at more of the replication state than this.
	remoted atomic.Bool
	cluster atomic.Pointer[Cluster]
	onStore atomic.Pointer[func()]

	// follow is held while a follower's log changes and while the role does: no truncation of an
	// earlier role ends in a later one. It is taken before mu; a leader's appends take neither.
	follow sync.Mutex
	mu     struct {
		sync.Mutex
		hw   waitHeap // those waiting for the high watermark to reach an offset
		repl replication
	}
	tail waitList // fetches waiting for what consumers may see to move
	ends waitList // fetches, of followers mostly, waiting for the log to grow
	lows waitList // deletions of records, waiting for the log starts of followers
	// marks is the fetch sessions that are told of changes, whether one of their fetches waits or not.
	marks markList

	bytesIn, messagesIn, bytesOut atomic.Int64
	copiedIn, copiedOut           atomic.Int64 // between replicas
}

// Settings are the topic configs that the append and read paths use; an immutable snapshot.
type Settings struct {
	Validate   batch.ValidateOptions
	Durability storage.Durability
	// MinInSync is min.insync.replicas.
	MinInSync int
	// Internal topics take writes from coordinators only.
	Internal bool
	// ThrottledLeaders and ThrottledFollowers are the partitions whose replica here is throttled in that role.
	ThrottledLeaders, ThrottledFollowers Throttled
}

// Throttled is partitions of a topic whose replication is throttled.
type Throttled struct {
	All  bool
	Some []int32
}

func (t *Throttled) has(partition int32) bool { return t.All || slices.Contains(t.Some, partition) }

// LeaderThrottled says whether what this replica sends to followers is throttled.
func (p *Partition) LeaderThrottled() bool {
	return p.settings.Load().ThrottledLeaders.has(p.TP.Partition)
}

// FollowerThrottled says whether what this replica fetches is throttled.
func (p *Partition) FollowerThrottled() bool {
	return p.settings.Load().ThrottledFollowers.has(p.TP.Partition)
}

// Open puts a replica that is the only one, and so leads, over its log. The high watermark starts where the log says it was.
func Open(tp base.TopicPartition, id base.TopicID, log *storage.Log, epoch int32, s *Settings) *Partition {
	p := New(tp, id, log, s)
	p.leads.Store(true)
	p.epoch.Store(epoch)
	p.mu.repl.since = epoch
	log.Lead(epoch)
	p.advance()
	return p
}

// New puts a replica over its log without a role: it serves nothing until MakeLeader or
// MakeFollower.
func New(tp base.TopicPartition, id base.TopicID, log *storage.Log, s *Settings) *Partition {
	p := &Partition{TP: tp, TopicID: id}
	p.log.Store(log)
	p.settings.Store(s)
	p.epoch.Store(-1)
	log.Follow()
	log.OnSynced(func(int64) { p.stored() })
	return p
}

// Log is the replica's log, for reads that need no role (log dirs, describe).
func (p *Partition) Log() *storage.Log { return p.log.Load() }

// SetLog puts the replica over a log that took the place of its own: it was moved to another log
// directory. It calls nothing but the log; the new one tells soon how far it is stored.
func (p *Partition) SetLog(log *storage.Log) {
	if p.leads.Load() {
		log.Lead(p.epoch.Load())
	} else {
		log.Follow()
	}
	log.OnSynced(func(int64) { p.stored() })
	p.log.Store(log)
}

// LeaderEpoch is the epoch this replica leads in.
func (p *Partition) LeaderEpoch() int32 { return p.epoch.Load() }

// Settings is the current snapshot of the topic's configs.
func (p *Partition) Settings() *Settings { return p.settings.Load() }

// SetSettings swaps the snapshot; a change of durability may raise the high watermark.
func (p *Partition) SetSettings(s *Settings) {
	p.settings.Store(s)
	p.advance()
}

// CheckEpoch compares a client's view of the leader epoch with ours; -1 means it has none.
func (p *Partition) CheckEpoch(client int32) error {
	switch own := p.epoch.Load(); {
	case p.closed.Load():
		return kerr.NotLeaderForPartition
	case client == -1 || client == own:
		return nil
	case client < own:
		return kerr.FencedLeaderEpoch
	default:
		return kerr.UnknownLeaderEpoch
	}
}

// stored hears that more of the log is on stable storage.
func (p *Partition) stored() {
	p.advance()
	if fn := p.onStore.Load(); fn != nil {
		(*fn)()
	}
}

// OnStored sets what is called after more of the log was synced; the fetcher of a follower waits for
// that. It must not block.
func (p *Partition) OnStored(fn func()) {
	if fn == nil {
		p.onStore.Store(nil)
		return
	}
	p.onStore.Store(&fn)
}

// StoredOffset is the end of what this replica may tell others that it has: the synced end in fsync
// durability, the end of the log otherwise.
func (p *Partition) StoredOffset() int64 {
	if p.settings.Load().Durability == storage.Fsync {
		return p.Log().SyncedOffset()
	}
	return p.Log().EndOffset()
}

// advance raises the leader's high watermark to what is committed: what every in-sync replica has
// stored. Those who waited for it fire on this goroutine.
func (p *Partition) advance() {
	p.mu.Lock()
	if !p.leads.Load() {
		p.mu.Unlock()
		return
	}
	log := p.Log()
	before := log.HighWatermark()
	hw := p.StoredOffset()
	if p.remoted.Load() {
		hw = p.committedLocked(hw, before)
	}
	if hw > before {
		log.SetHighWatermark(hw)
	}
	p.mu.Unlock()
	p.fireHW(hw, nil)
	if hw > before {
		p.fireRaised()
	}
}

// HighWatermark is the end of what consumers may see.
func (p *Partition) HighWatermark() int64 { return p.Log().HighWatermark() }

// LastStableOffset is the end of what a read_committed consumer may see: the first offset of the
// oldest open transaction, or the high watermark.
func (p *Partition) LastStableOffset() int64 {
	hw := p.Log().HighWatermark()
	if first, open := p.Log().FirstUnstableOffset(); open && first < hw {
		return first
	}
	return hw
}

// Traffic is what has gone in and out since the broker started: with clients, and with other replicas.
type Traffic struct {
	BytesIn, MessagesIn, BytesOut int64
	CopiedIn, CopiedOut           int64
}

// Traffic reads the counters.
func (p *Partition) Traffic() Traffic {
	return Traffic{p.bytesIn.Load(), p.messagesIn.Load(), p.bytesOut.Load(), p.copiedIn.Load(), p.copiedOut.Load()}
}

// Sent counts bytes of records that a fetch is answered with.
func (p *Partition) Sent(bytes int, toFollower bool) {
	if toFollower {
		p.copiedOut.Add(int64(bytes))
		return
	}
	p.bytesOut.Add(int64(bytes))
}

// Close ends the replica: whoever waits gets err, and so does every later append.
func (p *Partition) Close(err error) {
	p.closed.Store(true)
	p.fireHW(1<<63-1, err)
	p.fireTails()
}

// AppendResult is what a producer is told.
type AppendResult struct {
	storage.AppendInfo
	LeaderEpoch int32
}

// AppendOptions are the circumstances of one append by a client.
type AppendOptions struct {
	Now time.Time
	// Sampler is the connection's state for sampled validation; nil checks in full.
	Sampler *batch.Sampler
	// Guard goes with the first batch of a transaction.
	Guard storage.Guard
	// AllInSync refuses the append while the in-sync set is smaller than min.insync.replicas (acks=all).
	AllInSync bool
	// Waits says that the caller waits for the high watermark and settles the append where it is asked
	// to (storage.AppendOptions.Waits).
	Waits bool
}

// Append validates a producer's batch and writes it to the log. The batch's bytes are changed in
// place (offsets, epoch, timestamps) or re-encoded, as the topic's settings ask.
func (p *Partition) Append(b batch.Batch, o AppendOptions) (AppendResult, error) {
	epoch := p.epoch.Load()
	if p.closed.Load() || !p.leads.Load() {
		return AppendResult{}, kerr.NotLeaderForPartition
	}
	s := p.settings.Load()
	if o.AllInSync && p.remoted.Load() {
		if err := p.CheckMinInSync(); err != nil {
			return AppendResult{}, err
		}
	}
	v := s.Validate
	v.Now, v.Sampler = o.Now, o.Sampler
	res, err := batch.Validate(b, v)
	if err != nil {
		return AppendResult{}, err
	}
	return p.write(res.Batch, storage.AppendOptions{LeaderEpoch: epoch, Now: o.Now, Origin: storage.Client, Guard: o.Guard, Waits: o.Waits})
}

// AppendInternal writes a batch that this broker made itself: coordinator records and transaction
// markers.
func (p *Partition) AppendInternal(b batch.Batch, now time.Time, o storage.AppendOptions) (AppendResult, error) {
	if p.closed.Load() || !p.leads.Load() {
		return AppendResult{}, kerr.NotLeaderForPartition
	}
	if p.remoted.Load() {
		if err := p.CheckMinInSync(); err != nil {
			return AppendResult{}, err
		}
	}
	o.LeaderEpoch, o.Now, o.Origin = p.epoch.Load(), now, storage.Coordinator
	return p.write(b, o)
}

// append writes to the log.
func (p *Partition) append(b batch.Batch, o storage.AppendOptions) (info storage.AppendInfo, err error) {
	err = p.onLog(func(log *storage.Log) error {
		info, err = log.Append(b, o)
		return err
	})
	return info, err
}

// onLog writes to the log; while a move has it wait, to the one that comes after.
func (p *Partition) onLog(write func(*storage.Log) error) error {
	for {
		log := p.Log()
		err := write(log)
		if err == nil {
			return nil
		}
		switched := log.Switched()
		if switched == nil && p.Log() == log {
			return err
		}
		if switched != nil {
			<-switched
		}
	}
}

func (p *Partition) write(b batch.Batch, o storage.AppendOptions) (AppendResult, error) {
	size, count := int64(len(b)), int64(b.Count())
	info, err := p.append(b, o)
	if err != nil {
		return AppendResult{}, err
	}
	if !info.Duplicate {
		p.bytesIn.Add(size)
		p.messagesIn.Add(count)
	}
	if p.settings.Load().Durability != storage.Fsync {
		p.advance()
	}
	p.ends.fire()
	p.marks.fire(grew)
	return AppendResult{AppendInfo: info, LeaderEpoch: o.LeaderEpoch}, nil
}
