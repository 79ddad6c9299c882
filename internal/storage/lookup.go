package storage

import (
	"errors"
	"io"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/batch"
)

// TimestampOffset is a record found by time.
type TimestampOffset struct {
	Offset    int64
	Timestamp int64
	Epoch     int32 // leader epoch of its batch, -1 if unknown
}

// OffsetForTimestamp finds the first record, in offset order, with a timestamp at or above ts and
// an offset in [start, upTo). As in Kafka the search looks into the first segment whose greatest
// timestamp reaches ts, and there inside the batches.
func (l *Log) OffsetForTimestamp(ts int64, upTo int64) (TimestampOffset, bool, error) {
	start := l.start.Load()
	upTo = min(upTo, l.end.Load())
	for _, s := range l.segmentsFrom(start) {
		l.mu.Lock()
		largest := s.largestTimestamp()
		l.mu.Unlock()
		if largest < ts {
			continue
		}
		found, ok, err := l.searchTime(s, ts, start)
		if err != nil {
			return TimestampOffset{}, false, l.readFailed(err)
		}
		return found, ok && found.Offset < upTo, nil
	}
	return TimestampOffset{}, false, nil
}

// MaxTimestampOffset finds the record with the greatest timestamp, the earliest one on a tie. A
// record at or above upTo is not told.
func (l *Log) MaxTimestampOffset(upTo int64) (TimestampOffset, bool, error) {
	var best *segment
	ts := int64(-1)
	l.mu.Lock()
	for _, s := range l.segs {
		if s.maxTS > ts {
			best, ts = s, s.maxTS
		}
	}
	l.mu.Unlock()
	if best == nil {
		return TimestampOffset{}, false, nil
	}
	found, ok, err := l.searchTime(best, ts, l.start.Load())
	if err != nil {
		return TimestampOffset{}, false, l.readFailed(err)
	}
	return found, ok && found.Offset < upTo, nil
}

// searchTime looks for the first record of the segment at or above both ts and the offset from.
func (l *Log) searchTime(s *segment, ts, from int64) (TimestampOffset, bool, error) {
	if _, err := l.indexesOf(s); err != nil {
		return TimestampOffset{}, false, err
	}
	l.mu.Lock()
	pos, size := int64(0), s.size
	if x := s.idx.Load(); x != nil {
		pos = x.floor(max(x.floorTime(ts), from-s.base))
	}
	l.mu.Unlock()
	h, err := l.acquire(s)
	if err != nil {
		return TimestampOffset{}, false, err
	}
	defer h.release()
	sc := newScanner(h.f, size)
	defer sc.free()
	for pos < size {
		b, err := sc.seek(pos, func(b *header) bool { return b.maxTimestamp >= ts && b.last >= from })
		if err != nil || b == nil {
			return TimestampOffset{}, false, err
		}
		found, ok, err := searchBatch(h, sc.pos, b, ts, from)
		if ok || err != nil {
			return found, ok, err
		}
		pos = sc.pos + b.size
	}
	return TimestampOffset{}, false, nil
}

// searchBatch looks into one batch, decompressing it if need be.
func searchBatch(f *handle, pos int64, h *header, ts, from int64) (TimestampOffset, bool, error) {
	found := TimestampOffset{Offset: max(h.base, from), Timestamp: h.maxTimestamp, Epoch: max(h.epoch, -1)}
	if h.magic < 2 || h.attrs&attrLogAppendTime != 0 && h.count > 0 && h.base >= from {
		found.Offset = max(h.base, from)
		return found, true, nil
	}
	b := make(batch.Batch, h.size)
	if _, err := f.f.ReadAt(b, pos); err != nil && !errors.Is(err, io.EOF) {
		return found, false, err
	}
	if err := checkCRC(b); err != nil {
		return found, false, &damagedError{f.f.Name(), pos, err}
	}
	return searchRecords(b, h, ts, from)
}

// searchRecords decodes the batch's records up to the one that is looked for.
func searchRecords(b batch.Batch, h *header, ts, from int64) (TimestampOffset, bool, error) {
	none := TimestampOffset{Offset: base.NoOffset, Timestamp: base.NoTimestamp, Epoch: base.NoEpoch}
	found, ok := none, false
	err := batch.Scan(b, batch.Limits{}, func(rec batch.Record) bool {
		at, off := h.baseTimestamp+rec.TimestampDelta, h.base+int64(rec.OffsetDelta)
		if h.attrs&attrLogAppendTime != 0 {
			at = h.maxTimestamp
		}
		if ok = at >= ts && off >= from; ok {
			found = TimestampOffset{Offset: off, Timestamp: at, Epoch: h.epoch}
		}
		return !ok
	})
	return found, ok, err
}
