package storage

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Truncate cuts the log so that it ends at to, because another leader's log differs from there on. A
// batch that holds to goes as a whole, and the log ends where it began.
// The high watermark comes down with it if it must. Appends are refused meanwhile.
func (l *Log) Truncate(to int64) error {
	return l.frozenCut(to, func() error {
		switch {
		case to >= l.end.Load():
			l.epochs.truncateEnd(l.end.Load())
			return nil
		case to <= l.segs[0].base:
			return l.restartLocked(to)
		}
		end, err := l.cutLocked(to)
		if err != nil {
			return l.dir.fail(err)
		}
		if start := l.start.Load(); end < start && to >= start {
			return l.restartLocked(start) // the batch that holds the start is cut: nothing is left
		}
		return l.cutStateLocked(end)
	})
}

// TruncateFully drops every record and has the log begin, empty, at offset start.
func (l *Log) TruncateFully(start int64) error {
	if err := l.frozenCut(0, func() error { return l.restartLocked(start) }); err != nil {
		return err
	}
	return l.note(entryStart, start)
}

// frozenCut notes the cut in the journal, makes it, and writes the recovery point down with it.
func (l *Log) frozenCut(from int64, cut func() error) error {
	if err := l.freeze(true); err != nil {
		return err
	}
	defer func() { _ = l.freeze(false) }()
	if err := l.note(entryCut, from); err != nil {
		return err
	}
	l.startNoted.Store(min(l.startNoted.Load(), from))
	if err := l.cutWith(cut); err != nil {
		return err
	}
	if err := l.dir.writeCheckpoints(); err != nil {
		return l.dir.fail(err)
	}
	return nil
}

func (l *Log) cutWith(cut func() error) error {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return err
	}
	return cut()
}

func (l *Log) freeze(on bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if on && l.frozen {
		return refuse(kerr.NotLeaderForPartition, "the log of %s is being truncated", l.tp)
	}
	l.frozen = on
	return l.usableLocked()
}

// cutLocked removes the segments above to and cuts the one that holds it. It returns the new end.
func (l *Log) cutLocked(to int64) (end int64, err error) {
	i := l.segmentAt(to)
	for _, s := range l.segs[i+1:] {
		if err = l.retireLocked(s, false); err != nil {
			return 0, err
		}
	}
	l.segs = slices.Clone(l.segs[:i+1])
	s := l.segs[i]
	x, err := l.indexesOf(s)
	if err != nil {
		return 0, err
	}
	s.unseal(x)
	l.store.files.drop(s) // it may be open for reading only
	f, err := l.acquire(s)
	if err != nil {
		return 0, err
	}
	defer f.release()
	sc := newScanner(f.f, s.size)
	defer sc.free()
	first, err := sc.seek(x.floor(to-s.base), func(h *header) bool { return h.last >= to })
	if err != nil {
		return 0, err
	}
	if first != nil {
		to = min(to, first.base)
	}
	l.bytes.Add(sc.pos - s.size)
	if err = f.f.Truncate(sc.pos); err != nil {
		return 0, err
	}
	if err = f.f.Sync(); err != nil {
		return 0, err
	}
	// A snapshot of what is cut must not come back with a crash, once other records have taken that place.
	l.dropSnapshotsLocked(to)
	if err = l.store.opts.FS.SyncDir(l.home()); err != nil {
		return 0, err
	}
	return to, l.cutSegmentLocked(s, sc, to)
}

// cutSegmentLocked brings the segment's figures and indexes to its new end.
func (l *Log) cutSegmentLocked(s *segment, sc *scanner, to int64) error {
	x := s.idx.Load()
	if x.truncate(to-s.base, to) {
		s.indexed = false
	}
	s.size, s.next, s.sinceIndex = sc.pos, to, 0
	if d := s.doubt.Load(); d != nil {
		s.doubt.Store(d.below(s.size))
	}
	s.maxTS, s.maxTSOffset = -1, s.base
	from := int64(0)
	if n := len(x.times); n > 0 {
		s.maxTS, s.maxTSOffset = x.times[n-1].ts, s.base+int64(x.times[n-1].rel)
		from = x.floor(int64(x.times[n-1].rel))
	}
	sc.size = s.size
	_, err := sc.seek(from, func(h *header) bool {
		if h.maxTimestamp > s.maxTS {
			s.maxTS, s.maxTSOffset = h.maxTimestamp, h.last
		}
		return false
	})
	if s.size == 0 {
		s.firstTS = -1
	}
	return err
}

// cutStateLocked brings offsets, epochs and producers to the new end.
func (l *Log) cutStateLocked(to int64) error {
	l.recent.clear()
	l.end.Store(to)
	l.lowerLocked(to)
	if err := l.restoreProducersLocked(to); err != nil {
		return l.readFailedLocked(err)
	}
	l.prodLoaded = true
	l.setUnstableLocked()
	return nil
}

// dropSnapshotsLocked removes the snapshots of states that the log has not reached at its end to. Their names are gone with the next
// sync of the directory.
func (l *Log) dropSnapshotsLocked(to int64) {
	for i := len(l.snaps) - 1; i >= 0 && l.snaps[i] > to; i-- {
		l.removeFile(segmentName(l.snaps[i]) + snapshotSuffix)
		l.snaps = l.snaps[:i]
	}
	l.due = slices.DeleteFunc(l.due, func(d dueSnapshot) bool { return d.offset > to })
}

// lowerLocked brings every offset that may not pass the log's end down to it.
func (l *Log) lowerLocked(end int64) {
	l.epochs.truncateEnd(end)
	l.start.Store(min(l.start.Load(), end))
	l.hw.Store(min(l.hw.Load(), end))
	l.lowerSynced(end)
	l.flushed = min(l.flushed, end)
	l.recovery = min(l.recovery, end)
	l.direct = min(l.direct, end)
	l.cleaned = min(l.cleaned, end)
}

// restartLocked drops every segment and begins again at start.
func (l *Log) restartLocked(start int64) error {
	for _, s := range l.segs {
		if err := l.retireLocked(s, false); err != nil {
			return l.dir.fail(err)
		}
	}
	for _, off := range l.snaps {
		l.removeFile(segmentName(off) + snapshotSuffix)
	}
	l.snaps, l.due = nil, nil
	l.segs = []*segment{newSegment(start, l.store.opts.Clock.Now(), l.jitter())}
	l.recent.clear()
	l.epochs = epochCache{dirty: true}
	l.prod.reset(start)
	l.prodLoaded = true
	l.start.Store(start)
	l.end.Store(start)
	l.hw.Store(start)
	l.lowerSynced(0)
	l.synced.Store(start)
	l.flushed, l.recovery, l.direct = start, start, 0
	l.setUnstableLocked()
	if err := l.createActiveLocked(); err != nil {
		return l.dir.fail(err)
	}
	return nil
}
