package storage

import (
	"context"
	"errors"
	"io/fs"
	"sync/atomic"
	"time"
)

// ScrubOptions pace the reading again of what is stored, in search of bytes that have changed.
type ScrubOptions struct {
	// Interval is the pause between the end of one pass over all logs and the next; 0 is no scrubbing.
	Interval time.Duration
	// BytesPerSecond bounds what is read; 0 is no bound.
	BytesPerSecond float64
}

// ScrubStats counts since the start.
type ScrubStats struct {
	Bytes  int64 // read and checked
	Passes int64 // over all logs, whole
}

// scrubbing is the scrubber's state in the store.
type scrubbing struct {
	bytes, passes atomic.Int64
	damaged       atomic.Int64 // places in logs found damaged, by whoever read them
}

// ScrubStats tells how far scrubbing has come.
func (s *Store) ScrubStats() ScrubStats {
	return ScrubStats{Bytes: s.scrubbing.bytes.Load(), Passes: s.scrubbing.passes.Load()}
}

// DamagedPlaces is how many damaged places of logs were found since the start.
func (s *Store) DamagedPlaces() int64 { return s.scrubbing.damaged.Load() }

// firstScrub is how long after the start the first pass begins, so that it is in nobody's way.
const firstScrub = 10 * time.Minute

// runScrubber makes one pass after the other until ctx ends.
func (s *Store) runScrubber(ctx context.Context) {
	o := s.opts.Scrub
	for wait := min(o.Interval, firstScrub); ; wait = o.Interval {
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
			s.Scrub(ctx)
		}
	}
}

// Scrub checks every byte of every log once.
func (s *Store) Scrub(ctx context.Context) {
	began, bytes, damaged := time.Now(), s.scrubbing.bytes.Load(), s.scrubbing.damaged.Load()
	p := &pacer{perSecond: s.opts.Scrub.BytesPerSecond}
	for _, l := range s.Logs() {
		for _, seg := range l.segmentsFrom(0) {
			if err := l.scrub(ctx, seg, p); err != nil {
				if ctx.Err() != nil {
					return
				}
				break // the log is gone or its directory offline
			}
		}
	}
	s.scrubbing.passes.Add(1)
	s.log.Info("read all logs in search of damage", "bytes", s.scrubbing.bytes.Load()-bytes,
		"damaged", s.scrubbing.damaged.Load()-damaged, "took", time.Since(began))
}

// scrub checks one segment as far as it is written now, also what was found sound before.
func (l *Log) scrub(ctx context.Context, s *segment, p *pacer) error {
	l.mu.Lock()
	size, end, cut, exists := s.size, s.next, l.cuts.Load(), s.exists
	err := l.usableLocked()
	l.mu.Unlock()
	if err != nil || !exists || size == 0 {
		return err
	}
	h, err := l.acquire(s)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // retention or compaction was faster
	}
	if err != nil {
		return l.readFailed(err)
	}
	defer h.release()
	d := s.doubt.Load()
	if d == nil {
		d = &doubt{until: size} // it becomes the segment's with the first damage
	}
	c, free := l.newChecker(s, d, h.f, size, end, cut)
	defer free()
	c.anew = true
	for taken := int64(0); c.pos < c.size; taken = c.taken {
		if _, _, err = c.step(); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return l.readFailed(err)
		}
		l.store.scrubbing.bytes.Add(c.taken - taken)
		if err = p.spend(ctx, int(c.taken-taken)); err != nil {
			return err
		}
	}
	return nil
}
