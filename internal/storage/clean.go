package storage

import (
	"context"
	"errors"
	"sync"
	"time"
)

// CleanerOptions size the cleaner, which compacts the logs of topics with cleanup.policy=compact.
type CleanerOptions struct {
	// Threads is log.cleaner.threads; 0 takes the default 1, less runs none.
	Threads int
	// DedupeBytes is log.cleaner.dedupe.buffer.size, the memory of all key maps together.
	DedupeBytes int64
	// MaxBytesPerSecond is log.cleaner.io.max.bytes.per.second, of reads and writes of all threads
	// together; 0 is no limit.
	MaxBytesPerSecond float64
}

const defaultDedupeBytes = 128 << 20

// cleaning is what the cleaners of a store share.
type cleaning struct {
	mu      sync.Mutex
	busy    map[*Log]bool
	refused map[*Log]bool // cannot be cleaned: damaged, or of an old format
}

// errCleanStopped ends a round whose log has changed under it; the next round sees the new state.
var errCleanStopped = errors.New("the log changed while it was being cleaned")

// cleaner compacts one log after the other. Its memory is reused from log to log.
type cleaner struct {
	s      *Store
	keys   *offsetMap
	reader segmentReader
	pace   pacer
}

func newCleaner(s *Store, threads int) *cleaner {
	o := &s.opts.Cleaner
	bytes := o.DedupeBytes
	if bytes <= 0 {
		bytes = defaultDedupeBytes
	}
	c := &cleaner{s: s, keys: newOffsetMap(bytes / int64(threads))}
	if o.MaxBytesPerSecond > 0 {
		c.pace.perSecond = o.MaxBytesPerSecond / float64(threads)
	}
	return c
}

// runCleaners starts the cleaners, which work until ctx ends.
func (s *Store) runCleaners(ctx context.Context, wg *sync.WaitGroup) {
	threads := s.opts.Cleaner.Threads
	if threads == 0 {
		threads = 1
	}
	for range threads {
		c := newCleaner(s, threads)
		wg.Go(func() { c.run(ctx) })
	}
}

func (c *cleaner) run(ctx context.Context) {
	t := time.NewTicker(c.s.opts.CleanerInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for c.next(ctx, c.s.opts.Clock.Now()) {
		}
	}
}

// Clean compacts every log that needs it now, and reports how many rounds that took.
func (s *Store) Clean(ctx context.Context) int {
	c := newCleaner(s, 1)
	n := 0
	for c.next(ctx, s.opts.Clock.Now()) {
		n++
	}
	return n
}

// next cleans the log that needs it most. It reports false if none does.
func (c *cleaner) next(ctx context.Context, now time.Time) bool {
	l, j := c.s.filthiest(now)
	if l == nil {
		return false
	}
	defer c.s.cleaning.done(l)
	err := c.clean(ctx, l, j, now)
	switch {
	case err == nil:
		return true
	case ctx.Err() != nil, errors.Is(err, errCleanStopped):
		return false
	}
	// The log is left as it is until the next start; the disk's own failures have taken the
	// directory offline.
	c.s.cleaning.refuse(l)
	c.s.log.Error("cannot compact; the log is left alone until the next start", "log", l.tp.String(), "err", err)
	return true
}

func (c *cleaning) done(l *Log) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.busy, l)
}

func (c *cleaning) refuse(l *Log) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused == nil {
		c.refused = map[*Log]bool{}
	}
	c.refused[l] = true
}

// filthiest finds the log with the greatest share of uncleaned bytes among those that are due, and
// marks it as busy.
func (s *Store) filthiest(now time.Time) (*Log, cleanJob) {
	var best *Log
	var bestJob cleanJob
	c := &s.cleaning
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range s.Logs() {
		cfg := l.cfg.Load()
		if !cfg.Compact || c.busy[l] || c.refused[l] || l.Offline() {
			continue
		}
		v, err := l.cleanView(cfg)
		if err != nil {
			continue
		}
		j := v.plan(now)
		if j.due(cfg) && (best == nil || j.ratio > bestJob.ratio) {
			best, bestJob = l, j
		}
	}
	if best != nil {
		if c.busy == nil {
			c.busy = map[*Log]bool{}
		}
		c.busy[best] = true
	}
	return best, bestJob
}

// cleanView looks at the log as the choice of work needs it.
func (l *Log) cleanView(cfg *LogConfig) (*cleanView, error) {
	stable := l.hw.Load()
	if first, ok := l.FirstUnstableOffset(); ok {
		stable = min(stable, first)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return nil, err
	}
	v := &cleanView{
		active: l.active().base, start: l.start.Load(), stable: stable, end: l.end.Load(), cleaned: l.cleaned, cfg: cfg,
	}
	for i, s := range l.segs[:len(l.segs)-1] {
		cs := cleanSegment{base: s.base, next: l.segs[i+1].base, size: s.size}
		cs.largestTS, cs.firstTS = s.largestTimestamp(), s.firstTS
		if x := s.idx.Load(); x != nil {
			cs.indexBytes = int64(len(x.offs) * offsetEntryBytes)
			cs.timeBytes = int64(len(x.times) * timeEntryBytes)
		} else if cfg.IndexIntervalBytes > 0 { // as many as a segment of this size can have
			cs.indexBytes = s.size / int64(cfg.IndexIntervalBytes) * offsetEntryBytes
			cs.timeBytes = s.size / int64(cfg.IndexIntervalBytes) * timeEntryBytes
		}
		v.segs = append(v.segs, cs)
	}
	return v, nil
}

// pacer slows a cleaner down to its share of log.cleaner.io.max.bytes.per.second.
type pacer struct {
	perSecond float64
	began     time.Time
	bytes     float64
}

// spend accounts for n bytes and waits where the pace is exceeded.
func (p *pacer) spend(ctx context.Context, n int) error {
	if p.perSecond <= 0 {
		return ctx.Err()
	}
	now := time.Now()
	if p.began.IsZero() || now.Sub(p.began) > 10*time.Second {
		p.began, p.bytes = now, 0
	}
	p.bytes += float64(n)
	ahead := time.Duration(p.bytes/p.perSecond*float64(time.Second)) - now.Sub(p.began)
	if ahead <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(ahead)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
