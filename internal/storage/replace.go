package storage

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
)

// What a cleaner works with: the sealed segments of a log, their batches and aborted transactions,
// new segments beside them, and the swap.

// errStaleSegments: segments that were to be replaced have gone or changed meanwhile.
var errStaleSegments = errors.New("the segments have changed since they were read")

// sealedSegments are the segments before the active one.
func (l *Log) sealedSegments() []*segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.segs[:len(l.segs)-1])
}

// CleanerOffset is how far the log was cleaned: the first offset that the next round looks at as
// new. -1 means that it never was.
func (l *Log) CleanerOffset() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cleaned
}

// SetCleanerOffset notes how far the log has been cleaned, in Kafka's cleaner-offset-checkpoint.
func (l *Log) SetCleanerOffset(offset int64) error {
	l.mu.Lock()
	l.cleaned = offset
	l.mu.Unlock()
	if err := l.dir.writeCleaned(); err != nil {
		return l.dir.fail(err)
	}
	return nil
}

func (d *logDir) writeCleaned() error {
	if d.offline() != nil {
		return nil
	}
	d.checkpointMu.Lock()
	defer d.checkpointMu.Unlock()
	return d.writeOffsets(cleanerCheckpointFile, d.store.logsOf(d), func(l *Log) (int64, bool) {
		cleaned := l.CleanerOffset()
		if cleaned >= 0 {
			d.known[l.tp] = struct{}{}
		}
		return cleaned, cleaned >= 0
	})
}

// scanSegment calls fn for each batch of a sealed segment, from the first one that reaches offset
// from. The batch is valid until fn returns and its checksum is right; a batch whose checksum is
// not is an error.
func (l *Log) scanSegment(s *segment, from int64, fn func(batch.Batch) error) error {
	cut := l.cuts.Load()
	x, err := l.indexesOf(s)
	if err != nil {
		return l.readFailed(err)
	}
	h, err := l.acquire(s)
	if err != nil {
		return l.readFailed(err)
	}
	defer h.release()
	if err = l.checkAll(s, h, s.size, s.next, cut); err != nil {
		return l.readFailed(err)
	}
	sc := newScanner(h.f, s.size)
	defer sc.free()
	var buf []byte
	var failed error
	_, err = sc.seek(x.floor(from-s.base), func(b *header) bool {
		if b.last < from {
			return false
		}
		if int64(cap(buf)) < b.size {
			buf = make([]byte, max(b.size, copyChunk))
		}
		if failed = readBatch(h.f, buf[:b.size], sc.pos); failed == nil {
			failed = fn(batch.Batch(buf[:b.size]))
		}
		return failed != nil
	})
	if err != nil {
		return l.readFailed(err)
	}
	var d *damagedError
	if errors.As(failed, &d) || failed != nil && isIO(failed) {
		return l.readFailed(failed)
	}
	return failed
}

// readBatch reads one whole batch and checks it.
func readBatch(f vfs.File, b []byte, pos int64) error {
	n, err := f.ReadAt(b, pos)
	if n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			return &damagedError{f.Name(), pos, io.ErrUnexpectedEOF}
		}
		return err
	}
	if err := checkCRC(b); err != nil {
		return &damagedError{f.Name(), pos, err}
	}
	return nil
}

// abortedIn lists the aborted transactions in the segment's index.
func (l *Log) abortedIn(s *segment) ([]txnEntry, error) {
	x, err := l.indexesOf(s)
	if err != nil {
		return nil, l.readFailed(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(x.txns), nil
}

// cleanedSegment is a segment that is being written to take the place of others.
type cleanedSegment struct {
	l      *Log
	s      *segment
	f      vfs.File
	buf    []byte // not yet written
	at     int64  // position of buf
	sealed bool
}

// newCleaned begins a replacement whose name is base. What an earlier attempt left is overwritten.
func (l *Log) newCleaned(base int64) (*cleanedSegment, error) {
	s := newSegment(base, l.store.opts.Clock.Now(), 0)
	s.suffix = cleanedSuffix
	for _, suffix := range [...]string{indexSuffix, timeSuffix, txnSuffix} {
		l.removeFile(s.file(suffix))
	}
	f, err := l.store.opts.FS.Create(l.filePath(s, logSuffix))
	if err != nil {
		return nil, l.dir.fail(err)
	}
	return &cleanedSegment{l: l, s: s, f: f, buf: make([]byte, 0, copyChunk)}, nil
}

// size is the bytes so far.
func (c *cleanedSegment) size() int64 { return c.s.size }

// append adds a batch as it is. Its offsets must be above those so far.
func (c *cleanedSegment) append(b batch.Batch) error {
	h, err := parseHeader(b, int64(len(b)))
	switch {
	case err != nil:
		return fmt.Errorf("append to cleaned segment %d: %w", c.s.base, err)
	case h.base < c.s.next:
		return fmt.Errorf("append to cleaned segment %d: batch at offset %d after offset %d", c.s.base, h.base, c.s.next-1)
	case h.last-c.s.base > math.MaxInt32 || c.s.size+h.size > math.MaxInt32:
		return fmt.Errorf("append to cleaned segment %d: batch at offset %d does not fit", c.s.base, h.base)
	}
	c.s.note(&h, c.s.size, c.l.cfg.Load().IndexIntervalBytes)
	if len(c.buf)+len(b) > cap(c.buf) {
		if err := c.flush(); err != nil {
			return err
		}
	}
	if len(b) > cap(c.buf) {
		return c.write(b)
	}
	c.buf = append(c.buf, b...)
	return nil
}

func (c *cleanedSegment) flush() error {
	err := c.write(c.buf)
	c.buf = c.buf[:0]
	return err
}

func (c *cleanedSegment) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if _, err := c.f.WriteAt(b, c.at); err != nil {
		return c.l.dir.fail(err)
	}
	c.at += int64(len(b))
	return nil
}

// addAborted adds an aborted transaction that a reader of the segment must know.
func (c *cleanedSegment) addAborted(e txnEntry) {
	x := c.s.idx.Load()
	x.txns = append(x.txns, e)
}

// seal ends the segment: everything of it is on stable storage, under its .cleaned names. modified
// (ms) is the age it inherits from the segments it replaces.
func (c *cleanedSegment) seal(modified int64) error {
	if err := c.flush(); err != nil {
		return err
	}
	if err := c.f.Sync(); err != nil {
		return c.l.dir.condemn(err)
	}
	if err := c.f.Close(); err != nil {
		return c.l.dir.fail(err)
	}
	c.sealed = true
	c.s.closeTimeIndex()
	c.s.modified, c.s.exists, c.s.indexed = modified, true, true
	t := indexTail{c.s, *c.s.idx.Load()}
	if err := t.write(c.l.store.opts.FS, c.l.Path()); err != nil {
		return c.l.dir.fail(err)
	}
	x := c.s.idx.Load()
	x.offsWritten, x.timesWritten, x.txnsWritten = len(x.offs), len(x.times), len(x.txns)
	c.s.sealed.Store(true)
	return nil
}

// discard removes what was written so far.
func (c *cleanedSegment) discard() {
	if !c.sealed {
		_ = c.f.Close()
	}
	for _, suffix := range [...]string{logSuffix, indexSuffix, timeSuffix, txnSuffix} {
		c.l.removeFile(c.s.file(suffix))
	}
}

// replaceSegments puts sealed replacements, in ascending order, in the place of old segments that
// lie side by side in the log. A crash at any moment leaves the old segments or the new ones:
//
//  1. the recovery point on disk is above the old segments, and the journal knows that nothing of
//     them is to be replayed;
//  2. the new files are renamed from .cleaned to .swap, the last segment first: as long as there is a
//     .cleaned file, .swap files at or above it count for nothing;
//  3. the old files are renamed to .deleted;
//  4. the new files get their final names.
//
// The directory is synced after each step. errStaleSegments means that nothing was done because the
// old segments are no longer what was read; the caller discards the new ones.
func (l *Log) replaceSegments(cleaned []*cleanedSegment, old []*segment) error {
	if len(cleaned) == 0 || len(old) == 0 {
		return errors.New("replace segments: nothing to replace, or nothing to replace it with")
	}
	if err := l.checkpoint(false); err != nil {
		return err
	}
	if err := l.dir.writeCheckpoints(); err != nil {
		return l.dir.fail(err)
	}
	if err := l.note(entryStable, old[len(old)-1].next); err != nil {
		return err
	}
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return err
	}
	at := slices.Index(l.segs, old[0])
	if at < 0 || at+len(old) >= len(l.segs) || !slices.Equal(l.segs[at:at+len(old)], old) {
		return errStaleSegments
	}
	if err := l.swapLocked(cleaned, old); err != nil {
		return l.dir.condemn(err) // half-way: the next start finishes it or undoes it
	}
	l.installLocked(at, cleaned, old)
	return nil
}

// swapLocked does steps 2 to 4.
func (l *Log) swapLocked(cleaned []*cleanedSegment, old []*segment) error {
	fsys := l.store.opts.FS
	for _, c := range slices.Backward(cleaned) {
		if err := l.resuffixLocked(c.s, swapSuffix); err != nil {
			return err
		}
	}
	if err := fsys.SyncDir(l.home()); err != nil {
		return err
	}
	for _, s := range old {
		kept := slices.ContainsFunc(cleaned, func(c *cleanedSegment) bool { return c.s.base == s.base })
		if err := l.retireLocked(s, kept); err != nil {
			return err
		}
	}
	if err := fsys.SyncDir(l.home()); err != nil {
		return err
	}
	for _, c := range cleaned {
		if err := l.resuffixLocked(c.s, ""); err != nil {
			return err
		}
	}
	return fsys.SyncDir(l.home())
}

// resuffixLocked renames a segment's files.
func (l *Log) resuffixLocked(s *segment, to string) error {
	for _, suffix := range [...]string{logSuffix, indexSuffix, timeSuffix, txnSuffix} {
		from := l.filePath(s, suffix)
		name := path.Join(l.home(), segmentName(s.base)+suffix+to)
		if err := l.store.opts.FS.Rename(from, name); err != nil && !(suffix == txnSuffix && isNotExist(err)) {
			return err
		}
	}
	s.suffix = to
	return nil
}

// installLocked puts the new segments into the log's list.
func (l *Log) installLocked(at int, cleaned []*cleanedSegment, old []*segment) {
	next := old[len(old)-1].next
	list := slices.Clone(l.segs[:at])
	for i, c := range cleaned {
		if i == len(cleaned)-1 {
			c.s.next = next // the offsets of what was cleaned away belong to it
		}
		list = append(list, c.s)
		l.bytes.Add(c.s.size)
	}
	l.segs = append(list, l.segs[at+len(old):]...)
}

// settleSwaps finishes or undoes a replacement that the last run did not get to the end of, and
// removes what deletion left.
func (r *recoverer) settleSwaps() error {
	r.dropSuffix(deletedSuffix, 0)
	if first, ok := r.lowest(cleanedSuffix); ok {
		r.dropSuffix(cleanedSuffix, 0)
		r.dropSuffix(swapSuffix, first)
	}
	from, to, err := r.swapRange()
	if err != nil || from < 0 {
		return err
	}
	l := r.l
	fsys := l.store.opts.FS
	for name := range r.names {
		if base, ok := segmentFile(name); ok && base >= from && base < to {
			l.removeFile(name)
			delete(r.names, name)
		}
	}
	if err = fsys.SyncDir(l.home()); err != nil {
		return err
	}
	for name := range r.names {
		final, ok := strings.CutSuffix(name, swapSuffix)
		if !ok {
			continue
		}
		l.store.log.Info("finishing an interrupted compaction", "path", path.Join(l.home(), final))
		if err = fsys.Rename(path.Join(l.home(), name), path.Join(l.home(), final)); err != nil {
			return err
		}
		delete(r.names, name)
		r.names[final] = true
	}
	return fsys.SyncDir(l.home())
}

// segmentFile reads the name of a log or index file.
func segmentFile(name string) (base int64, ok bool) {
	for _, suffix := range [...]string{logSuffix, indexSuffix, timeSuffix, txnSuffix} {
		if base, ok = parseOffsetName(name, suffix); ok {
			return base, true
		}
	}
	return 0, false
}

// dropSuffix removes the files with a suffix and an offset at or above from.
func (r *recoverer) dropSuffix(suffix string, from int64) {
	for name := range r.names {
		bare, ok := strings.CutSuffix(name, suffix)
		if !ok {
			continue
		}
		if base, known := segmentFile(bare); known && base < from {
			continue
		}
		r.l.removeFile(name)
		delete(r.names, name)
	}
}

// lowest is the smallest offset among the files with a suffix.
func (r *recoverer) lowest(suffix string) (first int64, ok bool) {
	for name := range r.names {
		bare, is := strings.CutSuffix(name, suffix)
		if base, known := segmentFile(bare); is && known && (!ok || base < first) {
			first, ok = base, true
		}
	}
	return first, ok
}

// swapRange is the range of offsets that the .swap segments stand for; from is -1 if there are none.
func (r *recoverer) swapRange() (from, to int64, err error) {
	from, to = -1, -1
	for name := range r.names {
		base, ok := parseOffsetName(name, logSuffix+swapSuffix)
		if !ok {
			continue
		}
		next, err := r.swapEnd(base)
		if err != nil {
			return -1, -1, err
		}
		if from < 0 || base < from {
			from = base
		}
		to = max(to, next)
	}
	return from, to, nil
}

// swapEnd is the offset after the last batch of a .swap segment; its base + 1 if it is empty.
func (r *recoverer) swapEnd(base int64) (int64, error) {
	f, err := r.l.store.opts.FS.Open(path.Join(r.l.home(), segmentName(base)+logSuffix+swapSuffix))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	sc := newScanner(f, size)
	defer sc.free()
	next := base + 1
	_, err = sc.seek(0, func(h *header) bool { next = h.last + 1; return false })
	return next, err
}
