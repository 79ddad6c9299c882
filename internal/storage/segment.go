package storage

import (
	"math"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// segment is one .log file and its indexes. But for the handle and the loaded indexes of a sealed
// segment, Log.mu guards it.
type segment struct {
	base int64
	size int64 // bytes of whole batches
	next int64 // last offset + 1; base while empty

	maxTS       int64 // greatest timestamp, -1 if none
	maxTSOffset int64 // last offset of its batch
	firstTS     int64 // greatest timestamp of the first batch; unknownTS until it is needed
	created     time.Time
	jitter      time.Duration
	modified    int64 // ms; when the file was last written, as far as known

	sinceIndex int64 // bytes since the last index entry
	backed     int64 // position up to which the kernel was asked to write
	suffix     string
	sealed     atomic.Bool
	dirty      bool // written since the last sync
	indexed    bool // its index files exist
	exists     bool // the file is there
	roomy      bool // the file was made larger than its content
	newName    bool // the file's name may not be durable yet

	idx    atomic.Pointer[indexes] // nil: not loaded
	doubt  atomic.Pointer[doubt]   // nil: all bytes are known to be sound
	handle atomic.Pointer[handle]
	openMu sync.Mutex // opening the file
	loadMu sync.Mutex // loading the indexes; before openMu
}

const unknownTS = math.MinInt64

func newSegment(base int64, now time.Time, jitter time.Duration) *segment {
	s := &segment{base: base, next: base, maxTS: -1, maxTSOffset: base, firstTS: -1, created: now,
		jitter: jitter, modified: now.UnixMilli()}
	s.idx.Store(&indexes{})
	return s
}

// file is the name of one of the segment's files.
func (s *segment) file(suffix string) string { return segmentName(s.base) + suffix + s.suffix }

// largestTimestamp is what retention goes by: the records', or the file's if they have none.
func (s *segment) largestTimestamp() int64 {
	if s.maxTS >= 0 {
		return s.maxTS
	}
	return s.modified
}

// dropIndexes forgets the indexes of a sealed segment; they are read again when needed.
func (s *segment) dropIndexes() {
	if x := s.idx.Load(); x != nil && s.sealed.Load() && x.written() {
		s.idx.CompareAndSwap(x, nil)
	}
}

// unseal makes the segment one that is written to again. Whoever is about to drop the indexes that a
// sealed segment does not need drops x, and not the copy that is changed from here on.
func (s *segment) unseal(x *indexes) {
	s.sealed.Store(false)
	if x != nil {
		c := x.clone()
		s.idx.Store(&c)
	}
}

// note takes a batch of n bytes that was just written at pos into the indexes and figures.
func (s *segment) note(h *header, pos int64, interval int32) {
	x := s.idx.Load()
	if h.maxTimestamp > s.maxTS {
		s.maxTS, s.maxTSOffset = h.maxTimestamp, h.last
	}
	if pos == 0 {
		s.firstTS = h.maxTimestamp
	}
	if s.sinceIndex > int64(interval) {
		x.addOffset(h.last-s.base, pos)
		x.addTime(s.maxTS, s.maxTSOffset-s.base)
		s.sinceIndex = 0
	}
	s.sinceIndex += h.size
	s.size = pos + h.size
	s.next = h.last + 1
}

// closeTimeIndex adds the last point of the curve, as Kafka does when a segment ends.
func (s *segment) closeTimeIndex() {
	if x := s.idx.Load(); x != nil && s.maxTS >= 0 {
		x.addTime(s.maxTS, s.maxTSOffset-s.base)
	}
}

// full reports whether an index has reached its greatest size, or may have with so many entries more.
func (s *segment) full(indexBytes int32, more int) bool {
	x := s.idx.Load()
	return x != nil && (len(x.offs)+more >= int(indexBytes)/offsetEntryBytes || len(x.times)+more >= int(indexBytes)/timeEntryBytes)
}

// loadIndexes reads the segment's index files. whole is false when a file is absent or was cut
// short by the check, so that the caller knows to rebuild.
func loadIndexes(fsys vfs.FS, dir string, s *segment) (x *indexes, whole bool, err error) {
	x = &indexes{}
	name := path.Join(dir, segmentName(s.base))
	okOffs, err := readIndex(fsys, name+indexSuffix+s.suffix, offsetEntryBytes, func(b []byte) bool {
		return x.parseOffset(b, s.size)
	})
	if err != nil {
		return nil, false, err
	}
	okTimes, err := readIndex(fsys, name+timeSuffix+s.suffix, timeEntryBytes, x.parseTime)
	if err != nil {
		return nil, false, err
	}
	okTxns, err := readIndex(fsys, name+txnSuffix+s.suffix, txnEntryBytes, func(b []byte) bool {
		return x.parseTxn(b, s.base)
	})
	if err != nil {
		return nil, false, err
	}
	x.offsWritten, x.timesWritten, x.txnsWritten = len(x.offs), len(x.times), len(x.txns)
	x.stale = okOffs == indexCut || okTimes == indexCut || okTxns == indexCut
	return x, okOffs == indexWhole && okTimes == indexWhole && okTxns != indexCut, nil
}
