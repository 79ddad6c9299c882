package storage

import (
	"encoding/binary"
	"hash/crc32"
)

// The checksum of a journal's unit covers the batches in it, each of which has one of its own that was checked, or
// made, when it came. CRCs are linear: that of two pieces follows from those of the pieces and the length of the
// second one (Gary S. Brown's notes on CRCs; zlib's crc32_combine is the well-known case). So the unit's is put together
// from those of its batches, and only what lies between them is looked at. The value is that of the bytes as they came: bytes
// that changed in memory since then do not match it.

// batchSum is a batch's own checksum: of n bytes at a place of the unit.
type batchSum struct {
	at, n int
	sum   uint32
}

// combineBytes is from what size on a checksum is combined. What is smaller is summed as fast.
const combineBytes = 8 << 10

// sumOf notes the checksum of the batch that was appended last.
func (u *unit) sumOf(batch []byte) {
	if n := len(batch) - batchSumEnd; n >= combineBytes {
		u.sums = append(u.sums, batchSum{len(u.buf) - n, n, binary.BigEndian.Uint32(batch[batchSumAt:])})
	}
}

// Where a batch's checksum stands, and where what it covers begins.
const (
	batchSumAt  = 17
	batchSumEnd = 21
)

// saidSums are the checksums that the batches of a unit say they have, of those whose bytes its own was not made from.
func saidSums(u []byte) (said []batchSum) {
	for left := u[unitHeadBytes:]; len(left) > 0; {
		e, rest, err := parseEntry(left)
		if err != nil {
			return nil
		}
		if n := len(e.data) - batchSumEnd; n >= combineBytes {
			said = append(said, batchSum{len(u) - len(rest) - n, n, binary.BigEndian.Uint32(e.data[batchSumAt:])})
		}
		left = rest
	}
	return said
}

// unitSum is the checksum of the unit u, of which that of some parts, in order, is known.
func unitSum(u []byte, known []batchSum) uint32 {
	sum, at := uint32(0), unitSumFrom
	for _, k := range known {
		sum = crc32.Update(sum, castagnoli, u[at:k.at])
		sum = shiftSum(sum, k.n) ^ k.sum
		at = k.at + k.n
	}
	return crc32.Update(sum, castagnoli, u[at:])
}

// shiftSum is what a checksum is worth n bytes further on: sum times x to the power of 8n, modulo the polynomial.
func shiftSum(sum uint32, n int) uint32 {
	for digit := 0; n > 0; digit, n = digit+1, n>>shiftDigitBits {
		if d := n & (1<<shiftDigitBits - 1); d > 0 {
			sum = multiply(sum, shifts[digit][d])
		}
	}
	return sum
}

const (
	shiftDigitBits = 4
	shiftDigits    = 8 // whatever length a unit's head can say
)

// shifts has x to the power of 8·d·16^i, modulo the polynomial, at [i][d].
var shifts = func() (t [shiftDigits][1 << shiftDigitBits]uint32) {
	step := uint32(1) << (31 - 8) // x^8: the highest bit is that of x^0
	for i := range t {
		t[i][0] = 1 << 31
		for d := 1; d < len(t[i]); d++ {
			t[i][d] = multiply(t[i][d-1], step)
		}
		step = multiply(t[i][len(t[i])-1], step)
	}
	return t
}()

// multiply is the product of two polynomials over GF(2) modulo that of CRC-32C. The highest bit is that of x^0.
func multiply(a, b uint32) (product uint32) {
	for range 32 {
		product ^= b & -(a >> 31)
		a <<= 1
		b = b>>1 ^ crc32.Castagnoli&-(b&1)
	}
	return product
}
