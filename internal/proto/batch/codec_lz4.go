package batch

import (
	"encoding/binary"
	"math/bits"
	"sync"

	"github.com/pierrec/lz4/v4"
)

// Kafka writes LZ4 frames of independent 64 KiB blocks without checksums, so the header is always
// the same; it reads any frame of independent blocks. The frame is walked here and only the blocks
// are left to the library: its frame reader wants a goroutine's worth of state for each batch.
const (
	lz4Magic     = 0x184d2204
	lz4Header    = "\x04\x22\x4d\x18\x60\x40\x82"
	lz4BlockSize = 64 << 10
	lz4Raw       = 1 << 31 // the block is stored as it is

	// lz4Ratio bounds what a block can hold: a length grows by 255 with each byte.
	lz4Ratio = 256
)

// Flags of the frame descriptor.
const (
	lz4Version         = 0x40 // 01 in the two highest bits
	lz4Independent     = 0x20
	lz4BlockChecksum   = 0x10
	lz4ContentSize     = 0x08
	lz4ContentChecksum = 0x04
	lz4Reserved        = 0x03
)

// lz4Frame is what a frame's header says.
type lz4Frame struct {
	maxBlock      int
	blockChecksum bool
	tail          int // bytes after the end mark
}

// parseLZ4 reads the frame's header and returns what follows it.
func parseLZ4(src []byte) (f lz4Frame, rest []byte, err error) {
	if len(src) < len(lz4Header) || binary.LittleEndian.Uint32(src) != lz4Magic {
		return f, nil, errFrame(LZ4, "%d bytes do not begin an LZ4 frame", len(src))
	}
	flags, block := src[4], src[5]
	if flags&0xc0 != lz4Version || flags&lz4Reserved != 0 || flags&lz4Independent == 0 || block&0x8f != 0 || block < 0x40 {
		return f, nil, errFrame(LZ4, "frame flags %#02x %#02x: want version 1 with independent blocks", flags, block)
	}
	f.maxBlock = 1 << (2*(block>>4) + 8)
	f.blockChecksum = flags&lz4BlockChecksum != 0
	if flags&lz4ContentChecksum != 0 {
		f.tail = 4
	}
	end := 6
	if flags&lz4ContentSize != 0 {
		end += 8
	}
	if len(src) < end+1 {
		return f, nil, errFrame(LZ4, "the frame's header is cut off")
	}
	if want := byte(xxh32(src[4:end]) >> 8); src[end] != want {
		return f, nil, errFrame(LZ4, "header checksum %#02x, want %#02x", src[end], want)
	}
	return f, src[end+1:], nil
}

// blocks calls fn for each block up to the end mark.
func (f *lz4Frame) blocks(src []byte, fn func(block []byte, raw bool) error) error {
	for {
		if len(src) < 4 {
			return errFrame(LZ4, "the frame has no end mark")
		}
		word := binary.LittleEndian.Uint32(src)
		n := int(word &^ lz4Raw)
		if src = src[4:]; n == 0 {
			if len(src) < f.tail {
				return errFrame(LZ4, "the content checksum is cut off")
			}
			return nil
		}
		if n > f.maxBlock || n > len(src) {
			return errFrame(LZ4, "block of %d bytes, at most %d are allowed and %d are left", n, f.maxBlock, len(src))
		}
		block := src[:n]
		src = src[n:]
		if f.blockChecksum {
			if len(src) < 4 || binary.LittleEndian.Uint32(src) != xxh32(block) {
				return errFrame(LZ4, "a block's checksum does not match")
			}
			src = src[4:]
		}
		if err := fn(block, word&lz4Raw != 0); err != nil {
			return err
		}
	}
}

func checkLZ4(src []byte, limit int) error {
	f, rest, err := parseLZ4(src)
	if err != nil {
		return err
	}
	least := 0 // what the raw blocks alone make
	return f.blocks(rest, func(block []byte, raw bool) error {
		if raw {
			least += len(block)
		}
		if least > limit {
			return errTooLarge(limit)
		}
		return nil
	})
}

func unlz4(dst, src []byte, limit int) ([]byte, error) {
	f, rest, err := parseLZ4(src)
	if err != nil {
		return dst, err
	}
	err = f.blocks(rest, func(block []byte, raw bool) error {
		if raw {
			if len(dst)+len(block) > limit {
				return errTooLarge(limit)
			}
			dst = append(dst, block...)
			return nil
		}
		room := min(f.maxBlock, lz4Ratio*len(block), limit-len(dst)+1)
		dst = grow(dst, room, limit+1)
		n, err := lz4.UncompressBlock(block, dst[len(dst):len(dst)+room])
		if err != nil && room < min(f.maxBlock, lz4Ratio*len(block)) {
			return errTooLarge(limit) // the library cannot tell a full room from a bad block
		}
		if err != nil {
			return errFrame(LZ4, "%v", err)
		}
		if dst = dst[:len(dst)+n]; len(dst) > limit {
			return errTooLarge(limit)
		}
		return nil
	})
	return dst, err
}

var (
	lz4Pool   = sync.Pool{New: func() any { return new(lz4.Compressor) }}
	lz4HCPool = sync.Pool{New: func() any { return new(lz4.CompressorHC) }}
)

// lz4Compressor returns the compressor for a level. Kafka's default (9) is the fast one; its other
// levels choose the thorough one.
func lz4Compressor(level int) (compress func(src, dst []byte) (int, error), done func()) {
	if level == DefaultLZ4Level || level <= 0 {
		c := lz4Pool.Get().(*lz4.Compressor)
		return c.CompressBlock, func() { lz4Pool.Put(c) }
	}
	c := lz4HCPool.Get().(*lz4.CompressorHC)
	c.Level = lz4.CompressionLevel(1 << (8 + min(level, 9)))
	return c.CompressBlock, func() { lz4HCPool.Put(c) }
}

func appendLZ4(dst []byte, level int, src []byte) ([]byte, error) {
	squeeze, done := lz4Compressor(level)
	defer done()
	dst = append(dst, lz4Header...)
	for len(src) > 0 {
		block := src[:min(len(src), lz4BlockSize)]
		src = src[len(block):]
		at := len(dst)
		room := lz4.CompressBlockBound(len(block))
		dst = grow(dst, 4+room+4, len(dst)+4+room+4)
		n, err := squeeze(block, dst[at+4:at+4+room])
		if err != nil {
			return dst, err
		}
		if n == 0 || n >= len(block) {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(len(block))|lz4Raw)
			dst = append(dst, block...)
			continue
		}
		dst = dst[:at+4+n]
		binary.LittleEndian.PutUint32(dst[at:], uint32(n))
	}
	return binary.LittleEndian.AppendUint32(dst, 0), nil
}

// The primes of XXH32.
const (
	xxPrime1 uint32 = 2654435761
	xxPrime2 uint32 = 2246822519
	xxPrime3 uint32 = 3266489917
	xxPrime4 uint32 = 668265263
	xxPrime5 uint32 = 374761393
)

// xxh32 is the checksum of LZ4 frames, with seed 0.
func xxh32(b []byte) uint32 {
	n := uint32(len(b))
	h := xxPrime5
	if len(b) >= 16 {
		p1 := xxPrime1 // a variable, so that the sums wrap
		v1, v2, v3, v4 := p1+xxPrime2, xxPrime2, uint32(0), -p1
		for ; len(b) >= 16; b = b[16:] {
			v1 = xxRound(v1, binary.LittleEndian.Uint32(b))
			v2 = xxRound(v2, binary.LittleEndian.Uint32(b[4:]))
			v3 = xxRound(v3, binary.LittleEndian.Uint32(b[8:]))
			v4 = xxRound(v4, binary.LittleEndian.Uint32(b[12:]))
		}
		h = bits.RotateLeft32(v1, 1) + bits.RotateLeft32(v2, 7) + bits.RotateLeft32(v3, 12) + bits.RotateLeft32(v4, 18)
	}
	h += n
	for ; len(b) >= 4; b = b[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(b)*xxPrime3, 17) * xxPrime4
	}
	for _, c := range b {
		h = bits.RotateLeft32(h+uint32(c)*xxPrime5, 11) * xxPrime1
	}
	h = (h ^ h>>15) * xxPrime2
	h = (h ^ h>>13) * xxPrime3
	return h ^ h>>16
}

func xxRound(acc, word uint32) uint32 {
	return bits.RotateLeft32(acc+word*xxPrime2, 13) * xxPrime1
}
