package replica

import (
	"context"
	"sync"
	"time"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// giveUpAfter is how long a fetch is left to wait at the leader once other partitions have come to follow
// it: longer than an answer takes that is on its way, shorter than anybody's patience.
const giveUpAfter = 10 * time.Millisecond

// noEpoch stands for "no longer fetched".
const noEpoch int32 = -1

// loop fetches from one leader. Its goroutine is the only one that uses the fetcher.
type loop struct {
	f       *Fetchers
	key     loopKey
	members int // guarded by Fetchers.mu
	synced  chan struct{}
	changed chan struct{}
	ended   chan struct{}
	mu      struct {
		sync.Mutex
		changes map[key]change // what was said last of a partition
		urgent  bool           // one of them waits to be fetched
		ended   bool
		flight  *flight // the request under way
	}
}

// change is that a replica is followed in a leader epoch, or with noEpoch no longer. A replica that was dropped and one that was
// made anew in its place are two, of one key.
type change struct {
	p     *partition.Partition
	epoch int32
}

// flight is a request that is under way. The loop waits for its answer where it reads; others give it up.
type flight struct {
	giveUp context.CancelFunc
	late   *time.Timer // gives it up, once there is more to fetch
	gaveUp bool        // guarded by loop.mu, as is late
}

func newLoop(f *Fetchers, k loopKey) *loop {
	l := &loop{f: f, key: k, synced: make(chan struct{}, 1), changed: make(chan struct{}, 1), ended: make(chan struct{})}
	l.mu.changes = map[key]change{}
	return l
}

func (l *loop) change(p *partition.Partition, epoch int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := key{p.TopicID, p.TP.Partition}
	if now, ok := l.mu.changes[k]; ok && epoch == noEpoch && now.epoch != noEpoch && now.p != p {
		return // another replica has taken its place already
	}
	l.mu.changes[k] = change{p, epoch}
	l.mu.urgent = l.mu.urgent || epoch != noEpoch
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// stored hears that more of a follower is synced.
func (l *loop) stored() { poke(l.synced) }

func (l *loop) wakeChanged() {
	l.mu.Lock()
	urgent := l.mu.urgent
	if urgent {
		l.hastenLocked()
	}
	l.mu.Unlock()
	if urgent {
		poke(l.changed)
	}
}

// hastenLocked has the request under way given up soon.
func (l *loop) hastenLocked() {
	fl := l.mu.flight
	if fl == nil || fl.late != nil {
		return
	}
	fl.late = time.AfterFunc(giveUpAfter, func() {
		l.mu.Lock()
		fl.gaveUp = true
		l.mu.Unlock()
		fl.giveUp()
	})
}

func (l *loop) end() {
	l.mu.Lock()
	l.mu.ended = true
	if l.mu.flight != nil {
		l.mu.flight.giveUp()
	}
	l.mu.Unlock()
	close(l.ended)
}

// depart says that a request is about to be sent; false where the loop is to end.
func (l *loop) depart(fl *flight) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.ended {
		return false
	}
	l.mu.flight = fl
	if l.mu.urgent {
		l.hastenLocked()
	}
	return true
}

// arrive says that it has come to its end, and whether that was to give it up.
func (l *loop) arrive(fl *flight) (gaveUp, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.flight = nil
	if fl.late != nil {
		fl.late.Stop()
	}
	return fl.gaveUp, l.mu.ended
}

// take has the fetcher follow what has changed.
func (l *loop) take(f *Fetcher) {
	l.mu.Lock()
	changes := l.mu.changes
	l.mu.changes, l.mu.urgent = map[key]change{}, false
	l.mu.Unlock()
	for k, c := range changes {
		if c.epoch == noEpoch {
			if w := f.all[k]; w != nil && w.replica == Replica(c.p) {
				f.Remove(k.id, k.index)
			}
			continue
		}
		f.Add(c.p.TP, k.id, c.p, c.epoch)
	}
}

func (l *loop) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	leader := l.f.o.Leader(l.key.leader)
	defer leader.Close()
	f := NewFetcher(FetcherOptions{
		NodeID: l.f.o.NodeID, BrokerEpoch: l.f.o.BrokerEpoch, Limits: l.f.o.Limits, Failed: l.f.failed(l.key.leader),
		Throttle: l.f.o.Throttle,
	})
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-l.changed: // what it was about is taken up now
		default:
		}
		l.take(f)
		now := l.f.o.Clock.Now()
		req, again := f.Next(now)
		if req != nil {
			if !l.exchange(ctx, f, leader, req) {
				return
			}
			continue
		}
		wait := time.Hour
		if !again.IsZero() {
			wait = max(again.Sub(now), 0)
		}
		timer.Reset(wait)
		select {
		case <-l.synced:
		case <-l.changed:
		case <-timer.C:
		case <-l.ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

type answer struct {
	resp kmsg.Response
	err  error
}

// exchange sends a request and hands its answer over; false ends the loop. A fetch that waits at the leader
// is given up once there is more to fetch.
func (l *loop) exchange(ctx context.Context, f *Fetcher, leader Leader, req kmsg.Request) bool {
	call, giveUp := context.WithCancel(ctx)
	defer giveUp()
	fl := &flight{giveUp: giveUp}
	if !l.depart(fl) {
		return false
	}
	a := send(call, leader, req)
	gaveUp, ended := l.arrive(fl)
	l.settle(f, a, gaveUp)
	return ctx.Err() == nil && !ended
}

// settle tells the fetcher how its request went.
func (l *loop) settle(f *Fetcher, a answer, gaveUp bool) {
	switch now := l.f.o.Clock.Now(); {
	case a.err == nil:
		f.Answer(now, a.resp)
	case gaveUp:
		f.Cancelled()
	default:
		l.f.o.Logger.Debug("no answer from a leader", "leader", l.key.leader, "err", a.err)
		f.Unreachable(now)
	}
}

func send(ctx context.Context, leader Leader, req kmsg.Request) answer {
	switch r := req.(type) {
	case *kmsg.FetchRequest:
		resp, err := leader.Fetch(ctx, r)
		return answer{resp, err}
	case *kmsg.ListOffsetsRequest:
		resp, err := leader.ListOffsets(ctx, r)
		return answer{resp, err}
	}
	return answer{nil, errNoAnswer}
}
