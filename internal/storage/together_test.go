package storage

import (
	"path"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// togetherWorld has three logs in /a behind small journal files.
func togetherWorld(t *testing.T) (w *world, fault *vfs.Fault, down *atomic.Value, logs []*Log) {
	t.Helper()
	w, fault, down = faultWorld(t, func(o *Options) {
		o.Journal.FileBytes, o.Journal.Files, o.Journal.TogetherLogs = 64<<10, 4, 3
	})
	for i := range int32(3) {
		l, err := w.store.Create(base.TopicPartition{Topic: "t", Partition: i}, base.TopicID{1}, DefaultLogConfig(), "/a")
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, l)
	}
	return w, fault, down, logs
}

// fillFile appends to all logs until a journal file is full, and waits for every append.
func fillFile(t *testing.T, logs []*Log, full func() bool) {
	t.Helper()
	await(t, "a full journal file", func() bool {
		for _, l := range logs {
			info, err := l.Append(makeBatch(spec{values: []string{strings.Repeat("v", 700)}}), AppendOptions{Now: epoch0})
			if err != nil {
				t.Fatal(err)
			}
			waitSynced(t, l, info.LastOffset+1)
		}
		return full()
	})
}

// TestTogether: behind a journal file that many logs are in, the volume is synced once and no segment.
func TestTogether(t *testing.T) {
	w, fault, _, logs := togetherWorld(t)
	var volume, segments atomic.Int32
	fault.OnOp(func(op vfs.Op) {
		switch {
		case op.Kind == vfs.OpSync && op.Path == "/a":
			volume.Add(1)
		case op.Kind == vfs.OpSync && path.Ext(op.Path) == logSuffix:
			segments.Add(1)
		}
	})
	fillFile(t, logs, func() bool { return volume.Load() >= 4 })
	if n := segments.Load(); n > 2*volume.Load() {
		t.Errorf("%d syncs of segments beside %d of the volume", n, volume.Load())
	}
	for _, l := range logs {
		l.mu.Lock()
		if !l.durable || l.flushed == 0 {
			t.Errorf("%s: durable %v, flushed up to %d", l.tp, l.durable, l.flushed)
		}
		l.mu.Unlock()
	}
	fault.OnOp(nil)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestTogetherFails: a volume that cannot be synced takes the directory offline, and its logs keep
// what their journal files hold.
func TestTogetherFails(t *testing.T) {
	w, fault, down, logs := togetherWorld(t)
	fillFile(t, logs, func() bool { return true })
	fault.Inject(vfs.Rule{Kind: vfs.OpSync, Path: "/a", Err: syscall.EIO})
	ends := map[base.TopicPartition]int64{}
	await(t, "the directory to go offline", func() bool {
		for _, l := range logs {
			_, _ = l.Append(makeBatch(spec{values: []string{strings.Repeat("v", 700)}}), AppendOptions{Now: epoch0})
		}
		return down.Load() != nil
	})
	fault.Clear()
	for _, l := range logs {
		ends[l.tp] = l.SyncedOffset()
	}
	if err := w.store.Close(); err == nil {
		t.Fatal("closing says nothing of the offline directory")
	}
	w.open()
	for tp, end := range ends {
		if l, ok := w.store.Log(tp); !ok || l.EndOffset() < end {
			t.Errorf("%s: acknowledged up to %d, found %v", tp, end, l)
		}
	}
}

// TestTogetherMeanwhile: what is appended while the volume is being synced stays marked, and a cut
// in between has the log synced by itself.
func TestTogetherMeanwhile(t *testing.T) {
	_, _, _, logs := togetherWorld(t)
	l := logs[0]
	singles(t, l, 2)
	waitSynced(t, l, 2)
	var c covered
	segs := l.cover(&c, nil)
	if len(segs) != 1 || c.end != 2 {
		t.Fatalf("covered %d segments up to %d, want 1 up to 2", len(segs), c.end)
	}
	singles(t, l, 1)
	if _, same := l.coveredNow(&c, segs); !same {
		t.Fatal("an append was taken for a cut")
	}
	if l.mu.Lock(); !segs[0].s.dirty || l.flushed != 2 {
		t.Errorf("dirty %v, flushed up to %d, want true and 2", segs[0].s.dirty, l.flushed)
	}
	l.mu.Unlock()
	c = covered{}
	segs = l.cover(&c, nil)
	if err := l.Truncate(1); err != nil {
		t.Fatal(err)
	}
	if _, same := l.coveredNow(&c, segs); same {
		t.Error("a cut was not seen")
	}
	c = covered{}
	segs = l.cover(&c, nil)
	if _, same := l.coveredNow(&c, segs); !same || len(segs) > 0 && segs[0].s.dirty {
		t.Error("a segment that was covered whole stays marked")
	}
}
