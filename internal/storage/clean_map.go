package storage

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
)

// offsetMap maps the keys of a log's dirty part to the highest offset of each. Keys are kept as the
// first 128 bits of SHA-256 over a secret of this process and the key: two keys of one log that
// meet would cost the older one its last value, and nobody who only chooses keys can make that
// happen. (Kafka keeps an unkeyed MD5. Comparing whole keys would need a read of the log for each
// record that is dropped.)
//
// The table grows by doubling up to its budget, so that a small log costs little; it is reused from
// log to log.
type offsetMap struct {
	secret [16]byte
	slots  []offsetSlot // a power of two, or as many as the budget allows
	used   int
	budget int   // most slots
	latest int64 // highest offset that the map speaks for; -1 none
	buf    []byte
}

type offsetSlot struct {
	hi, lo uint64
	next   int64 // offset + 1; 0: the slot is empty
}

const (
	offsetSlotBytes = 24
	minOffsetSlots  = 1 << 10
	// offsetMapLoad is how full the table gets (log.cleaner.io.buffer.load.factor), in percent.
	offsetMapLoad = 90
)

// newOffsetMap makes a map that uses at most bytes of memory for its slots.
func newOffsetMap(bytes int64) *offsetMap {
	m := &offsetMap{budget: max(int(bytes/offsetSlotBytes), minOffsetSlots), latest: -1}
	_, _ = rand.Read(m.secret[:]) // never fails: the runtime aborts instead
	return m
}

// reset empties the map; a table far larger than the smallest is let go.
func (m *offsetMap) reset() {
	if len(m.slots) > 64*minOffsetSlots {
		m.slots = nil
	}
	clear(m.slots)
	m.used, m.latest = 0, -1
}

func (m *offsetMap) hash(key []byte) (hi, lo uint64) {
	m.buf = append(append(m.buf[:0], m.secret[:]...), key...)
	sum := sha256.Sum256(m.buf)
	return binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])
}

// find is the slot of the hash, or the empty one where it would go.
func (m *offsetMap) find(hi, lo uint64) *offsetSlot {
	for i := hi % uint64(len(m.slots)); ; i++ {
		if i == uint64(len(m.slots)) {
			i = 0
		}
		if s := &m.slots[i]; s.next == 0 || s.hi == hi && s.lo == lo {
			return s
		}
	}
}

// put notes that the key has a record at offset. It reports false, and notes nothing, when the key
// is new and the map is full.
func (m *offsetMap) put(key []byte, offset int64) bool {
	if !m.room() {
		if len(m.slots) == 0 {
			return false
		}
		hi, lo := m.hash(key)
		s := m.find(hi, lo)
		if s.next == 0 {
			return false
		}
		s.next = max(s.next, offset+1)
		return true
	}
	hi, lo := m.hash(key)
	s := m.find(hi, lo)
	if s.next == 0 {
		m.used++
	}
	*s = offsetSlot{hi, lo, max(s.next, offset+1)}
	return true
}

// room makes sure that one more key fits.
func (m *offsetMap) room() bool {
	if (m.used+1)*100 <= len(m.slots)*offsetMapLoad {
		return true
	}
	size := min(max(2*len(m.slots), minOffsetSlots), m.budget)
	if size <= len(m.slots) {
		return false
	}
	old := m.slots
	m.slots = make([]offsetSlot, size)
	for _, s := range old {
		if s.next != 0 {
			*m.find(s.hi, s.lo) = s
		}
	}
	return (m.used+1)*100 <= len(m.slots)*offsetMapLoad
}

// get is the highest offset known of the key, -1 if none.
func (m *offsetMap) get(key []byte) int64 {
	if m.used == 0 {
		return -1
	}
	hi, lo := m.hash(key)
	return m.find(hi, lo).next - 1
}

// covers lifts the highest offset that the map speaks for.
func (m *offsetMap) covers(offset int64) { m.latest = max(m.latest, offset) }
