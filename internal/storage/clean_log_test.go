package storage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/proto/batch"
)

// compacted is a log that is compacted whenever Clean is called.
func compacted(t testing.TB, change ...func(*Options)) (*world, *Log) {
	t.Helper()
	w := newWorld(t, change...)
	cfg := DefaultLogConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 1000, 200
	cfg.Compact, cfg.Delete, cfg.MinCleanableDirtyRatio, cfg.FileDeleteDelay = true, false, 0.001, 0
	cfg.DeleteRetention = time.Hour
	return w, w.create(cfg)
}

func put(t testing.TB, l *Log, o batch.Options, kvs ...string) int64 {
	t.Helper()
	info, err := l.Append(dataBatch(t, o, kvs...), AppendOptions{Now: l.store.opts.Clock.Now(), LeaderEpoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	return info.BaseOffset
}

func mark(t *testing.T, l *Log, pid int64, kind batch.ControlKind) {
	t.Helper()
	b := batch.ControlBatch(kind, pid, 0, 1, l.store.opts.Clock.Now().UnixMilli(), 1)
	if _, err := l.Append(b, AppendOptions{Now: l.store.opts.Clock.Now(), LeaderEpoch: 1, Origin: Coordinator}); err != nil {
		t.Fatal(err)
	}
}

// settle makes everything so far cleanable: durable, below the high watermark, and not in the
// active segment.
func settle(t testing.TB, l *Log) {
	t.Helper()
	for first := len(l.sealedSegments()); len(l.sealedSegments()) == first; {
		put(t, l, batch.Options{}, "filler", fmt.Sprint(l.EndOffset(), "-------------------------------------------"))
	}
	waitSynced(t, l, l.EndOffset())
	l.SetHighWatermark(l.EndOffset())
}

// contents is "key=value" by offset, and which offsets hold markers.
func contents(t *testing.T, l *Log) (records map[int64]string, markers map[int64]batch.ControlKind) {
	t.Helper()
	records, markers = map[int64]string{}, map[int64]batch.ControlKind{}
	list, err := readBatches(l, l.StartOffset(), l.EndOffset())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range list {
		if kind, _, ok := b.Control(); ok {
			markers[b.BaseOffset()] = kind
			continue
		}
		for rec, err := range b.Records(batch.Limits{}) {
			if err != nil {
				t.Fatal(err)
			}
			v := string(rec.Value)
			if rec.Value == nil {
				v = "null"
			}
			records[b.Offset(&rec)] = string(rec.Key) + "=" + v
		}
	}
	return records, markers
}

func TestCompaction(t *testing.T) {
	for _, codec := range []batch.Codec{batch.None, batch.LZ4} {
		w, l := compacted(t)
		last := map[string]string{}
		rng := rand.New(rand.NewPCG(5, 5))
		for i := range 300 {
			var kvs []string
			for j := range 1 + rng.IntN(4) {
				k, v := fmt.Sprint("k", rng.IntN(20)), fmt.Sprint("v", i, "-", j)
				kvs, last[k] = append(kvs, k, v), v
			}
			put(t, l, batch.Options{Codec: codec}, kvs...)
		}
		settle(t, l)
		before, end := l.Size(), l.EndOffset()
		if n := w.store.Clean(context.Background()); n != 1 {
			t.Fatalf("%d rounds, want 1", n)
		}
		if n := w.store.Clean(context.Background()); n != 0 {
			t.Fatalf("%d more rounds, want none", n)
		}
		if l.Size() > before/3 || l.EndOffset() != end || l.CleanerOffset() != l.active().base {
			t.Fatalf("size %d of %d, end %d of %d, cleaned to %d of %d",
				l.Size(), before, l.EndOffset(), end, l.CleanerOffset(), l.active().base)
		}
		check := func(when string) {
			l := w.log()
			got, _ := contents(t, l)
			seen := map[string]int{}
			for off, kv := range got {
				for k, v := range last {
					if kv == k+"="+v {
						seen[k]++
					}
				}
				_ = off
			}
			for k := range last {
				if seen[k] != 1 {
					t.Fatalf("%v %s: the last value of %s is there %d times", codec, when, k, seen[k])
				}
			}
			if len(got) > len(last)+8 {
				t.Fatalf("%v %s: %d records are left of %d keys", codec, when, len(got), len(last))
			}
			if l.Size() > before/3 || len(l.Damage()) > 0 {
				t.Fatalf("%v %s: size %d, damage %v", codec, when, l.Size(), l.Damage())
			}
		}
		check("after the round")
		w.reopen()
		check("after a restart")
		if w.log().CleanerOffset() < 1 {
			t.Fatal("the cleaner's offset was forgotten")
		}
	}
}

func TestCompactionStopsAtOpenTransaction(t *testing.T) {
	w, l := compacted(t)
	put(t, l, batch.Options{}, "a", "1")
	put(t, l, batch.Options{}, "a", "2")
	settle(t, l)
	stable := put(t, l, batch.Options{Transactional: true, Producer: &batch.Producer{ID: 9}}, "a", "open")
	for range 3 {
		put(t, l, batch.Options{}, "a", "later")
		settle(t, l)
	}
	w.store.Clean(context.Background())
	if got := l.CleanerOffset(); got > stable || got < 1 {
		t.Fatalf("cleaned to %d, the open transaction begins at %d", got, stable)
	}
	got, _ := contents(t, l)
	if _, ok := got[0]; ok || got[1] != "a=2" {
		t.Fatalf("offset 0 is %q, 1 is %q; want the first gone", got[0], got[1])
	}
	later := 0
	for off, kv := range got {
		if kv == "a=later" && off > stable {
			later++
		}
	}
	if later != 3 {
		t.Fatalf("%d of 3 records above the open transaction are left", later)
	}
}

func TestCompactionOfTransactions(t *testing.T) {
	w, l := compacted(t)
	txn := func(pid int64, seq int32) batch.Options {
		return batch.Options{Transactional: true, Producer: &batch.Producer{ID: pid, Sequence: seq}}
	}
	put(t, l, batch.Options{}, "a", "1")
	put(t, l, txn(1, 0), "a", "aborted")
	mark(t, l, 1, batch.Abort)
	put(t, l, txn(2, 0), "b", "committed")
	mark(t, l, 2, batch.Commit)
	settle(t, l)
	w.store.Clean(context.Background())
	got, markers := contents(t, l)
	if got[0] != "a=1" || got[3] != "b=committed" || got[1] != "" {
		t.Fatalf("records %v", got)
	}
	if markers[2] != batch.Abort || markers[4] != batch.Commit {
		t.Fatalf("markers %v: both must stay as long as a reader may be in between", markers)
	}
	if infos := l.Producers(); len(infos) != 2 || infos[0].LastSequence != 0 {
		t.Fatalf("producers %+v", infos)
	}
	// The next rounds give the abort marker its horizon and then remove it, once another batch of
	// its producer holds the epoch.
	put(t, l, txn(1, 1), "c", "1")
	mark(t, l, 1, batch.Commit)
	for range 3 {
		settle(t, l)
		w.store.Clean(context.Background())
		w.clock.Advance(2 * time.Hour)
	}
	got, markers = contents(t, l)
	if _, ok := markers[2]; ok || got[0] != "a=1" || got[3] != "b=committed" {
		t.Fatalf("after the horizon: records %v, markers %v", got, markers)
	}
}

func TestCompactionOfTombstones(t *testing.T) {
	w, l := compacted(t)
	put(t, l, batch.Options{}, "gone", "1", "stays", "1")
	settle(t, l)
	dead := put(t, l, batch.Options{}, "gone", "null")
	settle(t, l)
	w.store.Clean(context.Background())
	got, _ := contents(t, l)
	if got[0] != "" || got[1] != "stays=1" || got[dead] != "gone=null" {
		t.Fatalf("records %v", got)
	}
	w.clock.Advance(59 * time.Minute)
	settle(t, l)
	w.store.Clean(context.Background())
	if got, _ = contents(t, l); got[dead] != "gone=null" {
		t.Fatal("the tombstone went before delete.retention.ms")
	}
	w.clock.Advance(2 * time.Minute)
	settle(t, l)
	w.store.Clean(context.Background())
	if got, _ = contents(t, l); got[dead] != "" || got[1] != "stays=1" {
		t.Fatalf("after delete.retention.ms: %v", got)
	}
}

// TestCompactionInParts gives the cleaner a key map that holds only some of the keys.
func TestCompactionInParts(t *testing.T) {
	w, l := compacted(t, func(o *Options) { o.Cleaner.DedupeBytes = 1 })
	for round := range 3 {
		for i := range 3000 {
			put(t, l, batch.Options{}, fmt.Sprint("key", i), fmt.Sprint(round))
		}
	}
	settle(t, l)
	if n := w.store.Clean(context.Background()); n < 4 {
		t.Fatalf("%d rounds, want several", n)
	}
	got, _ := contents(t, l)
	counts := map[string]int{}
	for _, kv := range got {
		counts[kv]++
	}
	for i := range 3000 {
		if counts[fmt.Sprint("key", i, "=2")] != 1 {
			t.Fatalf("the last value of key%d is there %d times", i, counts[fmt.Sprint("key", i, "=2")])
		}
	}
	if len(got) > 3600 {
		t.Fatalf("%d records are left of 3000 keys", len(got))
	}
}

func TestCompactionLeavesDamageAlone(t *testing.T) {
	w, l := compacted(t)
	for i := range 40 {
		put(t, l, batch.Options{}, "k", fmt.Sprint(i, "---------------------------------------------"))
	}
	settle(t, l)
	seg := l.sealedSegments()[1]
	f, err := w.fs.OpenReadWrite(l.filePath(seg, logSuffix))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff}, 70); err != nil {
		t.Fatal(err)
	}
	size := l.Size()
	w.store.Clean(context.Background())
	if l.Size() != size || len(l.Damage()) != 1 || w.store.Clean(context.Background()) != 0 {
		t.Fatalf("size %d of %d, damage %v", l.Size(), size, l.Damage())
	}
}

// BenchmarkCompaction is what a key costs in the map, and what a round of the cleaner costs: 6,400
// records of 100 bytes over a thousand keys, by the bytes that were written since the last round.
func BenchmarkCompaction(b *testing.B) {
	b.Run("put", func(b *testing.B) {
		m := newOffsetMap(64 << 20)
		key := make([]byte, 16)
		b.ReportAllocs()
		for i := range b.N {
			key[0], key[1], key[2] = byte(i), byte(i>>8), byte(i>>16)
			m.put(key, int64(i))
		}
	})
	for _, codec := range []batch.Codec{batch.None, batch.LZ4} {
		b.Run("round/"+codec.String(), func(b *testing.B) { benchmarkRound(b, codec) })
	}
}

func benchmarkRound(b *testing.B, codec batch.Codec) {
	const batches, records, keys = 64, 100, 1000
	w, l := compacted(b)
	cfg := l.Config()
	cfg.SegmentBytes = 128 << 10
	l.SetConfig(cfg)
	value := strings.Repeat("v", 100)
	all := make([]batch.Batch, batches)
	for i := range all {
		var kvs []string
		for j := range records {
			kvs = append(kvs, fmt.Sprint("key", (i*records+j)*7%keys), value)
		}
		all[i] = dataBatch(b, batch.Options{Codec: codec}, kvs...)
	}
	b.ReportAllocs()
	b.SetBytes(batches * records * int64(len(value)))
	for b.Loop() {
		b.StopTimer()
		for _, one := range all {
			if _, err := l.Append(one, AppendOptions{Now: w.clock.Now(), LeaderEpoch: 1}); err != nil {
				b.Fatal(err)
			}
		}
		settle(b, l)
		b.StartTimer()
		if n := w.store.Clean(context.Background()); n != 1 {
			b.Fatalf("%d rounds, want 1", n)
		}
	}
}
