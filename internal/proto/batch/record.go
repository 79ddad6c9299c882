package batch

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// Record is one record of a batch. Key, Value and Headers alias the batch or the reader's buffer;
// a nil Key or Value is null, an empty one is not.
type Record struct {
	Attributes     int8 // always 0 today
	TimestampDelta int64
	OffsetDelta    int32
	Key, Value     []byte
	Headers        []Header
}

// Header is a record's header. A nil Value is null.
type Header struct {
	Key   string
	Value []byte
}

// minRecordSize is the size of a record without key, value and headers.
const minRecordSize = 7

// view says where the parts of one encoded record lie.
type view struct {
	timestampDelta   int64
	offsetDelta      int32
	attributes       int8
	headers          int32
	keyAt, keyLen    int // keyLen < 0: null
	valueAt, valLen  int
	headersAt, start int // start: of the length field
}

// varint reads a zigzag number at b[at:]; next is -1 when it is cut off or longer than 10 bytes.
func varint(b []byte, at int) (v int64, next int) {
	if at < len(b) && b[at] < 0x80 {
		return int64(b[at]>>1) ^ -int64(b[at]&1), at + 1
	}
	return longVarint(b, at)
}

func longVarint(b []byte, at int) (v int64, next int) {
	if at < 0 || at > len(b) {
		return 0, -1
	}
	u, n := binary.Uvarint(b[at:])
	if n <= 0 {
		return 0, -1
	}
	return int64(u>>1) ^ -int64(u&1), at + n
}

// parse reads the structure of the record at b[at:] into v and returns where the next one begins,
// or -1 if the bytes are no record. It allocates nothing and looks at every length.
//
// Numbers of one byte are decoded in place: a call for each of the six numbers of a record was two
// fifths of the time that a batch of small records took to validate.
func (v *view) parse(b []byte, at int) int {
	v.start = at
	size, at := varint(b, at)
	if at < 0 || size < minRecordSize-1 || size > int64(len(b)-at) {
		return -1
	}
	b = b[:at+int(size)]
	v.attributes = int8(b[at])
	at++
	if c := b[at]; c < 0x80 {
		v.timestampDelta, at = int64(c>>1)^-int64(c&1), at+1
	} else if v.timestampDelta, at = longVarint(b, at); at < 0 {
		return -1
	}
	if at >= len(b) {
		return -1
	}
	if c := b[at]; c < 0x80 {
		v.offsetDelta, at = int32(c>>1)^-int32(c&1), at+1
	} else {
		var delta int64
		if delta, at = longVarint(b, at); at < 0 || delta != int64(int32(delta)) {
			return -1
		}
		v.offsetDelta = int32(delta)
	}
	if at < len(b) && b[at] == nullByte {
		v.keyAt, v.keyLen, at = at+1, -1, at+1
	} else if v.keyAt, v.keyLen, at = span(b, at); at < 0 {
		return -1
	}
	if v.valueAt, v.valLen, at = span(b, at); at < 0 {
		return -1
	}
	if at == len(b)-1 && b[at] == 0 {
		v.headers, v.headersAt = 0, at+1
		return at + 1
	}
	return v.parseHeaders(b, at)
}

// nullByte is the encoded length of null.
const nullByte = 1

// span reads a length and steps over that many bytes; a negative length is null.
func span(b []byte, at int) (start, n, next int) {
	var length int64
	if at < len(b) && b[at] < 0x80 {
		length, at = int64(b[at]>>1)^-int64(b[at]&1), at+1
	} else if at+1 < len(b) && b[at+1] < 0x80 {
		u := int64(b[at]&0x7f) | int64(b[at+1])<<7
		length, at = u>>1^-(u&1), at+2
	} else if length, at = longVarint(b, at); at < 0 {
		return 0, 0, -1
	}
	if length > int64(len(b)-at) || length < math.MinInt32 {
		return 0, 0, -1
	}
	if length < 0 {
		return at, -1, at
	}
	return at, int(length), at + int(length)
}

func (v *view) parseHeaders(b []byte, at int) int {
	count, at := varint(b, at)
	if at < 0 || count < 0 || count > int64(len(b)-at) {
		return -1
	}
	v.headers, v.headersAt = int32(count), at
	for range count {
		var n int
		if _, n, at = span(b, at); at < 0 || n < 0 {
			return -1
		}
		if _, _, at = span(b, at); at < 0 {
			return -1
		}
	}
	if at != len(b) {
		return -1
	}
	return at
}

// record makes a Record of the view; headers go into hs.
func (v *view) record(b []byte, hs []Header) Record {
	r := Record{
		Attributes: v.attributes, TimestampDelta: v.timestampDelta, OffsetDelta: v.offsetDelta,
		Key: sub(b, v.keyAt, v.keyLen), Value: sub(b, v.valueAt, v.valLen),
	}
	at := v.headersAt
	for range v.headers {
		var start, n int
		start, n, at = span(b, at)
		h := Header{Key: string(b[start : start+n])}
		start, n, at = span(b, at)
		h.Value = sub(b, start, n)
		hs = append(hs, h)
	}
	if v.headers > 0 {
		r.Headers = hs
	}
	return r
}

func sub(b []byte, at, n int) []byte {
	if n < 0 {
		return nil
	}
	return b[at : at+n : at+n]
}

// varintSize is the encoded size of a zigzag number.
func varintSize(v int64) int {
	u := uint64(v<<1) ^ uint64(v>>63)
	return (bits.Len64(u|1) + 6) / 7
}

func appendVarint(dst []byte, v int64) []byte {
	return binary.AppendUvarint(dst, uint64(v<<1)^uint64(v>>63))
}

// bodySize is the size of a record after its length field.
func (r *Record) bodySize() int {
	n := 1 + varintSize(r.TimestampDelta) + varintSize(int64(r.OffsetDelta)) +
		spanSize(len(r.Key), r.Key == nil) + spanSize(len(r.Value), r.Value == nil) + varintSize(int64(len(r.Headers)))
	for i := range r.Headers {
		h := &r.Headers[i]
		n += spanSize(len(h.Key), false) + spanSize(len(h.Value), h.Value == nil)
	}
	return n
}

func spanSize(n int, null bool) int {
	if null {
		return 1
	}
	return varintSize(int64(n)) + n
}

// appendTo encodes the record.
func (r *Record) appendTo(dst []byte) []byte {
	dst = appendVarint(dst, int64(r.bodySize()))
	dst = append(dst, byte(r.Attributes))
	dst = appendVarint(dst, r.TimestampDelta)
	dst = appendVarint(dst, int64(r.OffsetDelta))
	dst = appendSpan(dst, r.Key)
	dst = appendSpan(dst, r.Value)
	dst = appendVarint(dst, int64(len(r.Headers)))
	for i := range r.Headers {
		h := &r.Headers[i]
		dst = appendVarint(dst, int64(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = appendSpan(dst, h.Value)
	}
	return dst
}

func appendSpan(dst, b []byte) []byte {
	if b == nil {
		return appendVarint(dst, -1)
	}
	dst = appendVarint(dst, int64(len(b)))
	return append(dst, b...)
}
