package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
)

// sweeper recovers what each crash leaves.
type sweeper struct {
	h          *history
	t          *testing.T
	seeds      int
	recoveries atomic.Int64
	again      atomic.Int64 // of them, cut a second time
	points     atomic.Int64
	mu         sync.Mutex
	failed     bool
}

// watch has every later operation of the history cut.
func (sw *sweeper) watch() {
	sw.h.fault.OnOp(func(op vfs.Op) {
		if !op.Kind.Changes() {
			return
		}
		sw.mu.Lock() // one at a time; the history's goroutines wait in their operations
		defer sw.mu.Unlock()
		if sw.failed {
			return
		}
		if testing.Short() && op.N%5 != 0 {
			return
		}
		sw.points.Add(1)
		n := uint64(op.N) + *crashSeed<<32
		sw.cut(op, vfs.CrashOptions{Seed: n}, false)
		sw.cut(op, vfs.CrashOptions{Seed: n, KeepUnsynced: 1}, false)
		for i := range sw.seeds {
			sw.cut(op, vfs.CrashOptions{Seed: n*31 + uint64(i), KeepUnsynced: 0.3 + 0.15*float64(i)}, false)
		}
		if op.Kind == vfs.OpWrite && op.Len >= 2*vfs.DirectAlign {
			sw.cut(op, vfs.CrashOptions{Seed: n, KeepUnsynced: 0.5}, true)
		}
	})
}

// cut takes the crash at op and checks what can be made of it.
func (sw *sweeper) cut(op vfs.Op, o vfs.CrashOptions, tear bool) {
	var before []story
	stories := sw.h.list()
	for _, s := range stories {
		before = append(before, s.snapshotOf()) // what was acknowledged when the power went
	}
	clone := sw.h.mem.CrashClone(o)
	if tear {
		tearWrite(clone, op)
	}
	r := remains{
		sw: sw, before: before, mem: clone,
		where: fmt.Sprintf("before op %d (%s %s at %d, %d bytes), keep %.1f seed %d torn %v", op.N, op.Kind, op.Path,
			op.Offset, op.Len, o.KeepUnsynced, o.Seed, tear),
	}
	for _, s := range stories {
		r.after = append(r.after, s.snapshotOf()) // what may have been attempted by then
	}
	if err := r.recover(o.Seed); err != nil {
		sw.failed = true
		sw.t.Errorf("crash %s: %v", r.where, err)
	}
}

// tearWrite leaves the first half of the blocks of a write that was under way.
func tearWrite(mem *vfs.Mem, op vfs.Op) {
	f, err := mem.OpenReadWrite(op.Path)
	if err != nil {
		return // its name did not survive
	}
	half := op.Len / 2 / vfs.DirectAlign * vfs.DirectAlign
	_, _ = f.WriteAt(op.Data[:half], op.Offset) // memory without a limit takes every write
	_ = f.Sync()
	_ = f.Close()
}

// remains is what a crash left, with the stories as they were told then.
type remains struct {
	sw            *sweeper
	before, after []story
	mem           *vfs.Mem
	where         string
}

// open starts a store over the remains.
func (r *remains) open(fsys vfs.FS) (*Store, error) {
	opts := r.sw.h.opts
	opts.FS, opts.Logger = fsys, slog.New(slog.DiscardHandler)
	opts.Clock = clock.NewManual(r.sw.h.clock.Now())
	return Open(context.Background(), opts)
}

// recover opens the remains and checks them; one crash in ten is cut again on the way, and what
// that leaves must be as good.
func (r *remains) recover(seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 3))
	if rng.IntN(10) == 0 {
		again, err := r.cutAgain(rng)
		if err != nil {
			return fmt.Errorf("cut again while recovering: %w", err)
		}
		r.mem = again
		r.sw.again.Add(1)
	}
	first, err := r.check(true)
	if err != nil {
		return err
	}
	if rng.IntN(4) > 0 {
		return nil
	}
	// Once more, as if power had gone right after: the same log must come out.
	r.mem = r.mem.CrashClone(vfs.CrashOptions{Seed: seed, KeepUnsynced: float64(rng.IntN(2))})
	second, err := r.check(false)
	if err != nil {
		return fmt.Errorf("second recovery: %w", err)
	}
	for tp, want := range first {
		if got := second[tp]; got.end < want.end || got.start != want.start {
			return fmt.Errorf("%s: recovery is not idempotent: offsets %d to %d, then %d to %d",
				tp, want.start, want.end, got.start, got.end)
		}
	}
	return nil
}

// cutAgain recovers the remains up to some operation and cuts there.
func (r *remains) cutAgain(rng *rand.Rand) (*vfs.Mem, error) {
	total := vfs.NewFault(r.mem.CrashClone(vfs.CrashOptions{KeepUnsynced: 1}))
	s, err := r.open(total)
	if err != nil {
		return nil, err
	}
	ops := total.Ops()
	_ = s.Close() // only the number of operations was wanted
	mem := r.mem.CrashClone(vfs.CrashOptions{KeepUnsynced: 1})
	fault := vfs.NewFault(mem)
	at := 1 + rng.Int64N(ops)
	var left *vfs.Mem
	var mu sync.Mutex
	fault.OnOp(func(op vfs.Op) {
		mu.Lock()
		defer mu.Unlock()
		if op.N >= at && left == nil {
			left = mem.CrashClone(vfs.CrashOptions{Seed: rng.Uint64(), KeepUnsynced: float64(rng.IntN(3)) / 2})
		}
	})
	s, err = r.open(fault)
	if err != nil {
		return nil, err
	}
	_ = s.Close() // its end is after the cut
	r.where += fmt.Sprintf(", cut again before op %d of %d", at, ops)
	mu.Lock()
	defer mu.Unlock()
	if left == nil {
		left = mem.CrashClone(vfs.CrashOptions{})
	}
	return left, nil
}

// found is a log as recovery left it.
type found struct {
	start, end int64
}

// check opens the remains and holds each log against its story. use also appends to them.
func (r *remains) check(use bool) (map[base.TopicPartition]found, error) {
	r.sw.recoveries.Add(1)
	s, err := r.open(r.mem)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	defer func() { _ = s.Close() }() // the remains are thrown away
	out := map[base.TopicPartition]found{}
	for i := range r.before {
		f, err := r.checkLog(s, &r.before[i], &r.after[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.before[i].tp, err)
		}
		out[r.before[i].tp] = f
	}
	if !use {
		return out, nil
	}
	// A clone of what recovery made durable is what the second check gets: the store goes on here.
	r.mem = r.mem.CrashClone(vfs.CrashOptions{KeepUnsynced: 1})
	for i := range r.after {
		if l, ok := s.Log(r.after[i].tp); ok && l.TopicID() == r.after[i].id {
			if err := r.goOn(l, &r.after[i]); err != nil {
				return nil, fmt.Errorf("%s goes on after the crash: %w", r.after[i].tp, err)
			}
		}
	}
	return out, nil
}

func (r *remains) checkLog(s *Store, before, after *story) (found, error) {
	l, ok := s.Log(before.tp)
	if !ok || l.TopicID() != before.id {
		if before.synced > 0 && !after.deleted {
			return found{}, fmt.Errorf("the log is gone; %d records were acknowledged", before.synced)
		}
		return found{}, nil
	}
	l.SetConfig(before.cfg)
	f := found{l.StartOffset(), l.EndOffset()}
	attempted := int64(0)
	if n := len(after.batches); n > 0 {
		attempted = after.batches[n-1].last + 1
	}
	switch {
	case after.deleted:
		return f, nil // on its way out; it need not be whole
	case f.end < before.synced:
		return f, fmt.Errorf("ends at %d; records below %d were acknowledged", f.end, before.synced)
	case f.end > attempted:
		return f, fmt.Errorf("ends at %d; only records below %d were ever appended", f.end, attempted)
	case f.start < before.startMin || f.start > after.startMax:
		return f, fmt.Errorf("starts at %d; want %d to %d", f.start, before.startMin, after.startMax)
	case len(l.Damage()) > 0:
		return f, fmt.Errorf("a crash is not damage, but: %v", l.Damage())
	}
	stored, err := readBatches(l, f.start, f.end)
	if err != nil {
		return f, err
	}
	if err := after.checkRecords(stored, f); err != nil {
		return f, err
	}
	return f, after.checkProducers(l, f)
}

// readBatches reads [from, to) and checks that every batch is whole and follows on the one before.
func readBatches(l *Log, from, to int64) ([]batch.Batch, error) {
	var out []batch.Batch
	for at := from; at < to; {
		r, err := l.Read(at, 4096, to, true)
		if err != nil {
			return nil, fmt.Errorf("read at %d: %w", at, err)
		}
		if r == nil {
			return out, nil // nothing is left above, as after compaction
		}
		buf := make([]byte, r.Len())
		_, err = r.ReadAt(buf, 0)
		r.Release()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		for len(buf) > 0 {
			b, rest, err := batch.Next(buf)
			if err != nil {
				return nil, fmt.Errorf("read at %d: %w", at, err)
			}
			if err := b.CheckCRC(); err != nil {
				return nil, fmt.Errorf("batch at %d: %w", b.BaseOffset(), err)
			}
			if b.LastOffset() >= at {
				if len(out) > 0 && b.BaseOffset() < at {
					return nil, fmt.Errorf("%v overlaps what was read up to %d", b, at)
				}
				out = append(out, b)
				at = b.LastOffset() + 1
			}
			buf = rest
		}
	}
	return out, nil
}

// goOn appends to a recovered log: each producer's last batch is known as a duplicate, and its next
// one is taken.
func (r *remains) goOn(l *Log, s *story) error {
	if s.deleted {
		return nil
	}
	end := l.EndOffset()
	last := map[int64]told{}
	for _, b := range s.batches {
		if b.last < end && b.pid >= 0 && !b.control && b.base >= l.StartOffset() {
			last[b.pid] = b
		}
	}
	for pid, p := range s.producersUpTo(end) {
		b, ok := last[pid]
		if !ok || p.lastSeq < 0 || b.epoch != p.epoch {
			continue
		}
		info, err := l.Append(slices.Clone(batch.Batch(b.bytes)), AppendOptions{Now: l.store.opts.Clock.Now(), LeaderEpoch: 1})
		if err != nil || !info.Duplicate || info.BaseOffset != b.base {
			return fmt.Errorf("producer %d repeats its batch at %d: %+v, %w", pid, b.base, info, err)
		}
		gap := slices.Clone(batch.Batch(b.bytes))
		gap.SetBaseSequence(p.lastSeq + 5)
		gap.UpdateCRC()
		_, err = l.Append(gap, AppendOptions{Now: l.store.opts.Clock.Now(), LeaderEpoch: 1})
		if !errors.Is(err, kerr.OutOfOrderSequenceNumber) {
			return fmt.Errorf("producer %d with a gap in its sequence: %w", pid, err)
		}
	}
	bd := batch.NewBuilder(batch.Options{})
	bd.Append(1, []byte("after"), []byte("the crash"))
	b, err := bd.Build()
	if err != nil {
		return err
	}
	info, err := l.Append(b, AppendOptions{Now: l.store.opts.Clock.Now(), LeaderEpoch: 2})
	if err != nil || info.BaseOffset != end {
		return fmt.Errorf("append: %+v, want offset %d: %w", info, end, err)
	}
	if err := l.Sync(); err != nil {
		return err
	}
	got, err := readBatches(l, end, end+1)
	if err != nil || len(got) != 1 {
		return fmt.Errorf("%d batches are read back: %w", len(got), err)
	}
	return nil
}
