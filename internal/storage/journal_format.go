package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"unsafe"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// A journal file is a header block and then units, each beginning at a multiple of 4096 and written
// by one write. A unit holds entries back to back. All integers are big-endian; docs/format/journal.md.
const (
	journalBlock   = 4096
	journalMagic   = "LSTDJRNL"
	journalVersion = 1

	// header block: magic 8, version 4, generation 8, live 4 (1, or 0 in a file whose content is of no
	// use any more), CRC-32C of the 24 bytes before 4. Generations only rise, over all files of a
	// directory, so that units that an earlier use left behind are never taken for new ones.
	journalHeadBytes = 28

	unitMagic = 0x4c534a55 // "LSJU"
	// unit: magic 4, CRC-32C of all that follows 4, generation 8, number 8, length of the entries 4,
	// count of entries 4
	unitHeadBytes = 32
	unitSumAt     = 4
	unitSumFrom   = 8 // the first byte that it covers

	// entry: kind 1, length of topic 1, partition 4, topic id 16, offset 8; of data also the
	// segment's base offset 8, position 4, length 4. Topic and data follow.
	entryHeadBytes = 30
	entryDataBytes = 16
)

// entryKind says what a journal entry means.
type entryKind uint8

const (
	// entryData: the batch that was written at a position of a segment.
	entryData entryKind = 1
	// entryStart: the log start has moved to offset.
	entryStart entryKind = 2
	// entryStable: what is below offset is durable in the segments, which may look different by now,
	// or has gone with them; nothing below it is replayed.
	entryStable entryKind = 3
	// entryCut: the log was cut at offset; nothing from before this entry at or above it is replayed.
	entryCut entryKind = 4
	// entryGone: the log was deleted; nothing from before this entry is replayed.
	entryGone entryKind = 5
)

// journalEntry is one decoded entry.
type journalEntry struct {
	kind    entryKind
	tp      base.TopicPartition
	topicID base.TopicID
	offset  int64 // data: base offset of the batch
	segment int64
	pos     int64
	data    []byte
}

// lastOffset is that of the batch of a data entry.
func (e *journalEntry) lastOffset() int64 {
	h, err := parseHeader(e.data, int64(len(e.data)))
	if err != nil {
		return e.offset
	}
	return h.last
}

func appendEntryHead(b []byte, kind entryKind, l *Log, offset int64) []byte {
	id := l.TopicID()
	b = append(b, byte(kind), byte(len(l.tp.Topic)))
	b = binary.BigEndian.AppendUint32(b, uint32(l.tp.Partition))
	b = append(b, id[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(offset))
}

func appendData(b []byte, l *Log, segment, pos int64, h *header, data []byte) []byte {
	b = appendEntryHead(b, entryData, l, h.base)
	b = binary.BigEndian.AppendUint64(b, uint64(segment))
	b = binary.BigEndian.AppendUint32(b, uint32(pos))
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	b = append(b, l.tp.Topic...)
	return append(b, data...)
}

func appendNote(b []byte, kind entryKind, l *Log, offset int64) []byte {
	return append(appendEntryHead(b, kind, l, offset), l.tp.Topic...)
}

var errEntry = errors.New("a journal entry that goes past the end of its unit")

// parseEntry reads the entry at the front of b; data aliases b.
func parseEntry(b []byte) (e journalEntry, rest []byte, err error) {
	if len(b) < entryHeadBytes {
		return e, nil, errEntry
	}
	e.kind = entryKind(b[0])
	topic := int(b[1])
	e.tp.Partition = int32(binary.BigEndian.Uint32(b[2:]))
	copy(e.topicID[:], b[6:])
	e.offset = int64(binary.BigEndian.Uint64(b[22:]))
	b = b[entryHeadBytes:]
	n := 0
	if e.kind == entryData {
		if len(b) < entryDataBytes {
			return e, nil, errEntry
		}
		e.segment = int64(binary.BigEndian.Uint64(b))
		e.pos = int64(binary.BigEndian.Uint32(b[8:]))
		n = int(binary.BigEndian.Uint32(b[12:]))
		b = b[entryDataBytes:]
	}
	switch {
	case e.kind < entryData || e.kind > entryGone:
		return e, nil, fmt.Errorf("a journal entry of unknown kind %d", e.kind)
	case n < 0 || n > math.MaxInt32 || topic+n > len(b):
		return e, nil, errEntry
	case topic == 0 || e.tp.Partition < 0 || e.offset < 0 || e.segment < 0:
		return e, nil, errors.New("a journal entry with impossible values")
	}
	e.tp.Topic = string(b[:topic])
	e.data = b[topic : topic+n]
	return e, b[topic+n:], nil
}

// putUnitHead fills the head of a unit whose entries are in place, with checksums that are known of some.
func putUnitHead(u []byte, generation, number uint64, entries uint32, known []batchSum) {
	binary.BigEndian.PutUint32(u, unitMagic)
	binary.BigEndian.PutUint64(u[8:], generation)
	binary.BigEndian.PutUint64(u[16:], number)
	binary.BigEndian.PutUint32(u[24:], uint32(len(u)-unitHeadBytes))
	binary.BigEndian.PutUint32(u[28:], entries)
	binary.BigEndian.PutUint32(u[unitSumAt:], unitSum(u, known))
}

// unitGeneration is the generation of the unit that u begins, 0 if it begins none.
func unitGeneration(u []byte) uint64 {
	if len(u) < unitHeadBytes || binary.BigEndian.Uint32(u) != unitMagic {
		return 0
	}
	return binary.BigEndian.Uint64(u[8:])
}

func putJournalHead(b []byte, generation uint64, live bool) {
	clear(b[:journalBlock])
	copy(b, journalMagic)
	binary.BigEndian.PutUint32(b[8:], journalVersion)
	binary.BigEndian.PutUint64(b[12:], generation)
	if live {
		binary.BigEndian.PutUint32(b[20:], 1)
	}
	binary.BigEndian.PutUint32(b[24:], crc32.Checksum(b[:24], castagnoli))
}

// parseJournalHead reads the header block. A file that was never used, or whose header was torn
// while it was being taken into use, is not live and of generation 0.
func parseJournalHead(b []byte) (generation uint64, live bool, err error) {
	if len(b) < journalHeadBytes || string(b[:8]) != journalMagic {
		return 0, false, nil
	}
	if binary.BigEndian.Uint32(b[24:]) != crc32.Checksum(b[:24], castagnoli) {
		return 0, false, nil
	}
	if v := binary.BigEndian.Uint32(b[8:]); v != journalVersion {
		return 0, false, fmt.Errorf("journal version %d, want %d; start the version that wrote it once, and stop it cleanly",
			v, journalVersion)
	}
	return binary.BigEndian.Uint64(b[12:]), binary.BigEndian.Uint32(b[20:]) == 1, nil
}

// journalReader walks the units of one journal file.
type journalReader struct {
	f          vfs.File
	size       int64
	generation uint64
	pos        int64
	number     uint64
	buf        []byte

	harmed  bool        // the last unit had batches in it whose bytes are not those that were journaled
	damaged func(error) // hears of a unit that was whole once and is not any more; nil: nobody does
}

// next returns the entries of the next unit, or nil at the end: the first block that is not the
// unit that must follow. Where another one follows on a unit, that one was written as a whole, and a checksum that
// does not hold is damage. If it holds with what the batches say of themselves, all but the bytes of some batches
// is sound, and the unit is given with harmed set.
func (r *journalReader) next() ([]byte, error) {
	head, err := r.read(r.pos, unitHeadBytes)
	if err != nil || head == nil {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint32(head[24:]))
	if binary.BigEndian.Uint32(head) != unitMagic || binary.BigEndian.Uint64(head[8:]) != r.generation ||
		binary.BigEndian.Uint64(head[16:]) != r.number || r.pos+unitHeadBytes+n > r.size {
		return nil, nil
	}
	u, err := r.read(r.pos, unitHeadBytes+n)
	if err != nil || u == nil {
		return nil, err
	}
	r.harmed = false
	if want, got := binary.BigEndian.Uint32(u[unitSumAt:]), unitSum(u, nil); want != got {
		if followed, err := r.followed(int64(len(u))); err != nil || !followed {
			return nil, err
		}
		r.harmed = unitSum(u, saidSums(u)) == want
		if r.damaged != nil {
			r.damaged(fmt.Errorf("unit %d at byte %d of the journal has the checksum %08x, its bytes give %08x", r.number, r.pos, want, got))
		}
		if !r.harmed {
			return nil, nil
		}
	}
	r.pos += roundUp(int64(len(u)), journalBlock)
	r.number++
	return u[unitHeadBytes:], nil
}

// followed reports whether the unit that must follow on the one of n bytes at hand begins behind it. It leaves that one in
// the buffer.
func (r *journalReader) followed(n int64) (bool, error) {
	head := make([]byte, unitHeadBytes)
	m, err := r.f.ReadAt(head, r.pos+roundUp(n, journalBlock))
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return m == unitHeadBytes && unitGeneration(head) == r.generation && binary.BigEndian.Uint64(head[16:]) == r.number+1, nil
}

// read gives n bytes at pos, nil if the file ends before.
func (r *journalReader) read(pos, n int64) ([]byte, error) {
	if pos+n > r.size {
		return nil, nil
	}
	if int64(cap(r.buf)) < n {
		r.buf = alignedBuffer(int(max(roundUp(n, journalBlock), 64<<10)))
	}
	m, err := r.f.ReadAt(r.buf[:n], pos)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if int64(m) < n {
		return nil, nil
	}
	return r.buf[:n], nil
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// alignedBuffer returns n bytes whose address is a multiple of journalBlock.
func alignedBuffer(n int) []byte {
	b := make([]byte, n+journalBlock)
	skip := 0
	if over := int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % journalBlock); over != 0 {
		skip = journalBlock - over
	}
	return b[skip : skip+n : skip+n]
}
