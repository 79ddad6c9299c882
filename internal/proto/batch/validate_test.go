package batch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/batch"
)

const nowMs int64 = 1_700_000_000_000

func options() batch.ValidateOptions {
	return batch.ValidateOptions{
		Partition: base.TopicPartition{Topic: "t"}, Now: time.UnixMilli(nowMs), MaxMessageBytes: 1 << 20,
		TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: 3_600_000,
	}
}

// TestValidateRefuses has a row for each answer in Kafka's order of checks.
func TestValidateRefuses(t *testing.T) {
	type opts = batch.ValidateOptions
	change := func(fn func(b batch.Batch)) batch.Batch {
		b := build(t, batch.Options{}, "one", "two")
		fn(b)
		b.UpdateCRC()
		return b
	}
	good := build(t, batch.Options{}, "one", "two")
	nullKey := batch.NewBuilder(batch.Options{})
	nullKey.Append(nowMs, []byte("k"), nil)
	nullKey.Append(nowMs, nil, []byte("v"))
	keyless, err := nullKey.Build()
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[80] ^= 1
	gap := bytes.Clone(good.RecordsBytes())
	gap[bytes.Index(gap, []byte("btwo")[:1])-2] = 4 // the second record's offset delta: 2
	garbage := []byte("these are twenty bytes of nothing")
	for name, c := range map[string]struct {
		in      batch.Batch
		o       func(o *opts)
		code    *kerr.Error
		records []int32
	}{
		"base offset": {in: change(func(b batch.Batch) { b.SetBaseOffset(1) }), code: kerr.InvalidRecord},
		"offset before size": {
			in: change(func(b batch.Batch) { b.SetBaseOffset(1) }), o: func(o *opts) { o.MaxMessageBytes = 10 }, code: kerr.InvalidRecord,
		},
		"size":            {in: good, o: func(o *opts) { o.MaxMessageBytes = 10 }, code: kerr.MessageTooLarge},
		"size before CRC": {in: flipped, o: func(o *opts) { o.MaxMessageBytes = 10 }, code: kerr.MessageTooLarge},
		"CRC":             {in: flipped, code: kerr.CorruptMessage},
		"codec 5":         {in: change(func(b batch.Batch) { b.SetAttributes(5) }), code: kerr.UnknownServerError},
		"gzip bit on raw": {in: change(func(b batch.Batch) { b.SetAttributes(1) }), code: kerr.UnknownServerError},
		"snappy garbage":  {in: sealed(good, batch.Snappy, garbage), code: kerr.UnknownServerError},
		"lz4 garbage":     {in: sealed(good, batch.LZ4, garbage), code: kerr.UnknownServerError},
		"zstd garbage":    {in: sealed(good, batch.Zstd, garbage), code: kerr.UnknownServerError},
		"negative last":   {in: change(func(b batch.Batch) { b.SetLastOffsetDelta(-1) }), code: kerr.InvalidRecord},
		"no records":      {in: change(func(b batch.Batch) { b.SetCount(0) }), code: kerr.InvalidRecord},
		"count and last":  {in: change(func(b batch.Batch) { b.SetLastOffsetDelta(5) }), code: kerr.InvalidRecord},
		"count too high":  {in: change(func(b batch.Batch) { b.SetLastOffsetDelta(2); b.SetCount(3) }), code: kerr.InvalidRecord},
		"count too low":   {in: change(func(b batch.Batch) { b.SetLastOffsetDelta(0); b.SetCount(1) }), code: kerr.InvalidRecord},
		"control":         {in: change(func(b batch.Batch) { b.SetAttributes(0x20) }), code: kerr.InvalidRecord},
		"no sequence":     {in: change(func(b batch.Batch) { b.SetProducerID(4) }), code: kerr.InvalidRecord},
		"offset gap":      {in: sealed(good, batch.None, gap), code: kerr.InvalidRecord},
		"no key": {
			in: keyless, o: func(o *opts) { o.Compacted = true }, code: kerr.InvalidRecord, records: []int32{1},
		},
		"no key, sampled": {
			in: keyless, o: func(o *opts) { o.Compacted, o.Depth = true, batch.DepthHeader }, code: kerr.InvalidRecord, records: []int32{1},
		},
		"future": {
			in: good, o: func(o *opts) { o.Now = time.UnixMilli(nowMs - 3_599_500) }, code: kerr.InvalidTimestamp, records: []int32{1},
		},
		"past": {
			in: good, o: func(o *opts) { o.Now, o.TimestampBeforeMaxMs = time.UnixMilli(nowMs+500), 400 },
			code: kerr.InvalidTimestamp, records: []int32{0},
		},
		"bad time wins": {
			in: keyless, o: func(o *opts) { o.Compacted, o.Now = true, time.UnixMilli(nowMs-3_700_000) },
			code: kerr.InvalidTimestamp, records: []int32{0, 1},
		},
		"client says append time": {
			in: change(func(b batch.Batch) { b.SetAttributes(8) }), o: func(o *opts) { o.TimestampType = batch.LogAppendTime },
			code: kerr.InvalidTimestamp, records: []int32{0, 1},
		},
		"too large once recompressed": {
			in: build(t, batch.Options{Codec: batch.Zstd}, strings.Repeat("x", 5000)),
			o:  func(o *opts) { o.Recompress, o.MaxMessageBytes = true, 1000 }, code: kerr.MessageTooLarge,
		},
	} {
		o := options()
		if c.o != nil {
			c.o(&o)
		}
		in := bytes.Clone(c.in)
		_, err := batch.Validate(in, o)
		var e *batch.Error
		if !errors.As(err, &e) || e.Kerr != c.code {
			t.Errorf("%s: %v, want code %d", name, err, c.code.Code)
			continue
		}
		if !bytes.Equal(in, c.in) {
			t.Errorf("%s: the refused batch was changed", name)
		}
		var at []int32
		for _, r := range e.Records {
			at = append(at, r.Index)
		}
		if len(at) != len(c.records) || string(asBytes(at)) != string(asBytes(c.records)) {
			t.Errorf("%s: records %v, want %v", name, at, c.records)
		}
	}
}

func asBytes(v []int32) (b []byte) {
	for _, x := range v {
		b = binary.BigEndian.AppendUint32(b, uint32(x))
	}
	return b
}

func TestValidateTakes(t *testing.T) {
	for _, codec := range codecs {
		b := build(t, batch.Options{Codec: codec, LeaderEpoch: 77, Producer: &batch.Producer{ID: 1}}, "one", "two")
		b.SetMaxTimestamp(5) // wrong; the broker recomputes
		b.SetAttributes(b.Attributes() | 8)
		b.UpdateCRC()
		o := options()
		o.TimestampType = batch.CreateTime
		// With the append-time bit the records' time is the header's maximum.
		res, err := batch.Validate(bytes.Clone(b), o)
		if err != nil || res.MaxTimestamp != 5 || res.Batch.TimestampType() != batch.CreateTime || res.AppendTime != -1 {
			t.Errorf("%v with the append-time bit: %+v, %v", codec, res.MaxTimestamp, err)
		}
		b.SetAttributes(b.Attributes() &^ 8)
		b.UpdateCRC()
		res, err = batch.Validate(b, o)
		if err != nil || res.MaxTimestamp != nowMs+1000 || res.Batch.MaxTimestamp() != nowMs+1000 || &res.Batch[0] != &b[0] {
			t.Errorf("%v: %+v, %v", codec, res.MaxTimestamp, err)
		}
		if err := res.Batch.CheckCRC(); err != nil {
			t.Errorf("%v: %v", codec, err)
		}
	}
}

func TestValidateAppendTime(t *testing.T) {
	o := options()
	o.TimestampType, o.Now = batch.LogAppendTime, time.UnixMilli(nowMs+1e12)
	b := build(t, batch.Options{}, "one", "two")
	res, err := batch.Validate(b, o)
	if err != nil || res.AppendTime != nowMs+1e12 || b.MaxTimestamp() != nowMs+1e12 ||
		b.TimestampType() != batch.LogAppendTime || b.CheckCRC() != nil {
		t.Fatalf("%+v, %v", res, err)
	}
	for r, err := range b.Records(batch.Limits{}) {
		if err != nil || b.Timestamp(&r) != nowMs+1e12 {
			t.Fatalf("record time %d, %v", b.Timestamp(&r), err)
		}
	}
}

func TestValidateWithoutTimestamps(t *testing.T) {
	bd := batch.NewBuilder(batch.Options{})
	bd.Append(-1, nil, []byte("v"))
	b, err := bd.Build()
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	o.TimestampBeforeMaxMs = 1
	if res, err := batch.Validate(b, o); err != nil || res.MaxTimestamp != -1 {
		t.Fatalf("a record without a time: %+v, %v", res, err)
	}
}

func TestRecompress(t *testing.T) {
	in := []string{strings.Repeat("one ", 1000), "", "three"}
	for _, from := range codecs {
		for _, to := range codecs {
			b := build(t, batch.Options{Codec: from, Producer: &batch.Producer{ID: 5, Epoch: 1, Sequence: 9}, Transactional: true}, in...)
			o := options()
			o.Recompress, o.Codec = true, to
			res, err := batch.Validate(bytes.Clone(b), o)
			if err != nil || res.Recompressed != (from != to) || res.Batch.Codec() != to || res.Batch.CheckCRC() != nil {
				t.Fatalf("%v to %v: %v", from, to, err)
			}
			if got := values(t, res.Batch); strings.Join(got, "|") != strings.Join(in, "|") {
				t.Fatalf("%v to %v: %d values", from, to, len(got))
			}
			if res.Batch.ProducerID() != 5 || res.Batch.BaseSequence() != 9 || !res.Batch.IsTransactional() {
				t.Fatalf("%v to %v: header %v", from, to, res.Batch)
			}
			if _, rest, err := batch.Next(res.Batch); err != nil || len(rest) != 0 {
				t.Fatalf("%v to %v: length field: %v", from, to, err)
			}
		}
	}
}

// TestDepths hides a malformed record inside of good compression.
func TestDepths(t *testing.T) {
	bad := func(codec batch.Codec) batch.Batch {
		b := build(t, batch.Options{Codec: codec}, "one", "two")
		b.SetLastOffsetDelta(2)
		b.SetCount(3)
		b.UpdateCRC()
		return b
	}
	var s batch.Sampler
	refused := func(depth batch.Depth, codec batch.Codec, s *batch.Sampler) bool {
		o := options()
		o.Depth, o.Sampler = depth, s
		_, err := batch.Validate(bad(codec), o)
		return err != nil
	}
	if !refused(batch.DepthFull, batch.LZ4, nil) || !refused(batch.DepthSampled, batch.LZ4, nil) {
		t.Error("a depth that reads every batch missed one")
	}
	if !refused(batch.DepthSampled, batch.None, &s) || !refused(batch.DepthSampled, batch.None, &s) {
		t.Error("uncompressed batches must all be read")
	}
	if refused(batch.DepthHeader, batch.None, nil) || refused(batch.DepthHeader, batch.LZ4, nil) {
		t.Error("DepthHeader read the records")
	}
	if !refused(batch.DepthSampled, batch.LZ4, &s) || !refused(batch.DepthSampled, batch.Zstd, &s) {
		t.Error("the first batch of each codec must be read")
	}
	n := 0
	for range 640 {
		if refused(batch.DepthSampled, batch.LZ4, &s) {
			n++
		}
	}
	if n != 10 {
		t.Errorf("%d of 640 later batches were read, want 10", n)
	}
	o := options()
	o.Depth, o.Now = batch.DepthHeader, time.UnixMilli(nowMs-4_000_000)
	var e *batch.Error
	if _, err := batch.Validate(build(t, batch.Options{Codec: batch.LZ4}, "x"), o); !errors.As(err, &e) || len(e.Records) != 1 {
		t.Errorf("a header with a time out of range: %v", err)
	}
}

func TestManyRecordErrors(t *testing.T) {
	bd := batch.NewBuilder(batch.Options{})
	for range 5000 {
		bd.Append(nowMs, nil, []byte("v"))
	}
	b, err := bd.Build()
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	o.Compacted = true
	var e *batch.Error
	if _, err := batch.Validate(b, o); !errors.As(err, &e) || len(e.Records) != 1000 || !strings.Contains(e.Msg, "5000 records") {
		t.Fatalf("%v", err)
	}
}

func TestValidateAllocatesNothing(t *testing.T) {
	b := kilobytes(t, batch.None, 100)
	o := options()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := batch.Validate(b, o); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations for an uncompressed batch", n)
	}
}

// kilobytes is a batch of about 64 KiB in records of size bytes.
func kilobytes(t testing.TB, codec batch.Codec, size int) batch.Batch {
	t.Helper()
	bd := batch.NewBuilder(batch.Options{Codec: codec})
	value := []byte(strings.Repeat(`{"user":"u-18273","amount":12.5,"currency":"EUR"}`, size/49+1))[:size]
	for bd.Size() < 64<<10 {
		bd.Append(nowMs, nil, value)
	}
	b, err := bd.Build()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func BenchmarkValidate(b *testing.B) {
	for _, codec := range codecs {
		for _, size := range []int{100, 1000} {
			in := kilobytes(b, codec, size)
			b.Run(codec.String()+map[int]string{100: "/100B", 1000: "/1000B"}[size], func(b *testing.B) {
				b.SetBytes(64 << 10)
				b.ReportAllocs()
				o := options()
				for range b.N {
					if _, err := batch.Validate(in, o); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, codec := range codecs {
		in := kilobytes(b, batch.None, 1000)
		o := options()
		o.Recompress, o.Codec = true, codec
		b.Run(codec.String(), func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for range b.N {
				if _, err := batch.Validate(in, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
