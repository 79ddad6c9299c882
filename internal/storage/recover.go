package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"time"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// recoverer reads one log's directory at the start. It has the log for itself.
type recoverer struct {
	l          *Log
	clean      bool
	point      int64 // recovery point: everything below is sound
	startPoint int64 // log start offset
	noted      journalState
	cleaned    int64 // how far the log was compacted
	stable     int64 // what was promised to survive: the recovery point, or more if the journal says so
	names      map[string]bool
	truncated  bool
}

func (r *recoverer) run(ctx context.Context) error {
	l := r.l
	id, err := readTopicID(l.store.opts.FS, l.home())
	if err != nil {
		return err
	}
	l.id.Store(&id)
	if r.noted.id == id {
		r.startPoint = max(r.startPoint, r.noted.start)
		r.stable = max(r.stable, r.noted.stable)
	}
	r.stable = max(r.stable, r.point)
	if l.epochs, err = loadEpochs(l.store.opts.FS, l.home()); err != nil {
		if isIO(err) {
			return err
		}
		l.store.log.Warn("leader epochs are damaged; they are read from the batches", "err", err)
		l.epochs, r.point, r.clean = epochCache{dirty: true}, 0, false
	}
	if err = r.list(); err != nil {
		return err
	}
	if err = r.findEnds(ctx); err != nil {
		return err
	}
	return r.finish()
}

// list reads the directory: leftovers go, segments and snapshots are noted.
func (r *recoverer) list() error {
	l := r.l
	entries, err := l.store.opts.FS.ReadDir(l.home())
	if err != nil {
		return err
	}
	r.names = make(map[string]bool, len(entries))
	for _, e := range entries {
		if !e.IsDir() {
			r.names[e.Name()] = true
		}
	}
	if err = r.settleSwaps(); err != nil {
		return err
	}
	for name := range r.names {
		if off, ok := parseOffsetName(name, snapshotSuffix); ok {
			l.snaps = append(l.snaps, off)
		}
		if base, ok := parseOffsetName(name, logSuffix); ok {
			if err = r.addSegment(base); err != nil {
				return err
			}
		}
	}
	slices.Sort(l.snaps)
	slices.SortFunc(l.segs, func(a, b *segment) int {
		if a.base < b.base {
			return -1
		}
		return 1
	})
	r.dropOrphans()
	return nil
}

func (r *recoverer) addSegment(base int64) error {
	info, err := r.l.store.opts.FS.Stat(path.Join(r.l.home(), segmentName(base)+logSuffix))
	if err != nil {
		return err
	}
	s := newSegment(base, info.ModTime(), r.l.jitter())
	s.idx.Store(nil)
	s.size, s.exists, s.modified, s.firstTS = info.Size(), true, info.ModTime().UnixMilli(), unknownTS
	s.suspect(s.size)
	s.indexed = r.names[segmentName(base)+indexSuffix] && r.names[segmentName(base)+timeSuffix]
	r.l.segs = append(r.l.segs, s)
	return nil
}

// dropOrphans removes index files without a segment.
func (r *recoverer) dropOrphans() {
	for name := range r.names {
		for _, suffix := range [...]string{indexSuffix, timeSuffix, txnSuffix} {
			if base, ok := parseOffsetName(name, suffix); ok && !r.names[segmentName(base)+logSuffix] {
				r.l.store.log.Warn("index file without a segment; removing it", "path", path.Join(r.l.home(), name))
				r.l.removeFile(name)
			}
		}
	}
}

// findEnds finds out where each segment ends and the log with them.
func (r *recoverer) findEnds(ctx context.Context) error {
	l := r.l
	if err := r.dropRetired(); err != nil {
		return err
	}
	for i, s := range l.segs {
		s.sealed.Store(i < len(l.segs)-1)
		if s.sealed.Load() {
			s.next = l.segs[i+1].base
		}
	}
	if len(l.segs) == 0 {
		s := newSegment(r.startPoint, l.store.opts.Clock.Now(), l.jitter())
		l.segs = append(l.segs, s)
		l.start.Store(r.startPoint)
		return nil
	}
	l.start.Store(max(r.startPoint, l.segs[0].base))
	if r.clean {
		return r.trust()
	}
	return r.verify(ctx)
}

// dropRetired removes the segments that end below the log start: retention had begun to, and they
// need not be whole.
func (r *recoverer) dropRetired() error {
	l := r.l
	n := 0
	for n+1 < len(l.segs) && l.segs[n+1].base <= r.startPoint {
		n++
	}
	if n == 0 || r.clean {
		return nil
	}
	for _, s := range l.segs[:n] {
		l.bytes.Add(s.size) // retireLocked takes it away again
		if err := l.retireLocked(s, false); err != nil {
			return err
		}
	}
	l.segs = slices.Clone(l.segs[n:])
	return nil
}

// trust takes the files as they are: a clean shutdown left them whole. Only the end of the last
// segment is looked for.
func (r *recoverer) trust() error {
	for _, s := range r.l.segs {
		if err := r.readTimes(s); err != nil {
			return err
		}
	}
	s := r.l.active()
	if _, err := r.l.indexesOf(s); err != nil {
		return err
	}
	f, err := r.l.acquire(s)
	if err != nil {
		return err
	}
	defer f.release()
	last, err := lastHeader(f, s)
	if err != nil {
		return err
	}
	s.next = s.base
	if last != nil {
		s.next = last.last + 1
	}
	return nil
}

// lastHeader finds the segment's last batch, from the last index entry on; nil if it is empty.
func lastHeader(f *handle, s *segment) (*header, error) {
	pos := int64(0)
	if x := s.idx.Load(); x != nil && len(x.offs) > 0 {
		pos = x.offs[len(x.offs)-1].pos()
	}
	sc := newScanner(f.f, s.size)
	defer sc.free()
	var last *header
	_, err := sc.seek(pos, func(h *header) bool { c := *h; last = &c; return false })
	return last, err
}

// readTimes learns a segment's greatest timestamp from the last entry of its time index, or from the headers of its
// batches where a power cut has taken that file: a segment that knows no time would be taken to reach any.
func (r *recoverer) readTimes(s *segment) error {
	found, err := r.lastTime(s)
	if found || err != nil || s.size == 0 {
		return err
	}
	h, err := r.l.acquire(s)
	if err != nil {
		return err
	}
	defer h.release()
	sc := newScanner(h.f, s.size)
	defer sc.free()
	_, err = sc.seek(0, func(b *header) bool {
		if b.maxTimestamp > s.maxTS {
			s.maxTS, s.maxTSOffset = b.maxTimestamp, b.last
		}
		return false
	})
	return err
}

// lastTime reads the last entry of the time index, if there is one.
func (r *recoverer) lastTime(s *segment) (found bool, err error) {
	l := r.l
	if !r.names[segmentName(s.base)+timeSuffix] {
		return false, nil
	}
	f, err := l.store.opts.FS.Open(l.filePath(s, timeSuffix))
	if err != nil {
		return false, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || size < timeEntryBytes {
		return false, err
	}
	var b [timeEntryBytes]byte
	if _, err = f.ReadAt(b[:], size/timeEntryBytes*timeEntryBytes-timeEntryBytes); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	x := &indexes{}
	if found = x.parseTime(b[:]); found {
		s.maxTS, s.maxTSOffset = x.times[0].ts, s.base+int64(x.times[0].rel)
	}
	return found, nil
}

// verify reads and checks every batch above the recovery point, and rebuilds the indexes and the
// producer state from there on.
func (r *recoverer) verify(ctx context.Context) error {
	l := r.l
	first := l.segmentAt(r.point)
	for _, s := range l.segs[:first] {
		if err := r.readTimes(s); err != nil {
			return err
		}
	}
	for i := first; i < len(l.segs); i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		s := l.segs[i]
		s.sealed.Store(false) // its indexes are being made
		if err := r.verifySegment(s); err != nil {
			return err
		}
		if i+1 < len(l.segs) {
			s.closeTimeIndex() // as when it was rolled: later starts read the greatest timestamp there
		}
		s.sealed.Store(i+1 < len(l.segs))
		if i+1 < len(l.segs) {
			if err := r.checkGap(s, l.segs[i+1]); err != nil {
				return err
			}
		}
		if r.truncated {
			return r.setAside(i + 1)
		}
	}
	return nil
}

// checkGap looks at the seam between two segments. A gap above what was stable means that the crash
// took the end of the first one.
func (r *recoverer) checkGap(s, after *segment) error {
	switch {
	case s.next == after.base || r.truncated:
	case after.base <= r.cleaned: // compaction may have taken the last records of a segment
	case s.next >= r.stable:
		r.truncated = true
	case s.next >= r.point:
		r.l.noteDamage(Damage{
			File: r.l.filePath(s, logSuffix), Position: s.size,
			Expected: fmt.Sprintf("a batch at offset %d", s.next), Found: "the end of the file",
			First: s.next, Next: after.base,
		})
	}
	return nil
}

// verifySegment checks one segment from the recovery point, or its beginning, to its end.
func (r *recoverer) verifySegment(s *segment) error {
	l := r.l
	began := time.Now()
	v := verifier{r: r, s: s, size: s.size}
	for again := true; again; {
		var err error
		if again, err = v.pass(); err != nil {
			return err
		}
	}
	if v.checked > 0 {
		l.store.log.Info("scanned segment", "path", l.filePath(s, logSuffix), "bytes", v.checked, "took", time.Since(began))
	}
	return nil
}

// pass goes through the segment once. It reports whether the file was repaired, so that it must be
// gone through again.
func (v *verifier) pass() (again bool, err error) {
	l, s, r := v.r.l, v.s, v.r
	x, whole, err := loadIndexes(l.store.opts.FS, l.home(), s)
	if err != nil {
		return false, err
	}
	onDisk := x.clone()
	from := int64(0)
	if r.point > s.base {
		from = x.floor(r.point - 1 - s.base) // the last indexed batch that is wholly below
	}
	next := r.resumeIndexes(s, x, from)
	if v.f, err = l.acquire(s); err != nil {
		return false, err
	}
	defer v.f.release()
	v.checked, v.reopen = 0, false
	if err = v.run(from, next); err != nil {
		return false, err
	}
	s.suspect(from)
	if v.reopen {
		l.store.files.drop(s)
		if v.size, err = fileSize(l.store.opts.FS, l.filePath(s, logSuffix)); err != nil {
			return false, err
		}
		s.size = v.size
		return true, nil
	}
	if whole && !v.cut && v.checked == 0 {
		s.idx.Store(&onDisk) // nothing above the recovery point: all of the files stands
		s.indexed = true
		return false, nil
	}
	s.dirty = true
	return false, nil
}

func fileSize(fsys vfs.FS, name string) (int64, error) {
	info, err := fsys.Stat(name)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// resumeIndexes keeps the index entries of batches before position from; later ones are made anew.
// It returns an offset that the batch at from is not below.
func (r *recoverer) resumeIndexes(s *segment, x *indexes, from int64) (next int64) {
	n := 0
	for n < len(x.offs) && x.offs[n].pos() < from {
		n++
	}
	rel := int64(0) // entries of batches before `from` have smaller offsets than the batch at from
	if n < len(x.offs) && from > 0 {
		rel = x.offs[n].rel()
	}
	x.truncate(rel, max(s.base+rel, r.point)) // transactions below the point are not replayed
	x.offs = x.offs[:min(n, len(x.offs))]
	x.clampWritten()
	x.stale = true // the files may be longer than what stands
	s.maxTS, s.maxTSOffset = -1, s.base
	if t := len(x.times); t > 0 {
		s.maxTS, s.maxTSOffset = x.times[t-1].ts, s.base+int64(x.times[t-1].rel)
	}
	s.idx.Store(x)
	s.indexed = false
	if n > 0 {
		return s.base + x.offs[n-1].rel() + 1
	}
	return s.base
}

// verifier checks the batches of one segment.
type verifier struct {
	r       *recoverer
	s       *segment
	f       *handle
	size    int64 // of the file
	buf     []byte
	checked int64 // bytes above the recovery point
	cut     bool
	reopen  bool   // the file was repaired
	kept    string // where the damaged file was copied to
}

func (v *verifier) run(from, next int64) error {
	s, pos := v.s, from
	s.size, s.next = from, next
	interval := v.r.l.cfg.Load().IndexIntervalBytes
	for pos < v.size {
		h, bad, err := v.batch(pos, next)
		if err != nil {
			return err
		}
		if bad != nil {
			return v.damaged(pos, next, bad)
		}
		s.note(&h, pos, interval)
		if h.last >= v.r.point {
			v.r.l.epochs.recovered(h.epoch, h.base)
			v.checked += h.size
		}
		pos += h.size
		next = h.last + 1
	}
	s.size = pos
	return nil
}

// batch reads the batch at pos and checks it; bad says what is wrong with the bytes.
func (v *verifier) batch(pos, next int64) (h header, bad, err error) {
	sc := scanner{f: v.f.f, size: v.size, buf: v.window(scanWindow), at: -1}
	head, err := sc.bytes(pos, minBatchBytes)
	if err != nil {
		return h, nil, err
	}
	if h, bad = parseHeader(head, v.size-pos); bad != nil {
		return h, bad, nil
	}
	if h.base < next {
		return h, fmt.Errorf("base offset %d after offset %d", h.base, next-1), nil
	}
	b := v.window(int(h.size))
	if n, err := v.f.f.ReadAt(b, pos); int64(n) < h.size {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return h, nil, err
	}
	return h, checkCRC(b), nil
}

func (v *verifier) window(n int) []byte {
	if cap(v.buf) < n {
		v.buf = make([]byte, max(n, 1<<20))
	}
	return v.buf[:n]
}

// finish sets the log's figures.
func (r *recoverer) finish() error {
	l := r.l
	s := l.active()
	if s.sealed.Load() {
		s.unseal(s.idx.Load())
		l.store.files.drop(s) // it was opened for reading only
	}
	var bytes int64
	for _, s := range l.segs {
		bytes += s.size
	}
	l.bytes.Store(bytes)
	l.end.Store(max(s.next, l.start.Load()))
	if l.end.Load() > s.next && s.size > 0 {
		return r.startAfresh()
	}
	s.next = l.end.Load()
	l.epochs.truncateEnd(l.end.Load())
	l.epochs.truncateStart(l.start.Load())
	if err := r.dropSnapshots(); err != nil {
		return err
	}
	if err := r.restoreProducers(); err != nil {
		return err
	}
	l.prodLoaded = true
	l.durable = r.clean && l.bytes.Load() > 0 // else a name may be in the cache only
	l.synced.Store(l.end.Load())
	l.flushed = l.end.Load()
	l.recovery = l.end.Load()
	if !r.clean {
		l.recovery = min(r.point, l.end.Load())
		return r.settle()
	}
	return nil
}

// settle writes what the scan has found, so that the next start need not repeat it.
func (r *recoverer) settle() error {
	if len(r.l.segs) == 1 && r.l.bytes.Load() == 0 {
		return nil
	}
	return r.l.checkpoint(false)
}

// dropSnapshots removes snapshots of states that the log has not reached, for good: see Log.cutLocked.
func (r *recoverer) dropSnapshots() error {
	l := r.l
	all := len(l.snaps)
	l.dropSnapshotsLocked(l.end.Load())
	if len(l.snaps) == all {
		return nil
	}
	return l.store.opts.FS.SyncDir(l.home())
}

// startAfresh: the log start is above everything stored (files were removed by hand), so the log
// begins again, empty, at its start.
func (r *recoverer) startAfresh() error {
	l := r.l
	l.store.log.Warn("the log start is above the log end; removing the segments below it",
		"log", l.tp.String(), "start", l.start.Load(), "end", l.active().next)
	for _, s := range l.segs {
		for _, suffix := range [...]string{logSuffix, indexSuffix, timeSuffix, txnSuffix} {
			l.removeFile(s.file(suffix))
		}
		l.store.files.drop(s)
	}
	l.segs = []*segment{newSegment(l.start.Load(), l.store.opts.Clock.Now(), l.jitter())}
	l.epochs = epochCache{dirty: true}
	return r.finish()
}
