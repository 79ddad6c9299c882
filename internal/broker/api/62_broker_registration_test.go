package api

import (
	"testing"
	"time"
)

// TestRefusalsAreToldNowAndThen: a broker that asks ten times a second to be registered is one line in half a minute, not ten a
// second; another reason and another broker are told at once.
func TestRefusalsAreToldNowAndThen(t *testing.T) {
	var r refusals
	now := time.Unix(1000, 0)
	lines, last := 0, 0
	for range 600 {
		if times, tell := r.note(3, "the id is in use", now); tell {
			lines, last = lines+1, times
		}
		now = now.Add(100 * time.Millisecond)
	}
	if lines != 2 || last != 300 {
		t.Errorf("a minute of refusals: %d lines, the last of %d times, want 2 and 300", lines, last)
	}
	if times, tell := r.note(3, "another cluster", now); !tell || times != 1 {
		t.Errorf("another reason: told %v of %d", tell, times)
	}
	if times, tell := r.note(4, "the id is in use", now); !tell || times != 1 {
		t.Errorf("another broker: told %v of %d", tell, times)
	}
	for id := range int32(3 * maxRefusals) {
		r.note(id, "no", now)
	}
	if len(r.mu.last) > maxRefusals {
		t.Errorf("%d brokers are remembered", len(r.mu.last))
	}
}
