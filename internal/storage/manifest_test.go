package storage

import (
	"path"
	"slices"
	"testing"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// TestCleanStartOpensNothing: what a clean stop knows is enough for the next start.
func TestCleanStartOpensNothing(t *testing.T) {
	mem := vfs.NewMem()
	fault := vfs.NewFault(mem)
	w := newWorld(t, func(o *Options) { o.FS = fault })
	l := w.create(smallSegments())
	want := fillLog(t, l, 80)
	l.AssignEpoch(9)
	l.SetHighWatermark(l.EndOffset())
	appendSpec(t, l, spec{pid: 5, seq: 0, txn: true, values: []string{"open"}})
	end, size := l.EndOffset(), l.Size()
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	dir := path.Join("/data", tp0.String())
	fault.OnOp(func(op vfs.Op) {
		if op.Path == dir || path.Dir(op.Path) == dir {
			t.Errorf("%v of %s at a clean start", op.Kind, op.Path)
		}
	})
	w.open()
	fault.OnOp(nil)
	l = w.log()
	if l.EndOffset() != end || l.Size() != size || l.HighWatermark() != end-1 || l.TopicID() != (base.TopicID{1, 2, 3}) {
		t.Fatalf("end %d size %d hw %d id %v", l.EndOffset(), l.Size(), l.HighWatermark(), l.TopicID())
	}
	if epoch, ok := l.LatestEpoch(); !ok || epoch != 1 {
		t.Fatalf("latest epoch %d %v", epoch, ok)
	}
	if first, ok := l.FirstUnstableOffset(); !ok || first != end-1 {
		t.Fatalf("first unstable offset %d %v, want %d", first, ok, end-1)
	}
	if got := readAll(t, l, 0, 500); !slices.Equal(got[:len(want)], want) {
		t.Fatalf("read %d records, want %d", len(got), len(want)+1)
	}
}

// TestManifestDamaged: whatever byte of the manifest is wrong, the logs are found without it.
func TestManifestDamaged(t *testing.T) {
	w := newWorld(t)
	want := fillLog(t, w.create(smallSegments()), 20)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	name := "/data/" + manifestFile
	for i := 0; ; i++ {
		whole, err := vfs.ReadFile(w.fs, name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if i >= len(whole) {
			return
		}
		whole[i] ^= 0x55
		if err := vfs.WriteFile(w.fs, name, whole); err != nil {
			t.Fatal(err)
		}
		w.open()
		if got := readAll(t, w.log(), 0, 500); !slices.Equal(got, want) {
			t.Fatalf("byte %d: read %d records, want %d", i, len(got), len(want))
		}
		if err := w.store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestManifestAgainstDirectory: logs that were added or removed by hand between two starts.
func TestManifestAgainstDirectory(t *testing.T) {
	w := newWorld(t)
	fillLog(t, w.create(smallSegments()), 20)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.fs.Rename("/data/t-0", "/data/other-7"); err != nil {
		t.Fatal(err)
	}
	w.open()
	if _, ok := w.store.Log(tp0); ok {
		t.Fatal("a log whose directory is gone is still there")
	}
	l, ok := w.store.Log(base.TopicPartition{Topic: "other", Partition: 7})
	if !ok || l.EndOffset() == 0 {
		t.Fatalf("the renamed log is not there: %v", ok)
	}
}

func FuzzManifest(f *testing.F) {
	d := newWorld(f).store.dirs[0]
	f.Add([]byte("LSTDMANI"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := manifestReader{b: b}
		for len(r.b) > 0 {
			_ = d.manifestLog(&r)
		}
	})
}
