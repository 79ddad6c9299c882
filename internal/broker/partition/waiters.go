package partition

import (
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
)

// A waiter is a leaf: it is fired without any lock held, at most once.

// Waiter hears once that the high watermark has reached where it waits, or with an error that the
// replica has closed. It must not block.
type Waiter interface{ Reached(err error) }

// waiterFunc makes a Waiter of a function.
type waiterFunc func(error)

func (f waiterFunc) Reached(err error) { f(err) }

// hwWaiter waits for the high watermark to reach until.
type hwWaiter struct {
	until int64
	w     Waiter
}

// waitHeap orders waiters by the offset they wait for. It is no container/heap, which would put
// each waiter on the Go heap twice.
type waitHeap []hwWaiter

func (h *waitHeap) push(w hwWaiter) {
	*h = append(*h, w)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if s[up].until <= s[i].until {
			return
		}
		s[up], s[i] = s[i], s[up]
		i = up
	}
}

// pop takes the waiter of the lowest offset.
func (h *waitHeap) pop() hwWaiter {
	s := *h
	top, last := s[0], len(s)-1
	s[0], s[last] = s[last], hwWaiter{}
	s = s[:last]
	*h = s
	for i := 0; ; {
		least, left := i, 2*i+1
		if left < last && s[left].until < s[least].until {
			least = left
		}
		if right := left + 1; right < last && s[right].until < s[least].until {
			least = right
		}
		if least == i {
			return top
		}
		s[i], s[least] = s[least], s[i]
		i = least
	}
}

// AwaitHW is AwaitEpoch with a function.
func (p *Partition) AwaitHW(epoch int32, until int64, fire func(error)) {
	p.AwaitEpoch(epoch, until, waiterFunc(fire))
}

// AwaitEpoch tells w once the high watermark has reached until, at once if it has already, or with an
// error when the replica closes first. That happens on the goroutine that moved the watermark. It is for what
// was appended in a leader epoch: once this replica has followed since, nobody can tell from the high watermark
// whether these records stayed, and w hears that it does not lead. One that goes on leading in a later
// epoch, as when a replica was moved away, has them still.
func (p *Partition) AwaitEpoch(epoch int32, until int64, w Waiter) {
	p.mu.Lock()
	if !p.leads.Load() || epoch < p.mu.repl.since || epoch > p.epoch.Load() {
		p.mu.Unlock()
		w.Reached(kerr.NotLeaderForPartition)
		return
	}
	if p.Log().HighWatermark() >= until {
		p.mu.Unlock()
		w.Reached(nil)
		return
	}
	if p.closed.Load() {
		p.mu.Unlock()
		w.Reached(errClosed)
		return
	}
	p.mu.hw.push(hwWaiter{until, w})
	p.mu.Unlock()
}

// fireHW releases every waiter whose offset is at or below hw.
func (p *Partition) fireHW(hw int64, err error) {
	for {
		p.mu.Lock()
		if len(p.mu.hw) == 0 || p.mu.hw[0].until > hw {
			p.mu.Unlock()
			return
		}
		w := p.mu.hw.pop()
		p.mu.Unlock()
		w.w.Reached(err)
	}
}

// TailWaiter is woken once when anything moves in one of the partitions it was added to. One
// waiter serves one fetch, which may span many partitions.
type TailWaiter struct {
	C chan struct{} // capacity 1
}

// NewTailWaiter returns a waiter that can be used again after Drain.
func NewTailWaiter() *TailWaiter { return &TailWaiter{C: make(chan struct{}, 1)} }

// Drain forgets a wake-up that came too late.
func (w *TailWaiter) Drain() {
	select {
	case <-w.C:
	default:
	}
}

// Wake wakes the fetch; more than one wake-up is one.
func (w *TailWaiter) Wake() {
	select {
	case w.C <- struct{}{}:
	default:
	}
}

// waitList holds the fetches that wait on one partition.
type waitList struct {
	n  atomic.Int32 // how many there are: nobody to wake costs an append no lock
	mu struct {
		sync.Mutex
		set map[*TailWaiter]struct{}
	}
}

// AddTail registers w to be woken by the next move of the high watermark, the last stable offset or
// the log start, or when the replica closes. toEnd is for who reads up to the end of the log: it is woken by
// appends, and not by the high watermark, behind which it finds nothing new.
func (p *Partition) AddTail(w *TailWaiter, toEnd bool) { p.waiting(toEnd).add(w) }

// RemoveTail undoes AddTail.
func (p *Partition) RemoveTail(w *TailWaiter, toEnd bool) { p.waiting(toEnd).remove(w) }

func (p *Partition) waiting(toEnd bool) *waitList {
	if toEnd {
		return &p.ends
	}
	return &p.tail
}

// AddLow registers w to be woken when LowWatermark may have moved, or cannot be told any more.
func (p *Partition) AddLow(w *TailWaiter) { p.lows.add(w) }

// RemoveLow undoes AddLow.
func (p *Partition) RemoveLow(w *TailWaiter) { p.lows.remove(w) }

// fireTails wakes all fetches.
func (p *Partition) fireTails() {
	p.tail.fire()
	p.ends.fire()
	p.lows.fire()
	p.marks.fire(turned)
}

// fireRaised says that the high watermark has moved.
func (p *Partition) fireRaised() {
	p.tail.fire()
	p.marks.fire(raised)
}

func (l *waitList) add(w *TailWaiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.set == nil {
		l.mu.set = make(map[*TailWaiter]struct{}, 1)
	}
	l.mu.set[w] = struct{}{}
	l.n.Store(int32(len(l.mu.set)))
}

func (l *waitList) remove(w *TailWaiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.mu.set, w)
	l.n.Store(int32(len(l.mu.set)))
}

func (l *waitList) fire() {
	if l.n.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.mu.set {
		w.Wake()
	}
}
