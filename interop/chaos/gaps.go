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
	g.late = 0
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

// overslept notes how much later than asked this process ran: a window with much of it says nothing of brokers.
func (g *gaps) overslept(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.late = max(g.late, d)
}

// end closes a window: the longest gap of any partition, one that still goes on included.
func (g *gaps) end(now time.Time) (worst, late time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for p, at := range g.last {
		worst = max(worst, g.worst[p], now.Sub(at))
	}
	return worst, g.late
}
