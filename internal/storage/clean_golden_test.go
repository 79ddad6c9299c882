package storage

import (
	"context"
	"os"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
)

// TestCompactsAsKafka compacts a partition that Apache Kafka 4.3.1 wrote (three producers, two of
// them transactional with commits and aborts, tombstones, three codecs) and compares the result with
// what Kafka's own cleaner made of the same files.
func TestCompactsAsKafka(t *testing.T) {
	const golden = "testdata/compaction-kafka-4.3.1"
	mem := vfs.NewMem()
	dir := path.Join("/data", tp0.String())
	if err := mem.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(golden + "/before")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(path.Join(golden, "before", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := vfs.WriteFile(mem, path.Join(dir, e.Name()), b); err != nil {
			t.Fatal(err)
		}
	}
	now := time.UnixMilli(1_800_000_000_000)
	w := newWorld(t, func(o *Options) { o.FS = mem })
	w.clock.Set(now)
	l := w.log()
	cfg := DefaultLogConfig()
	cfg.Compact, cfg.Delete, cfg.MinCleanableDirtyRatio, cfg.DeleteRetention = true, false, 0, time.Hour
	cfg.ProducerExpiration = Forever
	l.SetConfig(cfg)
	l.SetHighWatermark(l.EndOffset())
	if n := w.store.Clean(context.Background()); n != 1 {
		t.Fatalf("%d rounds, want 1", n)
	}
	want, err := os.ReadFile(golden + "/after/00000000000000000000.log")
	if err != nil {
		t.Fatal(err)
	}
	got := readSegment(t, l)
	compareBatches(t, got, want, now.Add(time.Hour).UnixMilli())
	txns, err := os.ReadFile(golden + "/after/00000000000000000000.txnindex")
	if err != nil {
		t.Fatal(err)
	}
	ours, err := vfs.ReadFile(mem, path.Join(dir, "00000000000000000000.txnindex"), 1<<20)
	if err != nil || !slices.Equal(ours, txns) {
		t.Fatalf("transaction index (%v)\n got %x\nwant %x", err, ours, txns)
	}
}

func readSegment(t *testing.T, l *Log) []byte {
	t.Helper()
	segs := l.sealedSegments()
	if len(segs) != 1 {
		t.Fatalf("%d sealed segments, want 1", len(segs))
	}
	b, err := vfs.ReadFile(l.store.opts.FS, l.filePath(segs[0], logSuffix), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// compareBatches compares all but checksums, sizes of compressed data, and the time of the horizon.
func compareBatches(t *testing.T, got, want []byte, horizon int64) {
	t.Helper()
	for len(want) > 0 {
		w, restWant, err := batch.Next(want)
		if err != nil {
			t.Fatal(err)
		}
		g, restGot, err := batch.Next(got)
		if err != nil {
			t.Fatalf("instead of %v: %v", w, err)
		}
		compareBatch(t, g, w, horizon)
		got, want = restGot, restWant
	}
	if len(got) > 0 {
		t.Fatalf("%d bytes more than Kafka kept", len(got))
	}
}

func compareBatch(t *testing.T, g, w batch.Batch, horizon int64) {
	t.Helper()
	if err := g.CheckCRC(); err != nil {
		t.Fatal(err)
	}
	if g.BaseOffset() != w.BaseOffset() || g.LastOffset() != w.LastOffset() || g.Count() != w.Count() ||
		g.Attributes() != w.Attributes() || g.LeaderEpoch() != w.LeaderEpoch() || g.MaxTimestamp() != w.MaxTimestamp() ||
		g.ProducerID() != w.ProducerID() || g.ProducerEpoch() != w.ProducerEpoch() || g.BaseSequence() != w.BaseSequence() {
		t.Fatalf("header\n got %v %x\nwant %v %x", g, []byte(g[:batch.HeaderSize]), w, []byte(w[:batch.HeaderSize]))
	}
	if w.HasDeleteHorizon() && g.BaseTimestamp() != horizon || !w.HasDeleteHorizon() && g.BaseTimestamp() != w.BaseTimestamp() {
		t.Fatalf("%v: base timestamp %d, Kafka's is %d", w, g.BaseTimestamp(), w.BaseTimestamp())
	}
	var theirs []batch.Record
	for rec, err := range w.Records(batch.Limits{}) {
		if err != nil {
			t.Fatal(err)
		}
		theirs = append(theirs, rec)
	}
	i := 0
	for rec, err := range g.Records(batch.Limits{}) {
		if err != nil {
			t.Fatal(err)
		}
		k := &theirs[i]
		i++
		if rec.OffsetDelta != k.OffsetDelta || g.Timestamp(&rec) != w.Timestamp(k) || string(rec.Key) != string(k.Key) ||
			string(rec.Value) != string(k.Value) || (rec.Value == nil) != (k.Value == nil) {
			t.Fatalf("%v: record %v, Kafka's is %v", w, rec, *k)
		}
	}
}
