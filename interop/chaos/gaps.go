package main

import (
	"sync"
	"time"
)

// gaps measures how long a partition goes without an acknowledgement.
type gaps struct {
	mu    sync.Mutex
	last  map[int32]time.Time
	worst map[int32]time.Duration
	late  time.Duration // how late this process itself woke up, at worst
	lost  time.Duration // and for how long it did not get to run, in all
}

func newGaps() *gaps {
	return &gaps{last: map[int32]time.Time{}, worst: map[int32]time.Duration{}}
}

// begin starts a window.
func (g *gaps) begin(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.worst)
	for p := range g.last {
		g.last[p] = now
	}
	g.late, g.lost = 0, 0
}

// ack notes an acknowledgement.
func (g *gaps) ack(p int32, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if at, ok := g.last[p]; ok {
		g.worst[p] = max(g.worst[p], now.Sub(at))
	}
	g.last[p] = now
}

const (
	// starved is how late a process runs at least that had to wait for a core, tooLate how late it is when what depends on
	// time says little.
	starved = 20 * time.Millisecond
	tooLate = 200 * time.Millisecond
)

// overslept notes how much later than asked this process ran: a window with much of it says little of brokers.
func (g *gaps) overslept(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.late = max(g.late, d)
	if d >= starved {
		g.lost += d
	}
}

// window is what was measured between begin and end.
type window struct {
	worst      time.Duration // the longest gap of any partition, one that still goes on included
	late, lost time.Duration // of this process itself, see gaps
}

// excuses says whether a time that is above a limit may be this machine's: it stood still, and without that the time would
// be within the limit.
func (w window) excuses(took, limit time.Duration) bool { return w.noisy() && took-w.lost <= limit }

// noisy says that this process itself did not get to run for so long that what depends on time says little.
func (w window) noisy() bool { return w.late > tooLate }

// end closes a window.
func (g *gaps) end(now time.Time) (w window) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for p, at := range g.last {
		w.worst = max(w.worst, g.worst[p], now.Sub(at))
	}
	w.late, w.lost = g.late, g.lost
	return w
}
