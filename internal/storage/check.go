package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// checker goes over the batches of a segment and checks those that are in doubt: checksum, length,
// and what the checksum does not cover by the neighbours: base offset and leader epoch.
type checker struct {
	l    *Log
	s    *segment
	d    *doubt
	f    vfs.File
	size int64 // bytes of the segment that are looked at
	end  int64 // no offset of the segment reaches it
	sc   scanner
	anew bool // what was found sound before is checked again

	pos   int64
	next  int64  // the batch at pos does not begin below it
	epoch int32  // of the batch before, -1 if unknown
	cut   uint32 // Log.cuts when size was read
	fresh int64  // position from which on all was found sound and is not noted yet
	taken int64  // bytes that were checked
}

func (l *Log) newChecker(s *segment, d *doubt, f vfs.File, size, end int64, cut uint32) (c *checker, free func()) {
	buf, _ := copyBuffers.Get().(*[]byte)
	c = &checker{l: l, s: s, d: d, f: f, size: size, end: end, cut: cut, sc: scanner{f: f, size: size, buf: *buf, at: -1}}
	c.rewind()
	return c, func() {
		c.vouch()
		if d.gone() {
			s.doubt.CompareAndSwap(d, nil)
		}
		copyBuffers.Put(buf)
	}
}

// rewind goes to the first batch.
func (c *checker) rewind() { c.pos, c.fresh, c.next, c.epoch = 0, 0, c.s.base, -1 }

// start goes to the last indexed batch that ends below offset, if the index and the batch agree on
// it, and else to the front: then one of both is damaged.
func (c *checker) start(offset int64) {
	x := c.s.idx.Load()
	if x == nil {
		return
	}
	floor := func(rel int64) int64 {
		c.l.mu.Lock()
		defer c.l.mu.Unlock()
		return x.floor(rel)
	}
	pos := floor(offset - c.s.base)
	if pos <= 0 || pos >= c.size {
		return
	}
	h, err := c.sc.header(pos)
	if err != nil || floor(h.last-c.s.base) != pos || floor(h.last-c.s.base-1) == pos {
		return
	}
	c.pos, c.fresh, c.next = pos, pos, h.base
}

// vouch notes what was found sound up to here.
func (c *checker) vouch() {
	c.d.vouch(c.fresh, c.pos)
	c.fresh = c.pos
}

// step checks the batch at pos and goes behind it. bad is what is damaged instead.
func (c *checker) step() (h header, bad *badBytes, err error) {
	if bad = c.d.badAt(c.pos); bad == nil {
		if h, bad, err = c.judge(); err != nil {
			return h, nil, err
		}
	}
	if bad != nil {
		if c.l.wasCut(c.cut) {
			return h, nil, fmt.Errorf("%s was cut while it was read: %w", c.f.Name(), fs.ErrNotExist)
		}
		c.vouch()
		if c.d.blame(*bad) {
			c.s.doubt.CompareAndSwap(nil, c.d)
		}
		c.l.noteDamage(bad.damage(c.l, c.s))
		c.pos, c.fresh, c.next = bad.to, bad.to, max(c.next, bad.next)
		return h, bad, nil
	}
	c.pos += h.size
	c.next, c.epoch = h.last+1, h.epoch
	return h, nil, nil
}

// wasCut reports whether the log was truncated since it had been cut `cut` times.
func (l *Log) wasCut(cut uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cuts.Load() != cut
}

func (b *badBytes) damage(l *Log, s *segment) Damage {
	return Damage{File: l.filePath(s, logSuffix), Position: b.from, Length: b.to - b.from, Expected: b.expected,
		Found: b.found.Error(), First: b.first, Next: b.next}
}

// judge reads the batch at pos.
func (c *checker) judge() (h header, bad *badBytes, err error) {
	h, err = c.sc.header(c.pos)
	var d *damagedError
	if errors.As(err, &d) {
		bad, err = c.resync("a batch", d.found)
		return h, bad, err
	}
	if err != nil || !c.anew && c.d.covers(c.pos, c.pos+h.size) {
		return h, nil, err
	}
	c.taken += h.size
	sum, err := c.checksum(&h)
	if err != nil {
		return h, nil, err
	}
	behind, last, err := c.behind(&h)
	if err != nil {
		return h, nil, err
	}
	if sum != nil {
		if behind == nil && !last || behind != nil && (behind.base < c.next || behind.last >= c.end) {
			// The length may be what is wrong.
			bad, err = c.resync("a batch with its checksum", sum)
			return h, bad, err
		}
		return h, c.only(&h, behind, "a batch with its checksum", sum), nil
	}
	return h, c.misplaced(&h, behind, last), nil
}

// behind is the header after h, nil if there is none that can be read. last says that h ends the segment.
func (c *checker) behind(h *header) (b *header, last bool, err error) {
	at := c.pos + h.size
	if at >= c.size {
		return nil, true, nil
	}
	n, err := c.sc.header(at)
	var d *damagedError
	if errors.As(err, &d) {
		return nil, false, nil // it is judged in its turn
	}
	return &n, false, err
}

// misplaced compares what the checksum does not cover with the neighbours. Offsets may have gaps
// but never overlap: where two batches do, the one is right that follows its predecessor without a gap.
func (c *checker) misplaced(h, behind *header, last bool) *badBytes {
	if h.base < c.next {
		return c.only(h, behind, fmt.Sprintf("base offset %d or above", c.next), fmt.Errorf("base offset %d", h.base))
	}
	limit := c.end
	if behind != nil {
		limit = behind.base
	}
	if (behind != nil || last) && h.last >= limit && (last || h.base != c.next) {
		bad := c.only(h, behind, fmt.Sprintf("a batch between offsets %d and %d", c.next, limit),
			fmt.Errorf("base offset %d and last offset %d", h.base, h.last))
		if behind != nil && c.next+int64(h.lastDelta)+1 != behind.base {
			bad.to, bad.next = bad.to+behind.size, max(behind.last+1, h.last+1) // it cannot be told which of both is wrong
		}
		return bad
	}
	e, known := c.l.EpochAt(h.base)
	if known && h.epoch >= 0 && e != h.epoch && (h.epoch < c.epoch || behind != nil && behind.epoch < h.epoch) {
		return c.only(h, behind, fmt.Sprintf("leader epoch %d", e), fmt.Errorf("leader epoch %d", h.epoch))
	}
	return nil
}

// only is the damage of the batch at pos alone.
func (c *checker) only(h, behind *header, expected string, found error) *badBytes {
	next := c.end
	if behind != nil && behind.base >= c.next {
		next = behind.base
	} else if behind != nil {
		next = c.next + int64(h.lastDelta) + 1
	}
	return &badBytes{extent: extent{c.pos, c.pos + h.size}, first: c.next, next: min(next, c.end), expected: expected, found: found}
}

// resync is the damage from pos to the next sound batch.
func (c *checker) resync(expected string, found error) (*badBytes, error) {
	v := verifier{r: &recoverer{l: c.l}, s: c.s, f: &handle{f: c.f}, size: c.size}
	to, next, err := v.resync(c.pos, c.next)
	if err != nil {
		return nil, err
	}
	if to < 0 {
		to, next = c.size, c.end
	}
	return &badBytes{extent: extent{c.pos, to}, first: c.next, next: next, expected: expected, found: found}, nil
}

// checksum compares the checksum of the batch at pos; a large one is read in pieces.
func (c *checker) checksum(h *header) (bad, err error) {
	if h.size+minBatchBytes <= int64(len(c.sc.buf)) {
		b, err := c.sc.bytes(c.pos, int(h.size)+minBatchBytes) // with the header behind it, which is looked at next
		switch {
		case err != nil:
			return nil, err
		case int64(len(b)) < h.size:
			return io.ErrUnexpectedEOF, nil
		}
		return checkCRC(b[:h.size]), nil
	}
	head, err := c.sc.bytes(c.pos, minBatchBytes)
	if err != nil {
		return nil, err
	}
	from, want, table := int64(21), binary.BigEndian.Uint32(head[17:]), castagnoli
	if h.magic < 2 {
		from, want, table = 16, binary.BigEndian.Uint32(head[12:]), crc32.IEEETable
	}
	c.sc.at = -1 // the buffer is used for the pieces
	got := uint32(0)
	for at := c.pos + from; at < c.pos+h.size; {
		n, err := c.f.ReadAt(c.sc.buf[:min(int64(len(c.sc.buf)), c.pos+h.size-at)], at)
		if n == 0 {
			if err == nil || errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF, nil
			}
			return nil, err
		}
		got = crc32.Update(got, table, c.sc.buf[:n])
		at += int64(n)
	}
	if got != want {
		return fmt.Errorf("checksum %08x over bytes whose checksum is %08x", want, got), nil
	}
	return nil, nil
}

// cutChecked finds what to give of a segment that is in doubt: batches from the one that holds offset
// on, up to the first damage. Damage at the offset itself is the answer.
func (l *Log) cutChecked(h *handle, p *plan, d *doubt, offset, maxBytes, upTo int64, minOne bool) (*FileRange, error) {
	c, free := l.newChecker(p.seg, d, h.f, p.size, p.nextOffset, p.cuts)
	defer free()
	c.start(offset)
	var r *FileRange
	for c.pos < c.size {
		pos := c.pos
		b, bad, err := c.step()
		switch {
		case err != nil:
			return nil, err
		case bad != nil && r != nil:
			return r, nil
		case bad != nil && bad.next > offset:
			return nil, &damagedError{file: h.f.Name(), pos: pos, found: bad.found}
		case bad != nil || b.last < offset:
			continue
		case b.last >= upTo || r == nil && b.size > maxBytes && !minOne || r != nil && pos+b.size-r.pos > maxBytes:
			return r, nil
		case r == nil:
			r = &FileRange{h: h, pos: pos, FirstOffset: b.base}
		}
		r.n, r.NextOffset = c.pos-r.pos, b.last+1
	}
	p.exhausted = r == nil
	return r, nil
}

// checkAll checks whatever of the segment's bytes below size is in doubt; the error is the first damage.
func (l *Log) checkAll(s *segment, h *handle, size, end int64, cut uint32) error {
	d := s.doubt.Load()
	if d == nil {
		return nil
	}
	c, free := l.newChecker(s, d, h.f, size, end, cut)
	defer free()
	var first error
	for c.pos < c.size {
		pos := c.pos
		_, bad, err := c.step()
		if err != nil {
			return err
		}
		if bad != nil && first == nil {
			first = &damagedError{file: h.f.Name(), pos: pos, found: bad.found}
		}
	}
	return first
}
