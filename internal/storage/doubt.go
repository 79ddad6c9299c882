package storage

import (
	"slices"
	"sync"
)

// doubt is what this process does not know of a segment that it found on disk. What it appended
// itself it knows; the rest is checked once, before it is first given away (check.go), and again
// by the scrubber (scrub.go). A segment without a doubt, which is every one before long, costs a
// read one atomic load.
type doubt struct {
	until int64 // bytes from here on were written by this process

	mu    sync.Mutex
	sound []extent   // checked; ascending, apart from each other, from batch to batch
	bad   []badBytes // found damaged; ascending
}

// badBytes is a damaged place: the bytes, and the offsets that are lost with them, first <= lost < next.
type badBytes struct {
	extent
	first, next int64
	expected    string
	found       error
}

// soundKept bounds the list of checked places; one that is forgotten is checked again.
const soundKept = 256

// covers reports whether all of [from, to) is known to be sound.
func (d *doubt) covers(from, to int64) bool {
	to = min(to, d.until)
	if from >= to {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	i, _ := slices.BinarySearchFunc(d.sound, from, func(e extent, at int64) int { return int(min(max(e.to-at, -1), 1)) })
	for ; i < len(d.sound) && d.sound[i].to <= from; i++ {
	}
	return i < len(d.sound) && d.sound[i].from <= from && to <= d.sound[i].to
}

// badAt is the damaged place that begins at pos, or nil.
func (d *doubt) badAt(pos int64) *badBytes {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.bad {
		if d.bad[i].from == pos {
			b := d.bad[i]
			return &b
		}
	}
	return nil
}

// vouch notes that [from, to) was checked.
func (d *doubt) vouch(from, to int64) {
	to = min(to, d.until)
	if from >= to {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	i := 0
	for i < len(d.sound) && d.sound[i].to < from {
		i++
	}
	j := i
	for j < len(d.sound) && d.sound[j].from <= to {
		from, to = min(from, d.sound[j].from), max(to, d.sound[j].to)
		j++
	}
	d.sound = slices.Replace(d.sound, i, j, extent{from, to})
	if len(d.sound) > soundKept {
		d.sound = slices.Delete(d.sound, 0, 1)
	}
}

// blame notes a damaged place; it reports whether it is a new one.
func (d *doubt) blame(b badBytes) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := 0
	for i < len(d.bad) && d.bad[i].from < b.from {
		i++
	}
	if i < len(d.bad) && d.bad[i].from == b.from {
		return false
	}
	d.bad = slices.Insert(d.bad, i, b)
	return true
}

// gone reports whether nothing is in doubt any more.
func (d *doubt) gone() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.bad) == 0 && (d.until <= 0 || len(d.sound) == 1 && d.sound[0].from == 0 && d.sound[0].to >= d.until)
}

// below is the doubt of a segment that was cut to size.
func (d *doubt) below(size int64) *doubt {
	c := &doubt{until: min(d.until, size)}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.sound {
		if e.to = min(e.to, size); e.from < e.to {
			c.sound = append(c.sound, e)
		}
	}
	for _, b := range d.bad {
		if b.from < size {
			b.to = min(b.to, size)
			c.bad = append(c.bad, b)
		}
	}
	return c
}

// suspect puts the segment's first n bytes in doubt.
func (s *segment) suspect(n int64) {
	if n <= 0 {
		s.doubt.Store(nil)
		return
	}
	s.doubt.Store(&doubt{until: n})
}
