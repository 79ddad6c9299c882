package quota

import (
	"math"
	"time"
)

// Window is how a rate is measured: over Samples windows of Size (quota.window.num,
// quota.window.size.seconds).
type Window struct {
	Samples int
	Size    time.Duration
}

// rate is a sum over a sliding window of samples, as Kafka's Rate over a WindowedSum. Times are
// milliseconds, as there: throttle times are compared with those of a real broker.
type rate struct {
	samples []sample
	current int
}

type sample struct {
	start, last int64
	value       float64
}

func (r *rate) record(w Window, value float64, now int64) {
	if len(r.samples) == 0 {
		r.samples = append(r.samples, sample{start: now, last: now})
	}
	s := &r.samples[r.current]
	if now-s.start >= w.Size.Milliseconds() {
		s = r.advance(w, now)
	}
	s.value += value
	s.last = now
}

// advance begins a new sample, which takes the place of the oldest once there are enough.
func (r *rate) advance(w Window, now int64) *sample {
	r.current = (r.current + 1) % (w.Samples + 1)
	fresh := sample{start: now, last: now}
	if r.current >= len(r.samples) {
		r.current = len(r.samples)
		r.samples = append(r.samples, fresh)
	} else {
		r.samples[r.current] = fresh
	}
	return &r.samples[r.current]
}

// sum is what the samples hold that have not expired, and when the oldest of them began.
func (r *rate) sum(w Window, now int64) (sum float64, oldest int64) {
	expire := int64(w.Samples) * w.Size.Milliseconds()
	oldest = now
	for i := range r.samples {
		s := &r.samples[i]
		if now-s.last >= expire {
			*s = sample{start: now, last: now}
		}
		oldest = min(oldest, s.start)
		sum += s.value
	}
	return sum, oldest
}

// simple is the sum of Kafka's SimpleRate, and the milliseconds that it is over: at least one window. It measures
// replication, which has to be throttled from the first second on.
func (r *rate) simple(w Window, now int64) (sum float64, overMs int64) {
	sum, oldest := r.sum(w, now)
	return sum, max(now-oldest, w.Size.Milliseconds())
}

// measure is the rate a second, and the milliseconds that it is over.
func (r *rate) measure(w Window, now int64) (perSecond float64, overMs int64) {
	sum, oldest := r.sum(w, now)
	// A rate over a window that has only begun would be far too high, so all windows but the current
	// one count as full.
	size := w.Size.Milliseconds()
	overMs = now - oldest
	if full := overMs / size; full < int64(w.Samples-1) {
		overMs += (int64(w.Samples-1) - full) * size
	}
	overMs = max(overMs, 1)
	return sum / (float64(overMs) / 1000), overMs
}

// throttle is how long a client has to wait until its rate is down to the limit.
func (r *rate) throttle(w Window, limit float64, now int64) time.Duration {
	value, overMs := r.measure(w, now)
	if value <= limit {
		return 0
	}
	return millis((value - limit) / limit * float64(overMs))
}

// millis rounds to whole milliseconds; a limit of 0 gives more than there are.
func millis(ms float64) time.Duration {
	const most = math.MaxInt32 // the wire has no more
	if !(ms < most) {
		ms = most
	}
	return time.Duration(math.Round(ms)) * time.Millisecond
}

// bucket is a token bucket, as Kafka's TokenBucket (KIP-599). It starts full.
type bucket struct {
	tokens float64
	last   int64
	filled bool
}

// refill adds what has accrued since the last time. The bucket holds what all windows allow.
func (b *bucket) refill(w Window, limit float64, now int64) {
	burst := float64(w.Samples) * w.Size.Seconds() * limit
	if !b.filled {
		b.tokens, b.filled = burst, true
	} else {
		b.tokens = min(burst, b.tokens+limit*float64(now-b.last)/1000)
	}
	b.last = now
}

// wait is how long it takes until the bucket owes nothing.
func (b *bucket) wait(limit float64) time.Duration {
	if b.tokens >= 0 {
		return 0
	}
	return millis(-b.tokens / limit * 1000)
}
