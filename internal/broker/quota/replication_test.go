package quota

import (
	"math"
	"testing"
	"time"
)

// TestReplicationKeepsItsRate copies whenever it may, 100 KiB at a time, for a minute of a clock that jumps by the
// pauses. Every ten seconds must come to the limit, but for what one copy may be too much.
func TestReplicationKeepsItsRate(t *testing.T) {
	const limit, chunk = 1 << 20, 100 << 10
	r := NewReplication(DefaultWindow)
	if r.Pause(start) != 0 || r.Limited() {
		t.Fatal("limited from the beginning")
	}
	r.SetLimit(limit)
	now, copied := start, [6]int{}
	for now.Sub(start) < time.Minute {
		if d := r.Pause(now); d > 0 {
			now = now.Add(d)
			continue
		}
		r.Record(now, chunk)
		copied[now.Sub(start)/(10*time.Second)] += chunk
		now = now.Add(time.Millisecond)
	}
	for i, n := range copied {
		if rate := n / 10; rate > limit*115/100 || rate < limit*85/100 {
			t.Errorf("ten seconds from %d s on: %d bytes a second, the limit is %d", 10*i, rate, limit)
		}
	}
	if got := r.Rate(now); got < limit*85/100 || got > limit*115/100 {
		t.Errorf("measured rate %.0f, the limit is %d", got, limit)
	}
	r.SetLimit(math.MaxInt64)
	if r.Pause(now) != 0 {
		t.Error("a pause without a limit")
	}
}

// TestReplicationPauses compares with Kafka's SimpleRate: the sum over what has passed since the oldest sample began,
// at least one window.
func TestReplicationPauses(t *testing.T) {
	r := NewReplication(Window{Samples: 3, Size: time.Second})
	r.SetLimit(1000)
	for _, c := range []struct {
		at, bytes int64
		want      time.Duration
	}{
		{0, 1000, 0},            // a window's worth in the first window
		{100, 200, ms(200)},     // 1200 in one second
		{1100, 0, ms(100)},      // 1200 in 1.1 s
		{1200, 0, 0},            // in 1.2 s
		{1200, 10_000, ms(500)}, // ten seconds too much: look again after half a second
		{4200, 0, 0},            // what was older than three windows is forgotten
	} {
		now := start.Add(ms(c.at))
		if c.bytes > 0 {
			r.Record(now, int(c.bytes))
		}
		if got := r.Pause(now); got != c.want {
			t.Errorf("at %d ms: pause %v, want %v", c.at, got, c.want)
		}
	}
}
