// Package clock is the seam through which logstead reads time.
//
// It owns nothing but the interface, the system clock and a manual clock for tests. Time-outs use
// the monotonic part of Now; wall time is for record timestamps, retention and tokens only.
//
// Concurrency: both clocks may be used from any goroutine.
//
// Invariants:
//  1. A Manual clock moves only by Advance or Set, and never back by Advance.
package clock

import (
	"sync"
	"time"
)

// Clock tells the time.
type Clock interface {
	Now() time.Time
}

// System is the machine's clock.
type System struct{}

// Now is time.Now.
func (System) Now() time.Time { return time.Now() }

// Manual is a clock that a test moves by hand.
type Manual struct {
	mu struct {
		sync.Mutex
		now time.Time
	}
}

// NewManual returns a clock that stands at t.
func NewManual(t time.Time) *Manual {
	m := &Manual{}
	m.mu.now = t
	return m
}

// Now is the time the clock stands at.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.now
}

// Advance moves the clock forward by d.
func (m *Manual) Advance(d time.Duration) {
	if d < 0 {
		panic("clock: negative advance")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.now = m.mu.now.Add(d)
}

// Set puts the clock at t.
func (m *Manual) Set(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.now = t
}
