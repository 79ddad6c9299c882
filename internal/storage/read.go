package storage

import (
	"errors"
	"io"
	"io/fs"
	"sort"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
)

// FileRange is a run of whole batches in a segment file. It keeps the file open until Release. It
// is the External of a kmsg.Records.
type FileRange struct {
	h   *handle
	pos int64
	n   int64
	// FirstOffset is the base offset of the first batch where it is known, else the offset asked
	// for; NextOffset is an offset that no record of the range reaches.
	FirstOffset, NextOffset int64
}

// Len is the number of bytes.
func (r *FileRange) Len() int { return int(r.n) }

// ReadAt reads from the range as if it were a file.
func (r *FileRange) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= r.n {
		return 0, io.EOF
	}
	short := false
	if left := r.n - off; int64(len(p)) > left {
		p, short = p[:left], true
	}
	n, err := r.h.f.ReadAt(p, r.pos+off)
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

// copyChunk stays below 1 MiB, from where copies bypass the cache (performance.md §1).
const copyChunk = 256 << 10

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, copyChunk); return &b }}

// WriteTo copies the range to w through a pooled buffer.
func (r *FileRange) WriteTo(w io.Writer) (total int64, err error) {
	buf, _ := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for total < r.n {
		n, err := r.ReadAt((*buf)[:min(copyChunk, r.n-total)], total)
		if n == 0 {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return total, err
		}
		m, err := w.Write((*buf)[:n])
		total += int64(m)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// Fd is the file's descriptor for sendfile, valid until Release; ok is false where there is none.
func (r *FileRange) Fd() (fd uintptr, ok bool) { return r.h.f.Fd() }

// Offset is where the range begins in the file.
func (r *FileRange) Offset() int64 { return r.pos }

// Name is the path of the file, for errors.
func (r *FileRange) Name() string { return r.h.f.Name() }

// Release lets go of the file. Nothing of the range may be used afterwards.
func (r *FileRange) Release() {
	if h := r.h; h != nil {
		r.h = nil
		h.release()
	}
}

// readRetries bounds how often Read starts over because the segment it chose was replaced.
const readRetries = 3

// Read returns whole batches from the one that holds offset on: at most maxBytes, all below the
// bound upTo (a high watermark, last stable offset or log end). minOne gives the first batch even
// if it is larger than maxBytes (KIP-74). nil means that there is nothing to read now. An offset
// outside [start, end] is kerr.OffsetOutOfRange.
func (l *Log) Read(offset int64, maxBytes int32, upTo int64, minOne bool) (*FileRange, error) {
	for try := 0; ; try++ {
		r, err := l.readOnce(offset, int64(maxBytes), upTo, minOne)
		if err == nil {
			return r, nil
		}
		var k *kerr.Error
		if errors.As(err, &k) {
			return nil, err
		}
		if errors.Is(err, fs.ErrNotExist) && try < readRetries {
			continue
		}
		return nil, l.readFailed(err)
	}
}

// readFailed: a read that fails because the log is being deleted is no fault of the disk.
func (l *Log) readFailed(err error) error {
	l.mu.Lock()
	uerr := l.usableLocked()
	l.mu.Unlock()
	if uerr != nil {
		return uerr
	}
	var d *damagedError
	if errors.As(err, &d) {
		l.noteDamage(Damage{File: d.file, Position: d.pos, Expected: "a batch", Found: d.found.Error(), First: -1, Next: -1})
	}
	if !isIO(err) {
		return refuse(kerr.CorruptMessage, "%v", err)
	}
	return l.dir.fail(err)
}

// plan is where a read will find its batches, as far as memory knows.
type plan struct {
	seg *segment

	cuts       uint32 // Log.cuts then
	nextOffset int64  // of the segment when the plan was made

	exhausted bool // the segment has no batch that reaches the offset

	from      int64 // position to search from, or to start at if fromExact
	fromExact bool
	first     int64 // first batch: base offset and size, if fromExact
	firstSize int64

	end      int64 // position that must not be passed, if endExact; else search from endFrom
	endExact bool
	endFrom  int64
	next     int64 // offset at end
	size     int64 // of the segment when the plan was made
}

func (l *Log) readOnce(offset, maxBytes, upTo int64, minOne bool) (*FileRange, error) {
	if start, end := l.start.Load(), l.end.Load(); offset < start || offset > end {
		return nil, refuse(kerr.OffsetOutOfRange, "offset %d is not in the log of %s, which holds %d to %d",
			offset, l.tp, start, end)
	}
	upTo = min(upTo, l.end.Load())
	for skip := 0; offset < upTo; skip++ {
		p, err := l.plan(offset, upTo, skip)
		if err != nil || p.seg == nil {
			return nil, err
		}
		r, err := l.readSegment(&p, offset, maxBytes, upTo, minOne)
		if r != nil || err != nil || !p.exhausted {
			return r, err
		}
	}
	return nil, nil
}

// plan chooses the segment, skip segments further than the one that should hold offset.
func (l *Log) plan(offset, upTo int64, skip int) (p plan, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err = l.usableLocked(); err != nil {
		return p, err
	}
	i := l.segmentAt(offset) + skip
	for i < len(l.segs) && l.segs[i].next <= offset {
		i++ // a gap that compaction left
	}
	if i >= len(l.segs) || l.segs[i].base >= upTo {
		return p, nil
	}
	s := l.segs[i]
	if s.idx.Load() == nil {
		l.mu.Unlock()
		_, err = l.indexesOf(s)
		l.mu.Lock()
		if err != nil {
			return p, err
		}
	}
	x := s.idx.Load()
	if x == nil { // dropped again in between: without an index the search begins at the front
		x = &indexes{}
	}
	p.seg, p.size, p.nextOffset, p.cuts = s, s.size, s.next, l.cuts.Load()
	l.planStart(&p, x, offset)
	l.planEnd(&p, x, upTo)
	return p, nil
}

func (l *Log) planStart(p *plan, x *indexes, offset int64) {
	if p.seg == l.active() {
		if b := l.recent.find(offset); b != nil {
			p.from, p.fromExact, p.first, p.firstSize = b.pos, true, b.base, b.size
			return
		}
	}
	p.from = x.floor(offset - p.seg.base)
}

func (l *Log) planEnd(p *plan, x *indexes, upTo int64) {
	if upTo >= p.seg.next {
		p.end, p.endExact, p.next = p.seg.size, true, p.seg.next
		return
	}
	if p.seg == l.active() {
		if b := l.recent.find(upTo); b != nil {
			p.end, p.endExact, p.next = b.pos, true, b.base
			return
		}
	}
	p.endFrom = x.floor(upTo - p.seg.base)
}

// find returns the batch that holds offset, or the first one above it, if the ring reaches back
// that far.
func (r *recentBatches) find(offset int64) *recentBatch {
	if r.n == 0 || offset < r.at(0).base {
		return nil
	}
	i := sort.Search(r.n, func(i int) bool { return r.at(i).last >= offset })
	if i == r.n {
		return nil
	}
	return r.at(i)
}

// readSegment finishes a plan with the file.
func (l *Log) readSegment(p *plan, offset, maxBytes, upTo int64, minOne bool) (*FileRange, error) {
	h, err := l.acquire(p.seg)
	if err != nil {
		return nil, err
	}
	d, whole := p.seg.doubt.Load(), *p
	r, err := l.cut(h, p, offset, maxBytes, upTo, minOne)
	if d != nil && (r == nil || r.FirstOffset > offset || !d.covers(r.pos, r.pos+r.n)) {
		*p = whole
		r, err = l.cutChecked(h, p, d, offset, maxBytes, upTo, minOne)
	}
	if r == nil {
		h.release()
	}
	return r, err
}

// cut finds the positions of the first and the last batch to give.
func (l *Log) cut(h *handle, p *plan, offset, maxBytes, upTo int64, minOne bool) (*FileRange, error) {
	sc := newScanner(h.f, p.size)
	defer sc.free()
	if !p.fromExact {
		found, err := sc.seek(p.from, func(b *header) bool { return b.last >= offset })
		if err != nil || found == nil {
			p.exhausted = err == nil
			return nil, err
		}
		p.from, p.first, p.firstSize = sc.pos, found.base, found.size
	}
	if !p.endExact {
		found, err := sc.seek(max(p.endFrom, p.from), func(b *header) bool { return b.last >= upTo })
		if err != nil {
			return nil, err
		}
		p.end, p.next = sc.pos, upTo
		if found == nil {
			p.next = p.seg.next
		}
	}
	if p.end <= p.from {
		return nil, nil
	}
	if limit := p.from + maxBytes; limit < p.end {
		if err := l.shorten(sc, p, limit); err != nil {
			return nil, err
		}
	}
	if p.end < p.from+p.firstSize {
		if !minOne {
			return nil, nil
		}
		p.end, p.next = p.from+p.firstSize, upTo
	}
	return &FileRange{h: h, pos: p.from, n: p.end - p.from, FirstOffset: p.first, NextOffset: min(p.next, upTo)}, nil
}

// shorten moves the end down to the last batch boundary at or below limit.
func (l *Log) shorten(sc *scanner, p *plan, limit int64) error {
	at := p.from
	l.mu.Lock()
	if x := p.seg.idx.Load(); x != nil {
		at = max(at, x.floorPos(limit))
	}
	if p.seg == l.active() {
		if b := l.recent.floorPos(limit); b != nil && b.pos >= p.from {
			l.mu.Unlock()
			p.end, p.next = b.pos, b.base
			return nil
		}
	}
	l.mu.Unlock()
	next := p.first
	_, err := sc.seek(at, func(b *header) bool { next = b.base; return sc.pos+b.size > limit })
	p.end, p.next = sc.pos, next
	return err
}

// floorPos is the last batch that begins at or below pos, if the ring reaches back that far.
func (r *recentBatches) floorPos(pos int64) *recentBatch {
	i := sort.Search(r.n, func(i int) bool { return r.at(i).pos > pos })
	if i == 0 {
		return nil
	}
	return r.at(i - 1)
}
