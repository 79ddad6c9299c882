package replica

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// Leader is the way to one broker, for one call at a time. A call that is given up leaves the way usable. An answer
// lasts until the next call.
type Leader interface {
	Fetch(ctx context.Context, req *kmsg.FetchRequest) (*kmsg.FetchResponse, error)
	ListOffsets(ctx context.Context, req *kmsg.ListOffsetsRequest) (*kmsg.ListOffsetsResponse, error)
	Close()
}

// Options are what New needs.
type Options struct {
	NodeID      int32
	Logger      *slog.Logger
	Clock       clock.Clock
	BrokerEpoch func() int64
	Limits      func() Limits
	// PerLeader is how many fetchers share what is followed with one leader (num.replica.fetchers); nil is one.
	PerLeader func() int
	// Throttle measures the throttled replicas; nil is none.
	Throttle Throttle
	// Leader makes the way to a broker; whoever has it closes it.
	Leader func(broker int32) Leader
}

// Fetchers are the loops of this broker: for each leader and durability that something is followed with as many
// as PerLeader says, among which partitions are spread by their names.
type Fetchers struct {
	o  Options
	wg sync.WaitGroup
	mu struct {
		sync.Mutex
		ctx    context.Context // of Run; nil before and after
		loops  map[LoopKey]*loop
		roster Roster
	}
}

// New returns fetchers that fetch nothing before Run.
func New(o Options) *Fetchers {
	f := &Fetchers{o: o}
	f.mu.loops = map[LoopKey]*loop{}
	return f
}

// Follow has a partition that is a follower in a leader epoch fetched from a broker, and no longer from
// another one. It is taken up with the next Wake.
func (f *Fetchers) Follow(p *partition.Partition, leader, epoch int32) {
	k := LoopKey{leader, p.Settings().Durability == storage.Fsync, f.spread(p.TP)}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.carryOutLocked(p, f.mu.roster.Follow(p, k, epoch))
}

// Unfollow has a partition no longer fetched. The answer to a fetch that is under way may still reach it;
// its leader epoch tells it apart.
func (f *Fetchers) Unfollow(p *partition.Partition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.carryOutLocked(p, f.mu.roster.Unfollow(p))
}

// carryOutLocked tells loops of a partition, and has them begin and end.
func (f *Fetchers) carryOutLocked(p *partition.Partition, orders []Order) {
	for _, o := range orders {
		l := f.mu.loops[o.Loop]
		if o.Begins {
			l = newLoop(f, o.Loop)
			f.mu.loops[o.Loop] = l
			f.startLocked(l)
		}
		if o.Epoch == NoEpoch {
			p.OnStored(nil)
		}
		l.tell(p, o.Epoch)
		if o.Epoch != NoEpoch && o.Loop.Fsync {
			p.OnStored(l.stored)
		}
		if o.Ends {
			delete(f.mu.loops, o.Loop)
			l.end()
		}
	}
}

// spread is the number of the fetcher that fetches a partition.
func (f *Fetchers) spread(tp base.TopicPartition) int {
	if f.o.PerLeader == nil {
		return 0
	}
	return Spread(tp, f.o.PerLeader())
}

// Resettle moves a partition to the loop for it after its durability or the number of fetchers has changed.
func (f *Fetchers) Resettle(p *partition.Partition) {
	f.mu.Lock()
	k, epoch, ok := f.mu.roster.Where(p)
	f.mu.Unlock()
	if ok {
		f.Follow(p, k.Leader, epoch)
	}
}

// Wake has every loop take up what Follow and Unfollow have said since.
func (f *Fetchers) Wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.mu.loops {
		l.wakeChanged()
	}
}

// startLocked runs a loop, once there is something to run it under.
func (f *Fetchers) startLocked(l *loop) {
	if ctx := f.mu.ctx; ctx != nil && ctx.Err() == nil {
		f.wg.Go(func() { l.run(ctx) })
	}
}

// Run fetches until ctx ends.
func (f *Fetchers) Run(ctx context.Context) error {
	f.mu.Lock()
	f.mu.ctx = ctx
	for _, l := range f.mu.loops {
		f.startLocked(l)
	}
	f.mu.Unlock()
	<-ctx.Done()
	f.mu.Lock()
	f.mu.ctx = nil
	f.mu.Unlock()
	f.wg.Wait()
	return nil
}

// Following is how many partitions are fetched, and by how many loops.
func (f *Fetchers) Following() (partitions, loops int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.mu.roster.follow), len(f.mu.loops)
}

// passing is how often a partition may be refused for what is over in a moment before that is told of at all: while a topic is made, and
// whenever leaders change, brokers hear of it one after the other.
const passing = 32

func passes(err error) bool {
	for _, ke := range []*kerr.Error{
		kerr.UnknownTopicID, kerr.UnknownTopicOrPartition, kerr.NotLeaderForPartition, kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch,
	} {
		if errors.Is(err, ke) {
			return true
		}
	}
	return false
}

func (f *Fetchers) failed(leader int32) func(tp base.TopicPartition, err error, times int) {
	return func(tp base.TopicPartition, err error, times int) {
		if times < passing && passes(err) {
			return
		}
		if times&(times-1) == 0 { // the first, and ever fewer of those that follow
			f.o.Logger.Info("a follower cannot go on", "topic", tp.Topic, "partition", tp.Partition,
				"leader", leader, "times", times, "err", err)
		}
	}
}
