package storage

import (
	"errors"
	"io"
	"path"
	"slices"
)

// loadProducersLocked brings the producer state into memory: from the newest snapshot that can be
// read, and the batches above it.
func (l *Log) loadProducersLocked() error {
	if l.prodLoaded {
		return nil
	}
	if err := l.restoreProducersLocked(l.end.Load()); err != nil {
		return l.readFailedLocked(err)
	}
	l.prodLoaded = true
	l.prod.onHighWatermark(l.hw.Load())
	l.setUnstableLocked()
	return nil
}

func (l *Log) readFailedLocked(err error) error {
	if uerr := l.usableLocked(); uerr != nil {
		return uerr
	}
	return l.dir.fail(err)
}

// restoreProducersLocked sets the producer state to what it was when the log ended at end.
func (l *Log) restoreProducersLocked(end int64) error {
	if err := l.snapshotBelowLocked(end); err != nil {
		return err
	}
	if l.prod.end >= end {
		return nil
	}
	return l.replayLocked(l.prod.end, end, func(h *header, m marker) { l.prod.apply(h, m) })
}

// snapshotBelowLocked loads the newest usable snapshot at or below end; without one the state is
// empty at the start of the log.
func (l *Log) snapshotBelowLocked(end int64) error {
	start := l.start.Load()
	for i := len(l.snaps) - 1; i >= 0; i-- {
		off := l.snaps[i]
		if off > end || off < start {
			continue
		}
		name := segmentName(off) + snapshotSuffix
		data, exists, err := readOptional(l.store.opts.FS, path.Join(l.home(), name), maxSnapshotBytes)
		if err != nil {
			return err
		}
		if exists {
			if err = l.prod.decode(data, off, l.store.opts.Clock.Now(), l.cfg.Load().ProducerExpiration); err == nil {
				return nil
			}
			l.store.log.Warn("producer snapshot is damaged; the log is read instead", "path", path.Join(l.home(), name), "err", err)
			l.removeFile(name)
		}
		l.snaps = slices.Delete(l.snaps, i, i+1)
	}
	l.prod.reset(start)
	return nil
}

// replayLocked walks the batches whose records lie in [from, to). Only headers are read, and the
// content of control batches.
func (l *Log) replayLocked(from, to int64, fn func(*header, marker)) error {
	for _, s := range l.segs[l.segmentAt(from):] {
		if s.base >= to || s.size == 0 {
			continue
		}
		if err := l.replaySegment(s, from, to, fn); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) replaySegment(s *segment, from, to int64, fn func(*header, marker)) error {
	f, err := l.acquire(s)
	if err != nil {
		return err
	}
	defer f.release()
	pos := int64(0)
	if x := s.idx.Load(); x != nil {
		pos = x.floor(from - s.base)
	}
	sc := newScanner(f.f, s.size)
	defer sc.free()
	var failed error
	_, err = sc.seek(pos, func(h *header) bool {
		if h.base >= to {
			return true
		}
		if h.last < from {
			return false
		}
		var m marker
		if h.control() && h.pid >= 0 {
			if m, failed = readMarker(f, sc.pos, h); failed != nil {
				return true
			}
		}
		fn(h, m)
		return false
	})
	return errors.Join(err, failed)
}

// maxMarkerBytes bounds a control batch of a producer; Kafka's has 78.
const maxMarkerBytes = 64 << 10

func readMarker(f *handle, pos int64, h *header) (marker, error) {
	if h.size > maxMarkerBytes {
		return marker{}, &damagedError{f.f.Name(), pos, errors.New("a control batch of more than 64 KiB")}
	}
	b := make([]byte, h.size)
	if _, err := f.f.ReadAt(b, pos); err != nil && !errors.Is(err, io.EOF) {
		return marker{}, err
	}
	m, err := parseMarker(b, h)
	if err != nil {
		return marker{}, &damagedError{f.f.Name(), pos, err}
	}
	return m, nil
}

// rebuildIndexes makes a sealed segment's indexes anew from its batches: of a file that was lost
// or damaged. They are written with the next checkpoint.
func (l *Log) rebuildIndexes(s *segment) (*indexes, error) {
	l.store.log.Warn("index is missing or damaged; rebuilding it", "log", l.tp.String(), "segment", l.filePath(s, logSuffix))
	f, err := l.acquire(s)
	if err != nil {
		return nil, err
	}
	defer f.release()
	t := newSegment(s.base, s.created, 0)
	sc := newScanner(f.f, s.size)
	defer sc.free()
	interval := l.cfg.Load().IndexIntervalBytes
	if _, err = sc.seek(0, func(h *header) bool { t.note(h, sc.pos, interval); return false }); err != nil {
		return nil, err
	}
	if s.sealed.Load() {
		t.closeTimeIndex()
	}
	x := t.idx.Load()
	// The transaction index cannot be made from this segment alone; what could be read of it stands.
	old, _, err := loadIndexes(l.store.opts.FS, l.home(), s)
	if err != nil {
		return nil, err
	}
	x.txns, x.txnsWritten, x.stale = old.txns, len(old.txns), true
	return x, nil
}
