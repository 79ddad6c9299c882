package storage

import (
	"errors"
	"io/fs"
	"path"
	"slices"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// indexTail is what has to be appended to one segment's index files.
type indexTail struct {
	seg *segment
	x   indexes // as of the plan
}

// checkpointPlan is what has to be written so that the recovery point can move to end.
type checkpointPlan struct {
	end    int64
	tails  []indexTail
	snaps  []dueSnapshot
	epochs []string   // nil: unchanged
	roomy  []*segment // files to be cut to their content
}

// checkpoint brings everything that belongs to the records so far to stable storage: the segments,
// their indexes, the producer state, the leader epochs. The recovery point is the end of the log
// afterwards, so a start after a crash has nothing below it to scan. closing trims what was
// preallocated.
func (l *Log) checkpoint(closing bool) error {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	p, err := l.planCheckpoint(closing)
	if err != nil || p == nil {
		return err
	}
	rose, err := l.syncSegments()
	if err != nil {
		return err
	}
	if err = l.writeCheckpoint(p); err != nil {
		return l.dir.fail(err)
	}
	l.finishCheckpoint(p)
	if rose {
		l.store.notify.log(l)
	}
	return nil
}

// planCheckpoint fixes what to write; nil if nothing has changed since the last time.
func (l *Log) planCheckpoint(closing bool) (*checkpointPlan, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return nil, err
	}
	end := l.end.Load()
	p := &checkpointPlan{end: end, snaps: l.due}
	for _, s := range l.segs {
		if s.roomy && (closing || s.sealed.Load()) {
			p.roomy = append(p.roomy, s)
		}
	}
	epochs := l.epochs.dirty && end > 0 // where nothing was ever written there is nothing to find by epoch
	if l.recovery == end && len(l.due) == 0 && !epochs && len(p.roomy) == 0 && !l.tailsDueLocked(closing) {
		return nil, nil
	}
	if epochs {
		p.epochs = l.epochs.lines()
	}
	if end > l.lastSnapLocked() && l.bytes.Load() > 0 {
		if err := l.loadProducersLocked(); err != nil {
			return nil, err
		}
		p.snaps = append(slices.Clip(p.snaps), dueSnapshot{end, l.prod.encode()})
	}
	l.planTailsLocked(p, closing)
	return p, nil
}

func (l *Log) lastSnapLocked() int64 {
	last := int64(-1)
	if n := len(l.snaps); n > 0 {
		last = l.snaps[n-1]
	}
	if n := len(l.due); n > 0 {
		last = max(last, l.due[n-1].offset)
	}
	return last
}

// tailsDueLocked: a closing log must end its active segment's time index.
func (l *Log) tailsDueLocked(closing bool) bool {
	s := l.active()
	x := s.idx.Load()
	if x == nil || !s.exists {
		return false
	}
	open := s.maxTS >= 0 && (len(x.times) == 0 || x.times[len(x.times)-1].ts < s.maxTS)
	return !s.indexed || !x.written() || closing && open
}

func (l *Log) planTailsLocked(p *checkpointPlan, closing bool) {
	for i := len(l.segs) - 1; i >= 0; i-- {
		s := l.segs[i]
		x := s.idx.Load()
		if x == nil || !s.exists || s.sealed.Load() && x.written() && s.indexed {
			continue
		}
		if closing && !s.sealed.Load() {
			s.closeTimeIndex()
		}
		if x.written() && s.indexed {
			continue
		}
		p.tails = append(p.tails, indexTail{s, x.clone()})
	}
}

func (l *Log) writeCheckpoint(p *checkpointPlan) error {
	fsys := l.store.opts.FS
	for _, s := range p.roomy {
		if err := truncateFile(fsys, l.filePath(s, logSuffix), s.size); err != nil {
			return err
		}
	}
	for i := range p.tails {
		if err := p.tails[i].write(fsys, l.home()); err != nil {
			return err
		}
	}
	for _, s := range p.snaps {
		if err := writeSynced(fsys, path.Join(l.home(), segmentName(s.offset)+snapshotSuffix), s.data); err != nil {
			return err
		}
	}
	if p.epochs != nil {
		if err := writeLines(fsys, path.Join(l.home(), epochCheckpointFile), p.epochs); err != nil {
			return err
		}
	}
	if len(p.snaps) == 0 && len(p.tails) == 0 {
		return nil
	}
	return fsys.SyncDir(l.home())
}

// writeSynced writes a file whose content is checked by its reader, so it needs no rename.
func writeSynced(fsys vfs.FS, name string, data []byte) (err error) {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(data, 0); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func (t *indexTail) write(fsys vfs.FS, dir string) error {
	x := &t.x
	err := writeTail(fsys, path.Join(dir, t.seg.file(indexSuffix)), int64(x.offsWritten*offsetEntryBytes),
		appendOffsets(nil, x.offs[x.offsWritten:]), true)
	if err == nil {
		err = writeTail(fsys, path.Join(dir, t.seg.file(timeSuffix)), int64(x.timesWritten*timeEntryBytes),
			appendTimes(nil, x.times[x.timesWritten:]), true)
	}
	if err == nil && (len(x.txns) > 0 || x.txnsWritten > 0) {
		err = writeTail(fsys, path.Join(dir, t.seg.file(txnSuffix)), int64(x.txnsWritten*txnEntryBytes),
			appendTxns(nil, x.txns[x.txnsWritten:]), true)
	}
	return err
}

// finishCheckpoint notes what is on disk now and removes snapshots that nothing needs any more.
func (l *Log) finishCheckpoint(p *checkpointPlan) {
	l.mu.Lock()
	for i := range p.tails {
		l.markWrittenLocked(&p.tails[i])
	}
	for _, s := range p.roomy {
		s.roomy = false
	}
	for _, s := range p.snaps {
		if at, found := slices.BinarySearch(l.snaps, s.offset); !found {
			l.snaps = slices.Insert(l.snaps, at, s.offset)
		}
	}
	l.due = slices.DeleteFunc(l.due, func(d dueSnapshot) bool { return d.offset <= p.end })
	if p.epochs != nil && slices.Equal(p.epochs, l.epochs.lines()) {
		l.epochs.dirty = false
	}
	l.recovery = max(l.recovery, p.end)
	strays := l.straySnapsLocked()
	l.mu.Unlock()
	for _, off := range strays {
		l.removeFile(segmentName(off) + snapshotSuffix)
	}
}

// markWrittenLocked sets the written counts; the indexes of a sealed segment are replaced by a copy.
func (l *Log) markWrittenLocked(t *indexTail) {
	x := t.seg.idx.Load()
	t.seg.indexed = true
	if x == nil {
		return
	}
	if t.seg.sealed.Load() {
		c := x.clone()
		x = &c
		defer t.seg.idx.Store(x)
	}
	x.offsWritten, x.timesWritten, x.txnsWritten, x.stale = len(t.x.offs), len(t.x.times), len(t.x.txns), false
}

// straySnapsLocked takes out the snapshots that are neither at the base of a segment nor the last.
func (l *Log) straySnapsLocked() (strays []int64) {
	last := len(l.snaps) - 1
	kept := l.snaps[:0:0]
	for i, off := range l.snaps {
		if s := l.segs[l.segmentAt(off)]; i == last || s.base == off {
			kept = append(kept, off)
		} else {
			strays = append(strays, off)
		}
	}
	l.snaps = kept
	return strays
}

// removeFile removes a file that nothing refers to; one that is gone already is fine.
func (l *Log) removeFile(name string) {
	if err := l.store.opts.FS.Remove(path.Join(l.home(), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.store.log.Warn("cannot remove file", "path", path.Join(l.home(), name), "err", err)
	}
}
