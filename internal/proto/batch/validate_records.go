package batch

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
)

// walker reads every record of one batch once. It does not hold the options: they would move to
// the heap with it.
type walker struct {
	b       Batch
	records []byte
	mem     inflated

	maxTimestamp int64
	bad          []RecordError
	badCount     int
	badTime      bool
}

// run checks all records. When keep is set, the decompressed records stay until recompressed.
func (w *walker) run(o *ValidateOptions, codec Codec, keep bool) (err error) {
	w.records = w.b.RecordsBytes()
	if codec != None {
		if w.records, err = w.mem.inflate(codec, w.records, o.Limits.decompressed()); err != nil {
			return asError(err, kerr.UnknownServerError)
		}
	}
	if err = w.walk(o); err != nil || !keep {
		w.release()
	}
	return err
}

func (w *walker) release() {
	w.mem.release()
	w.records = nil
}

// walk is the hot loop: one pass, no allocation while the records are good.
func (w *walker) walk(o *ValidateOptions) error {
	var v view
	b, at, count := w.records, 0, w.b.Count()
	baseTimestamp, appended := w.b.BaseTimestamp(), w.b.TimestampType() == LogAppendTime
	createTime := o.TimestampType == CreateTime
	oldest, newest := o.timeRange()
	w.maxTimestamp = base.NoTimestamp
	for i := range count {
		next := v.parse(b, at)
		if next < 0 {
			return refuse(kerr.InvalidRecord, "record %d of %d for %v is malformed at byte %d of %d",
				i, count, o.Partition, at, len(b))
		}
		at = next
		if v.offsetDelta != i {
			return refuse(kerr.InvalidRecord, "record %d for %v has offset delta %d: deltas must count from 0 without gaps",
				i, o.Partition, v.offsetDelta)
		}
		ts := baseTimestamp + v.timestampDelta
		if appended {
			ts = w.b.MaxTimestamp()
		}
		if o.Compacted && v.keyLen < 0 {
			w.refuse(i, false, "no key, but the topic is compacted by key")
			continue
		}
		if createTime && ts != base.NoTimestamp {
			if ts < oldest || ts > newest {
				w.refuse(i, true, "timestamp %d is out of range: message.timestamp.before.max.ms and .after.max.ms "+
					"allow %d to %d", ts, oldest, newest)
			}
		} else if appended {
			w.refuse(i, true, "timestamp type LogAppendTime: only the broker sets that")
		}
		w.maxTimestamp = max(w.maxTimestamp, ts)
	}
	if at != len(b) {
		return refuse(kerr.InvalidRecord, "%d bytes follow the %d records that the header for %v counts",
			len(b)-at, count, o.Partition)
	}
	if w.badCount > 0 {
		return recordErrors(w.bad, w.badCount, w.badTime, o)
	}
	return nil
}

func (w *walker) refuse(i int32, times bool, format string, args ...any) {
	w.badCount++
	w.badTime = w.badTime || times
	if len(w.bad) < maxRecordErrors {
		w.bad = append(w.bad, RecordError{Index: i, Msg: fmt.Sprintf(format, args...)})
	}
}

// recompressed builds the batch anew with the topic's codec.
func (w *walker) recompressed(o *ValidateOptions) (Result, error) {
	defer w.release()
	level := o.Level
	if level == 0 {
		level = o.Codec.DefaultLevel()
	}
	out := make([]byte, HeaderSize, HeaderSize+len(w.records)/2)
	copy(out, w.b[:HeaderSize])
	out, err := compress(out, o.Codec, level, w.records)
	if err != nil {
		return Result{}, asError(err, kerr.UnknownServerError)
	}
	if o.MaxMessageBytes > 0 && len(out) > int(o.MaxMessageBytes) {
		return Result{}, tooLarge(len(out), o)
	}
	b := Batch(out)
	b.put32(atLength, int32(len(b)-PrefixSize))
	b.SetAttributes(b.Attributes()&^maskCodec | int16(o.Codec))
	res := finish(b, o, w.maxTimestamp)
	b.UpdateCRC()
	res.Recompressed = true
	return res, nil
}
