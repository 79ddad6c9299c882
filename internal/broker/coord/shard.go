package coord

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// status is where a shard is in its life.
type status int8

const (
	statusNone status = iota
	statusLoading
	statusActive
	statusFailed // the load failed and will be tried again
)

func (s status) String() string {
	return [...]string{"none", "loading", "active", "failed"}[s]
}

// input is one operation in a mailbox.
type input[M Machine] struct {
	op   func(M, time.Time) Result
	fail func(error)
	at   time.Time
}

// shard is one shard from Load to Unload. Its goroutine runs one session after another: a session
// ends when an append fails, and the next one replays the log.
type shard[M Machine] struct {
	rt         *Shards[M]
	id         int32
	part       Partition
	newMachine func() M

	wake  chan struct{} // capacity 1: the mailbox has something, or the high watermark has moved
	stop  chan struct{} // closed by halt
	ended chan struct{} // closed when the goroutine has ended
	prev  chan struct{} // ended of the incarnation before, nil for none

	parked atomic.Int64 // results that wait for the high watermark
	hand   hand[M]

	mu struct {
		sync.Mutex
		status  status
		mailbox []input[M]
	}
}

func newShard[M Machine](rt *Shards[M], id int32, p Partition, newMachine func() M, prev chan struct{}) *shard[M] {
	sh := &shard[M]{
		rt: rt, id: id, part: p, newMachine: newMachine, prev: prev,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
	}
	sh.mu.status = statusLoading
	return sh
}

func (sh *shard[M]) status() status {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.mu.status
}

// setStatus changes the status and, unless the shard is active now, takes what waits in the mailbox.
func (sh *shard[M]) setStatus(to status) []input[M] {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.rt.metrics.state(sh.mu.status, to)
	sh.mu.status = to
	if to == statusActive {
		return nil
	}
	left := sh.mu.mailbox
	sh.mu.mailbox = nil
	return left
}

func (sh *shard[M]) enqueue(in input[M]) error {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch {
	case sh.mu.status == statusLoading:
		return kerr.CoordinatorLoadInProgress
	case sh.mu.status != statusActive:
		return kerr.NotCoordinator
	case len(sh.mu.mailbox)+int(sh.parked.Load()) >= sh.rt.o.MailboxSize:
		sh.rt.metrics.refused.Inc()
		return kerr.CoordinatorNotAvailable
	}
	sh.mu.mailbox = append(sh.mu.mailbox, in)
	sh.signal()
	return nil
}

// take empties the mailbox into buf and leaves buf's array as the next mailbox.
func (sh *shard[M]) take(buf []input[M]) []input[M] {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	got := sh.mu.mailbox
	sh.mu.mailbox = buf[:0]
	return got
}

func (sh *shard[M]) signal() {
	select {
	case sh.wake <- struct{}{}:
	default:
	}
}

func (sh *shard[M]) halt() { close(sh.stop) }

func (sh *shard[M]) halted() bool {
	select {
	case <-sh.stop:
		return true
	default:
		return false
	}
}

// retryBackoff is how long a lost shard waits before it replays its log again.
const (
	minRetryBackoff = 50 * time.Millisecond
	maxRetryBackoff = 5 * time.Second
)

// run is the shard's goroutine.
func (sh *shard[M]) run() {
	defer close(sh.ended)
	defer func() { sh.fail(sh.setStatus(statusNone), kerr.NotCoordinator) }()
	if sh.prev != nil {
		<-sh.prev
	}
	backoff := minRetryBackoff
	for !sh.halted() {
		s, err := sh.load()
		if err == nil {
			since := sh.rt.o.Clock.Now()
			err = s.serve()
			s.end(lossError(err))
			if sh.rt.o.Clock.Now().Sub(since) > maxRetryBackoff {
				backoff = minRetryBackoff
			}
		}
		if sh.halted() {
			return
		}
		sh.rt.metrics.failures.Inc()
		sh.rt.o.Logger.Error("coordinator shard lost, loading it again", "coordinator", sh.rt.o.Name,
			"shard", sh.id, "after", backoff, "err", err)
		sh.fail(sh.setStatus(statusFailed), lossError(err))
		if !sh.pause(backoff) {
			return
		}
		backoff = min(2*backoff, maxRetryBackoff)
		sh.setStatus(statusLoading)
	}
}

func (sh *shard[M]) fail(inputs []input[M], err error) {
	for _, in := range inputs {
		in.fail(err)
	}
}

// pause waits and tells whether the shard is still wanted.
func (sh *shard[M]) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-sh.stop:
		return false
	}
}
