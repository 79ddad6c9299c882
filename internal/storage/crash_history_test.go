package storage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
)

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
	td, out := h.build(s, w, records...)
	h.put(s, td, out, Client)
}

func (h *history) build(s *story, w who, records ...toldRecord) (told, batch.Batch) {
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
	return td, out
}

// fetch appends what a leader sent, in one go.
func (h *history) fetch(s *story, batches ...[]toldRecord) {
	h.t.Helper()
	l := h.log(s)
	next := l.EndOffset()
	var run []byte
	var tds []told
	for i, records := range batches {
		td, b := h.build(s, who{pid: int64(i % 2)}, records...)
		td.base, td.last = next, next+int64(b.LastOffsetDelta())
		next = td.last + 1
		b.SetBaseOffset(td.base)
		b.SetLeaderEpoch(1)
		run, tds = append(run, b...), append(tds, td)
	}
	s.change(func() { s.batches = append(s.batches, tds...) })
	var st *Settlement
	if h.rng.IntN(2) == 0 {
		st = new(Settlement)
	}
	n, err := l.AppendReplica(run, AppendOptions{Now: h.clock.Now(), LeaderEpoch: 1, Behind: h.rng.IntN(2) == 0}, st)
	if st != nil {
		st.Settle()
	}
	if err != nil || n != len(run) {
		h.t.Fatalf("append to %s what a leader sent: %d bytes of %d, %v", s.tp, n, len(run), err)
	}
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
