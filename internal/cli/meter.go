package cli

import (
	"fmt"
	"sync"
	"time"
)

// meter shows progress on one line of a terminal, a few times a second at most.
type meter struct {
	app   *App
	on    bool
	begin time.Time

	mu      sync.Mutex
	records int64
	bytes   int64
	shown   time.Time
	drawn   bool
}

// newMeter makes a meter; mode is auto (on a terminal), always or never.
func newMeter(a *App, mode string) *meter {
	on := a.StderrTTY && !a.flags.quiet && !a.StdinTTY
	switch mode {
	case "always":
		on = true
	case "never":
		on = false
	}
	now := a.Now()
	return &meter{app: a, on: on, begin: now, shown: now}
}

// add counts progress and redraws if it is time.
func (m *meter) add(records, bytes int64) {
	if !m.on {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records += records
	m.bytes += bytes
	now := m.app.Now()
	if now.Sub(m.shown) < 250*time.Millisecond {
		return
	}
	m.shown, m.drawn = now, true
	took := now.Sub(m.begin)
	fmt.Fprintf(m.app.Stderr, "\r\x1b[K%s records  %s  %s/s  %s", humanCount(m.records), humanBytes(m.bytes),
		humanCount(int64(float64(m.records)/took.Seconds())), humanRate(m.bytes, took))
}

// done wipes the line.
func (m *meter) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.drawn {
		fmt.Fprint(m.app.Stderr, "\r\x1b[K")
	}
	m.on = false
}
