package storage

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/vfs"
)

func smallSegments() LogConfig {
	c := DefaultLogConfig()
	c.SegmentBytes, c.IndexIntervalBytes = 2000, 200
	return c
}

func fillLog(t *testing.T, l *Log, n int) (want []string) {
	t.Helper()
	for i := range n {
		at := l.EndOffset()
		s := spec{ts: epoch0.UnixMilli() + int64(i)*10}
		for j := range i%3 + 1 {
			v := fmt.Sprintf("value-%d-%d", i, j)
			s.values = append(s.values, v)
			want = append(want, fmt.Sprintf("%d=%s", at+int64(j), v))
		}
		if info := appendSpec(t, l, s); info.BaseOffset != at {
			t.Fatalf("batch %d got offset %d, want %d", i, info.BaseOffset, at)
		}
	}
	return want
}

func TestAppendAndRead(t *testing.T) {
	w := newWorld(t)
	l := w.create(smallSegments())
	want := fillLog(t, l, 200)
	for _, maxBytes := range []int32{1, 100, 500, 5000, 1 << 20} {
		if got := readAll(t, l, 0, maxBytes); !slices.Equal(got, want) {
			t.Fatalf("max bytes %d: read %d records, want %d", maxBytes, len(got), len(want))
		}
	}
	for off := range l.EndOffset() {
		r, err := l.Read(off, 1, l.EndOffset(), true)
		if err != nil || r == nil {
			t.Fatalf("offset %d: %v, %v", off, r, err)
		}
		var b [minBatchBytes]byte
		if _, err := r.ReadAt(b[:], 0); err != nil {
			t.Fatal(err)
		}
		h, err := parseHeader(b[:], int64(r.Len()))
		r.Release()
		if err != nil || off < h.base || off > h.last {
			t.Fatalf("offset %d: batch %d to %d, %v", off, h.base, h.last, err)
		}
	}
	if len(l.segs) < 5 {
		t.Fatalf("%d segments, want several", len(l.segs))
	}
}

func TestReadBounds(t *testing.T) {
	w := newWorld(t)
	l := w.create(smallSegments())
	fillLog(t, l, 50)
	if _, err := l.Read(l.EndOffset()+1, 100, l.EndOffset(), true); !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Fatalf("read above the end: %v", err)
	}
	if _, err := l.Read(-1, 100, l.EndOffset(), true); !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Fatalf("read below the start: %v", err)
	}
	if r, err := l.Read(l.EndOffset(), 100, l.EndOffset(), true); r != nil || err != nil {
		t.Fatalf("read at the end: %v, %v", r, err)
	}
	for upTo := range l.EndOffset() {
		r, err := l.Read(0, 1<<20, upTo, true)
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			continue
		}
		b := make([]byte, r.Len())
		_, _ = r.ReadAt(b, 0)
		r.Release()
		for len(b) > 0 {
			h, err := parseHeader(b, int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			if h.last >= upTo {
				t.Fatalf("bound %d: batch %d to %d was given", upTo, h.base, h.last)
			}
			b = b[h.size:]
		}
	}
}

func TestReopenClean(t *testing.T) {
	w := newWorld(t)
	l := w.create(smallSegments())
	want := fillLog(t, l, 100)
	l.SetHighWatermark(l.EndOffset())
	end := l.EndOffset()
	w.reopen()
	l = w.log()
	if l.EndOffset() != end || l.HighWatermark() != end || l.SyncedOffset() != end || l.StartOffset() != 0 {
		t.Fatalf("start %d end %d hw %d synced %d, want 0 %d %d %d", l.StartOffset(), l.EndOffset(), l.HighWatermark(),
			l.SyncedOffset(), end, end, end)
	}
	if got := readAll(t, l, 0, 300); !slices.Equal(got, want) {
		t.Fatalf("read %d records, want %d", len(got), len(want))
	}
	l.SetConfig(smallSegments())
	want = append(want, fillLog(t, l, 30)...)
	if got := readAll(t, l, 0, 300); !slices.Equal(got, want) {
		t.Fatalf("read %d records, want %d", len(got), len(want))
	}
	if e, ok := l.LatestEpoch(); !ok || e != 1 {
		t.Fatalf("latest epoch %d %v, want 1", e, ok)
	}
}

func TestCrashKeepsSynced(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t)
			l := w.create(smallSegments())
			want := fillLog(t, l, 60)
			waitSynced(t, l, l.EndOffset())
			synced := len(want)
			if seed%2 == 0 {
				w.store.Checkpoint()
			}
			want = append(want, fillLog(t, l, 20)...)
			w.crash(vfs.CrashOptions{Seed: seed, KeepUnsynced: 0.5})
			got := readAll(t, w.log(), 0, 400)
			if len(got) < synced || !slices.Equal(got, want[:len(got)]) {
				t.Fatalf("%d records after the crash, at least %d were synced", len(got), synced)
			}
		})
	}
}

// TestPreallocate: the file is large while it is written to, and cut to its content when a segment
// is sealed or the log comes to rest.
func TestPreallocate(t *testing.T) {
	w := newWorld(t)
	cfg := smallSegments()
	cfg.Preallocate = true
	l := w.create(cfg)
	want := singles(t, l, 40)
	sizes := func() (list []int64) {
		for _, s := range l.segs {
			info, err := w.fs.Stat(l.filePath(s, logSuffix))
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, info.Size())
		}
		return list
	}
	w.store.Checkpoint()
	if got := sizes(); len(got) != 2 || got[0] != l.segs[0].size || got[1] != int64(cfg.SegmentBytes) {
		t.Fatalf("files of %v bytes; the first segment has %d", got, l.segs[0].size)
	}
	waitSynced(t, l, 40)
	w.crash(vfs.CrashOptions{KeepUnsynced: 1})
	if l = w.log(); !slices.Equal(readAll(t, l, 0, 700), want) {
		t.Fatal("records are missing after a crash")
	}
	l.SetConfig(cfg)
	want = append(want, singles(t, l, 20)...)
	w.reopen()
	l = w.log()
	if got := sizes(); got[len(got)-1] != l.active().size {
		t.Fatalf("files of %v bytes after a clean stop; the last segment has %d", got, l.active().size)
	}
	if !slices.Equal(readAll(t, l, 0, 700), want) {
		t.Fatal("records are missing after a clean stop")
	}
}
