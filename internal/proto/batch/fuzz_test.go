package batch_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/logstead/logstead/internal/proto/batch"
)

const fuzzLimit = 1 << 20

func seeds(f *testing.F) {
	f.Helper()
	names, err := filepath.Glob("testdata/kafka-4.3.1/*.log")
	if err != nil || len(names) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, true)
		f.Add(b[:len(b)/2], false)
	}
}

// FuzzBatch reads, validates and filters whatever the bytes are.
func FuzzBatch(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte, fix bool) {
		b, _, err := batch.Next(bytes.Clone(in))
		if err != nil {
			return
		}
		if fix { // get past the CRC
			b.SetBaseOffset(0)
			b.UpdateCRC()
		}
		limits := batch.Limits{DecompressedBytes: fuzzLimit}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		n, readErr := 0, error(nil)
		r, err := batch.NewReader(b, limits)
		if err == nil {
			for ok := true; ok && readErr == nil; {
				if _, ok, readErr = r.Next(); ok {
					n++
				}
			}
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 8*fuzzLimit+32*uint64(len(in)) {
			t.Fatalf("%d bytes of input made it allocate %d", len(in), got)
		}
		if err == nil && readErr == nil && n != int(b.Count()) {
			t.Fatalf("%d records, the header says %d", n, b.Count())
		}
		checkValidate(t, b, limits, err == nil && readErr == nil)
		var filter batch.Filter
		res, err := filter.Apply(b, batch.FilterOptions{Limits: limits, SetHorizon: 5}, func(o int64, _ *batch.Record) bool {
			return o%2 == 0
		})
		if err == nil && res.Batch != nil && &res.Batch[0] != &b[0] && res.Batch.CheckCRC() != nil {
			t.Fatal("the filter built a batch with a wrong CRC")
		}
	})
}

// checkValidate fails if Validate takes what the reader refuses, or leaves a wrong batch.
func checkValidate(t *testing.T, b batch.Batch, limits batch.Limits, readable bool) {
	t.Helper()
	o := options()
	o.Limits = limits
	for _, codec := range []batch.Codec{b.Codec(), batch.Zstd} {
		o.Recompress, o.Codec = codec != b.Codec(), codec
		res, err := batch.Validate(bytes.Clone(b), o)
		var e *batch.Error
		if err != nil {
			if !errors.As(err, &e) {
				t.Fatalf("a refusal without a code: %v", err)
			}
			continue
		}
		if !readable {
			t.Fatal("Validate took a batch that cannot be read")
		}
		if err := res.Batch.CheckCRC(); err != nil {
			t.Fatal(err)
		}
		if _, rest, err := batch.Next(res.Batch); err != nil || len(rest) > 0 {
			t.Fatalf("the validated batch is not whole: %v", err)
		}
	}
}

// FuzzCodecs compresses anything and reads it back.
func FuzzCodecs(f *testing.F) {
	f.Add([]byte("hello hello hello"), 3)
	f.Add(bytes.Repeat([]byte{0}, 100_000), 9)
	f.Fuzz(func(t *testing.T, in []byte, level int) {
		for _, codec := range codecs {
			bd := batch.NewBuilder(batch.Options{Codec: codec, Level: level})
			bd.Append(nowMs, in, in)
			b, err := bd.Build()
			if err != nil {
				t.Fatal(err)
			}
			for r, err := range b.Records(batch.Limits{}) {
				if err != nil || !bytes.Equal(r.Key, in) || !bytes.Equal(r.Value, in) {
					t.Fatalf("%v: %v", codec, err)
				}
			}
		}
	})
}
