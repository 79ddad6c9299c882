package storage

import (
	"math"
	"path"
	"time"
)

// segmentFor is the segment that the batch goes to: the active one, or a new one if that is full,
// too old, or cannot hold the batch's offsets.
func (l *Log) segmentFor(h *header, now time.Time, cfg *LogConfig) (*segment, error) {
	s := l.active()
	if s.idx.Load() == nil || s.firstTS == unknownTS {
		if err := l.warmActive(s); err != nil {
			return nil, l.dir.fail(err)
		}
	}
	if s.size == 0 && h.last-s.base <= math.MaxInt32 || s.takes(h, s.size, s.firstTS, 0, now, cfg) {
		return s, nil
	}
	return l.rollLocked(h.base, now)
}

// takes says whether a batch may go to pos of the segment, behind what was written or, with the first timestamp that
// the segment then has and so many batches in between, is about to be.
func (s *segment) takes(h *header, pos, firstTS int64, between int, now time.Time, cfg *LogConfig) bool {
	tooBig := pos > int64(cfg.SegmentBytes)-h.size
	tooOld := pos > 0 && s.waited(firstTS, now, h.maxTimestamp) > cfg.SegmentAge-s.jitter
	tooFar := h.last-s.base > math.MaxInt32
	return !tooBig && !tooOld && !tooFar && !s.full(cfg.IndexBytes, between)
}

// waited is how long the segment has been filling: by the records' own time if they have one, else
// by the clock.
func (s *segment) waited(firstTS int64, now time.Time, maxTimestamp int64) time.Duration {
	if firstTS >= 0 {
		ms := min(maxTimestamp-firstTS, math.MaxInt64/int64(time.Millisecond))
		return time.Duration(ms) * time.Millisecond
	}
	return now.Sub(s.created)
}

// warmActive reads what a restart left unread of the active segment: its indexes and the timestamp
// of its first batch.
func (l *Log) warmActive(s *segment) error {
	if s.idx.Load() == nil {
		if _, err := l.indexesOf(s); err != nil {
			return err
		}
	}
	if s.firstTS != unknownTS {
		return nil
	}
	s.firstTS = -1
	if s.size == 0 {
		return nil
	}
	f, err := l.acquire(s)
	if err != nil {
		return err
	}
	defer f.release()
	h, err := readHeader(f.f, 0, s.size)
	if err == nil {
		s.firstTS = h.maxTimestamp
	}
	return nil
}

// rollLocked seals the active segment and begins a new one at base. The producer state is kept as
// it is now, to be written with the next flush.
func (l *Log) rollLocked(base int64, now time.Time) (*segment, error) {
	old := l.active()
	if old.base == base && old.size == 0 {
		return old, nil
	}
	if err := l.loadProducersLocked(); err != nil {
		return nil, err
	}
	old.closeTimeIndex()
	old.sealed.Store(true)
	l.recent.clear()
	s := newSegment(base, now, l.jitter())
	l.segs = append(l.segs, s)
	l.prod.end = base
	l.due = append(l.due, dueSnapshot{base, l.prod.encode()})
	l.store.flusher.add(l)
	return s, nil
}

// created notes that the active segment's file has just been made.
func (l *Log) created(s *segment, f *handle, cfg *LogConfig) error {
	s.exists, s.newName = true, true
	if cfg.Preallocate {
		s.roomy = true
		return f.f.Truncate(int64(cfg.SegmentBytes))
	}
	return nil
}

// createActiveLocked makes the file of an empty active segment, so that its name keeps the log's
// end even if nothing is ever written to it.
func (l *Log) createActiveLocked() error {
	s := l.active()
	if s.exists {
		return nil
	}
	f, err := l.acquire(s)
	if err != nil {
		return err
	}
	defer f.release()
	s.exists = true
	if err = l.syncNames(!l.durable, true); err != nil {
		return err
	}
	l.durable = true
	return nil
}

// filePath is where one of the segment's files is.
func (l *Log) filePath(s *segment, suffix string) string { return path.Join(l.home(), s.file(suffix)) }
