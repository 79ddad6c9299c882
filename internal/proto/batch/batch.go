package batch

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Sizes in bytes.
const (
	HeaderSize = 61 // a batch without records
	PrefixSize = 12 // base offset and length, which the length does not count
)

// Where the fields of the header begin.
const (
	atBaseOffset      = 0
	atLength          = 8
	atLeaderEpoch     = 12
	atMagic           = 16
	atCRC             = 17
	atAttributes      = 21
	atLastOffsetDelta = 23
	atBaseTimestamp   = 27
	atMaxTimestamp    = 35
	atProducerID      = 43
	atProducerEpoch   = 51
	atBaseSequence    = 53
	atCount           = 57
)

// Bits of the attributes.
const (
	maskCodec         = 0x07
	flagLogAppendTime = 0x08
	flagTransactional = 0x10
	flagControl       = 0x20
	flagDeleteHorizon = 0x40
)

// Magic is the format version that this package knows.
const Magic = 2

// minLegacySize is the smallest length field that any format version can have.
const minLegacySize = 14

// TimestampType says whose clock a batch's timestamps are of.
type TimestampType int8

// The timestamp types, as message.timestamp.type and the attributes have them.
const (
	CreateTime    TimestampType = 0
	LogAppendTime TimestampType = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Errors of the outer shape. They are *Error and carry what a producer is told.
var (
	// ErrShort: the bytes end before the batch does.
	ErrShort error = &Error{Kerr: kerr.InvalidRecord, Msg: "the bytes end before the record batch does"}
	// ErrOldMagic: a batch of format 0 or 1, which nobody writes since Kafka 0.11.
	ErrOldMagic error = &Error{Kerr: kerr.InvalidRecord, Msg: "record batch of magic 0 or 1: only magic 2 is taken"}
	// ErrCorrupt: what is there cannot be a batch.
	ErrCorrupt error = &Error{Kerr: kerr.CorruptMessage, Msg: "the bytes are not a record batch"}
)

// Batch is one whole record batch.
type Batch []byte

// Next splits the first batch off buf. The error is ErrShort when buf ends before the batch does
// (or is empty), and otherwise wraps ErrCorrupt or ErrOldMagic; buf is untouched.
func Next(buf []byte) (b Batch, rest []byte, err error) {
	if len(buf) < PrefixSize {
		return nil, buf, ErrShort
	}
	length := int32(binary.BigEndian.Uint32(buf[atLength:]))
	if length < minLegacySize {
		return nil, buf, fmt.Errorf("%w: length field %d, the least is %d", ErrCorrupt, length, minLegacySize)
	}
	if len(buf) <= atMagic {
		return nil, buf, ErrShort
	}
	if magic := int8(buf[atMagic]); magic != Magic {
		if magic == 0 || magic == 1 {
			return nil, buf, ErrOldMagic
		}
		return nil, buf, fmt.Errorf("%w: magic %d, want %d", ErrCorrupt, magic, Magic)
	}
	size := PrefixSize + int64(length)
	if int64(len(buf)) < size {
		return nil, buf, ErrShort
	}
	if size < HeaderSize {
		return nil, buf, fmt.Errorf("%w: %d bytes, a header alone has %d", ErrCorrupt, size, HeaderSize)
	}
	return Batch(buf[:size:size]), buf[size:], nil
}

func (b Batch) int16(at int) int16 { return int16(binary.BigEndian.Uint16(b[at:])) }
func (b Batch) int32(at int) int32 { return int32(binary.BigEndian.Uint32(b[at:])) }
func (b Batch) int64(at int) int64 { return int64(binary.BigEndian.Uint64(b[at:])) }

func (b Batch) put16(at int, v int16) { binary.BigEndian.PutUint16(b[at:], uint16(v)) }
func (b Batch) put32(at int, v int32) { binary.BigEndian.PutUint32(b[at:], uint32(v)) }
func (b Batch) put64(at int, v int64) { binary.BigEndian.PutUint64(b[at:], uint64(v)) }

// BaseOffset is the offset that the records' offset deltas count from.
func (b Batch) BaseOffset() int64 { return b.int64(atBaseOffset) }

// SetBaseOffset is outside of the CRC.
func (b Batch) SetBaseOffset(v int64) { b.put64(atBaseOffset, v) }

// Length is the length field: the batch's size less PrefixSize.
func (b Batch) Length() int32 { return b.int32(atLength) }

// LeaderEpoch is the partition leader's epoch, -1 where no broker has set it.
func (b Batch) LeaderEpoch() int32 { return b.int32(atLeaderEpoch) }

// SetLeaderEpoch is outside of the CRC.
func (b Batch) SetLeaderEpoch(v int32) { b.put32(atLeaderEpoch, v) }

// Magic is the format version.
func (b Batch) Magic() int8 { return int8(b[atMagic]) }

// CRC is the stored checksum, a CRC-32C of everything after it.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[atCRC:]) }

// ComputeCRC is the checksum that the bytes should have.
func (b Batch) ComputeCRC() uint32 { return crc32.Checksum(b[atAttributes:], castagnoli) }

// CheckCRC compares the stored checksum with the bytes.
func (b Batch) CheckCRC() error {
	if want, got := b.CRC(), b.ComputeCRC(); want != got {
		return fmt.Errorf("%w: the batch says its CRC is %08x, its bytes give %08x", ErrCorrupt, want, got)
	}
	return nil
}

// UpdateCRC stores the checksum of the bytes as they are.
func (b Batch) UpdateCRC() { binary.BigEndian.PutUint32(b[atCRC:], b.ComputeCRC()) }

// Attributes are the batch's bits.
func (b Batch) Attributes() int16 { return b.int16(atAttributes) }

// SetAttributes replaces the batch's bits.
func (b Batch) SetAttributes(v int16) { b.put16(atAttributes, v) }

// Codec is how the records are compressed; it may be one that does not exist.
func (b Batch) Codec() Codec { return Codec(b.Attributes() & maskCodec) }

// TimestampType says whose clock the timestamps are of.
func (b Batch) TimestampType() TimestampType {
	if b.Attributes()&flagLogAppendTime != 0 {
		return LogAppendTime
	}
	return CreateTime
}

// IsTransactional reports whether the batch belongs to a transaction.
func (b Batch) IsTransactional() bool { return b.Attributes()&flagTransactional != 0 }

// IsControl reports whether the batch holds markers in place of records.
func (b Batch) IsControl() bool { return b.Attributes()&flagControl != 0 }

// HasDeleteHorizon reports whether the base timestamp is the time from which the cleaner may drop
// the batch's tombstones or marker.
func (b Batch) HasDeleteHorizon() bool { return b.Attributes()&flagDeleteHorizon != 0 }

// LastOffsetDelta is the last offset less the base offset; compaction keeps it when records go.
func (b Batch) LastOffsetDelta() int32 { return b.int32(atLastOffsetDelta) }

// SetLastOffsetDelta replaces the last offset delta.
func (b Batch) SetLastOffsetDelta(v int32) { b.put32(atLastOffsetDelta, v) }

// LastOffset is the last offset that the batch covers.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// BaseTimestamp is what the records' timestamp deltas count from, in ms.
func (b Batch) BaseTimestamp() int64 { return b.int64(atBaseTimestamp) }

// SetBaseTimestamp replaces the base timestamp.
func (b Batch) SetBaseTimestamp(v int64) { b.put64(atBaseTimestamp, v) }

// MaxTimestamp is the greatest record timestamp, or the append time, in ms.
func (b Batch) MaxTimestamp() int64 { return b.int64(atMaxTimestamp) }

// SetMaxTimestamp replaces the greatest timestamp.
func (b Batch) SetMaxTimestamp(v int64) { b.put64(atMaxTimestamp, v) }

// ProducerID is -1 where the producer is not idempotent.
func (b Batch) ProducerID() int64 { return b.int64(atProducerID) }

// SetProducerID replaces the producer id.
func (b Batch) SetProducerID(v int64) { b.put64(atProducerID, v) }

// ProducerEpoch is -1 where the producer is not idempotent.
func (b Batch) ProducerEpoch() int16 { return b.int16(atProducerEpoch) }

// SetProducerEpoch replaces the producer epoch.
func (b Batch) SetProducerEpoch(v int16) { b.put16(atProducerEpoch, v) }

// BaseSequence is the sequence number of the first record, -1 for none.
func (b Batch) BaseSequence() int32 { return b.int32(atBaseSequence) }

// SetBaseSequence replaces the first sequence number.
func (b Batch) SetBaseSequence(v int32) { b.put32(atBaseSequence, v) }

// LastSequence is the sequence number of the last record. Numbers go on at 0 after 2^31-1.
func (b Batch) LastSequence() int32 {
	if b.BaseSequence() < 0 {
		return b.BaseSequence()
	}
	return AddSequence(b.BaseSequence(), b.LastOffsetDelta())
}

// AddSequence counts n on from a sequence number, which goes on at 0 after 2^31-1.
func AddSequence(seq, n int32) int32 {
	return int32((int64(seq) + int64(n)) & math.MaxInt32)
}

// Count is the number of records that the header promises.
func (b Batch) Count() int32 { return b.int32(atCount) }

// SetCount replaces the number of records.
func (b Batch) SetCount(v int32) { b.put32(atCount, v) }

// RecordsBytes are the records as stored, compressed or not.
func (b Batch) RecordsBytes() []byte { return b[HeaderSize:] }

// Timestamp is the time of a record of this batch in ms.
func (b Batch) Timestamp(r *Record) int64 {
	if b.TimestampType() == LogAppendTime {
		return b.MaxTimestamp()
	}
	return b.BaseTimestamp() + r.TimestampDelta
}

// Offset is the offset of a record of this batch.
func (b Batch) Offset(r *Record) int64 { return b.BaseOffset() + int64(r.OffsetDelta) }

// String describes the header for messages.
func (b Batch) String() string {
	if len(b) < HeaderSize {
		return fmt.Sprintf("batch of %d bytes", len(b))
	}
	return fmt.Sprintf("batch %d-%d (%d records, %d bytes, codec %v, producer %d epoch %d sequence %d)",
		b.BaseOffset(), b.LastOffset(), b.Count(), len(b), b.Codec(), b.ProducerID(), b.ProducerEpoch(), b.BaseSequence())
}
