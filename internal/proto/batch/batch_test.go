package batch_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/batch"
)

var codecs = []batch.Codec{batch.None, batch.Gzip, batch.Snappy, batch.LZ4, batch.Zstd}

// build makes a batch of records with the given values, a second apart.
func build(t testing.TB, o batch.Options, values ...string) batch.Batch {
	t.Helper()
	b := batch.NewBuilder(o)
	for i, v := range values {
		b.Append(nowMs+int64(i)*1000, []byte{byte('a' + i)}, []byte(v))
	}
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sealed puts other record bytes behind a batch's header.
func sealed(b batch.Batch, codec batch.Codec, records []byte) batch.Batch {
	out := append(append(batch.Batch(nil), b[:batch.HeaderSize]...), records...)
	n := len(out) - batch.PrefixSize
	out[8], out[9], out[10], out[11] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	out.SetAttributes(out.Attributes()&^7 | int16(codec))
	out.UpdateCRC()
	return out
}

func values(t testing.TB, b batch.Batch) []string {
	t.Helper()
	var out []string
	for r, err := range b.Records(batch.Limits{}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(r.Value))
	}
	return out
}

func TestNext(t *testing.T) {
	good := build(t, batch.Options{}, "x")
	set := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return b
	}
	short := bytes.Clone(good)
	copy(short[8:12], []byte{0, 0, 0, 40})
	for name, c := range map[string]struct {
		in   []byte
		want error
		code *kerr.Error
	}{
		"nothing":         {nil, batch.ErrShort, kerr.InvalidRecord},
		"prefix only":     {good[:12], batch.ErrShort, kerr.InvalidRecord},
		"one byte off":    {good[:len(good)-1], batch.ErrShort, kerr.InvalidRecord},
		"magic 0":         {set(16, 0), batch.ErrOldMagic, kerr.InvalidRecord},
		"magic 1":         {set(16, 1), batch.ErrOldMagic, kerr.InvalidRecord},
		"magic 3":         {set(16, 3), batch.ErrCorrupt, kerr.CorruptMessage},
		"negative length": {set(8, 0x80), batch.ErrCorrupt, kerr.CorruptMessage},
		"tiny length":     {append(bytes.Clone(good[:8]), 0, 0, 0, 5, 0, 0, 0, 0, 0), batch.ErrCorrupt, kerr.CorruptMessage},
		"half a header":   {short, batch.ErrCorrupt, kerr.CorruptMessage},
	} {
		_, rest, err := batch.Next(c.in)
		var e *batch.Error
		if !errors.Is(err, c.want) || !errors.As(err, &e) || e.Kerr != c.code || len(rest) != len(c.in) {
			t.Errorf("%s: %v, want %v with code %v", name, err, c.want, c.code.Code)
		}
	}
	b, rest, err := batch.Next(append(bytes.Clone(good), 1, 2, 3))
	if err != nil || !bytes.Equal(b, good) || len(rest) != 3 || cap(b) != len(b) {
		t.Fatalf("batch %d, rest %d, %v", len(b), len(rest), err)
	}
}

func TestAccessors(t *testing.T) {
	b := build(t, batch.Options{
		BaseOffset: 1 << 40, LeaderEpoch: 7, Codec: batch.Zstd, Transactional: true,
		Producer: &batch.Producer{ID: 9, Epoch: 3, Sequence: math.MaxInt32 - 1},
	}, "1", "2", "3", "4")
	got := []int64{
		b.BaseOffset(), b.LastOffset(), int64(b.LeaderEpoch()), int64(b.Magic()), int64(b.Codec()), int64(b.LastOffsetDelta()),
		b.BaseTimestamp(), b.MaxTimestamp(), b.ProducerID(), int64(b.ProducerEpoch()), int64(b.BaseSequence()),
		int64(b.LastSequence()), int64(b.Count()), int64(b.Length()), int64(len(b.RecordsBytes())),
	}
	want := []int64{
		1 << 40, 1<<40 + 3, 7, 2, 4, 3, nowMs, nowMs + 3000, 9, 3, math.MaxInt32 - 1, 1, 4,
		int64(len(b) - 12), int64(len(b) - 61),
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("field %d: %d, want %d", i, got[i], want[i])
		}
	}
	if !b.IsTransactional() || b.IsControl() || b.HasDeleteHorizon() {
		t.Error("wrong flags")
	}
	b.SetBaseOffset(5)
	b.SetLeaderEpoch(6)
	if err := b.CheckCRC(); err != nil {
		t.Errorf("offset and epoch are outside of the CRC: %v", err)
	}
	b[70] ^= 1
	if err := b.CheckCRC(); !errors.Is(err, batch.ErrCorrupt) {
		t.Errorf("a flipped bit went unseen: %v", err)
	}
	if got := batch.AddSequence(math.MaxInt32, 1); got != 0 {
		t.Errorf("sequence after the last is %d", got)
	}
}

func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 200_000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	for _, codec := range codecs {
		for _, level := range []int{-5, 0, 1, 4, 9, 12, 19} {
			in := []string{"", "a", strings.Repeat("abc", 100_000), string(noise), strings.Repeat("x", 65_536)}
			b := build(t, batch.Options{Codec: codec, Level: level}, in...)
			if err := b.CheckCRC(); err != nil {
				t.Fatal(err)
			}
			if got := values(t, b); strings.Join(got, "|") != strings.Join(in, "|") {
				t.Fatalf("%v level %d: values changed", codec, level)
			}
			if codec != batch.None && len(b) > 300_000 {
				t.Errorf("%v level %d: %d bytes", codec, level, len(b))
			}
		}
	}
}

func TestNullsAndEmpties(t *testing.T) {
	bd := batch.NewBuilder(batch.Options{})
	bd.Append(1, nil, nil)
	bd.Append(2, []byte{}, []byte{}, batch.Header{Key: "", Value: []byte{}}, batch.Header{Key: "k"})
	b, err := bd.Build()
	if err != nil {
		t.Fatal(err)
	}
	var rs []batch.Record
	for r, err := range b.Records(batch.Limits{}) {
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	if rs[0].Key != nil || rs[0].Value != nil || rs[1].Key == nil || rs[1].Value == nil {
		t.Fatalf("null and empty are mixed up: %#v", rs)
	}
	if h := rs[1].Headers; len(h) != 2 || h[0].Value == nil || h[1].Value != nil {
		t.Fatalf("headers %#v", h)
	}
}

// TestForeignFrames reads what other clients' compressors write.
func TestForeignFrames(t *testing.T) {
	plain := build(t, batch.Options{}, strings.Repeat("hello ", 50_000), "second")
	records := plain.RecordsBytes()
	frames := map[string]func() (batch.Codec, []byte){
		"raw snappy":    func() (batch.Codec, []byte) { return batch.Snappy, s2.EncodeSnappy(nil, records) },
		"lz4 checksums": func() (batch.Codec, []byte) { return batch.LZ4, lz4Frame(t, records, lz4.BlockChecksumOption(true)) },
		"lz4 sized": func() (batch.Codec, []byte) {
			return batch.LZ4, lz4Frame(t, records, lz4.SizeOption(uint64(len(records))), lz4.BlockSizeOption(lz4.Block4Mb))
		},
		"zstd stream": func() (batch.Codec, []byte) { return batch.Zstd, zstdStream(t, records) },
		"zstd frames": func() (batch.Codec, []byte) {
			skip := []byte{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3}
			return batch.Zstd, append(append(zstdStream(t, records[:1000]), skip...), zstdStream(t, records[1000:])...)
		},
		"gzip members": func() (batch.Codec, []byte) {
			return batch.Gzip, append(gzipped(t, records[:1000]), gzipped(t, records[1000:])...)
		},
	}
	for name, make := range frames {
		codec, data := make()
		b := sealed(plain, codec, data)
		if got := values(t, b); len(got) != 2 || got[1] != "second" {
			t.Errorf("%s: %d values", name, len(got))
		}
		if _, err := batch.Validate(b, options()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	linked := lz4Frame(t, records)
	linked[4] &^= 0x20
	if _, err := batch.NewReader(sealed(plain, batch.LZ4, linked), batch.Limits{}); err == nil {
		t.Error("an LZ4 frame of dependent blocks was taken; Kafka's consumer cannot read those")
	}
}

func lz4Frame(t testing.TB, b []byte, o ...lz4.Option) []byte {
	t.Helper()
	var out bytes.Buffer
	w := lz4.NewWriter(&out)
	if err := w.Apply(o...); err != nil {
		t.Fatal(err)
	}
	finishWriter(t, w, b)
	return out.Bytes()
}

func zstdStream(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	finishWriter(t, w, b)
	return out.Bytes()
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	finishWriter(t, gzip.NewWriter(&out), b)
	return out.Bytes()
}

func finishWriter(t testing.TB, w interface {
	Write(b []byte) (int, error)
	Close() error
}, b []byte,
) {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestBombs gives each codec 64 MiB of zeros in little input, with a limit of 1 MiB.
func TestBombs(t *testing.T) {
	zeros := strings.Repeat("\x00", 64<<20)
	for _, codec := range codecs[1:] {
		b := build(t, batch.Options{Codec: codec}, zeros)
		limits := batch.Limits{DecompressedBytes: 1 << 20}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := batch.NewReader(b, limits)
		runtime.ReadMemStats(&after)
		var e *batch.Error
		if !errors.As(err, &e) || e.Kerr != kerr.MessageTooLarge {
			t.Errorf("%v: %v, want MESSAGE_TOO_LARGE", codec, err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 6<<20 {
			t.Errorf("%v: a bomb of %d bytes made it allocate %d", codec, len(b), got)
		}
		o := options()
		o.MaxMessageBytes, o.Limits = 0, limits
		if _, err := batch.Validate(b, o); !errors.As(err, &e) || e.Kerr != kerr.MessageTooLarge {
			t.Errorf("%v: Validate says %v", codec, err)
		}
	}
}

// TestLyingSizes gives frames that promise far more than they hold.
func TestLyingSizes(t *testing.T) {
	plain := build(t, batch.Options{}, "x")
	lies := map[string]struct {
		codec batch.Codec
		data  []byte
	}{
		"snappy 200 MiB": {batch.Snappy, []byte{0x80, 0x80, 0x80, 0x64, 0, 0}},
		"zstd 128 MiB": {batch.Zstd, []byte{
			0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 8, 0x09, 0, 0, 0x41,
		}},
		"gzip 255 MiB": {batch.Gzip, append(gzipped(t, []byte("x"))[:21], 0xff, 0xff, 0xff, 0x0f)},
	}
	for name, lie := range lies {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := batch.NewReader(sealed(plain, lie.codec, lie.data), batch.Limits{})
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s was believed", name)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 2<<20 {
			t.Errorf("%s: allocated %d bytes", name, got)
		}
	}
}

func TestReaderRejects(t *testing.T) {
	good := build(t, batch.Options{}, "one", "two")
	fewer, more := bytes.Clone(good), bytes.Clone(good)
	batch.Batch(fewer).SetCount(1)
	batch.Batch(more).SetCount(3)
	negative := batch.Batch(bytes.Clone(good))
	negative.SetCount(-1)
	for name, b := range map[string]batch.Batch{
		"count too low": fewer, "count too high": more, "negative count": negative,
		"record cut off": sealed(good, batch.None, good.RecordsBytes()[:8]),
	} {
		var err error
		for _, e := range b.Records(batch.Limits{}) {
			err = e
		}
		var e *batch.Error
		if !errors.As(err, &e) || e.Kerr != kerr.InvalidRecord {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBuilderBounds(t *testing.T) {
	b := batch.NewBuilder(batch.Options{BaseOffset: 10})
	if err := b.AppendAt(12, 1, batch.Record{}); err != nil {
		t.Fatal(err)
	}
	if b.AppendAt(12, 1, batch.Record{}) == nil || b.AppendAt(10+1<<31, 1, batch.Record{}) == nil {
		t.Fatal("an offset that goes back or does not fit was taken")
	}
}
