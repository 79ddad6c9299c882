package storage

import (
	"errors"
	"path"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// pastWorld counts the writes of segments that go past the page cache.
type pastWorld struct {
	*world
	fault *vfs.Fault
	past  int
}

func newPastWorld(t *testing.T) *pastWorld {
	t.Helper()
	p := &pastWorld{}
	p.world = newWorld(t, func(o *Options) {
		p.fault = vfs.NewFault(o.FS)
		o.FS, o.UncachedBytes = p.fault, 1
	})
	p.fault.OnOp(func(op vfs.Op) {
		if op.Kind == vfs.OpWrite && path.Ext(op.Path) == logSuffix && op.Offset%vfs.DirectAlign == 0 && op.Len%vfs.DirectAlign == 0 {
			p.past++
		}
	})
	return p
}

// fetch appends what a replica fetched that has fallen behind, and says how many writes went past the page cache.
func (p *pastWorld) fetch(l *Log) (past int, err error) {
	run := replicaRun(8, 2000)
	renumber(run, len(run)/8, l.EndOffset())
	p.past = 0
	_, err = l.AppendReplica(run, AppendOptions{LeaderEpoch: 1, Now: epoch0, Behind: true}, nil)
	return p.past, err
}

// TestUncachedInFsync: what nobody waits for is left to the page cache.
func TestUncachedInFsync(t *testing.T) {
	for d, want := range map[Durability]int{Fsync: 1, Replicated: 0} {
		p := newPastWorld(t)
		cfg := DefaultLogConfig()
		cfg.Durability = d
		l, err := p.store.Create(tp0, [16]byte{1}, cfg, "")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.fetch(l); got != want || err != nil {
			t.Errorf("durability %v: %d writes past the page cache, want %d; %v", d, got, want, err)
		}
	}
}

// TestUncachedRefused: where files cannot be written past the page cache they are written through it, and nobody tries
// again.
func TestUncachedRefused(t *testing.T) {
	p := newPastWorld(t)
	mem := vfs.NewMem()
	mem.SetDirect(false)
	w := newWorld(t, func(o *Options) { o.FS, o.UncachedBytes = mem, 1 })
	l, err := w.store.Create(tp0, [16]byte{1}, DefaultLogConfig(), "")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := p.fetch(l); err != nil {
			t.Fatal(err)
		}
	}
	if got := readAll(t, l, 0, 24); len(got) != 24 {
		t.Errorf("%d batches came back, want 24", len(got))
	}
	if !l.dir.cachedOnly.Load() {
		t.Error("every append tries anew to write past the page cache")
	}
}

// TestUncachedFails: a write past the page cache that fails takes the directory offline; without space it is refused, and
// what is appended later takes its place.
func TestUncachedFails(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		for after := range 3 { // its middle, the part before and the part behind
			p := newPastWorld(t)
			l, err := p.store.Create(tp0, [16]byte{1}, DefaultLogConfig(), "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.fetch(l); err != nil {
				t.Fatal(err)
			}
			waitSynced(t, l, 8)
			p.fault.Inject(vfs.Rule{Kind: vfs.OpWrite, Path: "*.log", Err: cause, After: after, Count: 1, Short: 700})
			if _, err := p.fetch(l); !errors.Is(err, kerr.KafkaStorageError) {
				t.Fatalf("%v at write %d: append says %v", cause, after, err)
			}
			if l.EndOffset() != 8 {
				t.Errorf("%v at write %d: the log ends at %d, want 8", cause, after, l.EndOffset())
			}
			if offline := l.dir.offline() != nil; offline != (cause == syscall.EIO) {
				t.Errorf("%v at write %d: offline %v", cause, after, offline)
			}
			if cause == syscall.EIO {
				continue
			}
			if _, err := p.fetch(l); err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, l, 0, 16); len(got) != 16 {
				t.Errorf("%v at write %d: %d batches came back, want 16", cause, after, len(got))
			}
		}
	}
}
