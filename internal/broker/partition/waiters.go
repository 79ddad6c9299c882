package partition

import (
	"container/heap"
	"sync"
)

// Waiter is a leaf: it is fired without any lock held, at most once.

// hwWaiter waits for the high watermark to reach until.
type hwWaiter struct {
	until int64
	fire  func(error)
}

// waitHeap orders waiters by the offset they wait for.
type waitHeap []hwWaiter

func (h waitHeap) Len() int           { return len(h) }
func (h waitHeap) Less(i, j int) bool { return h[i].until < h[j].until }
func (h waitHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *waitHeap) Push(x any)        { *h = append(*h, x.(hwWaiter)) }
func (h *waitHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = hwWaiter{}
	*h = old[:len(old)-1]
	return w
}

// AwaitHW calls fire once the high watermark has reached until, at once if it has already, or with
// an error when the replica closes first. fire runs on the goroutine that moved the watermark and
// must not block.
func (p *Partition) AwaitHW(until int64, fire func(error)) {
	p.mu.Lock()
	if p.log.HighWatermark() >= until {
		p.mu.Unlock()
		fire(nil)
		return
	}
	if p.closed.Load() {
		p.mu.Unlock()
		fire(errClosed)
		return
	}
	heap.Push(&p.mu.hw, hwWaiter{until, fire})
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
		w, _ := heap.Pop(&p.mu.hw).(hwWaiter)
		p.mu.Unlock()
		w.fire(err)
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
	mu struct {
		sync.Mutex
		set map[*TailWaiter]struct{}
	}
}

// AddTail registers w to be woken by the next move of the high watermark, the last stable offset or
// the log start, or when the replica closes.
func (p *Partition) AddTail(w *TailWaiter) {
	p.tail.mu.Lock()
	if p.tail.mu.set == nil {
		p.tail.mu.set = make(map[*TailWaiter]struct{}, 1)
	}
	p.tail.mu.set[w] = struct{}{}
	p.tail.mu.Unlock()
}

// RemoveTail undoes AddTail.
func (p *Partition) RemoveTail(w *TailWaiter) {
	p.tail.mu.Lock()
	delete(p.tail.mu.set, w)
	p.tail.mu.Unlock()
}

func (l *waitList) fire() {
	l.mu.Lock()
	for w := range l.mu.set {
		w.Wake()
	}
	l.mu.Unlock()
}
