package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// gzipRatio is more than deflate can reach (1032 to 1), so that a size in a trailer is believed
// only where the input could hold it.
const gzipRatio = 1040

// minGzip is a header and a trailer.
const minGzip = 18

var gunzipPool = sync.Pool{New: func() any { return new(gzip.Reader) }}

func checkGzip(src []byte) error {
	if len(src) < minGzip || src[0] != 0x1f || src[1] != 0x8b || src[2] != 8 {
		return errFrame(Gzip, "%d bytes do not begin a gzip member", len(src))
	}
	return nil
}

func gunzip(dst, src []byte, limit int) ([]byte, error) {
	if err := checkGzip(src); err != nil {
		return dst, err
	}
	r := gunzipPool.Get().(*gzip.Reader)
	defer gunzipPool.Put(r)
	if err := r.Reset(bytes.NewReader(src)); err != nil {
		return dst, errFrame(Gzip, "%v", err)
	}
	hint := int64(binary.LittleEndian.Uint32(src[len(src)-4:])) + 1
	dst = grow(dst, int(min(hint, int64(len(src))*gzipRatio, int64(limit)+1)), limit)
	for {
		if len(dst) == cap(dst) {
			dst = grow(dst, 4096, limit+4096)
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if len(dst) > limit {
			return dst, errTooLarge(limit)
		}
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return dst, errFrame(Gzip, "%v", err)
		}
	}
}

// gzipPools holds writers by level, -2 (Huffman only) to 9.
var gzipPools [12]sync.Pool

func appendGzip(dst []byte, level int, src []byte) ([]byte, error) {
	if level < gzip.DefaultCompression || level > gzip.BestCompression {
		level = gzip.DefaultCompression
	}
	out := bytes.NewBuffer(dst)
	pool := &gzipPools[level+2]
	w, ok := pool.Get().(*gzip.Writer)
	if ok {
		w.Reset(out)
	} else {
		var err error
		if w, err = gzip.NewWriterLevel(out, level); err != nil {
			return dst, err
		}
	}
	defer pool.Put(w)
	if _, err := w.Write(src); err != nil {
		return dst, err
	}
	if err := w.Close(); err != nil {
		return dst, err
	}
	return out.Bytes(), nil
}
