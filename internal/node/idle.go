package node

import (
	"runtime"
	"sync"
	"time"
)

// idleGauge tells which share of the process's CPU allowance was idle between two looks.
type idleGauge struct {
	mu struct {
		sync.Mutex
		at    time.Time
		cpu   time.Duration
		share float64
	}
}

// share looks now and returns the share since the last look.
func (g *idleGauge) share() float64 {
	now, cpu := time.Now(), processCPU()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.mu.at.IsZero() {
		allowed := now.Sub(g.mu.at) * time.Duration(runtime.NumCPU())
		if allowed > 0 {
			g.mu.share = min(max(1-float64(cpu-g.mu.cpu)/float64(allowed), 0), 1)
		}
	} else {
		g.mu.share = 1
	}
	g.mu.at, g.mu.cpu = now, cpu
	return g.mu.share
}

// last is the share that was returned last.
func (g *idleGauge) last() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.share
}
