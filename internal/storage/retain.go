package storage

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// DeleteRecords raises the start of the log to before, which may not be above the high watermark.
// The segments that end below go with the next retention check. It returns the new start, which is
// durable where the log has a journal.
func (l *Log) DeleteRecords(before int64) (newStart int64, err error) {
	if err = l.checkStart(before); err != nil {
		return -1, err
	}
	if before > l.start.Load() {
		if err = l.note(entryStart, before); err != nil {
			return -1, err
		}
	}
	if err = l.raiseStart(before); err != nil {
		return -1, err
	}
	return l.start.Load(), nil
}

// raiseStart moves the log start up. Where no journal tells of it, the checkpoint does.
func (l *Log) raiseStart(to int64) error {
	l.mu.Lock()
	if err := l.usableLocked(); err != nil {
		l.mu.Unlock()
		return err
	}
	l.raiseStartLocked(min(to, l.hw.Load()))
	l.mu.Unlock()
	if l.dir.journal != nil || l.store.opts.Journal.Inline {
		return nil
	}
	if err := l.dir.writeStarts(); err != nil {
		return l.dir.fail(err)
	}
	return nil
}

func (l *Log) checkStart(before int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return err
	}
	if hw := l.hw.Load(); before > hw || before < 0 {
		return refuse(kerr.OffsetOutOfRange, "cannot delete records of %s below offset %d: the high watermark is %d",
			l.tp, before, hw)
	}
	return nil
}

// note puts a note about the log into the journal and waits until it is durable. No lock may be held.
func (l *Log) note(kind entryKind, offset int64) error {
	j := l.dir.journal
	if j == nil {
		return nil
	}
	if kind == entryStart {
		l.startNoted.Store(offset)
		l.dir.startsMoved.Store(true)
	}
	return j.note(kind, l, offset)
}

func (l *Log) raiseStartLocked(to int64) {
	if to <= l.start.Load() {
		return
	}
	l.start.Store(to)
	l.recovery = max(l.recovery, min(to, l.flushed))
	l.epochs.truncateStart(to)
	l.prod.pending = slices.DeleteFunc(l.prod.pending, func(t txn) bool { return t.last < to })
	if l.prodLoaded {
		l.setUnstableLocked()
	}
}

// Retain removes the segments that retention no longer keeps: those below the log start, those
// beyond RetentionBytes and those older than Retention; nothing at or above the high watermark. It
// returns how many went.
func (l *Log) Retain(now time.Time) (int, error) {
	n, start, err := l.expired(now)
	if n == 0 || err != nil {
		return 0, err
	}
	// What stays must be there after a crash without the journal's help, or the log's end would be
	// forgotten with the segments that go.
	if err = l.Sync(); err != nil {
		return 0, err
	}
	if err = l.note(entryStable, start); err != nil { // nothing of the segments is to be replayed
		return 0, err
	}
	if err = l.note(entryStart, start); err != nil {
		return 0, err
	}
	if err = l.raiseStart(start); err != nil {
		return 0, err
	}
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return 0, err
	}
	// What has been truncated or retained in between is not counted again.
	n = l.expiredLocked(func(s *segment, _ int) bool { return s.next <= start })
	if n == 0 {
		return 0, nil
	}
	return n, l.removeFirstLocked(n, now)
}

// expired counts the segments from the front that retention does not keep, and where the log will
// start without them.
func (l *Log) expired(now time.Time) (n int, newStart int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return 0, 0, err
	}
	cfg, start := l.cfg.Load(), l.start.Load()
	n = l.expiredLocked(func(s *segment, i int) bool { return i+1 < len(l.segs) && l.segs[i+1].base <= start })
	if cfg.Delete {
		n = max(n, l.beyondSizeLocked(cfg.RetentionBytes), l.olderLocked(now, cfg.Retention))
	}
	if n == 0 {
		return 0, 0, nil
	}
	return n, l.segs[n-1].next, nil
}

// expiredLocked counts the segments from the front that match and end at or below the high
// watermark. An empty active segment always stays.
func (l *Log) expiredLocked(match func(*segment, int) bool) int {
	hw := l.hw.Load()
	for i, s := range l.segs {
		last := i == len(l.segs)-1
		if s.next > hw || last && s.size == 0 || !match(s, i) {
			return i
		}
	}
	return len(l.segs)
}

func (l *Log) beyondSizeLocked(limit int64) int {
	over := l.bytes.Load() - limit
	if limit < 0 {
		return 0
	}
	return l.expiredLocked(func(s *segment, _ int) bool { over -= s.size; return over >= 0 })
}

func (l *Log) olderLocked(now time.Time, age time.Duration) int {
	if age < 0 {
		return 0
	}
	limit := now.UnixMilli() - age.Milliseconds()
	return l.expiredLocked(func(s *segment, _ int) bool { return s.largestTimestamp() < limit })
}

// removeFirstLocked takes the first n segments out. If those are all, a new active segment is begun
// first, with its file, so that the log's end is never forgotten.
func (l *Log) removeFirstLocked(n int, now time.Time) error {
	if n == len(l.segs) {
		if _, err := l.rollLocked(l.end.Load(), now); err != nil {
			return err
		}
		if err := l.createActiveLocked(); err != nil {
			return l.dir.fail(err)
		}
	}
	gone := slices.Clone(l.segs[:n])
	l.segs = slices.Clone(l.segs[n:])
	l.raiseStartLocked(l.segs[0].base)
	for _, s := range gone {
		if err := l.retireLocked(s, false); err != nil {
			return l.dir.fail(err)
		}
	}
	l.store.log.Info("removed old segments", "log", l.tp.String(), "segments", n, "start", l.start.Load())
	return nil
}

// retireLocked renames a segment's files to .deleted; they are removed after FileDeleteDelay. Those
// who read the segment go on reading. keepSnapshot leaves the producer snapshot of the same name,
// because another segment with that base takes its place.
func (l *Log) retireLocked(s *segment, keepSnapshot bool) error {
	fsys := l.store.opts.FS
	delay := l.cfg.Load().FileDeleteDelay
	l.bytes.Add(-s.size)
	suffixes := []string{logSuffix, indexSuffix, timeSuffix, txnSuffix}
	if i, ok := slices.BinarySearch(l.snaps, s.base); ok && !keepSnapshot {
		l.snaps = slices.Delete(l.snaps, i, i+1)
		suffixes = append(suffixes, snapshotSuffix)
	}
	if !keepSnapshot {
		l.due = slices.DeleteFunc(l.due, func(d dueSnapshot) bool { return d.offset == s.base })
	}
	for _, suffix := range suffixes {
		from := l.filePath(s, suffix)
		switch err := fsys.Rename(from, from+deletedSuffix); {
		case isNotExist(err):
		case err != nil:
			return err
		default:
			l.store.discard(from+deletedSuffix, delay)
		}
	}
	s.sealed.Store(true)
	s.suffix, s.dirty, s.newName = deletedSuffix, false, false
	l.store.files.drop(s)
	return nil
}
