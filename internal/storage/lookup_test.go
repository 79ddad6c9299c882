package storage

import (
	"fmt"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/proto/batch"
)

func TestOffsetForTimestamp(t *testing.T) {
	w := newWorld(t)
	l := w.create(smallSegments())
	base := epoch0.UnixMilli()
	for i := range int64(100) { // two records a batch: base + 10i, base + 10i + 1
		appendSpec(t, l, spec{ts: base + 10*i, values: []string{"a", "b"}})
	}
	end := l.EndOffset()
	check := func(ts, upTo, wantOffset, wantTS int64) {
		t.Helper()
		got, ok, err := l.OffsetForTimestamp(ts, upTo)
		if err != nil {
			t.Fatal(err)
		}
		if ok != (wantOffset >= 0) || ok && (got != TimestampOffset{wantOffset, wantTS, 1}) {
			t.Fatalf("time +%d below %d: %+v %v, want %d at +%d", ts-base, upTo, got, ok, wantOffset, wantTS-base)
		}
	}
	check(0, end, 0, base)
	for i := range int64(100) {
		check(base+10*i, end, 2*i, base+10*i)
		check(base+10*i+1, end, 2*i+1, base+10*i+1)
	}
	check(base+5, end, 2, base+10)
	check(base+991, end, 199, base+991)
	check(base+992, end, -1, 0)
	check(base+500, 100, -1, 0) // it is there, but not below the bound
	l.SetHighWatermark(end)
	if _, err := l.DeleteRecords(51); err != nil {
		t.Fatal(err)
	}
	check(0, end, 51, base+251)
	got, ok, err := l.MaxTimestampOffset(end)
	if err != nil || !ok || got != (TimestampOffset{199, base + 991, 1}) {
		t.Fatalf("greatest timestamp: %+v %v %v", got, ok, err)
	}
	if _, ok, _ := l.MaxTimestampOffset(199); ok {
		t.Fatal("the record with the greatest timestamp is not below the bound")
	}
}

// TestMaxTimestampTie: of equal timestamps the first record counts, also when a later segment has it too.
func TestMaxTimestampTie(t *testing.T) {
	w := newWorld(t)
	l := w.create(smallSegments())
	base := epoch0.UnixMilli()
	for i := range int64(100) {
		ts := base + i
		if i == 10 || i == 90 {
			ts = base + 1000
		}
		appendSpec(t, l, spec{ts: ts})
	}
	if got, ok, err := l.MaxTimestampOffset(100); err != nil || !ok || got.Offset != 10 {
		t.Fatalf("%+v %v %v, want offset 10", got, ok, err)
	}
}

// TestTimestampInCompressedBatch: the record is found inside of the batch, for every codec.
func TestTimestampInCompressedBatch(t *testing.T) {
	for _, codec := range []batch.Codec{batch.None, batch.Gzip, batch.Snappy, batch.LZ4, batch.Zstd} {
		t.Run(fmt.Sprint(codec), func(t *testing.T) {
			w := newWorld(t)
			l := w.create(DefaultLogConfig())
			var bu batch.Builder
			bu.Reset(batch.Options{Codec: codec})
			for i := range 20 {
				bu.Append(epoch0.Add(time.Duration(i)*time.Second).UnixMilli(), nil, []byte("value"))
			}
			b, err := bu.Build()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.Append(b, AppendOptions{Now: epoch0}); err != nil {
				t.Fatal(err)
			}
			want := epoch0.Add(7 * time.Second).UnixMilli()
			got, ok, err := l.OffsetForTimestamp(want-500, 20)
			if err != nil || !ok || got.Offset != 7 || got.Timestamp != want {
				t.Fatalf("%+v %v %v", got, ok, err)
			}
		})
	}
}

// TestTimestampLogAppendTime: on a LogAppendTime batch the append time counts, not the records' own.
func TestTimestampLogAppendTime(t *testing.T) {
	w := newWorld(t)
	l := w.create(DefaultLogConfig())
	base := epoch0.UnixMilli()
	appendSpec(t, l, spec{ts: base, values: []string{"a", "b", "c"}, attrs: attrLogAppendTime}) // max: base+2
	if got, ok, err := l.OffsetForTimestamp(base+2, 3); err != nil || !ok || got.Offset != 0 || got.Timestamp != base+2 {
		t.Fatalf("%+v %v %v, want offset 0", got, ok, err)
	}
	l.SetHighWatermark(3)
	if _, err := l.DeleteRecords(2); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := l.OffsetForTimestamp(base, 3); err != nil || !ok || got.Offset != 2 || got.Timestamp != base+2 {
		t.Fatalf("above the log start: %+v %v %v, want offset 2", got, ok, err)
	}
}
