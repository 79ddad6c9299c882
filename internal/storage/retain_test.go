package storage

import (
	"errors"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
)

var noUnsynced = vfs.CrashOptions{}

func retain(t *testing.T, w *world) int {
	t.Helper()
	n, err := w.log().Retain(w.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRetainBySize(t *testing.T) {
	w := newWorld(t)
	cfg := smallSegments()
	l := w.create(cfg)
	want := singles(t, l, 100)
	cfg.RetentionBytes = 3000
	l.SetConfig(cfg)
	if n := retain(t, w); n != 0 {
		t.Fatalf("%d segments went above the high watermark", n)
	}
	l.SetHighWatermark(l.EndOffset())
	if n := retain(t, w); n == 0 || l.Size() < 3000 || l.Size() > 3000+2000 {
		t.Fatalf("%d segments went, %d bytes are left", n, l.Size())
	}
	start := l.StartOffset()
	if got := readAll(t, l, start, 500); !slices.Equal(got, want[start:]) {
		t.Fatalf("read %d records from %d", len(got), start)
	}
	if _, err := l.Read(start-1, 100, l.EndOffset(), true); !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Fatalf("read below the start: %v", err)
	}
	cfg.RetentionBytes = 0
	l.SetConfig(cfg)
	retain(t, w)
	if l.StartOffset() != 100 || l.EndOffset() != 100 || l.Size() != 0 {
		t.Fatalf("start %d end %d size %d, want 100 100 0", l.StartOffset(), l.EndOffset(), l.Size())
	}
	for _, restart := range []func(){w.reopen, func() { w.crash(noUnsynced) }} {
		restart()
		if l := w.log(); l.StartOffset() != 100 || l.EndOffset() != 100 {
			t.Fatalf("after a restart: %d to %d, want 100 to 100", l.StartOffset(), l.EndOffset())
		}
	}
	if info := appendSpec(t, w.log(), spec{}); info.BaseOffset != 100 {
		t.Fatalf("the next record got offset %d, want 100", info.BaseOffset)
	}
}

func TestRetainByTime(t *testing.T) {
	w := newWorld(t)
	cfg := smallSegments()
	cfg.Retention = time.Hour
	l := w.create(cfg)
	for i := range int64(100) { // a minute apart
		appendSpec(t, l, spec{ts: epoch0.UnixMilli() + i*60_000, values: []string{strings.Repeat("x", 30)}})
	}
	l.SetHighWatermark(l.EndOffset())
	w.clock.Set(epoch0.Add(100 * time.Minute))
	if n := retain(t, w); n == 0 {
		t.Fatal("nothing went")
	}
	first := l.segs[0]
	if age := w.clock.Now().UnixMilli() - first.maxTS; age > time.Hour.Milliseconds() {
		t.Fatalf("the first segment's newest record is %d ms old", age)
	}
	if l.StartOffset() == 0 || l.StartOffset() > 40 {
		t.Fatalf("the log starts at %d, want 40 at most", l.StartOffset())
	}
	w.clock.Advance(48 * time.Hour)
	retain(t, w)
	if l.StartOffset() != l.EndOffset() {
		t.Fatalf("after two days the log holds %d to %d", l.StartOffset(), l.EndOffset())
	}
}

// TestRetainCompactOnly: without the delete policy only the log start decides.
func TestRetainCompactOnly(t *testing.T) {
	w := newWorld(t)
	cfg := smallSegments()
	cfg.Delete, cfg.Compact, cfg.RetentionBytes = false, true, 0
	l := w.create(cfg)
	singles(t, l, 100)
	l.SetHighWatermark(100)
	w.clock.Advance(1000 * time.Hour)
	if n := retain(t, w); n != 0 {
		t.Fatalf("%d segments went", n)
	}
	if _, err := l.DeleteRecords(60); err != nil {
		t.Fatal(err)
	}
	if n := retain(t, w); n == 0 || l.segs[0].base > 60 || l.segs[1].base <= 60 {
		t.Fatalf("%d segments went, the first begins at %d", n, l.segs[0].base)
	}
}

func TestDeleteRecords(t *testing.T) {
	w := newWorld(t)
	l := w.create(smallSegments())
	want := singles(t, l, 50)
	if _, err := l.DeleteRecords(1); !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Fatalf("above the high watermark: %v", err)
	}
	waitSynced(t, l, 50)
	l.SetHighWatermark(50)
	if start, err := l.DeleteRecords(20); err != nil || start != 20 {
		t.Fatalf("start %d, %v", start, err)
	}
	if start, err := l.DeleteRecords(10); err != nil || start != 20 {
		t.Fatalf("a lower one moved the start to %d, %v", start, err)
	}
	w.crash(noUnsynced) // it was acknowledged
	if got := readAll(t, w.log(), w.log().StartOffset(), 500); !slices.Equal(got, want[20:]) {
		t.Fatalf("after a power cut: %d records from %d", len(got), w.log().StartOffset())
	}
}

// TestFilesGoLater: what is deleted stays on disk for its delay, and readers finish.
func TestFilesGoLater(t *testing.T) {
	w := newWorld(t)
	cfg := smallSegments()
	l := w.create(cfg)
	singles(t, l, 60)
	l.SetHighWatermark(60)
	r, err := l.Read(0, 500, 60, true)
	if err != nil {
		t.Fatal(err)
	}
	cfg.RetentionBytes = 0
	l.SetConfig(cfg)
	retain(t, w)
	files := func() (n int) {
		entries, err := w.fs.ReadDir(l.Path())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), deletedSuffix) {
				n++
			}
		}
		return n
	}
	if files() == 0 {
		t.Fatal("the files are gone at once")
	}
	w.clock.Advance(cfg.FileDeleteDelay - time.Second)
	w.store.tick(w.clock.Now())
	if files() == 0 {
		t.Fatal("the files are gone before their delay")
	}
	w.clock.Advance(2 * time.Second)
	w.store.tick(w.clock.Now())
	if n := files(); n > 0 {
		t.Fatalf("%d files are left after their delay", n)
	}
	if _, err := r.ReadAt(make([]byte, r.Len()), 0); err != nil {
		t.Fatalf("a range given out before: %v", err)
	}
	r.Release()
	if n := w.store.OpenFiles(); n > 1 {
		t.Fatalf("%d files are open after the last reader let go", n)
	}
}

func TestDeleteLog(t *testing.T) {
	w := newWorld(t)
	l := w.create(smallSegments())
	singles(t, l, 30)
	waitSynced(t, l, 30)
	if err := w.store.Delete(tp0); err != nil {
		t.Fatal(err)
	}
	if err := w.store.Delete(tp0); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Fatalf("deleting it again: %v", err)
	}
	if _, err := l.Append(makeBatch(spec{}), AppendOptions{Now: epoch0}); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Fatalf("append: %v", err)
	}
	if _, err := l.Read(0, 100, 30, true); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Fatalf("read: %v", err)
	}
	l2, err := w.store.Create(tp0, base.TopicID{9}, smallSegments(), "")
	if err != nil || l2.EndOffset() != 0 {
		t.Fatalf("a new log of the same name ends at %d, %v", l2.EndOffset(), err)
	}
	want := singles(t, l2, 5)
	waitSynced(t, l2, 5)
	w.crash(noUnsynced)
	if got := readAll(t, w.log(), 0, 500); !slices.Equal(got, want) || w.log().TopicID() != (base.TopicID{9}) {
		t.Fatalf("after a power cut: %v of topic %v", got, w.log().TopicID())
	}
	w.store.tick(w.clock.Now().Add(time.Hour))
	entries, err := w.fs.ReadDir("/data")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), deleteDirSuffix) {
			t.Errorf("%s is left", path.Join("/data", e.Name()))
		}
	}
}

func TestRollByTime(t *testing.T) {
	w := newWorld(t)
	cfg := DefaultLogConfig()
	cfg.SegmentAge = time.Hour
	l := w.create(cfg)
	ts := epoch0.UnixMilli()
	appendSpec(t, l, spec{ts: ts})
	w.clock.Advance(10 * time.Hour)
	appendSpec(t, l, spec{ts: ts + 3_600_000}) // by the records' time just an hour
	if len(l.segs) != 1 {
		t.Fatalf("%d segments, want 1", len(l.segs))
	}
	appendSpec(t, l, spec{ts: ts + 3_600_001})
	if len(l.segs) != 2 {
		t.Fatalf("%d segments, want 2", len(l.segs))
	}
}

func TestRollByIndex(t *testing.T) {
	w := newWorld(t)
	cfg := DefaultLogConfig()
	cfg.IndexBytes, cfg.IndexIntervalBytes = 5*timeEntryBytes, 0
	l := w.create(cfg)
	for i := range int64(20) {
		appendSpec(t, l, spec{ts: epoch0.UnixMilli() + i})
	}
	if len(l.segs) < 3 {
		t.Fatalf("%d segments, want several", len(l.segs))
	}
}

func TestTruncate(t *testing.T) {
	w := newWorld(t)
	l := w.create(smallSegments())
	want := singles(t, l, 80)
	l.SetHighWatermark(70)
	if err := l.Truncate(45); err != nil {
		t.Fatal(err)
	}
	if l.EndOffset() != 45 || l.HighWatermark() != 45 || l.SyncedOffset() > 45 {
		t.Fatalf("end %d hw %d synced %d", l.EndOffset(), l.HighWatermark(), l.SyncedOffset())
	}
	want = append(want[:45:45], singles(t, l, 10)...)
	waitSynced(t, l, 55)
	for _, restart := range []func(){func() {}, w.reopen, func() { w.crash(noUnsynced) }} {
		restart()
		if got := readAll(t, w.log(), 0, 700); !slices.Equal(got, want) {
			t.Fatalf("read %d records, want %d", len(got), len(want))
		}
	}
	if err := w.log().TruncateFully(1000); err != nil {
		t.Fatal(err)
	}
	w.crash(noUnsynced)
	if l := w.log(); l.StartOffset() != 1000 || l.EndOffset() != 1000 {
		t.Fatalf("the log holds %d to %d, want 1000 to 1000", l.StartOffset(), l.EndOffset())
	}
}
