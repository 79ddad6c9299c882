package coord

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/proto/batch"
)

// Options of New. Zero values of the limits mean their defaults.
type Options struct {
	Name    string // "group", "transaction": the label in logs and metrics
	Logger  *slog.Logger
	Clock   clock.Clock
	Metrics prometheus.Registerer // nil: not exported

	// Partitions is how many partitions the internal topic has, 0 while it does not exist.
	Partitions func() int32
	// Codec compresses the batches (offsets.topic.compression.codec).
	Codec batch.Codec
	// MaxBatchBytes bounds one batch (message.max.bytes).
	MaxBatchBytes int
	// LoadParallelism bounds the shards that replay at once.
	LoadParallelism int
	// MailboxSize bounds the operations that wait for one shard, or in it for the high watermark.
	MailboxSize int
	// CommitTimeout fails a Done with COORDINATOR_NOT_AVAILABLE when its records are not committed
	// in time (offsets.commit.timeout.ms). 0 waits for ever, which a machine needs whose Done does
	// more than reply.
	CommitTimeout time.Duration
	// ByHand starts no goroutines: Step is called instead, and Run is not.
	ByHand bool
}

const (
	defaultMaxBatchBytes   = 1048588
	defaultLoadParallelism = 4
	defaultMailboxSize     = 16384
)

func (o *Options) fill() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.MaxBatchBytes <= 0 {
		o.MaxBatchBytes = defaultMaxBatchBytes
	}
	if o.LoadParallelism <= 0 {
		o.LoadParallelism = defaultLoadParallelism
	}
	if o.MailboxSize <= 0 {
		o.MailboxSize = defaultMailboxSize
	}
}

// Shards runs the shards of one coordinator that live on this broker.
type Shards[M Machine] struct {
	o       Options
	metrics *metrics
	loads   chan struct{} // a semaphore: one slot per shard that replays

	mu struct {
		sync.Mutex
		byID    map[int32]*shard[M]
		leaving map[int32]chan struct{} // closed when the shard's last incarnation has ended
		start   func(*shard[M])         // set while Run runs
		waiting []*shard[M]             // loaded before Run
		hands   []*shard[M]             // all that have not ended, driven by hand
	}
}

// New makes an empty set of shards. Nothing runs before Run.
func New[M Machine](o Options) *Shards[M] {
	o.fill()
	s := &Shards[M]{o: o, metrics: newMetrics(o.Metrics, o.Name), loads: make(chan struct{}, o.LoadParallelism)}
	s.mu.byID = map[int32]*shard[M]{}
	s.mu.leaving = map[int32]chan struct{}{}
	return s
}

// Run runs the shards until ctx ends, then unloads them all and waits for them.
func (s *Shards[M]) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	s.mu.Lock()
	s.mu.start = func(sh *shard[M]) { wg.Go(sh.run) }
	for _, sh := range s.mu.waiting {
		s.mu.start(sh)
	}
	s.mu.waiting = nil
	s.mu.Unlock()

	<-ctx.Done()
	s.mu.Lock()
	s.mu.start = nil
	for id := range s.mu.byID {
		s.unloadLocked(id)
	}
	s.mu.Unlock()
	wg.Wait()
	return nil
}

// Load makes this broker the coordinator of shard: newMachine is called and fed with the partition's
// records, now and again after each failure. A shard that is loaded already is unloaded first.
func (s *Shards[M]) Load(id int32, p Partition, newMachine func() M) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unloadLocked(id)
	sh := newShard(s, id, p, newMachine, s.mu.leaving[id])
	s.mu.byID[id] = sh
	s.mu.leaving[id] = sh.ended
	s.metrics.state(statusNone, statusLoading)
	if s.o.ByHand {
		s.mu.hands = append(s.mu.hands, sh)
		return
	}
	if s.mu.start != nil {
		s.mu.start(sh)
		return
	}
	s.mu.waiting = append(s.mu.waiting, sh)
}

// Unload gives the shard up: everything that waits on it fails with NOT_COORDINATOR.
func (s *Shards[M]) Unload(id int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unloadLocked(id)
}

func (s *Shards[M]) unloadLocked(id int32) {
	sh := s.mu.byID[id]
	if sh == nil {
		return
	}
	delete(s.mu.byID, id)
	sh.halt()
	if i := slices.Index(s.mu.waiting, sh); i >= 0 {
		s.mu.waiting = slices.Delete(s.mu.waiting, i, i+1)
		close(sh.ended)
		s.metrics.state(statusLoading, statusNone)
	}
}

// Submit hands op to the shard's goroutine. Exactly one of op and fail is called, exactly once: fail
// with NOT_COORDINATOR when the shard is not here or is lost before its turn,
// COORDINATOR_LOAD_IN_PROGRESS while it loads, COORDINATOR_NOT_AVAILABLE when too much waits. fail
// may be called before Submit returns.
func (s *Shards[M]) Submit(id int32, op func(m M, now time.Time) Result, fail func(error)) {
	s.mu.Lock()
	sh := s.mu.byID[id]
	s.mu.Unlock()
	err := error(kerr.NotCoordinator)
	if sh != nil {
		err = sh.enqueue(input[M]{op: op, fail: fail, at: s.o.Clock.Now()})
	}
	if err != nil {
		fail(err)
	}
}

// PartitionFor is the shard that key (a group id, a transactional id) lives in, -1 while the topic
// does not exist.
func (s *Shards[M]) PartitionFor(key string) int32 {
	return ShardFor(key, s.o.Partitions())
}

// Loaded lists the shards that answer, in order, and tells whether others are still being loaded.
func (s *Shards[M]) Loaded() (ids []int32, loading bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, sh := range s.mu.byID {
		switch sh.status() {
		case statusActive:
			ids = append(ids, id)
		case statusLoading:
			loading = true
		case statusNone, statusFailed:
		}
	}
	slices.Sort(ids)
	return ids, loading
}
