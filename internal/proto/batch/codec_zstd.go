package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	zstdMagic      = 0xfd2fb528
	zstdSkippable  = 0x184d2a50 // with any last four bits
	zstdBlockBytes = 128 << 10  // the most that one block decompresses to
	zstdMaxWindow  = 128 << 20  // what level 22 uses, and Java's reader allows
)

// Types of blocks.
const (
	zstdRaw = 0
	zstdRLE = 1
)

var unzstdPool = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxWindow(zstdMaxWindow), zstd.WithDecoderMaxMemory(1<<40))
	if err != nil {
		return err // an option out of range
	}
	return d
}}

// zstdSize walks the frames' blocks and returns the most that they can decompress to. It is how a
// frame that promises gigabytes is told from one that holds them.
func zstdSize(src []byte, limit int) (int, error) {
	total := int64(0)
	if len(src) == 0 {
		return 0, errFrame(Zstd, "no bytes")
	}
	for len(src) > 0 {
		if len(src) < 8 {
			return 0, errFrame(Zstd, "%d bytes do not begin a frame", len(src))
		}
		if magic := binary.LittleEndian.Uint32(src); magic&^0xf == zstdSkippable {
			n := int64(binary.LittleEndian.Uint32(src[4:]))
			if n > int64(len(src)-8) {
				return 0, errFrame(Zstd, "skippable frame of %d bytes, %d are left", n, len(src)-8)
			}
			src = src[8+n:]
			continue
		}
		n, rest, err := zstdFrame(src)
		if err != nil {
			return 0, err
		}
		src = rest
		total += n
	}
	// The blocks' bound is loose where compressed blocks are short, so only what is certain is
	// refused here; the decoder's own limit does the rest.
	return int(min(total, int64(limit)+1)), nil
}

// zstdFrame returns a bound of what the first frame holds, and what follows it.
func zstdFrame(src []byte) (int64, []byte, error) {
	var h zstd.Header
	if err := h.Decode(src); err != nil {
		return 0, nil, errFrame(Zstd, "%v", err)
	}
	if h.DictionaryID != 0 {
		return 0, nil, errFrame(Zstd, "the frame wants dictionary %d", h.DictionaryID)
	}
	bound := int64(0)
	src = src[h.HeaderSize:]
	for last := false; !last; {
		if len(src) < 3 {
			return 0, nil, errFrame(Zstd, "the frame's last block is missing")
		}
		word := uint32(src[0]) | uint32(src[1])<<8 | uint32(src[2])<<16
		last = word&1 != 0
		n, kind := int64(word>>3), word>>1&3
		stored := n
		switch kind {
		case zstdRaw:
			bound += n
		case zstdRLE:
			bound, stored = bound+n, 1
		default:
			bound += zstdBlockBytes
		}
		if stored > int64(len(src)-3) {
			return 0, nil, errFrame(Zstd, "block of %d bytes, %d are left", stored, len(src)-3)
		}
		src = src[3+stored:]
	}
	if h.HasCheckSum {
		if len(src) < 4 {
			return 0, nil, errFrame(Zstd, "the content checksum is cut off")
		}
		src = src[4:]
	}
	if h.HasFCS && h.FrameContentSize > uint64(bound) {
		return 0, nil, errFrame(Zstd, "the frame says it holds %d bytes, its blocks at most %d", h.FrameContentSize, bound)
	}
	if h.HasFCS {
		bound = int64(h.FrameContentSize)
	}
	return bound, src, nil
}

func unzstd(dst, src []byte, limit int) ([]byte, error) {
	bound, err := zstdSize(src, limit)
	if err != nil {
		return dst, err
	}
	d, ok := unzstdPool.Get().(*zstd.Decoder)
	if !ok {
		return dst, errFrame(Zstd, "the decoder's options are wrong")
	}
	defer unzstdPool.Put(d)
	if bound > limit && limit > maxPooled {
		return unzstdStream(d, dst, src, limit)
	}
	room := min(bound, limit)
	dst = grow(dst, room, limit)
	out, err := d.DecodeAll(src, dst[:0:room])
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return dst[:0], errTooLarge(limit)
	}
	return dst[:0], errFrame(Zstd, "%v", err)
}

// unzstdStream reads frames that may hold more than the limit. Decoding them at once would take a
// quarter more memory than the limit before it is noticed; below maxPooled that is less than the stream's
// own buffers.
func unzstdStream(d *zstd.Decoder, dst, src []byte, limit int) ([]byte, error) {
	defer d.Reset(nil) //nolint:errcheck // it lets go of src
	if err := d.Reset(bytes.NewReader(src)); err != nil {
		return dst[:0], errFrame(Zstd, "%v", err)
	}
	dst = dst[:0]
	for {
		if len(dst) == cap(dst) {
			dst = grow(dst, 4096, limit+4096)
		}
		n, err := d.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > limit:
			return dst[:0], errTooLarge(limit)
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			return dst[:0], errFrame(Zstd, "%v", err)
		}
	}
}

// zstdPools holds encoders by the library's four levels.
var zstdPools [5]sync.Pool

// zstdLevel maps Kafka's levels. Up to the default (3) it is the fastest one, which measured the
// same ratio at nearly twice the speed.
func zstdLevel(level int) zstd.EncoderLevel {
	if level <= DefaultZstdLevel {
		return zstd.SpeedFastest
	}
	return zstd.EncoderLevelFromZstd(level)
}

func appendZstd(dst []byte, level int, src []byte) ([]byte, error) {
	l := zstdLevel(level)
	pool := &zstdPools[l]
	e, ok := pool.Get().(*zstd.Encoder)
	if !ok {
		var err error
		e, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(l), zstd.WithZeroFrames(true))
		if err != nil {
			return dst, err
		}
	}
	defer pool.Put(e)
	return e.EncodeAll(src, dst), nil
}
