package storage

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Layout of a stored batch. Magic 2 has a 61-byte header; magic 0 and 1 are only met in logs that
// an old Apache Kafka wrote, and are served as they are.
const (
	logEntryOverhead = 12 // base offset and length
	minHeaderBytes   = 17 // up to and including the magic byte
	minBatchBytes    = 61
	minLegacyBytes   = logEntryOverhead + 14
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is what the log engine reads of a batch.
type header struct {
	base, last    int64
	size          int64 // whole batch
	maxTimestamp  int64
	epoch         int32
	pid           int64
	baseSeq       int32
	lastDelta     int32
	pepoch        int16
	attrs         int16
	count         int32
	magic         int8
	baseTimestamp int64
}

const (
	attrLogAppendTime = 1 << 3
	attrTransactional = 1 << 4
	attrControl       = 1 << 5
	attrHorizon       = 1 << 6
)

func (h *header) transactional() bool { return h.attrs&attrTransactional != 0 }
func (h *header) control() bool       { return h.attrs&attrControl != 0 }
func (h *header) lastSeq() int32      { return addSeq(h.baseSeq, h.lastDelta) }

// addSeq adds to a sequence number, which wraps from 2^31-1 to 0.
func addSeq(seq, n int32) int32 {
	if seq < 0 {
		return seq
	}
	return int32((int64(seq) + int64(n)) & 0x7fffffff)
}

// parseHeader reads the header at the front of b, of which avail bytes are there in all (b may be
// the first minBatchBytes of them). An error says what does not hold.
func parseHeader(b []byte, avail int64) (h header, err error) {
	if len(b) < minHeaderBytes {
		return h, fmt.Errorf("%d bytes, too few for a batch header", avail)
	}
	h.base = int64(binary.BigEndian.Uint64(b))
	length := int64(int32(binary.BigEndian.Uint32(b[8:])))
	h.size = length + logEntryOverhead
	h.magic = int8(b[16])
	switch {
	case h.magic < 0 || h.magic > 2:
		return h, fmt.Errorf("magic %d", h.magic)
	case h.base < 0:
		return h, fmt.Errorf("base offset %d", h.base)
	case h.magic < 2:
		return parseLegacy(h, b, avail)
	case h.size < minBatchBytes:
		return h, fmt.Errorf("batch length %d", length)
	case h.size > avail:
		return h, fmt.Errorf("batch length %d with %d bytes left", length, avail-logEntryOverhead)
	case len(b) < minBatchBytes:
		return h, fmt.Errorf("%d bytes, too few for a batch header", len(b))
	}
	h.epoch = int32(binary.BigEndian.Uint32(b[12:]))
	h.attrs = int16(binary.BigEndian.Uint16(b[21:]))
	h.lastDelta = int32(binary.BigEndian.Uint32(b[23:]))
	h.last = h.base + int64(h.lastDelta)
	h.baseTimestamp = int64(binary.BigEndian.Uint64(b[27:]))
	h.maxTimestamp = int64(binary.BigEndian.Uint64(b[35:]))
	h.pid = int64(binary.BigEndian.Uint64(b[43:]))
	h.pepoch = int16(binary.BigEndian.Uint16(b[51:]))
	h.baseSeq = int32(binary.BigEndian.Uint32(b[53:]))
	h.count = int32(binary.BigEndian.Uint32(b[57:]))
	if h.lastDelta < 0 {
		return h, fmt.Errorf("last offset delta %d", h.lastDelta)
	}
	return h, nil
}

// parseLegacy finishes the header of a magic 0 or 1 entry: one message, or a compressed wrapper
// whose offset is that of the last message in it.
func parseLegacy(h header, b []byte, avail int64) (header, error) {
	h.epoch, h.pid, h.pepoch, h.baseSeq, h.count = -1, -1, -1, -1, 1
	h.last, h.maxTimestamp, h.baseTimestamp = h.base, -1, -1
	switch {
	case h.size < minLegacyBytes:
		return h, fmt.Errorf("message size %d", h.size-logEntryOverhead)
	case h.size > avail:
		return h, fmt.Errorf("message size %d with %d bytes left", h.size-logEntryOverhead, avail-logEntryOverhead)
	}
	if len(b) > 17 {
		h.attrs = int16(b[17]) & 0x0f
	}
	if h.magic == 1 && len(b) >= 26 {
		h.maxTimestamp = int64(binary.BigEndian.Uint64(b[18:]))
		h.baseTimestamp = h.maxTimestamp
	}
	return h, nil
}

// checkCRC compares the checksum of one whole batch with the stored one.
func checkCRC(b []byte) error {
	var want, got uint32
	if b[16] >= 2 {
		want, got = binary.BigEndian.Uint32(b[17:]), crc32.Checksum(b[21:], castagnoli)
	} else {
		want, got = binary.BigEndian.Uint32(b[12:]), crc32.ChecksumIEEE(b[16:])
	}
	if want != got {
		return fmt.Errorf("checksum %08x over bytes whose checksum is %08x", want, got)
	}
	return nil
}
