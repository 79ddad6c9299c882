package dump

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/logstead/logstead/internal/proto/batch"
)

// Batch is the header of a record batch.
type Batch struct {
	BaseOffset    int64  `json:"base_offset"`
	LastOffset    int64  `json:"last_offset"`
	Count         int32  `json:"count"`
	Bytes         int    `json:"size"`
	Codec         string `json:"codec"`
	TimestampType string `json:"timestamp_type"`
	BaseTimestamp int64  `json:"base_timestamp"`
	MaxTimestamp  int64  `json:"max_timestamp"`
	LeaderEpoch   int32  `json:"leader_epoch"`
	ProducerID    int64  `json:"producer_id"`
	ProducerEpoch int16  `json:"producer_epoch"`
	BaseSequence  int32  `json:"base_sequence"`
	LastSequence  int32  `json:"last_sequence"`
	Transactional bool   `json:"transactional"`
	Control       bool   `json:"control"`
	DeleteHorizon bool   `json:"has_delete_horizon"`
	CRC           uint32 `json:"crc"`
	Valid         bool   `json:"valid"`
}

// Record is one record of a batch.
type Record struct {
	Offset        int64    `json:"offset"`
	Timestamp     int64    `json:"timestamp"`
	Key           *string  `json:"key"`
	KeyEncoding   string   `json:"key_encoding,omitempty"`
	Value         *string  `json:"value"`
	ValueEncoding string   `json:"value_encoding,omitempty"`
	Headers       []Header `json:"headers"`
	Control       string   `json:"control,omitempty"` // what a marker says
	Decoded       any      `json:"decoded,omitempty"`
}

// Header is one header of a record.
type Header struct {
	Key           string  `json:"key"`
	Value         *string `json:"value"`
	ValueEncoding string  `json:"value_encoding,omitempty"`
}

// maxBatch bounds one batch; a segment is at most 2 GiB, and a broker accepts far smaller batches.
const maxBatch = 256 << 20

// dumpLog walks the batches of a segment. A batch whose checksum is wrong is reported and passed
// over by its length; where not even the length makes sense, the walk ends with the damage.
func dumpLog(name string, o Options, visit func(Item) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	emit := func(it Item) error { it.File = name; return visit(it) }
	r := bufio.NewReaderSize(f, 1<<20)
	var buf []byte
	next := int64(-1) // the offset that the next batch must not be below
	for pos := int64(0); pos < info.Size(); {
		b, damage, err := readBatch(r, &buf, info.Size()-pos)
		if err != nil {
			return fmt.Errorf("read %s at %d: %w", name, pos, err)
		}
		if damage != "" {
			return emit(Item{Kind: "damage", Position: pos, Problem: damage})
		}
		if err := dumpBatch(b, pos, &next, o, emit); err != nil {
			return err
		}
		pos += int64(len(b))
	}
	return nil
}

// readBatch reads one whole batch by its length field.
func readBatch(r *bufio.Reader, buf *[]byte, left int64) (b batch.Batch, damage string, err error) {
	const prefix = 12 // base offset and length
	if left < prefix {
		return nil, fmt.Sprintf("%d bytes are left, less than the head of a batch", left), nil
	}
	head, err := r.Peek(prefix)
	if err != nil {
		return nil, "", err
	}
	if allZero(head) {
		return nil, fmt.Sprintf("zeros: the last %d bytes were reserved and never written", left), nil
	}
	size := int64(int32(binary.BigEndian.Uint32(head[8:]))) + prefix
	switch {
	case size < batch.HeaderSize || size > maxBatch:
		return nil, fmt.Sprintf("the length field says %d bytes, which no batch has", size-prefix), nil
	case size > left:
		return nil, fmt.Sprintf("the batch has %d bytes and the file ends after %d: a torn write", size, left), nil
	}
	if int64(cap(*buf)) < size {
		*buf = make([]byte, size)
	}
	*buf = (*buf)[:size]
	if _, err := io.ReadFull(r, *buf); err != nil {
		return nil, "", err
	}
	if magic := (*buf)[16]; magic != batch.Magic {
		return nil, fmt.Sprintf("format version (magic) %d, which Kafka 4 does not read either", magic), nil
	}
	return batch.Batch(*buf), "", nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func dumpBatch(b batch.Batch, pos int64, next *int64, o Options, emit func(Item) error) error {
	it := Item{Kind: "batch", Position: pos, Batch: describe(b)}
	switch {
	case !it.Batch.Valid:
		it.Problem = fmt.Sprintf("checksum %08x, computed %08x", b.CRC(), b.ComputeCRC())
	case b.BaseOffset() < *next:
		it.Problem = fmt.Sprintf("base offset %d is below %d, the end of the batch before", b.BaseOffset(), *next)
	}
	*next = b.LastOffset() + 1
	if err := emit(it); err != nil {
		return err
	}
	if !o.Records || !it.Batch.Valid {
		return nil
	}
	return dumpRecords(b, pos, o, emit)
}

func describe(b batch.Batch) *Batch {
	kind := "create"
	if b.TimestampType() != batch.CreateTime {
		kind = "append"
	}
	return &Batch{
		BaseOffset: b.BaseOffset(), LastOffset: b.LastOffset(), Count: b.Count(), Bytes: len(
			b), Codec: b.Codec().String(),
		TimestampType: kind, BaseTimestamp: b.BaseTimestamp(), MaxTimestamp: b.MaxTimestamp(), LeaderEpoch: b.LeaderEpoch(),
		ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(), LastSequence: b.LastSequence(),
		Transactional: b.IsTransactional(), Control: b.IsControl(), DeleteHorizon: b.HasDeleteHorizon(), CRC: b.CRC(),
		Valid: b.CheckCRC() == nil,
	}
}

func dumpRecords(b batch.Batch, pos int64, o Options, emit func(Item) error) error {
	for rec, err := range b.Records(batch.Limits{}) {
		if err != nil {
			return emit(Item{Kind: "damage", Position: pos, Problem: "the records cannot be read: " + err.Error()})
		}
		it := Item{Kind: "record", Position: pos, Record: recordOf(b, &rec)}
		if b.IsControl() {
			it.Record.Control = controlText(&rec)
		} else if o.Decoder != "" {
			decoded, err := decode(o.Decoder, rec.Key, rec.Value)
			it.Record.Decoded = decoded
			if err != nil {
				it.Problem = err.Error()
			}
		}
		if err := emit(it); err != nil {
			return err
		}
	}
	return nil
}

func recordOf(b batch.Batch, rec *batch.Record) *Record {
	out := &Record{Offset: b.Offset(rec), Timestamp: b.Timestamp(rec), Headers: []Header{}}
	out.Key, out.KeyEncoding = text(rec.Key)
	out.Value, out.ValueEncoding = text(rec.Value)
	for _, h := range rec.Headers {
		hd := Header{Key: h.Key}
		hd.Value, hd.ValueEncoding = text(h.Value)
		out.Headers = append(out.Headers, hd)
	}
	return out
}

// text is bytes for JSON: as they are where they are text, base64 where not, nil for null.
func text(b []byte) (s *string, encoding string) {
	if b == nil {
		return nil, ""
	}
	t := string(b)
	if !utf8.Valid(b) {
		t, encoding = base64.StdEncoding.EncodeToString(b), "base64"
	}
	return &t, encoding
}

var controlNames = map[batch.ControlKind]string{
	batch.Abort: "abort", batch.Commit: "commit", batch.LeaderChange: "leader change", batch.SnapshotHeader: "snapshot header",
	batch.SnapshotFooter: "snapshot footer", batch.KRaftVersion: "kraft version", batch.KRaftVoters: "kraft voters",
}

func controlText(rec *batch.Record) string {
	kind, ok := rec.Control()
	if !ok {
		return "unreadable marker"
	}
	name, ok := controlNames[kind]
	if !ok {
		name = fmt.Sprintf("marker %d", kind)
	}
	if epoch, ok := rec.CoordinatorEpoch(); ok && (kind == batch.Abort || kind == batch.Commit) {
		name += fmt.Sprintf(", coordinator epoch %d", epoch)
	}
	return name
}

var errUnknownDecoder = errors.New("decoder is not offsets, transactions or metadata")
