package kmsg

import (
	"encoding/binary"
	"math"

	"github.com/logstead/logstead/internal/kit/base"
)

// External is a run of record bytes that lives outside the message, such as a range of a file.
type External interface {
	// Len is the number of bytes; it does not change.
	Len() int
}

// Records is a field of record batches: bytes in memory, or in Ext for a response that is sent
// straight from a file. Both nil is null.
type Records struct {
	Bytes []byte
	Ext   External
}

// Len is the number of bytes.
func (rs Records) Len() int {
	if rs.Ext != nil {
		return rs.Ext.Len()
	}
	return len(rs.Bytes)
}

// IsNull reports whether there are no records at all, as against zero bytes of them.
func (rs Records) IsNull() bool { return rs.Bytes == nil && rs.Ext == nil }

// Section says that the bytes of Ext belong before Buf[At].
type Section struct {
	At  int
	Ext External
}

// Writer collects the encoding of messages: Buf, with each section's bytes put in at its place.
type Writer struct {
	Buf      []byte
	Sections []Section
}

// Reset empties w and keeps its memory.
func (w *Writer) Reset() {
	clear(w.Sections)
	w.Buf, w.Sections = w.Buf[:0], w.Sections[:0]
}

// Len is the size of the whole encoding, sections included.
func (w *Writer) Len() int {
	n := len(w.Buf)
	for _, s := range w.Sections {
		n += s.Ext.Len()
	}
	return n
}

// Bool writes one byte, 0 or 1.
func (w *Writer) Bool(v bool) {
	var b byte
	if v {
		b = 1
	}
	w.Buf = append(w.Buf, b)
}

// Int8 writes one byte.
func (w *Writer) Int8(v int8) { w.Buf = append(w.Buf, byte(v)) }

// Uint16 writes two bytes.
func (w *Writer) Uint16(v uint16) { w.Buf = binary.BigEndian.AppendUint16(w.Buf, v) }

// Int16 writes two bytes.
func (w *Writer) Int16(v int16) { w.Uint16(uint16(v)) }

// Uint32 writes four bytes.
func (w *Writer) Uint32(v uint32) { w.Buf = binary.BigEndian.AppendUint32(w.Buf, v) }

// Int32 writes four bytes.
func (w *Writer) Int32(v int32) { w.Uint32(uint32(v)) }

// Int64 writes eight bytes.
func (w *Writer) Int64(v int64) { w.Buf = binary.BigEndian.AppendUint64(w.Buf, uint64(v)) }

// Float64 writes eight bytes.
func (w *Writer) Float64(v float64) { w.Int64(int64(math.Float64bits(v))) }

// UUID writes sixteen bytes.
func (w *Writer) UUID(id base.TopicID) { w.Buf = append(w.Buf, id[:]...) }

// Uvarint writes an unsigned varint.
func (w *Writer) Uvarint(v uint32) { w.Buf = binary.AppendUvarint(w.Buf, uint64(v)) }

// String writes a string: compact if flex, else with a 16-bit length. One longer than 32767 bytes is
// cut there, since a length that does not fit would break the whole message.
func (w *Writer) String(v string, flex bool) {
	if len(v) > maxString {
		v = v[:maxString]
	}
	if flex {
		w.Uvarint(uint32(len(v)) + 1)
	} else {
		w.Int16(int16(len(v)))
	}
	w.Buf = append(w.Buf, v...)
}

// NullableString writes a string or, if nullable, null.
func (w *Writer) NullableString(v *string, flex, nullable bool) {
	switch {
	case v != nil:
		w.String(*v, flex)
	case !nullable:
		w.String("", flex)
	case flex:
		w.Uvarint(0)
	default:
		w.Int16(-1)
	}
}

// arrayLen writes the length of an array, byte string or records.
func (w *Writer) arrayLen(n int, null, flex bool) {
	switch {
	case null && flex:
		w.Uvarint(0)
	case null:
		w.Int32(-1)
	case flex:
		w.Uvarint(uint32(n) + 1)
	default:
		w.Int32(int32(n))
	}
}

// Bytes writes a byte string; nil is null if nullable.
func (w *Writer) Bytes(v []byte, flex, nullable bool) {
	w.arrayLen(len(v), v == nil && nullable, flex)
	w.Buf = append(w.Buf, v...)
}

// Records writes record bytes, or their length and a section.
func (w *Writer) Records(v Records, flex, nullable bool) {
	w.arrayLen(v.Len(), v.IsNull() && nullable, flex)
	if v.Ext == nil {
		w.Buf = append(w.Buf, v.Bytes...)
		return
	}
	w.Sections = append(w.Sections, Section{At: len(w.Buf), Ext: v.Ext})
}

// beginTag writes a tag's number and leaves room for its size.
func (w *Writer) beginTag(tag uint32) int {
	w.Uvarint(tag)
	w.Buf = append(w.Buf, 0)
	return len(w.Buf)
}

// endTag fills in the size of the tag that began at start. A size below 128 fits the byte that was
// left; otherwise the value moves up.
func (w *Writer) endTag(start int) {
	n := len(w.Buf) - start
	if n < 0x80 {
		w.Buf[start-1] = byte(n)
		return
	}
	var size [binary.MaxVarintLen32]byte
	k := binary.PutUvarint(size[:], uint64(n))
	w.Buf = append(w.Buf, size[:k-1]...)
	copy(w.Buf[start+k-1:], w.Buf[start:start+n])
	copy(w.Buf[start-1:], size[:k])
}
