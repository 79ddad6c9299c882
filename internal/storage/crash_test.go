package storage

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
)

// The crash tests run a scripted history and pull the plug before every file-system operation that
// changes anything, each time with none, some and all of what was not synced left; a torn write is
// cut in its middle as well. Every remains are recovered and compared with what the history had
// acknowledged and attempted by then; some are cut again while they are being recovered.

// story is what a history has done to one log. The script tells it before it attempts something
// and after that was acknowledged; a crash in between may show either.
type story struct {
	tp  base.TopicPartition
	cfg LogConfig

	mu        sync.Mutex
	id        base.TopicID
	batches   []told
	synced    int64 // all below is acknowledged
	startMin  int64 // acknowledged log start
	startMax  int64 // attempted
	created   bool  // Create has returned
	deleted   bool  // Delete was attempted
	compacted bool
}

// told is one batch of the history.
type told struct {
	base, last int64
	pid        int64
	epoch      int16
	seq        int32
	txn        bool
	control    bool
	commit     bool
	records    []toldRecord
	bytes      []byte
}

type toldRecord struct {
	key, value string
	tombstone  bool
}

// snapshotOf is the story at one moment.
func (s *story) snapshotOf() story {
	s.mu.Lock()
	defer s.mu.Unlock()
	return story{
		tp: s.tp, cfg: s.cfg, id: s.id, batches: slices.Clip(s.batches), synced: s.synced, startMin: s.startMin,
		startMax: s.startMax, created: s.created, deleted: s.deleted, compacted: s.compacted,
	}
}

func (s *story) change(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

// history drives a store and tells the stories.
type history struct {
	t     *testing.T
	mem   *vfs.Mem
	fault *vfs.Fault
	clock *clock.Manual
	opts  Options
	store *Store
	rng   *rand.Rand

	mu      sync.Mutex
	stories map[base.TopicPartition]*story
	seqs    map[string]int32 // next sequence by log and producer
	serial  int
}

func newHistory(t *testing.T, seed uint64, change func(*Options)) *history {
	t.Helper()
	h := &history{
		t: t, mem: vfs.NewMem(), clock: clock.NewManual(epoch0), rng: rand.New(rand.NewPCG(seed, 7)),
		stories: map[base.TopicPartition]*story{}, seqs: map[string]int32{},
	}
	h.mem.SetClock(h.clock.Now)
	h.fault = vfs.NewFault(h.mem)
	h.opts = Options{
		FS: h.fault, Clock: h.clock, Dirs: []string{"/data"}, NodeID: 1, ClusterID: "crash", RecoveryThreads: 1,
		Journal: JournalOptions{FileBytes: 32 << 10, Files: 2, DirectBytes: 6000, TogetherLogs: 1 + 3*int(seed%2)},
	}
	h.opts.Defaults = crashConfig()
	if change != nil {
		change(&h.opts)
	}
	h.open()
	return h
}

// crashConfig makes everything happen early: small segments, an index entry for each batch.
func crashConfig() LogConfig {
	c := DefaultLogConfig()
	c.SegmentBytes, c.IndexIntervalBytes, c.FileDeleteDelay = 2500, 200, time.Second
	c.ProducerExpiration = 1 << 40 * time.Millisecond
	return c
}

func (h *history) open() {
	h.t.Helper()
	s, err := Open(context.Background(), h.opts)
	if err != nil {
		h.t.Fatal(err)
	}
	h.store = s
}

func (h *history) reopen() {
	h.t.Helper()
	if err := h.store.Close(); err != nil {
		h.t.Fatal(err)
	}
	h.open()
	for tp, s := range h.stories {
		if l, ok := h.store.Log(tp); ok {
			l.SetConfig(s.cfg)
		}
	}
}

func (h *history) list() []*story {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []*story
	for _, s := range h.stories {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *story) int { return strings.Compare(a.tp.Topic, b.tp.Topic) })
	return list
}

// create makes a log, or a new one in place of a deleted one.
func (h *history) create(topic string, change func(*LogConfig)) *story {
	h.t.Helper()
	h.serial++
	s := &story{
		tp: base.TopicPartition{Topic: topic}, cfg: crashConfig(), id: base.TopicID{byte(h.serial), byte(h.serial >> 8), 9},
	}
	if change != nil {
		change(&s.cfg)
	}
	h.mu.Lock()
	h.stories[s.tp] = s
	h.mu.Unlock()
	if _, err := h.store.Create(s.tp, s.id, s.cfg, ""); err != nil {
		h.t.Fatal(err)
	}
	s.change(func() { s.created = true })
	return s
}

func (h *history) delete(s *story) {
	h.t.Helper()
	s.change(func() { s.deleted = true })
	if err := h.store.Delete(s.tp); err != nil {
		h.t.Fatal(err)
	}
	h.clock.Advance(2 * time.Second)
	h.store.emptyTrash(h.clock.Now())
}

func (h *history) log(s *story) *Log {
	h.t.Helper()
	l, ok := h.store.Log(s.tp)
	if !ok {
		h.t.Fatalf("there is no log of %s", s.tp)
	}
	return l
}

// who appends.
type who struct {
	pid   int64 // 0: nobody
	epoch int16
	txn   bool
}

func (h *history) append(s *story, w who, records ...toldRecord) {
	h.t.Helper()
	o := batch.Options{Transactional: w.txn}
	td := told{pid: -1, epoch: -1, seq: -1, txn: w.txn, records: records}
	if w.pid > 0 {
		key := fmt.Sprint(s.tp, w.pid)
		td.pid, td.epoch, td.seq = w.pid, w.epoch, h.seqs[key]
		o.Producer = &batch.Producer{ID: w.pid, Epoch: w.epoch, Sequence: td.seq}
		h.seqs[key] += int32(len(records))
	}
	b := batch.NewBuilder(o)
	for i, r := range records {
		value := []byte(r.value)
		if r.tombstone {
			value = nil
		}
		b.Append(h.clock.Now().UnixMilli()+int64(i), []byte(r.key), value)
	}
	out, err := b.Build()
	if err != nil {
		h.t.Fatal(err)
	}
	td.bytes = slices.Clone(out)
	h.put(s, td, out, Client)
}

// put tells the story, then appends.
func (h *history) put(s *story, td told, b batch.Batch, origin Origin) {
	h.t.Helper()
	l := h.log(s)
	td.base = l.EndOffset()
	td.last = td.base + int64(b.LastOffsetDelta())
	s.change(func() { s.batches = append(s.batches, td) })
	info, err := l.Append(b, AppendOptions{Now: h.clock.Now(), LeaderEpoch: 1, Origin: origin, Waits: h.rng.IntN(2) == 0})
	if info.Unsettled != nil {
		info.Unsettled.Settle(h.rng.IntN(4))
	}
	if err != nil {
		h.t.Fatalf("append to %s: %v", s.tp, err)
	}
	if info.BaseOffset != td.base || info.LastOffset != td.last || info.Duplicate {
		h.t.Fatalf("append to %s: %+v, want offsets %d to %d", s.tp, info, td.base, td.last)
	}
}

// end writes the marker of a transaction.
func (h *history) end(s *story, w who, commit bool) {
	h.t.Helper()
	kind := batch.Abort
	if commit {
		kind = batch.Commit
	}
	b := batch.ControlBatch(kind, w.pid, w.epoch, 3, h.clock.Now().UnixMilli(), 1)
	h.put(s, told{pid: w.pid, epoch: w.epoch, seq: -1, txn: true, control: true, commit: commit}, b, Coordinator)
}

// ack waits until everything appended is durable, and says so.
func (h *history) ack(s *story) {
	h.t.Helper()
	l := h.log(s)
	end := l.EndOffset()
	waitSynced(h.t, l, end)
	s.change(func() { s.synced = max(s.synced, end) })
	l.SetHighWatermark(end)
}

func (h *history) deleteRecords(s *story, before int64) {
	h.t.Helper()
	s.change(func() { s.startMax = max(s.startMax, before) })
	if _, err := h.log(s).DeleteRecords(before); err != nil {
		h.t.Fatal(err)
	}
	if !h.opts.Journal.Disabled {
		s.change(func() { s.startMin = max(s.startMin, before) })
	}
}

// retain lets retention by size go to work.
func (h *history) retain(s *story, bytes int64) {
	h.t.Helper()
	l := h.log(s)
	s.cfg.RetentionBytes = bytes
	l.SetConfig(s.cfg)
	s.change(func() { s.startMax = max(s.startMax, l.HighWatermark()) })
	if _, err := l.Retain(h.clock.Now()); err != nil {
		h.t.Fatal(err)
	}
	h.clock.Advance(2 * time.Second)
	h.store.emptyTrash(h.clock.Now())
	start := l.StartOffset()
	s.change(func() {
		s.startMax = start
		if !h.opts.Journal.Disabled {
			s.startMin = start
		}
	})
}

// value makes a record of a random size with a value that was never used before.
func (h *history) value(keys int) toldRecord {
	h.serial++
	size := []int{3, 20, 20, 60, 300}[h.rng.IntN(5)]
	return toldRecord{
		key: fmt.Sprintf("k%d", h.rng.IntN(keys)), value: fmt.Sprintf("%d-%s", h.serial, strings.Repeat("v", size)),
		tombstone: h.rng.IntN(8) == 0,
	}
}

func (h *history) values(keys int) []toldRecord {
	list := make([]toldRecord, 1+h.rng.IntN(3))
	for i := range list {
		list[i] = h.value(keys)
	}
	return list
}

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

// checkRecords holds what is stored against what was appended.
func (s *story) checkRecords(stored []batch.Batch, f found) error {
	have := map[int64]toldRecord{}
	next := f.start
	for _, b := range stored {
		if !s.compacted && b.BaseOffset() > next {
			return fmt.Errorf("offsets %d to %d are missing", next, b.BaseOffset()-1)
		}
		next = b.LastOffset() + 1
		for rec, err := range b.Records(batch.Limits{}) {
			if err != nil {
				return fmt.Errorf("%v: %w", b, err)
			}
			if !b.IsControl() {
				have[b.Offset(&rec)] = toldRecord{string(rec.Key), string(rec.Value), rec.Value == nil}
			}
		}
	}
	if !s.compacted && next != f.end && f.end > f.start {
		return fmt.Errorf("records end at %d, the log at %d", next, f.end)
	}
	return s.compare(have, f)
}

// compare checks that nothing was lost and nothing invented.
func (s *story) compare(have map[int64]toldRecord, f found) error {
	wanted, all := s.survivors(f)
	for off, got := range have {
		want, ok := all[off]
		if want.tombstone {
			want.value = ""
		}
		if !ok && off >= f.start || ok && got != want {
			return fmt.Errorf("record %d is %.30v, appended was %.30v", off, got, want)
		}
	}
	for off := range wanted {
		if _, ok := have[off]; !ok {
			return fmt.Errorf("record %d is lost", off)
		}
	}
	return nil
}

// survivors are the records that must be there between start and end, and all that ever were.
func (s *story) survivors(f found) (must, all map[int64]toldRecord) {
	must, all = map[int64]toldRecord{}, map[int64]toldRecord{}
	aborted := s.abortedUpTo(f.end)
	latest := map[string]int64{}
	for _, b := range s.batches {
		if b.last >= f.end {
			break
		}
		for i, r := range b.records {
			off := b.base + int64(i)
			all[off] = r
			if off < f.start {
				continue
			}
			if !s.compacted {
				must[off] = r
				continue
			}
			if slices.ContainsFunc(aborted, func(t AbortedTxn) bool {
				return t.ProducerID == b.pid && t.FirstOffset <= off && off <= t.LastOffset
			}) {
				continue
			}
			if old, ok := latest[r.key]; ok {
				delete(must, old)
			}
			latest[r.key] = off
			must[off] = r
			if r.tombstone {
				delete(must, off) // it may go once its time has come
			}
		}
	}
	return must, all
}

// abortedUpTo replays the transactions below end.
func (s *story) abortedUpTo(end int64) (list []AbortedTxn) {
	open := map[int64]int64{}
	for _, b := range s.batches {
		if b.last >= end || !b.txn {
			continue
		}
		first, ok := open[b.pid]
		switch {
		case !b.control && !ok:
			open[b.pid] = b.base
		case b.control && ok:
			delete(open, b.pid)
			if !b.commit {
				list = append(list, AbortedTxn{b.pid, first, b.last})
			}
		}
	}
	return list
}

// toldProducer is a producer as the story has it.
type toldProducer struct {
	epoch    int16
	lastSeq  int32
	txnFirst int64
	data     int64 // last offset of its last batch of records
}

func (s *story) producersUpTo(end int64) map[int64]toldProducer {
	out := map[int64]toldProducer{}
	for _, b := range s.batches {
		if b.last >= end || b.pid < 0 {
			continue
		}
		p, ok := out[b.pid]
		if !ok {
			p = toldProducer{txnFirst: -1, lastSeq: -1, data: -1}
		}
		if p.epoch != b.epoch {
			p.lastSeq = -1
		}
		p.epoch = b.epoch
		switch {
		case b.control:
			p.txnFirst = -1
		default:
			p.lastSeq, p.data = b.seq+int32(len(b.records))-1, b.last
			if b.txn && p.txnFirst < 0 {
				p.txnFirst = b.base
			}
		}
		out[b.pid] = p
	}
	return out
}

// checkProducers holds producer state and transaction index against a replay of the story.
func (s *story) checkProducers(l *Log, f found) error {
	got := map[int64]ProducerInfo{}
	for _, p := range l.Producers() {
		got[p.ProducerID] = p
	}
	for pid, want := range s.producersUpTo(f.end) {
		p, ok := got[pid]
		if want.data < f.start {
			continue // of what it wrote nothing is left but, maybe, a marker
		}
		if want.txnFirst >= 0 && want.txnFirst < f.start && p.TxnStartOffset >= f.start {
			want.txnFirst = p.TxnStartOffset // replayed from the log's start
		}
		if !ok || p.ProducerEpoch != want.epoch || p.LastSequence != want.lastSeq || p.TxnStartOffset != want.txnFirst {
			return fmt.Errorf("producer %d is %+v (known: %v), replayed it is %+v", pid, p, ok, want)
		}
	}
	if len(got) > len(s.producersUpTo(f.end)) {
		return fmt.Errorf("%d producers, only %d ever wrote", len(got), len(s.producersUpTo(f.end)))
	}
	return s.checkAborted(l, f)
}

// checkAborted: every aborted transaction with a record above the start must be known, from its
// first such record on at the latest; none may be invented.
func (s *story) checkAborted(l *Log, f found) error {
	got := l.AbortedTxns(f.start, f.end)
	all := s.abortedUpTo(f.end)
	for _, t := range all {
		first := s.firstRecord(t, f.start)
		if s.compacted || first < 0 {
			continue
		}
		if !slices.ContainsFunc(got, func(g AbortedTxn) bool {
			return g.ProducerID == t.ProducerID && g.LastOffset == t.LastOffset &&
				t.FirstOffset <= g.FirstOffset && g.FirstOffset <= first
		}) {
			return fmt.Errorf("aborted transactions %v, replayed they are %v", got, all)
		}
	}
	for _, g := range got {
		if !slices.ContainsFunc(all, func(t AbortedTxn) bool {
			return t.ProducerID == g.ProducerID && t.LastOffset == g.LastOffset && t.FirstOffset <= g.FirstOffset
		}) {
			return fmt.Errorf("aborted transaction %v never was, replayed they are %v", g, all)
		}
	}
	return nil
}

// firstRecord is the base offset of the transaction's first batch that reaches start, -1 if none does.
func (s *story) firstRecord(t AbortedTxn, start int64) int64 {
	for _, b := range s.batches {
		if b.pid == t.ProducerID && !b.control && b.base >= t.FirstOffset && b.last < t.LastOffset && b.last >= start {
			return b.base
		}
	}
	return -1
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

// minRecoveries is what all histories together must reach, as `make test` promises.
const minRecoveries = 2700

// crashHistories are the scripts. Each acts on h, whose operations are being cut.
var crashHistories = []struct {
	name   string
	change func(*Options)
	run    func(h *history)
	seeds  int // more crashes at each operation
}{
	{"journal", nil, appendHistory, 0},
	{"segments", func(o *Options) { o.Journal.Disabled = true }, appendHistory, 0},
	{"torn batches", nil, tornHistory, 4},
	{"torn batches without a journal", func(o *Options) { o.Journal.Disabled = true }, tornHistory, 4},
	{"transactions", nil, transactionHistory, 0},
	{"retention", nil, retentionHistory, 0},
	{"recreation", nil, recreationHistory, 0},
	{"restarts", nil, restartHistory, 0},
	{"mixed", nil, mixedHistory, 0},
	{"moves", twoDirs, movesHistory, 0},
	{"compaction", nil, compactionHistory, 0},
	{"compaction without a journal", func(o *Options) { o.Journal.Disabled = true }, compactionHistory, 0},
}

// appendHistory fills small segments from idempotent and plain producers, by small and large
// batches, with checkpoints in between, until journal files are recycled.
func appendHistory(h *history) {
	a, b := h.create("a", nil), h.create("b", nil)
	for i := range 24 {
		h.append(a, who{pid: 1}, h.values(9)...)
		h.append(b, who{}, h.values(9)...)
		if i%3 == 0 {
			h.append(a, who{pid: 2, epoch: 4}, h.values(9)...)
			h.ack(a)
		}
		if i%7 == 3 {
			h.append(b, who{pid: 1}, toldRecord{key: "large", value: strings.Repeat("L", 900)})
			h.ack(b)
		}
		if i%8 == 5 {
			h.store.Checkpoint()
		}
		h.clock.Advance(time.Second)
	}
	h.ack(a)
	h.ack(b)
}

// tornHistory appends batches of several disk blocks, some through the journal and some past it, so
// that a crash takes parts out of their middle.
func tornHistory(h *history) {
	a := h.create("large", func(c *LogConfig) { c.SegmentBytes = 60_000 })
	for i := range 24 {
		n := 1000 + h.rng.IntN(9000)
		h.serial++
		r := toldRecord{key: "k", value: fmt.Sprint(h.serial, strings.Repeat(fmt.Sprint(h.serial), n)[:n])}
		h.append(a, who{pid: 1}, r, h.value(9))
		if i%4 == 3 {
			h.ack(a)
		}
		if i == 13 {
			h.store.Checkpoint()
		}
	}
	h.ack(a)
}

// transactionHistory interleaves committed, aborted and open transactions.
func transactionHistory(h *history) {
	a := h.create("txns", nil)
	p := []who{{pid: 1, txn: true}, {pid: 2, epoch: 1, txn: true}, {pid: 3, txn: true}}
	open := [3]bool{}
	for i := range 36 {
		n := h.rng.IntN(3)
		switch {
		case open[n] && h.rng.IntN(3) == 0:
			h.end(a, p[n], h.rng.IntN(2) == 0)
			open[n] = false
			h.ack(a)
		default:
			h.append(a, p[n], h.values(9)...)
			open[n] = true
		}
		if i%10 == 7 {
			h.store.Checkpoint()
		}
	}
	h.ack(a)
}

// retentionHistory loses its old end to retention and to DeleteRecords.
func retentionHistory(h *history) {
	a := h.create("old", nil)
	for i := range 30 {
		h.append(a, who{pid: 5}, h.values(9)...)
		if i%5 == 4 {
			h.ack(a)
			l := h.log(a)
			if i%2 == 0 {
				h.deleteRecords(a, l.StartOffset()+(l.HighWatermark()-l.StartOffset())/3)
			} else {
				h.retain(a, 3000)
			}
		}
		if i%9 == 6 {
			h.store.Checkpoint()
		}
	}
	h.ack(a)
	h.retain(a, 0)
	h.append(a, who{pid: 5}, h.values(9)...)
	h.ack(a)
}

// recreationHistory deletes logs and makes new ones of the same name.
func recreationHistory(h *history) {
	for range 4 {
		a, b := h.create("again", nil), h.create("other", nil)
		for range 4 {
			h.append(a, who{pid: 1}, h.values(9)...)
			h.append(b, who{}, h.values(9)...)
		}
		h.ack(a)
		h.ack(b)
		h.delete(a)
		h.delete(b)
		h.seqs = map[string]int32{}
	}
	h.ack(h.create("last", nil))
}

// restartHistory is stopped and started again in order, several times.
func restartHistory(h *history) {
	a := h.create("a", nil)
	for i := range 4 {
		for range 4 {
			h.append(a, who{pid: 1}, h.values(9)...)
			h.append(a, who{pid: 2, txn: true}, h.values(9)...)
		}
		h.end(a, who{pid: 2}, i%2 == 0)
		h.ack(a)
		h.reopen()
	}
}

func twoDirs(o *Options) { o.Dirs = []string{"/data", "/more"} }

// movesHistory takes logs from one directory to the other and back, between appends and while there are
// appends.
func movesHistory(h *history) {
	a, b := h.create("wanders", nil), h.create("stays", nil)
	for i := range 4 {
		for range 4 {
			h.append(a, who{pid: 1}, h.values(9)...)
			h.append(a, who{pid: 2, txn: true}, h.values(9)...)
			h.append(b, who{}, h.values(9)...)
		}
		h.end(a, who{pid: 2}, i%2 == 0)
		h.ack(a)
		h.move(a)
		h.append(a, who{pid: 1}, h.values(9)...)
		h.ack(a)
		h.ack(b)
		if i == 2 {
			l := h.log(a)
			h.deleteRecords(a, (l.StartOffset()+l.HighWatermark())/2)
		}
		if i%2 == 1 {
			h.store.Checkpoint()
		}
	}
}

// move takes a log to the directory where it is not, and waits until it is there.
func (h *history) move(s *story) {
	h.t.Helper()
	to := "/data"
	if h.log(s).Dir() == to {
		to = "/more"
	}
	if err := h.store.Move(s.tp, to); err != nil {
		h.t.Fatal(err)
	}
	m := h.store.nextMove()
	err := m.run(context.Background())
	h.store.finishMove(m, err)
	if err != nil || h.log(s).Dir() != to {
		h.t.Fatalf("move of %s to %s: it is in %s, %v", s.tp, to, h.log(s).Dir(), err)
	}
	h.clock.Advance(2 * time.Second)
	h.store.emptyTrash(h.clock.Now())
}

// compactionHistory rewrites a few keys again and again, some in transactions, and compacts in
// between.
func compactionHistory(h *history) {
	a := h.create("keys", func(c *LogConfig) {
		c.Compact, c.Delete, c.MinCleanableDirtyRatio, c.DeleteRetention = true, false, 0.01, 5*time.Second
	})
	a.change(func() { a.compacted = true })
	w := []who{{}, {pid: 1}, {pid: 2, txn: true}}
	rounds := 0
	for i := range 40 {
		n := h.rng.IntN(3)
		h.append(a, w[n], h.values(6)...)
		if h.rng.IntN(4) == 0 && a.open(2) {
			h.end(a, w[2], h.rng.IntN(2) == 0)
		}
		h.clock.Advance(time.Second)
		if i%8 == 7 {
			if a.open(2) {
				h.end(a, w[2], true)
			}
			h.ack(a)
			rounds += h.store.Clean(context.Background())
			h.store.emptyTrash(h.clock.Now())
		}
		if i == 20 {
			h.reopen()
		}
	}
	h.ack(a)
	if rounds < 1 {
		h.t.Errorf("the log was never compacted")
	}
}

// mixedHistory does everything that a store can do, in an order that the seed decides.
func mixedHistory(h *history) {
	keys := func(c *LogConfig) {
		c.Compact, c.Delete, c.MinCleanableDirtyRatio, c.DeleteRetention = true, false, 0.01, 5*time.Second
	}
	logs := []*story{h.create("mixed", nil), h.create("mixed-keys", keys)}
	logs[1].change(func() { logs[1].compacted = true })
	writers := []who{{}, {pid: 1}, {pid: 2, epoch: 3}, {pid: 3, txn: true}, {pid: 4, txn: true}}
	for range 70 {
		s := logs[h.rng.IntN(2)]
		l := h.log(s)
		h.clock.Advance(300 * time.Millisecond)
		switch h.rng.IntN(16) {
		case 0:
			h.store.Checkpoint()
		case 1:
			h.ack(s)
		case 2:
			h.ack(s)
			h.store.Clean(context.Background())
		case 3:
			if s == logs[0] {
				h.ack(s)
				h.deleteRecords(s, l.StartOffset()+(l.HighWatermark()-l.StartOffset())/4)
			}
		case 4:
			if s == logs[0] {
				h.ack(s)
				h.retain(s, 5000)
			}
		case 5, 6, 7:
			for _, w := range writers[3:] {
				if s.open(w.pid) && h.rng.IntN(2) == 0 {
					h.end(s, w, h.rng.IntN(2) == 0)
				}
			}
		case 8:
			if h.rng.IntN(4) == 0 {
				h.ack(logs[0])
				h.ack(logs[1])
				h.reopen()
			}
		default:
			h.append(s, writers[h.rng.IntN(len(writers))], h.values(6)...)
		}
	}
	h.ack(logs[0])
	h.ack(logs[1])
}

// open reports whether the producer has an open transaction.
func (s *story) open(pid int64) bool {
	p, ok := s.producersUpTo(1 << 62)[pid]
	return ok && p.txnFirst >= 0
}

// crashSeed varies the histories and the crashes: `go test -run TestCrashes -crash.seed 7`.
var crashSeed = flag.Uint64("crash.seed", 0, "seed of the crash tests")

// TestCrashes cuts every history before every operation that changes a file; with -short before
// every fifth.
func TestCrashes(t *testing.T) {
	var recoveries, again, points, ran atomic.Int64
	t.Run("histories", func(t *testing.T) {
		for i, c := range crashHistories {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				h := newHistory(t, *crashSeed<<8+uint64(i), c.change)
				sw := &sweeper{h: h, t: t, seeds: 1 + c.seeds}
				sw.watch()
				c.run(h)
				h.fault.OnOp(nil)
				if err := h.store.Close(); err != nil {
					t.Fatal(err)
				}
				recoveries.Add(sw.recoveries.Load())
				again.Add(sw.again.Load())
				points.Add(sw.points.Load())
				ran.Add(1)
			})
		}
	})
	t.Logf("%d recoveries after cuts at %d operations, %d of them cut again while recovering",
		recoveries.Load(), points.Load(), again.Load())
	if !testing.Short() && ran.Load() == int64(len(crashHistories)) && recoveries.Load() < minRecoveries {
		t.Errorf("%d recoveries, want at least %d", recoveries.Load(), minRecoveries)
	}
}
