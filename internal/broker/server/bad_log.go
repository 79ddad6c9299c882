package server

import (
	"sync"
	"time"
)

// Of connections that ended because of what their client sent, badLogBurst are logged one by one within each
// badLogEvery; the rest are counted, and the next line says how many there were. A client that sends nonsense in a
// loop would otherwise write the log full.
const (
	badLogBurst = 10
	badLogEvery = 10 * time.Second
)

// badLog decides which of those lines are written.
type badLog struct {
	mu struct {
		sync.Mutex
		from       time.Time // when the running interval began
		lines      int       // written in it
		suppressed int       // not written since the last line
	}
}

// allow says whether a line may be written now, and how many were left out before it.
func (b *badLog) allow(now time.Time) (suppressed int, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.from.IsZero() || now.Sub(b.mu.from) >= badLogEvery {
		b.mu.from, b.mu.lines = now, 0
	}
	if b.mu.lines >= badLogBurst {
		b.mu.suppressed++
		return 0, false
	}
	b.mu.lines++
	suppressed, b.mu.suppressed = b.mu.suppressed, 0
	return suppressed, true
}
