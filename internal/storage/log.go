package storage

import (
	"math/rand/v2"
	"path"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
)

// Log is one partition on one disk.
type Log struct {
	tp    base.TopicPartition
	store *Store
	dir   *logDir
	path  atomic.Pointer[string] // of the partition's directory; Delete renames it

	cfg    atomic.Pointer[LogConfig]
	id     atomic.Pointer[base.TopicID]
	start  atomic.Int64
	end    atomic.Int64
	synced atomic.Int64
	// startNoted is the start that the journal has been told; the checkpoint must know it before
	// that journal file is used again.
	startNoted atomic.Int64
	hw         atomic.Int64
	unstable   atomic.Int64 // first unstable offset; noUnstable, or unstableUnknown
	bytes      atomic.Int64
	onSynced   atomic.Pointer[func(int64)]
	switching  atomic.Pointer[chan struct{}] // while a move has appends wait
	queued     [queues]atomic.Bool

	flushMu sync.Mutex // one flush, checkpoint or replacement at a time
	mu      sync.Mutex
	syncMu  sync.Mutex    // leaf: a rise or fall of synced
	cuts    atomic.Uint32 // how often the log was truncated

	// Guarded by journal.mu.
	unitNumber uint64
	unitIndex  int

	// Guarded by mu.
	segs    []*segment // by base offset; the last one is active; never empty
	prod    producers
	epochs  epochCache
	recent  recentBatches
	deleted bool
	damage  []Damage

	prodLoaded bool
	snaps      []int64 // offsets of the snapshot files that exist, ascending
	due        []dueSnapshot

	flushed    int64 // all below is on stable storage in the segments
	recovery   int64 // recovery point: also indexes and snapshot are
	cleaned    int64 // how far the cleaner came; -1: not at all
	lastFlush  time.Time
	durable    bool  // directory and partition.metadata are on stable storage
	syncQueued bool  // in the commit queue
	direct     int64 // end of the last append that is not in the journal
	journaled  bool  // the journal has or had entries of this log
	frozen     bool  // being truncated
	fence      int64 // who may append: 0 anybody, -1 replication only, else the leader of epoch fence-1
	unflushed  int64 // records since the last flush
}

// dueSnapshot is a producer snapshot taken when a segment was rolled and not yet written.
type dueSnapshot struct {
	offset int64
	data   []byte
}

const (
	noUnstable      = -1
	unstableUnknown = -2
)

// TopicPartition names the log.
func (l *Log) TopicPartition() base.TopicPartition { return l.tp }

// TopicID is the id in partition.metadata; zero if there is none.
func (l *Log) TopicID() base.TopicID {
	if id := l.id.Load(); id != nil {
		return *id
	}
	return base.TopicID{}
}

// Dir is the path of the log directory (not of the partition's own) that holds the log.
func (l *Log) Dir() string { return l.dir.path }

// Path is the path of the partition's directory.
func (l *Log) Path() string { return l.home() }

func (l *Log) home() string { return *l.path.Load() }

// Config is the current settings.
func (l *Log) Config() LogConfig { return *l.cfg.Load() }

// SetConfig swaps the settings. A change from Fsync to Replicated raises SyncedOffset at once; the
// other way round, what counted as stored until now is synced soon.
func (l *Log) SetConfig(c LogConfig) {
	if c.validate() != nil {
		return // conf has refused it before; a bad value never replaces a good one
	}
	old := l.cfg.Swap(&c)
	if old.Durability == Replicated && c.Durability == Fsync {
		l.dir.commits.add(l)
	}
	if c.Durability == Replicated {
		l.mu.Lock()
		l.raiseSynced(l.end.Load(), l.cuts.Load())
		l.mu.Unlock()
		l.store.notify.log(l)
	}
}

// StartOffset is the first offset that may be read.
func (l *Log) StartOffset() int64 { return l.start.Load() }

// EndOffset is the offset that the next record gets.
func (l *Log) EndOffset() int64 { return l.end.Load() }

// SyncedOffset is the end of what counts as stored under the log's durability.
func (l *Log) SyncedOffset() int64 { return l.synced.Load() }

// HighWatermark bounds what consumers see, and what retention and compaction may touch.
func (l *Log) HighWatermark() int64 { return l.hw.Load() }

// Size is the bytes of all segments.
func (l *Log) Size() int64 { return l.bytes.Load() }

// SetHighWatermark raises the high watermark to hw, bounded by the log's start and end. It never
// lowers it; Truncate does.
func (l *Log) SetHighWatermark(hw int64) {
	if hw <= l.hw.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setHWLocked(hw)
}

func (l *Log) setHWLocked(hw int64) {
	hw = max(min(hw, l.end.Load()), l.start.Load())
	if hw <= l.hw.Load() {
		return
	}
	l.hw.Store(hw)
	if l.prodLoaded && l.prod.onHighWatermark(hw) {
		l.setUnstableLocked()
	}
}

// FirstUnstableOffset is the first offset of the oldest transaction that is open, or that ended at
// or above the high watermark.
func (l *Log) FirstUnstableOffset() (int64, bool) {
	first := l.unstable.Load()
	if first == unstableUnknown {
		l.mu.Lock()
		if l.loadProducersLocked() != nil {
			// Nothing above the high watermark of before is promised to be stable.
			l.mu.Unlock()
			return l.start.Load(), true
		}
		first = l.unstable.Load()
		l.mu.Unlock()
	}
	return first, first >= 0
}

func (l *Log) setUnstableLocked() {
	first := l.prod.firstUnstable()
	if first >= 0 {
		first = max(first, l.start.Load())
	}
	l.unstable.Store(first)
}

// OnSynced sets the callback that hears of a rise of SyncedOffset that an append did not bring
// about itself (AppendInfo.SyncedOffset). It runs on a goroutine of the store, or on that of an appender
// in Settle, several at a time; it must not block.
func (l *Log) OnSynced(fn func(synced int64)) {
	if fn == nil {
		l.onSynced.Store(nil)
		return
	}
	l.onSynced.Store(&fn)
}

// raiseSynced lifts SyncedOffset to an end that the log had when it had been cut `cut` times; it
// reports whether it rose.
func (l *Log) raiseSynced(to int64, cut uint32) bool {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if l.cuts.Load() != cut || to <= l.synced.Load() {
		return false
	}
	l.synced.Store(to)
	return true
}

// lowerSynced brings SyncedOffset down with the end of a log that is being cut; what is on its way
// to stable storage does not count any more.
func (l *Log) lowerSynced(to int64) {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.cuts.Add(1)
	l.synced.Store(min(to, l.synced.Load()))
}

func (l *Log) tellSynced() {
	if fn := l.onSynced.Load(); fn != nil {
		(*fn)(l.synced.Load())
	}
}

// LatestEpoch is the newest leader epoch that the log knows.
func (l *Log) LatestEpoch() (int32, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.epochs.latest()
	if !ok {
		return -1, false
	}
	return e.epoch, true
}

// EpochEnd is the largest known epoch at or below epoch and the offset at which it ends; (-1, -1)
// if the log cannot tell (OffsetForLeaderEpoch).
func (l *Log) EpochEnd(epoch int32) (foundEpoch int32, endOffset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epochs.end(epoch, l.end.Load())
}

// EpochAt is the leader epoch of the record at offset.
func (l *Log) EpochAt(offset int64) (int32, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epochs.at(offset)
}

// AssignEpoch begins a leader epoch at the end of the log.
func (l *Log) AssignEpoch(epoch int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epochs.assign(epoch, l.end.Load())
}

// Lead lets only appends of this leader epoch in from now on, and begins the epoch at the end of the log
// if it is new. An append of an earlier role that is still under way is refused under the log's own
// lock, so that a deposed leader writes nothing.
func (l *Log) Lead(epoch int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fence = int64(epoch) + 1
	if e, ok := l.epochs.latest(); !ok || e.epoch < epoch {
		l.epochs.assign(epoch, l.end.Load())
	}
}

// Follow lets only what a leader sent (Origin Replica) in from now on.
func (l *Log) Follow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fence = -1
}

// ProducerInfo is what DescribeProducers tells of one producer.
type ProducerInfo struct {
	ProducerID       int64
	ProducerEpoch    int16
	LastSequence     int32
	LastTimestamp    int64
	CoordinatorEpoch int32
	TxnStartOffset   int64 // -1: no open transaction
}

// Producers lists the producers that the log remembers, by id.
func (l *Log) Producers() []ProducerInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loadProducersLocked() != nil {
		return nil
	}
	list := make([]ProducerInfo, 0, len(l.prod.byID))
	for _, p := range l.prod.byID {
		list = append(list, ProducerInfo{p.id, p.epoch, p.lastSeq(), p.timestamp, p.coordEpoch, p.txnFirst})
	}
	slices.SortFunc(list, func(a, b ProducerInfo) int { return int(min(max(a.ProducerID-b.ProducerID, -1), 1)) })
	return list
}

// HasOpenTxn tells the first offset and the epoch of the producer's open transaction.
func (l *Log) HasOpenTxn(pid int64) (first int64, epoch int16, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loadProducersLocked() != nil {
		return -1, -1, false
	}
	p := l.prod.get(pid)
	if p == nil || p.txnFirst < 0 {
		return -1, -1, false
	}
	return p.txnFirst, p.epoch, true
}

// AbortedTxns lists the aborted transactions that overlap [from, to), in the order in which they
// ended.
func (l *Log) AbortedTxns(from, to int64) []AbortedTxn {
	var list []AbortedTxn
	for _, s := range l.segmentsFrom(from) {
		x, err := l.indexesOf(s)
		if err != nil {
			l.dir.fail(err)
			return list
		}
		l.mu.Lock()
		txns := x.txns
		l.mu.Unlock()
		i := sort.Search(len(txns), func(i int) bool { return txns[i].LastOffset >= from })
		for _, t := range txns[i:] {
			if t.FirstOffset < to {
				list = append(list, t.AbortedTxn)
			}
			if t.lso >= to {
				return list
			}
		}
	}
	return list
}

// Damage lists what recovery found damaged in this log.
func (l *Log) Damage() []Damage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.damage)
}

// usableLocked says why the log takes and gives nothing.
func (l *Log) usableLocked() error {
	if err := l.dir.offline(); err != nil {
		return offlineError(l.dir.path, err)
	}
	if l.deleted {
		return refuse(kerr.NotLeaderForPartition, "the log of %s was deleted", l.tp)
	}
	return nil
}

func (l *Log) active() *segment { return l.segs[len(l.segs)-1] }

// segmentAt is the index of the segment whose range holds offset.
func (l *Log) segmentAt(offset int64) int {
	i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].base > offset })
	return max(i-1, 0)
}

// segmentsFrom copies the list of segments from the one that holds offset on.
func (l *Log) segmentsFrom(offset int64) []*segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.segs[l.segmentAt(offset):])
}

func (l *Log) jitter() time.Duration {
	if j := l.cfg.Load().SegmentJitter; j > 0 {
		return rand.N(j)
	}
	return 0
}

// acquire opens a segment's file.
func (l *Log) acquire(s *segment) (*handle, error) {
	if h := s.handle.Load(); h != nil && h.tryRef() {
		return h, nil
	}
	return l.store.files.acquire(s, path.Join(l.home(), s.file(logSuffix)), !s.sealed.Load())
}

// indexesOf returns the segment's indexes, reading them if they are not in memory. Not under mu.
func (l *Log) indexesOf(s *segment) (*indexes, error) {
	if x := s.idx.Load(); x != nil {
		return x, nil
	}
	s.loadMu.Lock()
	defer s.loadMu.Unlock()
	if x := s.idx.Load(); x != nil {
		return x, nil
	}
	x, whole, err := loadIndexes(l.store.opts.FS, l.home(), s)
	if err != nil {
		return nil, err
	}
	if !whole {
		x, err = l.rebuildIndexes(s)
		if err != nil {
			return nil, err
		}
	}
	s.idx.Store(x)
	return x, nil
}

// noteDamage keeps and reports damage.
func (l *Log) noteDamage(d Damage) {
	l.mu.Lock()
	known := slices.ContainsFunc(l.damage, func(o Damage) bool { return o.File == d.File && o.Position == d.Position })
	if !known {
		l.damage = append(l.damage, d)
	}
	l.mu.Unlock()
	if known {
		return
	}
	l.store.scrubbing.damaged.Add(1)
	l.store.log.Error("stored bytes are damaged", "log", l.tp.String(), "path", d.File, "position", d.Position,
		"bytes", d.Length,
		"first_offset", d.First, "next_offset", d.Next, "expected", d.Expected, "found", d.Found, "kept", d.Kept)
	if fn := l.store.opts.Events.Damage; fn != nil {
		l.store.notify.call(func() { fn(d) })
	}
}
