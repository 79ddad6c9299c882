package server

import "sync"

// budget is a semaphore over bytes. A request larger than the whole budget is let in alone, so that
// it cannot wait for ever.
type budget struct {
	size int64
	mu   struct {
		sync.Mutex
		used    int64
		waiters int
	}
	freed *sync.Cond
}

func newBudget(size int64) *budget {
	b := &budget{size: size}
	b.freed = sync.NewCond(&b.mu.Mutex)
	return b
}

// acquire waits until n bytes are free.
func (b *budget) acquire(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.mu.used > 0 && b.mu.used+int64(n) > b.size {
		b.freed.Wait()
	}
	b.mu.used += int64(n)
}

// tryAcquire takes n bytes if they are free now.
func (b *budget) tryAcquire(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.used+int64(n) > b.size {
		return false
	}
	b.mu.used += int64(n)
	return true
}

func (b *budget) release(n int) {
	b.mu.Lock()
	b.mu.used -= int64(n)
	b.mu.Unlock()
	b.freed.Broadcast()
}

// taken is what is in use now, for the metrics.
func (b *budget) taken() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.used
}
