package batch

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
)

// Depth is how thoroughly a producer's batch is checked.
type Depth int8

// The depths. All of them check header, CRC and the outer structure of compressed bytes.
const (
	// DepthFull reads every record, as Kafka does.
	DepthFull Depth = iota
	// DepthSampled reads every record of uncompressed batches, and of compressed ones the first of each
	// codec on a connection, a small share of the others, and all where a rule depends on it.
	DepthSampled
	// DepthHeader reads records only where a rule depends on them: compacted topics and recompression.
	DepthHeader
)

// sampleEvery is the share of compressed batches that DepthSampled reads: one in this many.
const sampleEvery = 64

// Sampler remembers what a connection has sent; the zero value is a new connection's.
type Sampler struct {
	seen [maskCodec + 1]bool
	n    uint32
}

// take reports whether the next batch of the codec is to be read. A nil Sampler takes all.
func (s *Sampler) take(c Codec) bool {
	if s == nil || !s.seen[c&maskCodec] {
		if s != nil {
			s.seen[c&maskCodec] = true
		}
		return true
	}
	s.n++
	return s.n%sampleEvery == 0
}

// ValidateOptions are the rules of the topic and the moment.
type ValidateOptions struct {
	Partition base.TopicPartition // for messages
	Now       time.Time
	// MaxMessageBytes is max.message.bytes: the largest batch, header and all; 0 is no limit.
	MaxMessageBytes int32
	// Compacted topics want a key in every record.
	Compacted bool
	// TimestampType is message.timestamp.type.
	TimestampType TimestampType
	// TimestampBeforeMaxMs and TimestampAfterMaxMs are how far a record's time may be off, in ms.
	TimestampBeforeMaxMs, TimestampAfterMaxMs int64
	// Recompress is set where compression.type is not "producer"; Codec and Level say to what.
	Recompress bool
	Codec      Codec
	Level      int
	Limits     Limits
	Depth      Depth
	Sampler    *Sampler // for DepthSampled; nil reads every batch
}

// Result is a batch that may be appended.
type Result struct {
	// Batch is the one given, changed in place, or a new one after a change of codec.
	Batch        Batch
	Recompressed bool
	// MaxTimestamp is the batch's greatest record time; the append time where that is the topic's type.
	MaxTimestamp int64
	// AppendTime is the time in ms that the records were given, -1 where they keep their own.
	AppendTime int64
}

// Validate checks a producer's batch in Kafka's order and makes it ready for the log: timestamp
// type and greatest timestamp are rewritten and the batch is recompressed where the topic asks for
// that. Base offset and leader epoch are left to the log. It allocates nothing unless it refuses,
// decompresses or recompresses. An error is a *Error; the batch is then as it was.
func Validate(b Batch, o ValidateOptions) (Result, error) {
	if err := checkOuter(b, &o); err != nil {
		return Result{}, err
	}
	if err := checkHeader(b, &o); err != nil {
		return Result{}, err
	}
	codec := b.Codec()
	recompress := o.Recompress && o.Codec != codec
	maxTimestamp := b.MaxTimestamp()
	if deep(b, &o, recompress) {
		w := walker{b: b}
		if err := w.run(&o, codec, recompress); err != nil {
			return Result{}, err
		}
		maxTimestamp = w.maxTimestamp
		if recompress {
			return w.recompressed(&o)
		}
	}
	return finish(b, &o, maxTimestamp), nil
}

// checkOuter is what Kafka checks before the records: offset, size, CRC and codec.
func checkOuter(b Batch, o *ValidateOptions) error {
	if base := b.BaseOffset(); base != 0 {
		return refuse(kerr.InvalidRecord, "base offset %d for %v: a producer's batch must have 0", base, o.Partition)
	}
	if o.MaxMessageBytes > 0 && len(b) > int(o.MaxMessageBytes) {
		return tooLarge(len(b), o)
	}
	if want, got := b.CRC(), b.ComputeCRC(); want != got {
		return refuse(kerr.CorruptMessage, "the batch for %v says its CRC is %08x, its bytes give %08x",
			o.Partition, want, got)
	}
	codec := b.Codec()
	if codec > Zstd {
		return errUnknownCodec(codec)
	}
	return checkFrame(codec, b.RecordsBytes(), o.Limits.decompressed())
}

func tooLarge(size int, o *ValidateOptions) error {
	return refuse(kerr.MessageTooLarge, "batch of %d bytes for %v: max.message.bytes is %d",
		size, o.Partition, o.MaxMessageBytes)
}

// checkHeader is what the header alone can get wrong.
func checkHeader(b Batch, o *ValidateOptions) error {
	last, count := b.LastOffsetDelta(), b.Count()
	switch {
	case last < 0:
		return refuse(kerr.InvalidRecord, "last offset delta %d for %v: it must be 0 or more", last, o.Partition)
	case count <= 0:
		return refuse(kerr.InvalidRecord, "record count %d for %v: it must be 1 or more", count, o.Partition)
	case int64(last)+1 != int64(count):
		return refuse(kerr.InvalidRecord, "last offset delta %d with %d records for %v: they must match",
			last, count, o.Partition)
	case b.IsControl():
		return refuse(kerr.InvalidRecord, "control batch for %v: only brokers write those", o.Partition)
	case b.ProducerID() >= 0 && b.BaseSequence() < 0:
		return refuse(kerr.InvalidRecord, "base sequence %d of producer %d for %v: it must be 0 or more",
			b.BaseSequence(), b.ProducerID(), o.Partition)
	}
	return nil
}

// deep decides whether the records are read.
func deep(b Batch, o *ValidateOptions, recompress bool) bool {
	if o.Depth == DepthFull || recompress || o.Compacted {
		return true
	}
	codec := b.Codec()
	if o.Depth == DepthSampled && (codec == None || o.Sampler.take(codec)) {
		return true
	}
	if o.TimestampType == LogAppendTime {
		return b.TimestampType() == LogAppendTime // which must be refused record by record
	}
	// A header that says a time out of range is refused with the records named.
	oldest, newest := o.timeRange()
	first, last := b.BaseTimestamp(), b.MaxTimestamp()
	off := first != base.NoTimestamp && (first < oldest || first > newest) ||
		last != base.NoTimestamp && (last < oldest || last > newest)
	return off || b.TimestampType() == LogAppendTime
}

// timeRange is the record times that are taken, in ms.
func (o *ValidateOptions) timeRange() (oldest, newest int64) {
	now := o.Now.UnixMilli()
	oldest, newest = now-o.TimestampBeforeMaxMs, now+o.TimestampAfterMaxMs
	if oldest > now { // wrapped: there is no limit
		oldest = math.MinInt64
	}
	if newest < now {
		newest = math.MaxInt64
	}
	return oldest, newest
}

// finish rewrites the header's timestamps in place.
func finish(b Batch, o *ValidateOptions, maxTimestamp int64) Result {
	res := Result{Batch: b, MaxTimestamp: maxTimestamp, AppendTime: base.NoTimestamp}
	if o.TimestampType == LogAppendTime {
		res.AppendTime = o.Now.UnixMilli()
		res.MaxTimestamp = res.AppendTime
	}
	attributes := b.Attributes() &^ flagLogAppendTime
	if o.TimestampType == LogAppendTime {
		attributes |= flagLogAppendTime
	}
	if attributes != b.Attributes() || res.MaxTimestamp != b.MaxTimestamp() {
		b.SetAttributes(attributes)
		b.SetMaxTimestamp(res.MaxTimestamp)
		b.UpdateCRC()
	}
	return res
}

// recordErrors makes the refusal of single records; one bad time makes it all about times.
func recordErrors(records []RecordError, total int, times bool, o *ValidateOptions) error {
	if times {
		return &Error{
			Kerr: kerr.InvalidTimestamp, Records: records,
			Msg: fmt.Sprintf("%d records for %v have a timestamp that the topic does not take", total, o.Partition),
		}
	}
	shown := make([]string, 0, 3)
	for _, r := range records[:min(len(records), 3)] {
		shown = append(shown, fmt.Sprintf("record %d: %s", r.Index, r.Msg))
	}
	return &Error{
		Kerr: kerr.InvalidRecord, Records: records,
		Msg: fmt.Sprintf("%d records for %v are refused, the first of them: %s",
			total, o.Partition, strings.Join(shown, "; ")),
	}
}
