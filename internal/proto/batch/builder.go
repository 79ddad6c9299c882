package batch

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Producer is the idempotent producer of a batch.
type Producer struct {
	ID       int64
	Epoch    int16
	Sequence int32 // of the first record; -1 in control batches
}

// Options are a new batch's header. The zero value is an uncompressed batch at offset 0 with
// leader epoch 0, create time and no producer.
type Options struct {
	BaseOffset  int64
	LeaderEpoch int32
	Codec       Codec
	Level       int // compression level; 0 is the codec's default
	// Producer is nil where the batch is not of an idempotent producer.
	Producer      *Producer
	Transactional bool
	Control       bool
	// AppendTime, when TimestampType is LogAppendTime, is every record's time in ms.
	TimestampType TimestampType
	AppendTime    int64
	// DeleteHorizon is the time in ms from which the cleaner may drop tombstones or the marker;
	// nil for none.
	DeleteHorizon *int64
}

// Builder makes batches, one after the other, with one buffer.
type Builder struct {
	o       Options
	buf     []byte // room for a header, then the records
	out     []byte // of compressed batches
	count   int32
	last    int64
	base    int64
	max     int64
	baseSet bool
}

// NewBuilder returns a builder that stands at the beginning of a batch.
func NewBuilder(o Options) *Builder {
	b := &Builder{}
	b.Reset(o)
	return b
}

// Reset begins another batch. The batch that Build returned before is then no longer valid.
func (b *Builder) Reset(o Options) {
	b.o, b.count, b.last, b.max, b.base, b.baseSet = o, 0, o.BaseOffset-1, -1, -1, false
	if o.DeleteHorizon != nil {
		b.base, b.baseSet = *o.DeleteHorizon, true
	}
	if cap(b.buf) < HeaderSize {
		b.buf = make([]byte, HeaderSize, 1024)
	}
	b.buf = b.buf[:HeaderSize]
}

// Append adds a record at the next offset; timestamp is in ms.
func (b *Builder) Append(timestamp int64, key, value []byte, headers ...Header) {
	b.add(b.last+1, timestamp, Record{Key: key, Value: value, Headers: headers})
}

// AppendAt adds a record at an offset, which must be higher than the one before.
func (b *Builder) AppendAt(offset, timestamp int64, r Record) error {
	if offset <= b.last || offset-b.o.BaseOffset > math.MaxInt32 {
		return fmt.Errorf("append record at offset %d: the batch stands at %d from base %d", offset, b.last, b.o.BaseOffset)
	}
	b.add(offset, timestamp, r)
	return nil
}

func (b *Builder) add(offset, timestamp int64, r Record) {
	if !b.baseSet {
		b.base, b.baseSet = timestamp, true
	}
	r.TimestampDelta, r.OffsetDelta = timestamp-b.base, int32(offset-b.o.BaseOffset)
	b.buf = r.appendTo(b.buf)
	b.last = offset
	b.max = max(b.max, timestamp)
	b.count++
}

// Count is the number of records so far.
func (b *Builder) Count() int { return int(b.count) }

// Size is what the batch would have uncompressed, in bytes.
func (b *Builder) Size() int { return len(b.buf) }

// ExtendTo makes the batch cover offsets up to last, as compaction needs.
func (b *Builder) ExtendTo(last int64) { b.last = max(b.last, last) }

// Build returns the batch, valid until Reset.
func (b *Builder) Build() (Batch, error) {
	out := b.buf
	codec := b.o.Codec
	if b.count == 0 {
		codec = None
	}
	if codec != None {
		level := b.o.Level
		if level == 0 {
			level = codec.DefaultLevel()
		}
		var err error
		if cap(b.out) < HeaderSize {
			b.out = make([]byte, HeaderSize, HeaderSize+len(b.buf)/2)
		}
		if b.out, err = compress(b.out[:HeaderSize], codec, level, b.buf[HeaderSize:]); err != nil {
			return nil, err
		}
		out = b.out
	}
	if len(out) > math.MaxInt32 {
		return nil, fmt.Errorf("build a batch of %d bytes: at most %d", len(out), math.MaxInt32)
	}
	return b.seal(Batch(out), codec), nil
}

// seal writes the header.
func (b *Builder) seal(out Batch, codec Codec) Batch {
	o := &b.o
	attributes := int16(codec)
	maxTimestamp := b.max
	if o.TimestampType == LogAppendTime {
		attributes |= flagLogAppendTime
		maxTimestamp = o.AppendTime
	}
	if o.Transactional {
		attributes |= flagTransactional
	}
	if o.Control {
		attributes |= flagControl
	}
	if o.DeleteHorizon != nil {
		attributes |= flagDeleteHorizon
	}
	p := Producer{ID: -1, Epoch: -1, Sequence: -1}
	if o.Producer != nil {
		p = *o.Producer
	}
	out.SetBaseOffset(o.BaseOffset)
	binary.BigEndian.PutUint32(out[atLength:], uint32(len(out)-PrefixSize))
	out.SetLeaderEpoch(o.LeaderEpoch)
	out[atMagic] = Magic
	out.SetAttributes(attributes)
	out.SetLastOffsetDelta(int32(b.last - o.BaseOffset))
	out.SetBaseTimestamp(b.base)
	out.SetMaxTimestamp(maxTimestamp)
	out.SetProducerID(p.ID)
	out.SetProducerEpoch(p.Epoch)
	out.SetBaseSequence(p.Sequence)
	out.SetCount(b.count)
	out.UpdateCRC()
	return out
}
