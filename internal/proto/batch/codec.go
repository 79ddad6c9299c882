package batch

import (
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Codec is a compression, as the lowest three bits of the attributes have it.
type Codec int8

// The codecs.
const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2
	LZ4    Codec = 3
	Zstd   Codec = 4
)

// String is the codec's name in configs.
func (c Codec) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	}
	return "codec " + strconv.Itoa(int(c))
}

// Levels when nobody chose one; they are Kafka's.
const (
	DefaultGzipLevel = -1
	DefaultLZ4Level  = 9
	DefaultZstdLevel = 3
)

// DefaultLevel is the codec's level when nobody chose one.
func (c Codec) DefaultLevel() int {
	switch c {
	case Gzip:
		return DefaultGzipLevel
	case LZ4:
		return DefaultLZ4Level
	case Zstd:
		return DefaultZstdLevel
	case None, Snappy:
	}
	return 0
}

// errTooLarge is a batch that decompresses to more than is allowed. The code makes a Java producer
// split the batch and try again.
func errTooLarge(limit int) error {
	return refuse(kerr.MessageTooLarge, "the records decompress to more than the %d bytes that are allowed", limit)
}

// errFrame is compressed bytes that the codec cannot read. Kafka answers them with
// UNKNOWN_SERVER_ERROR.
func errFrame(c Codec, format string, args ...any) error {
	return refuse(kerr.UnknownServerError, "%v data: %s", c, fmt.Sprintf(format, args...))
}

// errUnknownCodec is a codec id that nobody has given a meaning; Kafka's answer is the same.
func errUnknownCodec(c Codec) error {
	return refuse(kerr.UnknownServerError, "compression codec %d does not exist, the highest is 4 (zstd)", int(c))
}

// decompress appends what src decompresses to, at most limit bytes, to dst[:0]. It never allocates
// much more than src can possibly hold, whatever src says of itself.
func decompress(dst []byte, c Codec, src []byte, limit int) ([]byte, error) {
	switch c {
	case None:
		return append(dst[:0], src...), nil
	case Gzip:
		return gunzip(dst[:0], src, limit)
	case Snappy:
		return unsnappy(dst[:0], src, limit)
	case LZ4:
		return unlz4(dst[:0], src, limit)
	case Zstd:
		return unzstd(dst[:0], src, limit)
	}
	return dst[:0], errUnknownCodec(c)
}

// compress appends src compressed to dst.
func compress(dst []byte, c Codec, level int, src []byte) ([]byte, error) {
	switch c {
	case None:
		return append(dst, src...), nil
	case Gzip:
		return appendGzip(dst, level, src)
	case Snappy:
		return appendSnappy(dst, src), nil
	case LZ4:
		return appendLZ4(dst, level, src)
	case Zstd:
		return appendZstd(dst, level, src)
	}
	return dst, errUnknownCodec(c)
}

// checkFrame looks at the outer structure of compressed bytes, without decompressing: the frame's
// magic, and its blocks up to the end.
func checkFrame(c Codec, src []byte, limit int) error {
	switch c {
	case None:
		return nil
	case Gzip:
		return checkGzip(src)
	case Snappy:
		_, err := snappySize(src, limit)
		return err
	case LZ4:
		return checkLZ4(src, limit)
	case Zstd:
		_, err := zstdSize(src, limit)
		return err
	}
	return errUnknownCodec(c)
}

// grow makes room for n more bytes, with as many again for what follows but never beyond limit.
func grow(dst []byte, n, limit int) []byte {
	if cap(dst)-len(dst) >= n {
		return dst
	}
	size := max(len(dst)+n, min(2*cap(dst), limit))
	out := make([]byte, len(dst), size)
	copy(out, dst)
	return out
}
