package batch

import (
	"encoding/binary"

	"github.com/klauspost/compress/s2"
)

// Kafka's Java client frames snappy as snappy-java does: a header of 16 bytes, then blocks with
// their sizes. librdkafka and others write one bare block. Both are read, the first is written.
const (
	xerialMagic     = "\x82SNAPPY\x00"
	xerialHeader    = xerialMagic + "\x00\x00\x00\x01\x00\x00\x00\x01" // version 1, readable by version 1
	xerialBlockSize = 32 << 10
)

// snappyRatio bounds what a block can hold: its densest element makes 64 bytes of 3.
const snappyRatio = 22

// snappyBlocks calls fn for each block of src, with what it says it decompresses to.
func snappyBlocks(src []byte, limit int, fn func(block []byte, size int) error) error {
	if len(src) < len(xerialHeader) || string(src[:len(xerialMagic)]) != xerialMagic {
		return snappyBlock(src, limit, fn)
	}
	src = src[len(xerialHeader):]
	for len(src) > 0 {
		if len(src) >= len(xerialHeader) && string(src[:len(xerialMagic)]) == xerialMagic {
			src = src[len(xerialHeader):] // streams put one behind the other
			continue
		}
		if len(src) < 4 {
			return errFrame(Snappy, "%d bytes where a block's size should be", len(src))
		}
		n := int64(binary.BigEndian.Uint32(src))
		if n > int64(len(src)-4) {
			return errFrame(Snappy, "block of %d bytes, %d are left", n, len(src)-4)
		}
		if err := snappyBlock(src[4:4+n], limit, fn); err != nil {
			return err
		}
		src = src[4+n:]
	}
	return nil
}

func snappyBlock(block []byte, limit int, fn func(block []byte, size int) error) error {
	size, err := s2.DecodedLen(block)
	if err != nil {
		return errFrame(Snappy, "%v", err)
	}
	if size > limit {
		return errTooLarge(limit)
	}
	if size > snappyRatio*len(block) {
		return errFrame(Snappy, "block of %d bytes says it holds %d", len(block), size)
	}
	return fn(block, size)
}

// snappySize is the decompressed size, as the blocks say it.
func snappySize(src []byte, limit int) (int, error) {
	total := 0
	err := snappyBlocks(src, limit, func(_ []byte, size int) error {
		if total += size; total > limit {
			return errTooLarge(limit)
		}
		return nil
	})
	return total, err
}

func unsnappy(dst, src []byte, limit int) ([]byte, error) {
	total, err := snappySize(src, limit)
	if err != nil {
		return dst, err
	}
	dst = grow(dst, total, limit)
	err = snappyBlocks(src, limit, func(block []byte, size int) error {
		// s2.Decode writes into the room it is given when that is enough.
		out, err := s2.Decode(dst[len(dst):len(dst)+size], block)
		if err != nil {
			return errFrame(Snappy, "%v", err)
		}
		dst = dst[:len(dst)+len(out)]
		return nil
	})
	return dst, err
}

func appendSnappy(dst, src []byte) []byte {
	dst = append(dst, xerialHeader...)
	for len(src) > 0 {
		block := src[:min(len(src), xerialBlockSize)]
		src = src[len(block):]
		at := len(dst)
		room := s2.MaxEncodedLen(len(block))
		dst = grow(dst, 4+room, len(dst)+4+room)
		out := s2.EncodeSnappy(dst[at+4:at+4+room], block)
		dst = dst[:at+4+len(out)]
		binary.BigEndian.PutUint32(dst[at:], uint32(len(out)))
	}
	return dst
}
