package storage

import (
	"errors"
	"log/slog"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// faultWorld has two log directories over a file system that can fail.
func faultWorld(t *testing.T, change ...func(*Options)) (w *world, fault *vfs.Fault, down *atomic.Value) {
	t.Helper()
	fault = vfs.NewFault(vfs.NewMem())
	down = &atomic.Value{}
	w = newWorld(t, append(change, func(o *Options) {
		o.FS, o.Dirs = fault, []string{"/a", "/b"}
		o.Events.DirOffline = func(dir string, _ error) { down.Store(dir) }
	})...)
	return w, fault, down
}

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestFailedWrite: after a failed write or sync the directory is offline, alone, and nothing that
// came after counts.
func TestFailedWrite(t *testing.T) {
	for _, tt := range []struct {
		name    string
		rule    vfs.Rule
		journal bool
	}{
		{"write of a segment", vfs.Rule{Kind: vfs.OpWrite, Path: "*.log"}, true},
		{"write of the journal", vfs.Rule{Kind: vfs.OpWrite, Path: journalPrefix + "*"}, true},
		{"sync of a segment", vfs.Rule{Kind: vfs.OpSync, Path: "*.log"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, fault, down := faultWorld(t, func(o *Options) { o.Journal.Disabled = !tt.journal })
			tp1 := base.TopicPartition{Topic: "t", Partition: 1}
			la, err := w.store.Create(tp0, base.TopicID{1}, smallSegments(), "/a")
			if err != nil {
				t.Fatal(err)
			}
			lb, err := w.store.Create(tp1, base.TopicID{1}, smallSegments(), "/b")
			if err != nil {
				t.Fatal(err)
			}
			singles(t, la, 5)
			waitSynced(t, la, 5)
			tt.rule.Err = syscall.EIO
			fault.Inject(tt.rule)
			_, err = la.Append(makeBatch(spec{}), AppendOptions{Now: epoch0})
			if err != nil && !errors.Is(err, kerr.KafkaStorageError) {
				t.Fatalf("append: %v", err)
			}
			await(t, "the directory to go offline", func() bool { return down.Load() != nil })
			fault.Clear()
			if down.Load() != "/a" || la.SyncedOffset() > 5 {
				t.Fatalf("offline %v, synced %d", down.Load(), la.SyncedOffset())
			}
			if _, err := la.Append(makeBatch(spec{}), AppendOptions{Now: epoch0}); !errors.Is(err, kerr.KafkaStorageError) {
				t.Fatalf("append afterwards: %v", err)
			}
			if _, err := la.Read(0, 100, 5, true); !errors.Is(err, kerr.KafkaStorageError) {
				t.Fatalf("read afterwards: %v", err)
			}
			singles(t, lb, 5)
			waitSynced(t, lb, 5)
			dirs := w.store.Dirs()
			if dirs[0].Online || dirs[0].Err == nil || !dirs[1].Online || dirs[1].Logs != 1 {
				t.Fatalf("directories %+v", dirs)
			}
			if _, err := w.store.Create(base.TopicPartition{Topic: "n"}, base.TopicID{2}, smallSegments(), "/a"); !errors.Is(err, kerr.KafkaStorageError) {
				t.Fatalf("create in the offline directory: %v", err)
			}
			if l, err := w.store.Create(base.TopicPartition{Topic: "n"}, base.TopicID{2}, smallSegments(), ""); err != nil || l.Dir() != "/b" {
				t.Fatalf("create anywhere: %v", err)
			}
			if err := w.store.Close(); err == nil {
				t.Fatal("closing says nothing of the offline directory")
			}
			w.open() // /b is clean, /a is recovered
			if l := w.log(); l.EndOffset() < 5 || l.Offline() {
				t.Fatalf("after a restart the log ends at %d", l.EndOffset())
			}
		})
	}
}

// lines hears what a logger writes.
type lines func(line string)

func (fn lines) Write(p []byte) (int, error) { fn(string(p)); return len(p), nil }

// TestDiskFull: without space an append is refused and nothing else happens; it works again as soon
// as there is space.
func TestDiskFull(t *testing.T) {
	var refusals atomic.Int64 // lines of the log
	w, fault, down := faultWorld(t, func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(lines(func(line string) {
			if strings.Contains(line, "log directory refuses writes") && strings.Contains(line, "dir=/a") {
				refusals.Add(1)
			}
		}), nil))
	})
	l, err := w.store.Create(tp0, base.TopicID{1}, smallSegments(), "/a")
	if err != nil {
		t.Fatal(err)
	}
	want := singles(t, l, 5)
	fault.Inject(vfs.Rule{Kind: vfs.OpWrite, Path: "*.log", Err: syscall.ENOSPC})
	for range 100 { // as clients try again and again
		if _, err := l.Append(makeBatch(spec{}), AppendOptions{Now: epoch0}); !errors.Is(err, kerr.KafkaStorageError) {
			t.Fatalf("append without space: %v", err)
		}
	}
	if n := refusals.Load(); n != 1 {
		t.Errorf("%d lines say that the disk is full, want 1", n)
	}
	if got := readAll(t, l, 0, 500); !slices.Equal(got, want) {
		t.Fatalf("read %v", got)
	}
	fault.Clear()
	singles(t, l, 5)
	waitSynced(t, l, 10)
	if down.Load() != nil {
		t.Fatalf("%v went offline", down.Load())
	}
	w.reopen()
	if got := w.log().EndOffset(); got != 10 {
		t.Fatalf("the log ends at %d, want 10", got)
	}
}

// TestNoDescriptors: running out of descriptors refuses what needs one and condemns nothing.
func TestNoDescriptors(t *testing.T) {
	w, fault, down := faultWorld(t)
	l, err := w.store.Create(tp0, base.TopicID{1}, smallSegments(), "/a")
	if err != nil {
		t.Fatal(err)
	}
	singles(t, l, 60)
	waitSynced(t, l, 60)
	w.reopen()
	l = w.log()
	fault.Inject(vfs.Rule{Kind: vfs.OpOpen, Path: "*.log", Err: syscall.EMFILE})
	if _, err := l.Read(0, 100, 60, true); !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatalf("read without descriptors: %v", err)
	}
	fault.Clear()
	if got := readAll(t, l, 0, 500); len(got) != 60 || down.Load() != nil {
		t.Fatalf("read %d records, offline %v", len(got), down.Load())
	}
}

// TestSyncWithoutDescriptors: a sync that could not open its file has synced nothing and is repeated.
func TestSyncWithoutDescriptors(t *testing.T) {
	mem := vfs.NewMem()
	fault := vfs.NewFault(mem)
	w := newWorld(t, func(o *Options) { o.FS = fault })
	cfg := smallSegments()
	cfg.Durability = Replicated
	l := w.create(cfg)
	singles(t, l, 5)
	w.store.files.drop(l.active())
	fault.Inject(vfs.Rule{Path: "*.log", Err: syscall.EMFILE})
	if err := l.Sync(); !errors.Is(err, kerr.KafkaStorageError) || l.Offline() {
		t.Fatalf("sync without descriptors: %v, offline %v", err, l.Offline())
	}
	fault.Clear()
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	w.opts.FS = mem
	w.crash(noUnsynced)
	if got := w.log().EndOffset(); got != 5 {
		t.Fatalf("after a power cut the log ends at %d, want 5", got)
	}
}

func TestStartErrors(t *testing.T) {
	w, _, _ := faultWorld(t)
	if _, err := Open(t.Context(), w.opts); err == nil {
		t.Fatal("a second store opened the same directories")
	}
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	other := w.opts
	other.NodeID = 2
	if _, err := Open(t.Context(), other); err == nil {
		t.Fatal("another node opened the directories")
	}
	other = w.opts
	other.ClusterID = "another"
	if _, err := Open(t.Context(), other); err == nil {
		t.Fatal("another cluster opened the directories")
	}
	if err := w.fs.RemoveAll("/b"); err != nil {
		t.Fatal(err)
	}
	w.open()
	dirs := w.store.Dirs()
	meta, ok, err := ReadMeta(w.fs, "/b")
	if err != nil || !ok || meta.ClusterID != w.store.ClusterID() || meta.DirectoryID != dirs[1].DirectoryID || meta.NodeID != 1 {
		t.Fatalf("a new directory's meta.properties: %+v %v %v", meta, ok, err)
	}
}

// TestLogInTwoDirs: a log that is in two directories is an error that names both.
func TestLogInTwoDirs(t *testing.T) {
	w, _, _ := faultWorld(t)
	if _, err := w.store.Create(tp0, base.TopicID{1}, smallSegments(), "/a"); err != nil {
		t.Fatal(err)
	}
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.fs.MkdirAll(path.Join("/b", tp0.String())); err != nil {
		t.Fatal(err)
	}
	if err := writeTopicID(w.fs, path.Join("/b", tp0.String()), base.TopicID{2}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), w.opts); err == nil {
		t.Fatal("it opened")
	}
	if err := w.fs.RemoveAll(path.Join("/b", tp0.String())); err != nil {
		t.Fatal(err)
	}
	w.open()
}
