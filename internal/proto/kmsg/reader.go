package kmsg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/logstead/logstead/internal/kit/base"
)

// What can be wrong with a message. Read wraps them with the message's name and version.
var (
	ErrShort   = errors.New("message ends early")
	ErrBudget  = errors.New("message needs more memory than its size allows")
	ErrNull    = errors.New("null where the version forbids it")
	ErrCount   = errors.New("array is longer than the bytes that follow, or than 1000000 elements")
	ErrLength  = errors.New("length of a string, byte string or tag is out of range")
	ErrVarint  = errors.New("varint is longer than 5 bytes")
	ErrTag     = errors.New("tagged field does not fill its declared size")
	ErrTags    = errors.New("more than 10000 tagged fields")
	ErrVersion = errors.New("unknown version")
	ErrType    = errors.New("unknown record type")
)

// Bounds on what one message may hold, the same as Kafka's.
const (
	MaxElements = 1_000_000
	MaxTags     = 10_000
	maxString   = math.MaxInt16
	budgetBase  = 1 << 20
	budgetRatio = 4
)

// Reader decodes primitive values from a byte slice. The first error sticks: later reads return zero
// values, so that a caller checks Err once.
type Reader struct {
	b      []byte
	budget int
	err    error
	// Unsafe makes strings alias the input instead of being copied, and lets Read overwrite strings
	// behind the pointers of a reused message. For callers that own the input until they are done
	// with the message.
	Unsafe bool
}

// NewReader returns a Reader of b whose messages may allocate 4*len(b) bytes + 1 MiB.
func NewReader(b []byte) Reader {
	return Reader{b: b, budget: budgetRatio*len(b) + budgetBase}
}

// Rest returns the bytes not yet read.
func (r *Reader) Rest() []byte { return r.b }

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

func (r *Reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

// done is the result of reading a whole message.
func (r *Reader) done(name string, version int16) error {
	if r.err == nil {
		return nil
	}
	return fmt.Errorf("read %s v%d: %w", name, version, r.err)
}

func (r *Reader) charge(n int) bool {
	r.budget -= n
	if r.budget < 0 {
		r.fail(ErrBudget)
		return false
	}
	return true
}

// Bool reads one byte; anything but 0 is true.
func (r *Reader) Bool() bool { return r.Int8() != 0 }

// Int8 reads one byte.
func (r *Reader) Int8() int8 {
	if len(r.b) < 1 {
		r.fail(ErrShort)
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return int8(v)
}

// Uint16 reads two bytes.
func (r *Reader) Uint16() uint16 {
	if len(r.b) < 2 {
		r.fail(ErrShort)
		return 0
	}
	v := binary.BigEndian.Uint16(r.b)
	r.b = r.b[2:]
	return v
}

// Int16 reads two bytes.
func (r *Reader) Int16() int16 { return int16(r.Uint16()) }

// Uint32 reads four bytes.
func (r *Reader) Uint32() uint32 {
	if len(r.b) < 4 {
		r.fail(ErrShort)
		return 0
	}
	v := binary.BigEndian.Uint32(r.b)
	r.b = r.b[4:]
	return v
}

// Int32 reads four bytes.
func (r *Reader) Int32() int32 { return int32(r.Uint32()) }

// Int64 reads eight bytes.
func (r *Reader) Int64() int64 {
	if len(r.b) < 8 {
		r.fail(ErrShort)
		return 0
	}
	v := binary.BigEndian.Uint64(r.b)
	r.b = r.b[8:]
	return int64(v)
}

// Float64 reads eight bytes.
func (r *Reader) Float64() float64 { return math.Float64frombits(uint64(r.Int64())) }

// UUID reads sixteen bytes.
func (r *Reader) UUID() (id base.TopicID) {
	if len(r.b) < len(id) {
		r.fail(ErrShort)
		return id
	}
	copy(id[:], r.b)
	r.b = r.b[len(id):]
	return id
}

// Uvarint reads an unsigned varint of at most 32 bits.
func (r *Reader) Uvarint() uint32 {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		v := r.b[0]
		r.b = r.b[1:]
		return uint32(v)
	}
	return r.uvarintSlow()
}

func (r *Reader) uvarintSlow() uint32 {
	var v uint64
	for i := range 5 {
		if i >= len(r.b) {
			r.fail(ErrShort)
			return 0
		}
		c := r.b[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c >= 0x80 {
			continue
		}
		if v > math.MaxUint32 {
			break
		}
		r.b = r.b[i+1:]
		return uint32(v)
	}
	r.fail(ErrVarint)
	return 0
}

// Take returns the next n bytes, aliasing the input.
func (r *Reader) Take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail(ErrShort)
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// length reads the length of a string; -1 is null.
func (r *Reader) stringLen(flex bool) int {
	n := 0
	if flex {
		n = int(r.Uvarint()) - 1
	} else {
		n = int(r.Int16())
	}
	switch {
	case r.err != nil:
		return -1
	case n < -1 || n > maxString:
		r.fail(ErrLength)
		return -1
	}
	return n
}

// bytesLen reads the length of a byte string or of records; -1 is null.
func (r *Reader) bytesLen(flex bool) int {
	n := 0
	if flex {
		n = int(r.Uvarint()) - 1
	} else {
		n = int(r.Int32())
	}
	switch {
	case r.err != nil:
		return -1
	case n < -1 || n > math.MaxInt32:
		r.fail(ErrLength)
		return -1
	}
	return n
}

func (r *Reader) text(n int) string {
	b := r.Take(n)
	if len(b) == 0 {
		return ""
	}
	if r.Unsafe {
		return unsafe.String(&b[0], len(b))
	}
	if !r.charge(len(b)) {
		return ""
	}
	return string(b)
}

// String reads a string that must not be null: compact if flex, else with a 16-bit length.
func (r *Reader) String(flex bool) string {
	n := r.stringLen(flex)
	if n < 0 {
		r.fail(ErrNull)
		return ""
	}
	return r.text(n)
}

// NullableString reads a string that may be null if nullable. Old is the pointer that the message
// holds; in Unsafe mode it is used again.
func (r *Reader) NullableString(flex, nullable bool, old *string) *string {
	n := r.stringLen(flex)
	if n < 0 {
		if !nullable {
			r.fail(ErrNull)
		}
		return nil
	}
	if old == nil || !r.Unsafe {
		if !r.charge(int(unsafe.Sizeof(*old))) {
			return nil
		}
		old = new(string)
	}
	*old = r.text(n)
	return old
}

// newString is the default of a nullable string that the version lacks.
func (r *Reader) newString(v string) *string {
	if !r.charge(int(unsafe.Sizeof(v))) {
		return nil
	}
	return &v
}

// Bytes reads a byte string, aliasing the input; nil is null.
func (r *Reader) Bytes(flex, nullable bool) []byte {
	n := r.bytesLen(flex)
	if n < 0 {
		if !nullable {
			r.fail(ErrNull)
		}
		return nil
	}
	return r.Take(n)
}

// arrayLen reads the count of an array whose elements take at least minSize bytes each; -1 is null.
func (r *Reader) arrayLen(flex, nullable bool, minSize int) int {
	n := 0
	if flex {
		n = int(r.Uvarint()) - 1
	} else {
		n = int(r.Int32())
	}
	switch {
	case r.err != nil:
		return 0
	case n == -1:
		if !nullable {
			r.fail(ErrNull)
		}
		return -1
	case n < 0 || n > MaxElements || n > len(r.b)/minSize:
		r.fail(ErrCount)
		return 0
	}
	return n
}

// sized returns s with length n, keeping its capacity and what its elements own. The budget is
// charged whether memory is reused or not, so that the same bytes always get the same answer.
func sized[T any](r *Reader, s []T, n int) []T {
	if n < 0 {
		return nil
	}
	var zero T
	if !r.charge(n * int(unsafe.Sizeof(zero))) {
		return s[:0]
	}
	if n <= cap(s) && s != nil {
		return s[:n]
	}
	t := make([]T, n)
	copy(t, s[:cap(s)])
	return t
}

// present reads the marker before a nullable struct.
func (r *Reader) present(nullable bool) bool {
	if r.Int8() >= 0 {
		return r.err == nil
	}
	if !nullable {
		r.fail(ErrNull)
	}
	return false
}

// alloc returns old, or a new T.
func alloc[T any](r *Reader, old *T) *T {
	if old != nil {
		return old
	}
	if !r.charge(int(unsafe.Sizeof(*old))) {
		return nil
	}
	return new(T)
}

// tags reads the number of tagged fields.
func (r *Reader) tags() int {
	n := r.Uvarint()
	if n > MaxTags {
		r.fail(ErrTags)
		return 0
	}
	return int(n)
}

// tag reads the number of a tagged field and confines r to its value, until endTag.
func (r *Reader) tag() (tag uint32, rest []byte) {
	tag = r.Uvarint()
	n := r.Uvarint()
	if r.err != nil {
		return math.MaxUint32, nil
	}
	if int64(n) > int64(len(r.b)) {
		r.fail(ErrShort)
		return math.MaxUint32, nil
	}
	rest = r.b[n:]
	r.b = r.b[:n:n]
	return tag, rest
}

// endTag ends a tagged field that was understood.
func (r *Reader) endTag(rest []byte) {
	if r.err == nil && len(r.b) != 0 {
		r.fail(ErrTag)
		return
	}
	r.skipTag(rest)
}

// skipTag ends a tagged field of which nothing is known.
func (r *Reader) skipTag(rest []byte) {
	if r.err == nil {
		r.b = rest
	}
}

// skipTags skips tagged fields of which none is known.
func (r *Reader) skipTags() {
	for n := r.tags(); n > 0 && r.err == nil; n-- {
		_, rest := r.tag()
		r.skipTag(rest)
	}
}
