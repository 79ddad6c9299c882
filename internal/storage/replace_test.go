package storage

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
)

// thin copies the sealed segments into one, leaving out every batch whose base offset is odd but
// for the last one, and returns what a reader must see afterwards.
func thin(t *testing.T, l *Log) (c *cleanedSegment, old []*segment) {
	t.Helper()
	old = l.sealedSegments()
	c, err := l.newCleaned(old[0].base)
	if err != nil {
		t.Fatal(err)
	}
	end := old[len(old)-1].next
	for _, s := range old {
		err := l.scanSegment(s, 0, func(b batch.Batch) error {
			if b.BaseOffset()%2 == 1 && b.LastOffset()+1 != end {
				return nil
			}
			return c.append(b)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := c.seal(old[len(old)-1].modified); err != nil {
		t.Fatal(err)
	}
	return c, old
}

// singles appends n batches of one record each.
func singles(t *testing.T, l *Log, n int) (all []string) {
	t.Helper()
	for i := range n {
		v := fmt.Sprintf("value-%d", i)
		all = append(all, fmt.Sprintf("%d=%s", l.EndOffset(), v))
		appendSpec(t, l, spec{values: []string{v}})
	}
	return all
}

func thinned(all []string, end int64) (left []string) {
	for i, r := range all {
		if int64(i) >= end-1 || i%2 == 0 {
			left = append(left, r)
		}
	}
	return left
}

func TestReplaceSegments(t *testing.T) {
	w := newWorld(t)
	l := w.create(smallSegments())
	all := singles(t, l, 100)
	waitSynced(t, l, l.EndOffset())
	l.SetHighWatermark(l.EndOffset())
	before, err := l.Read(0, 1<<20, l.EndOffset(), true)
	if err != nil {
		t.Fatal(err)
	}
	c, old := thin(t, l)
	want := thinned(all, old[len(old)-1].next)
	if err := l.replaceSegments([]*cleanedSegment{c}, old); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, l, 0, 700); !slices.Equal(got, want) {
		t.Fatalf("read %d records after the swap, want %d", len(got), len(want))
	}
	if _, err := before.ReadAt(make([]byte, before.Len()), 0); err != nil {
		t.Fatalf("a range given out before the swap: %v", err)
	}
	before.Release()
	if err := l.SetCleanerOffset(old[len(old)-1].next); err != nil {
		t.Fatal(err)
	}
	size := l.Size()
	for _, restart := range []func(){w.reopen, func() { w.crash(vfs.CrashOptions{}) }} {
		restart()
		l = w.log()
		if got := readAll(t, l, 0, 700); !slices.Equal(got, want) {
			t.Fatalf("read %d records after a restart, want %d", len(got), len(want))
		}
		if l.Size() != size || l.CleanerOffset() != old[len(old)-1].next || len(l.Damage()) > 0 {
			t.Fatalf("size %d, cleaned to %d, damage %v", l.Size(), l.CleanerOffset(), l.Damage())
		}
	}
}

func TestReplaceStaleSegments(t *testing.T) {
	w := newWorld(t)
	l := w.create(smallSegments())
	singles(t, l, 100)
	waitSynced(t, l, l.EndOffset())
	l.SetHighWatermark(l.EndOffset())
	c, old := thin(t, l)
	if _, err := l.DeleteRecords(old[0].next); err != nil {
		t.Fatal(err)
	}
	if n, err := l.Retain(w.clock.Now()); err != nil || n != 1 {
		t.Fatalf("retention removed %d segments, %v", n, err)
	}
	if err := l.replaceSegments([]*cleanedSegment{c}, old); !errors.Is(err, errStaleSegments) {
		t.Fatalf("replacing a segment that retention has removed: %v", err)
	}
	c.discard()
}

// TestReplaceCrash pulls the plug before every operation of the swap.
func TestReplaceCrash(t *testing.T) {
	for at := int64(0); ; at++ {
		mem := vfs.NewMem()
		fault := vfs.NewFault(mem)
		w := newWorld(t, func(o *Options) { o.FS = fault })
		l := w.create(smallSegments())
		all := singles(t, l, 60)
		waitSynced(t, l, l.EndOffset())
		c, old := thin(t, l)
		want := thinned(all, old[len(old)-1].next)
		var mu sync.Mutex // the journal writes beside the swap
		var left *vfs.Mem
		start := fault.Ops()
		fault.OnOp(func(vfs.Op) {
			mu.Lock()
			defer mu.Unlock()
			if left == nil && fault.Ops()-start >= at {
				left = mem.CrashClone(vfs.CrashOptions{Seed: uint64(at), KeepUnsynced: 0.5})
			}
		})
		if err := l.replaceSegments([]*cleanedSegment{c}, old); err != nil {
			t.Fatal(err)
		}
		fault.OnOp(nil)
		_ = w.store.Close()
		if left == nil {
			if at == 0 {
				t.Fatal("the swap did nothing")
			}
			return
		}
		w.opts.FS = left
		w.open()
		got := readAll(t, w.log(), 0, 700)
		if !slices.Equal(got, want) && !slices.Equal(got, all) {
			t.Fatalf("operation %d: read %d records, want %d or %d", at, len(got), len(want), len(all))
		}
		if d := w.log().Damage(); len(d) > 0 {
			t.Fatalf("operation %d: damage %v", at, d)
		}
		_ = w.store.Close()
	}
}
