package partition

import (
	"context"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/storage"
)

// TestBehindPastTheCache: what the leader's high watermark has passed goes past the page cache, what it has not passed
// does not.
func TestBehindPastTheCache(t *testing.T) {
	past := 0
	fault := vfs.NewFault(vfs.NewMem())
	fault.OnOp(func(op vfs.Op) {
		if op.Kind == vfs.OpWrite && op.Offset%vfs.DirectAlign == 0 && op.Len > 0 && op.Len%vfs.DirectAlign == 0 {
			past++
		}
	})
	store, err := storage.Open(context.Background(), storage.Options{
		FS: fault, Dirs: []string{"/data"}, NodeID: 1, Journal: storage.JournalOptions{Disabled: true}, UncachedBytes: 20_000,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	log, err := store.Create(testTP, testID, storage.DefaultLogConfig(), "")
	if err != nil {
		t.Fatal(err)
	}
	p := New(testTP, testID, log, &Settings{Durability: storage.Fsync, MinInSync: 1})
	p.MakeFollower(1, State{Replicas: []int32{0, 1}, ISR: []int32{0}, Leader: 0, LeaderEpoch: 3})
	for _, step := range []struct {
		name  string
		bytes int
		ahead int64 // how far the high watermark is ahead of what is fetched
		past  bool
	}{
		{"in sync", 30_000, -1, false},
		{"behind", 30_000, 0, true},
		{"far behind", 50_000, 1000, true},
		{"behind, with little", 10_000, 1000, false},
		{"in sync again", 30_000, -1, false},
	} {
		past = 0
		build := batch.NewBuilder(batch.Options{})
		build.Append(1_700_000_000_000, nil, make([]byte, step.bytes))
		b, err := build.Build()
		if err != nil {
			t.Fatal(err)
		}
		b.SetBaseOffset(log.EndOffset())
		b.SetLeaderEpoch(3)
		end := b.LastOffset() + 1
		if err := p.AppendAsFollower(b, 3, end+step.ahead, 0, time.UnixMilli(1_700_000_000_000), nil); err != nil {
			t.Fatal(err)
		}
		if log.EndOffset() != end {
			t.Fatalf("%s: the log ends at %d, want %d", step.name, log.EndOffset(), end)
		}
		if (past > 0) != step.past {
			t.Errorf("%s, %d bytes: %d writes past the page cache, want some: %v", step.name, step.bytes, past, step.past)
		}
	}
}
