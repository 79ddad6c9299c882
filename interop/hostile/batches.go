package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Codecs as a batch's attributes name them.
const (
	codecGzip   = 1
	codecSnappy = 2
	codecLZ4    = 3
	codecZstd   = 4
)

// header offsets of a batch, format 2.
const (
	crcAt        = 17
	attributesAt = 21
	batchHead    = 61
)

// newBatch makes a batch around record bytes, which may be compressed and may be anything.
func newBatch(attributes int16, count int32, records []byte) []byte {
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: attributes, LastOffsetDelta: count - 1,
		FirstTimestamp: time.Now().UnixMilli(), MaxTimestamp: time.Now().UnixMilli(),
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: count, Records: records,
	}
	out := b.AppendTo(nil)
	binary.BigEndian.PutUint32(out[8:], uint32(len(out)-12))
	return sum(out)
}

// sum makes the CRC right.
func sum(b []byte) []byte {
	binary.BigEndian.PutUint32(b[crcAt:], crc32.Checksum(b[attributesAt:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// record is one record of format 2 with a key and a value.
func record(delta int, key, value []byte) []byte {
	body := binary.AppendVarint([]byte{0}, 0)
	body = binary.AppendVarint(body, int64(delta))
	body = append(binary.AppendVarint(body, int64(len(key))), key...)
	body = append(binary.AppendVarint(body, int64(len(value))), value...)
	body = binary.AppendVarint(body, 0)
	return append(binary.AppendVarint(nil, int64(len(body))), body...)
}

// oddBatch is a batch of a few records in which something may be wrong; mostly its CRC is right nevertheless, so that
// what is behind it gets to see the bytes.
func oddBatch(r *rand.Rand) []byte {
	n := 1 + r.IntN(4)
	var records []byte
	for i := range n {
		records = append(records, record(i, []byte("key"), bytes.Repeat([]byte("v"), r.IntN(50)))...)
	}
	codec := r.IntN(6)
	if r.IntN(3) == 0 {
		records = mutate(r, records)
	}
	packed := pack(codec, records)
	if r.IntN(3) == 0 {
		packed = mutate(r, packed)
	}
	if r.IntN(6) == 0 {
		packed = packed[:r.IntN(len(packed)+1)]
	}
	b := newBatch(int16(codec), int32(n), packed)
	for range r.IntN(3) {
		b[r.IntN(batchHead)] = byte(r.Uint32())
	}
	if r.IntN(4) > 0 {
		b = sum(b)
	}
	switch r.IntN(8) {
	case 0:
		b = b[:r.IntN(len(b))]
	case 1:
		b = append(b, b...)
	}
	return b
}

func mutate(r *rand.Rand, b []byte) []byte {
	for range 1 + r.IntN(4) {
		if len(b) > 0 {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
	}
	return b
}

// pack compresses; codecs that do not exist leave the bytes.
func pack(codec int, b []byte) []byte {
	var out bytes.Buffer
	switch codec {
	case codecGzip:
		w := gzip.NewWriter(&out)
		w.Write(b)
		w.Close()
	case codecSnappy:
		return s2.EncodeSnappyBest(nil, b)
	case codecLZ4:
		w := lz4.NewWriter(&out)
		w.Write(b)
		w.Close()
	case codecZstd:
		w, err := zstd.NewWriter(&out)
		if err == nil {
			w.Write(b)
			w.Close()
		}
	default:
		return b
	}
	return out.Bytes()
}

// zeros reads as so many bytes of nothing, without holding them.
type zeros struct{ left int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	clear(p[:n])
	z.left -= n
	return int(n), nil
}
