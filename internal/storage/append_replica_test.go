package storage

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"testing"

	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
)

// leaderLog is what a leader may send: batches of several producers, some with markers behind, offsets that skip what
// was compacted, and two leader epochs.
func leaderLog(rng *rand.Rand, n, size int) (all []byte, cuts []int) {
	offset, epoch, ts := int64(0), int32(1), epoch0.UnixMilli()
	open := map[int64]bool{}
	for range n {
		pid := int64(rng.IntN(3)) // 0: none
		b := makeBatch(spec{values: []string{string(make([]byte, rng.IntN(size)))}, pid: pid, ts: ts, txn: pid > 0 && rng.IntN(3) == 0})
		switch {
		case open[pid] && rng.IntN(2) == 0:
			b = makeMarker(pid, 0, rng.IntN(2) == 0, 1, ts)
			open[pid] = false
		case b.IsTransactional():
			open[pid] = true
		}
		if rng.IntN(40) == 0 {
			epoch++
		}
		if rng.IntN(20) == 0 {
			offset += int64(rng.IntN(5))
		}
		b.SetBaseOffset(offset)
		b.SetLeaderEpoch(epoch)
		offset = b.LastOffset() + 1
		ts += int64(rng.IntN(50))
		all = append(all, b...)
		cuts = append(cuts, len(all))
	}
	return all, cuts
}

// TestAppendReplica: what a leader sent ends in the same files, however many batches are written at once.
func TestAppendReplica(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		size := 300
		if seed%2 == 1 {
			size = 3000 // for runs of more than a block
		}
		all, cuts := leaderLog(rng, 300, size)
		cfg := DefaultLogConfig()
		cfg.SegmentBytes, cfg.IndexIntervalBytes, cfg.IndexBytes = int32(1500+rng.IntN(4000)), int32(rng.IntN(500)), int32(48+rng.IntN(200))
		if seed%2 == 1 {
			cfg.SegmentBytes, cfg.IndexBytes = cfg.SegmentBytes*10, 4096
		}
		past := 0
		write := func(behind, disk bool, next func(done int) int) map[string][]byte {
			w := newWorld(t, func(o *Options) {
				if disk {
					o.FS, o.Dirs = vfs.OS{}, []string{t.TempDir()}
				}
				fault := vfs.NewFault(o.FS)
				fault.OnOp(func(op vfs.Op) {
					if op.Kind == vfs.OpWrite && path.Ext(op.Path) == logSuffix && op.Offset%vfs.DirectAlign == 0 && op.Len%vfs.DirectAlign == 0 {
						past++
					}
				})
				o.FS, o.UncachedBytes = fault, 1
			})
			l, err := w.store.Create(tp0, [16]byte{1}, cfg, "")
			if err != nil {
				t.Fatal(err)
			}
			for done := 0; done < len(all); {
				upTo := next(done)
				n, err := l.AppendReplica(all[done:upTo], AppendOptions{Now: epoch0, Behind: behind}, nil)
				if err != nil || n != upTo-done {
					t.Fatalf("seed %d: %d bytes of %d appended, %v", seed, n, upTo-done, err)
				}
				done = upTo
			}
			if err := w.store.Close(); err != nil {
				t.Fatal(err)
			}
			return filesIn(t, w.fs, l.home())
		}
		one := 0
		want := write(false, false, func(int) int { one++; return cuts[one-1] })
		if seed%2 == 0 && len(want) < 8 {
			t.Fatalf("seed %d: only %d files, too few to show how segments are cut", seed, len(want))
		}
		for _, disk := range []bool{false, true} {
			if disk && seed > 5 {
				break // it takes its time
			}
			behind := disk || seed%4 > 1
			at := 0
			past = 0
			got := write(behind, disk, func(int) int {
				at = min(at+1+rng.IntN(100), len(cuts))
				return cuts[at-1]
			})
			if behind && seed%2 == 1 && past == 0 {
				t.Errorf("seed %d: a replica that has fallen behind wrote nothing past the page cache", seed)
			}
			for name, b := range want {
				if !bytes.Equal(got[name], b) {
					t.Errorf("seed %d, behind %v, on disk %v: %s differs: %d bytes, want %d", seed, behind, disk, name, len(got[name]), len(b))
				}
			}
			if len(got) != len(want) {
				t.Errorf("seed %d, behind %v, on disk %v: %d files, want %d", seed, behind, disk, len(got), len(want))
			}
		}
	}
}

func filesIn(t *testing.T, fsys vfs.FS, dir string) map[string][]byte {
	t.Helper()
	names, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, e := range names {
		name := e.Name()
		b, err := vfs.ReadFile(fsys, path.Join(dir, name), 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = b
	}
	return files
}

// TestAppendReplicaDamaged: what comes before a batch that cannot be is appended, and counted.
func TestAppendReplicaDamaged(t *testing.T) {
	all, cuts := leaderLog(rand.New(rand.NewPCG(1, 1)), 10, 300)
	all[cuts[4]+16] = 3 // magic
	w := newWorld(t)
	l, err := w.store.Create(tp0, [16]byte{1}, DefaultLogConfig(), "")
	if err != nil {
		t.Fatal(err)
	}
	n, err := l.AppendReplica(all, AppendOptions{Now: epoch0}, nil)
	if err == nil || n != cuts[4] {
		t.Errorf("%d bytes appended with error %v, want %d and an error", n, err, cuts[4])
	}
	if got := l.bytes.Load(); got != int64(cuts[4]) {
		t.Errorf("the log has %d bytes, want %d", got, cuts[4])
	}
}

// replicaRun is batches side by side, renumbered by renumber.
func replicaRun(count, size int) []byte { return bytes.Repeat(benchBatch(size), count) }

func renumber(run []byte, size int, from int64) {
	for at := 0; at < len(run); at += size {
		b := batch.Batch(run[at : at+size])
		b.SetBaseOffset(from)
		b.SetLeaderEpoch(1)
		from++
	}
}

// BenchmarkAppendReplica is the cost of what one fetch brings a follower of a partition, without the disk.
func BenchmarkAppendReplica(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 64 << 10} {
		for _, count := range []int{1, 16} {
			b.Run(fmt.Sprintf("%dx%dK", count, size>>10), func(b *testing.B) {
				dir, err := os.MkdirTemp(b.TempDir(), "")
				if err != nil {
					b.Fatal(err)
				}
				cfg := DefaultLogConfig()
				cfg.Durability, cfg.SegmentBytes, cfg.RetentionBytes = Replicated, 256<<20, 512<<20
				l := benchLog(b, benchStore(b, vfs.OS{}, dir, nil), 0, cfg)
				run := replicaRun(count, len(benchBatch(size)))
				b.SetBytes(int64(len(run)))
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N {
					renumber(run, len(run)/count, l.EndOffset())
					if _, err := l.AppendReplica(run, AppendOptions{LeaderEpoch: 1, Now: epoch0}, nil); err != nil {
						b.Fatal(err)
					}
					if i%256 == 255 {
						l.SetHighWatermark(l.EndOffset())
					}
				}
			})
		}
	}
}

// TestAppendReplicaAllocations holds that a follower's append allocates nothing.
func TestAppendReplicaAllocations(t *testing.T) {
	cfg := DefaultLogConfig()
	cfg.Durability = Replicated
	w := newWorld(t, func(o *Options) { o.FS = vfs.OS{}; o.Dirs = []string{t.TempDir()} })
	l, err := w.store.Create(tp0, [16]byte{1}, cfg, "")
	if err != nil {
		t.Fatal(err)
	}
	run := replicaRun(8, 1<<10)
	size := len(run) / 8
	if got := testing.AllocsPerRun(100, func() {
		renumber(run, size, l.EndOffset())
		if _, err := l.AppendReplica(run, AppendOptions{LeaderEpoch: 1, Now: epoch0}, nil); err != nil {
			t.Fatal(err)
		}
	}); got > 0 {
		t.Errorf("an append of 8 batches allocates %v objects, want none", got)
	}
}

// TestAppendReplicaDirect: what is large together is synced in its segment; the journal never hears of it.
func TestAppendReplicaDirect(t *testing.T) {
	const size = 1000
	for _, c := range []struct {
		count   int
		entries bool
	}{{2, true}, {5, true}, {6, false}} {
		w := newWorld(t, func(o *Options) { o.Journal.DirectBytes = 2000 - minBatchBytes })
		l, err := w.store.Create(tp0, [16]byte{1}, DefaultLogConfig(), "")
		if err != nil {
			t.Fatal(err)
		}
		run := replicaRun(c.count, size)
		renumber(run, len(run)/c.count, 0)
		if n, err := l.AppendReplica(run, AppendOptions{LeaderEpoch: 1, Now: epoch0}, nil); n != len(run) || err != nil {
			t.Fatalf("%d batches: %d bytes of %d, %v", c.count, n, len(run), err)
		}
		waitSynced(t, l, int64(c.count))
		l.mu.Lock()
		journaled := l.journaled
		l.mu.Unlock()
		if journaled != c.entries {
			t.Errorf("%d batches of %d bytes at once: journaled %v, want %v", c.count, len(run)/c.count, journaled, c.entries)
		}
		if got := l.SyncedOffset(); got != int64(c.count) {
			t.Errorf("%d batches are synced up to %d", c.count, got)
		}
	}
}
