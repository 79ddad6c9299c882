package storage

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math"
	"slices"
	"sort"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// Sizes of index entries on disk, as Apache Kafka writes them.
const (
	offsetEntryBytes = 8  // int32 last offset of a batch - base, int32 position of that batch
	timeEntryBytes   = 12 // int64 greatest timestamp so far, int32 last offset of its batch - base
	txnEntryBytes    = 34 // int16 version 0, producer id, first offset, last offset, last stable offset

)

// offsetEntry packs relative offset (high half) and position (low half), so that entries compare
// by offset.
type offsetEntry uint64

func newOffsetEntry(rel, pos int64) offsetEntry {
	return offsetEntry(uint64(rel)<<32 | uint64(uint32(pos)))
}
func (e offsetEntry) rel() int64 { return int64(e >> 32) }
func (e offsetEntry) pos() int64 { return int64(uint32(e)) }

// timeEntry is one point of the rising curve "greatest timestamp up to offset".
type timeEntry struct {
	ts  int64
	rel int32
}

// txnEntry is an aborted transaction and the last stable offset when it ended.
type txnEntry struct {
	AbortedTxn
	lso int64
}

// indexes is what the three index files of a segment hold. The written counts are how many entries
// the files have. Log.mu guards it while the segment is the active one; that of a sealed segment is
// only ever replaced, never changed.
type indexes struct {
	offs  []offsetEntry
	times []timeEntry
	txns  []txnEntry

	offsWritten, timesWritten, txnsWritten int

	stale bool // the files hold more than these entries
}

// floor is the position of the last indexed batch whose last offset is at or below base+rel, 0 if
// there is none.
func (x *indexes) floor(rel int64) int64 {
	if rel < 0 {
		return 0
	}
	if rel > math.MaxInt32 {
		rel = math.MaxInt32
	}
	i := sort.Search(len(x.offs), func(i int) bool { return x.offs[i].rel() > rel })
	if i == 0 {
		return 0
	}
	return x.offs[i-1].pos()
}

// floorPos is the last indexed batch position at or below pos, 0 if there is none.
func (x *indexes) floorPos(pos int64) int64 {
	i := sort.Search(len(x.offs), func(i int) bool { return x.offs[i].pos() > pos })
	if i == 0 {
		return 0
	}
	return x.offs[i-1].pos()
}

// floorTime is the relative offset of the last entry whose timestamp is at or below ts, 0 if there
// is none.
func (x *indexes) floorTime(ts int64) int64 {
	i := sort.Search(len(x.times), func(i int) bool { return x.times[i].ts > ts })
	if i == 0 {
		return 0
	}
	return int64(x.times[i-1].rel)
}

// addOffset notes the batch at pos, whose last offset is base+rel.
func (x *indexes) addOffset(rel, pos int64) {
	if n := len(x.offs); n > 0 && x.offs[n-1].rel() >= rel {
		return
	}
	x.offs = append(x.offs, newOffsetEntry(rel, pos))
}

// addTime notes the greatest timestamp so far; only a rising one makes an entry.
func (x *indexes) addTime(ts, rel int64) {
	n := len(x.times)
	if n == 0 && ts < 0 || n > 0 && (x.times[n-1].ts >= ts || int64(x.times[n-1].rel) > rel) {
		return
	}
	x.times = append(x.times, timeEntry{ts, int32(rel)})
}

// truncate drops what is at or above base+rel. It reports whether the files hold such entries.
func (x *indexes) truncate(rel, offset int64) (cut bool) {
	x.offs = x.offs[:sort.Search(len(x.offs), func(i int) bool { return x.offs[i].rel() >= rel })]
	x.times = x.times[:sort.Search(len(x.times), func(i int) bool { return int64(x.times[i].rel) >= rel })]
	x.txns = x.txns[:sort.Search(len(x.txns), func(i int) bool { return x.txns[i].LastOffset >= offset })]
	cut = len(x.offs) < x.offsWritten || len(x.times) < x.timesWritten || len(x.txns) < x.txnsWritten
	x.stale = x.stale || cut
	x.clampWritten()
	return cut
}

// clampWritten: what was cut is not in the files either, once they are written again.
func (x *indexes) clampWritten() {
	x.offsWritten = min(x.offsWritten, len(x.offs))
	x.timesWritten = min(x.timesWritten, len(x.times))
	x.txnsWritten = min(x.txnsWritten, len(x.txns))
}

// written reports whether the files hold every entry.
func (x *indexes) written() bool {
	return !x.stale && x.offsWritten == len(x.offs) && x.timesWritten == len(x.times) && x.txnsWritten == len(x.txns)
}

// clone copies the slices' headers; entries are never changed in place, so it is a snapshot.
func (x *indexes) clone() indexes {
	c := *x
	c.offs, c.times, c.txns = slices.Clip(x.offs), slices.Clip(x.times), slices.Clip(x.txns)
	return c
}

func appendOffsets(b []byte, list []offsetEntry) []byte {
	for _, e := range list {
		b = binary.BigEndian.AppendUint64(b, uint64(e))
	}
	return b
}

func appendTimes(b []byte, list []timeEntry) []byte {
	for _, e := range list {
		b = binary.BigEndian.AppendUint64(b, uint64(e.ts))
		b = binary.BigEndian.AppendUint32(b, uint32(e.rel))
	}
	return b
}

func appendTxns(b []byte, list []txnEntry) []byte {
	for _, e := range list {
		b = binary.BigEndian.AppendUint16(b, 0)
		b = binary.BigEndian.AppendUint64(b, uint64(e.ProducerID))
		b = binary.BigEndian.AppendUint64(b, uint64(e.FirstOffset))
		b = binary.BigEndian.AppendUint64(b, uint64(e.LastOffset))
		b = binary.BigEndian.AppendUint64(b, uint64(e.lso))
	}
	return b
}

// parseOffset takes the next entry of an offset index. It reports false for one that cannot be
// right: in a segment of size bytes offsets and positions rise, and no entry is at the front.
func (x *indexes) parseOffset(b []byte, size int64) bool {
	e := offsetEntry(binary.BigEndian.Uint64(b))
	if e.rel() > math.MaxInt32 || e.pos() >= size || e.pos() == 0 {
		return false
	}
	if n := len(x.offs); n > 0 && (e.rel() <= x.offs[n-1].rel() || e.pos() <= x.offs[n-1].pos()) {
		return false
	}
	x.offs = append(x.offs, e)
	return true
}

// parseTime takes the next entry of a time index the same way.
func (x *indexes) parseTime(b []byte) bool {
	e := timeEntry{int64(binary.BigEndian.Uint64(b)), int32(binary.BigEndian.Uint32(b[8:]))}
	if e.ts < 0 || e.rel < 0 || e.ts == 0 && e.rel == 0 && len(x.times) == 0 {
		return false
	}
	if n := len(x.times); n > 0 && (e.ts <= x.times[n-1].ts || e.rel < x.times[n-1].rel) {
		return false
	}
	x.times = append(x.times, e)
	return true
}

// parseTxn takes the next entry of a transaction index the same way. base is the segment's.
func (x *indexes) parseTxn(b []byte, base int64) bool {
	e := txnEntry{AbortedTxn{
		ProducerID:  int64(binary.BigEndian.Uint64(b[2:])),
		FirstOffset: int64(binary.BigEndian.Uint64(b[10:])),
		LastOffset:  int64(binary.BigEndian.Uint64(b[18:])),
	}, int64(binary.BigEndian.Uint64(b[26:]))}
	// A marker is above its first record, so the zeros that a crash may leave are no entry.
	if binary.BigEndian.Uint16(b) != 0 || e.ProducerID < 0 || e.LastOffset < base || e.FirstOffset >= e.LastOffset {
		return false
	}
	if n := len(x.txns); n > 0 && e.LastOffset <= x.txns[n-1].LastOffset {
		return false
	}
	x.txns = append(x.txns, e)
	return true
}

// indexState is what was found of an index file.
type indexState int8

const (
	indexWhole  indexState = iota
	indexAbsent            // there is no file
	indexCut               // there is more in it than entries that can be right
)

// indexChunkEntries is how many entries are read at a time.
const indexChunkEntries = 4096

// readIndex gives the entries of an index file to take, up to the first one that it refuses. A file
// that Kafka left when it died has millions of zeros behind the last entry, which are not read.
func readIndex(fsys vfs.FS, name string, entry int, take func([]byte) bool) (indexState, error) {
	f, err := fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return indexAbsent, nil
	}
	if err != nil {
		return indexAbsent, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return indexAbsent, err
	}
	if size == 0 {
		return indexWhole, nil
	}
	buf := make([]byte, min(size, int64(indexChunkEntries*entry)))
	for at := int64(0); at < size; at += int64(len(buf)) {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return indexAbsent, err
		}
		for b := buf[:n]; len(b) > 0; b = b[entry:] {
			if len(b) < entry || !take(b) {
				return indexCut, nil
			}
		}
	}
	return indexWhole, nil
}

// readOptional reads a file that may be absent.
func readOptional(fsys vfs.FS, name string, limit int64) (data []byte, exists bool, err error) {
	data, err = vfs.ReadFile(fsys, name, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	return data, err == nil, err
}

// writeTail brings an index file from its first written entries to data's: data begins at byte at.
func writeTail(fsys vfs.FS, name string, at int64, data []byte, sync bool) (err error) {
	f, err := fsys.OpenReadWrite(name)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if len(data) > 0 {
		if _, err = f.WriteAt(data, at); err != nil {
			return err
		}
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	if end := at + int64(len(data)); size > end {
		if err = f.Truncate(end); err != nil {
			return err
		}
	}
	if sync {
		err = f.Sync()
	}
	return err
}
