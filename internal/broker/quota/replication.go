package quota

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Replication measures what the throttled replicas of one side copy, leaders or followers, and says for how
// long they have to pause (KIP-73). Which replicas are throttled is their topic's business.
type Replication struct {
	w     Window
	limit atomic.Int64
	mu    struct {
		sync.Mutex
		rate rate
	}
}

// NewReplication measures over a window (replication.quota.window.*), without a limit.
func NewReplication(w Window) *Replication {
	if w.Samples <= 0 || w.Size <= 0 {
		w = DefaultWindow
	}
	r := &Replication{w: w}
	r.limit.Store(math.MaxInt64)
	return r
}

// SetLimit sets the bytes a second that may be copied; what was measured stays.
func (r *Replication) SetLimit(perSecond int64) { r.limit.Store(perSecond) }

// Limited says whether there is a limit at all.
func (r *Replication) Limited() bool { return r.limit.Load() != math.MaxInt64 }

// Record notes bytes that a throttled replica has copied.
func (r *Replication) Record(now time.Time, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.rate.record(r.w, float64(bytes), now.UnixMilli())
}

// Rate is what was copied of late, in bytes a second.
func (r *Replication) Rate(now time.Time) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum, overMs := r.mu.rate.simple(r.w, now.UnixMilli())
	return sum / float64(overMs) * 1000
}

// Pause is for how long throttled replicas must not go on; 0 while the limit is kept.
func (r *Replication) Pause(now time.Time) time.Duration {
	limit := r.limit.Load()
	if limit == math.MaxInt64 {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	sum, overMs := r.mu.rate.simple(r.w, now.UnixMilli())
	if sum <= float64(limit)*float64(overMs)/1000 {
		return 0
	}
	wait := millis(sum/float64(limit)*1000 - float64(overMs))
	return min(max(wait, minPause), maxPause)
}

// A pause ends with another look at the rate: the oldest sample may have gone, or the limit have changed.
const (
	minPause = 5 * time.Millisecond
	maxPause = 500 * time.Millisecond
)
