package replica

import (
	"context"
	"sync"
	"time"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// loop fetches from one leader, as its Course says. Its goroutine is the only one that uses the fetcher.
type loop struct {
	f       *Fetchers
	key     LoopKey
	synced  chan struct{}
	changed chan struct{}
	ended   chan struct{}
	mu      struct {
		sync.Mutex
		course Course
		flight *flight // the request under way
	}
}

// flight is a request that is under way. The loop waits for its answer where it reads; others give it up.
type flight struct {
	giveUp context.CancelFunc
	number int         // of the course; guarded by loop.mu, as is late
	late   *time.Timer // gives it up, once there is more to fetch
}

func newLoop(f *Fetchers, k LoopKey) *loop {
	return &loop{f: f, key: k, synced: make(chan struct{}, 1), changed: make(chan struct{}, 1), ended: make(chan struct{})}
}

func (l *loop) tell(p *partition.Partition, epoch int32) {
	l.mu.Lock()
	l.mu.course.Tell(Member{p.TP, p.TopicID, p}, epoch)
	l.mu.Unlock()
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
	look, hasten := l.mu.course.Wake()
	if hasten {
		l.hastenLocked()
	}
	l.mu.Unlock()
	if look {
		poke(l.changed)
	}
}

// hastenLocked has the request under way given up soon.
func (l *loop) hastenLocked() {
	fl := l.mu.flight
	fl.late = time.AfterFunc(GiveUpAfter, func() {
		l.mu.Lock()
		l.mu.course.GiveUp(fl.number)
		l.mu.Unlock()
		fl.giveUp()
	})
}

func (l *loop) end() {
	l.mu.Lock()
	if l.mu.course.End() {
		l.mu.flight.giveUp()
	}
	l.mu.Unlock()
	close(l.ended)
}

// depart says that a request is about to be sent; false where the loop is to end.
func (l *loop) depart(fl *flight) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	number, hasten, ok := l.mu.course.Depart()
	if !ok {
		return false
	}
	fl.number, l.mu.flight = number, fl
	if hasten {
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
	return l.mu.course.Arrive()
}

// take has the fetcher follow what has changed.
func (l *loop) take(f *Fetcher) {
	l.mu.Lock()
	changes := l.mu.course.taken()
	l.mu.Unlock()
	take(f, changes)
}

func (l *loop) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	leader := l.f.o.Leader(l.key.Leader)
	defer leader.Close()
	f := NewFetcher(FetcherOptions{
		NodeID: l.f.o.NodeID, BrokerEpoch: l.f.o.BrokerEpoch, Limits: l.f.o.Limits, Failed: l.f.failed(l.key.Leader),
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

// answer has an error, or the response.
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
	if a.err != nil && !gaveUp {
		l.f.o.Logger.Debug("no answer from a leader", "leader", l.key.Leader, "err", a.err)
	}
	f.Landed(l.f.o.Clock.Now(), a.resp, gaveUp)
	return ctx.Err() == nil && !ended
}

func send(ctx context.Context, leader Leader, req kmsg.Request) (a answer) {
	switch r := req.(type) {
	case *kmsg.FetchRequest:
		if resp, err := leader.Fetch(ctx, r); err != nil {
			a.err = err
		} else {
			a.resp = resp
		}
	case *kmsg.ListOffsetsRequest:
		if resp, err := leader.ListOffsets(ctx, r); err != nil {
			a.err = err
		} else {
			a.resp = resp
		}
	default:
		a.err = errNoAnswer
	}
	return a
}
