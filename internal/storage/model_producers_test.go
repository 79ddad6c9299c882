package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
)

// sentBatch is a batch that a producer of the model has appended.
type sentBatch struct {
	seq   int32
	base  int64
	specs []string
}

// modelProducer is what the log must know of one producer.
type modelProducer struct {
	next  int32
	last  []sentBatch // the last five
	open  int64       // first offset of its transaction, -1: none
	epoch int16
}

// producersModel is a log with producers, transactions and, perhaps, compaction.
type producersModel struct {
	t    *testing.T
	seed uint64
	rng  *rand.Rand
	w    *world
	cfg  LogConfig

	codec     batch.Codec
	records   map[int64]string // "key=value" by offset, of everything appended
	owners    map[int64]int64  // producer by offset
	markers   map[int64]bool
	producers map[int64]*modelProducer
	aborted   []AbortedTxn // in the order of their markers
	times     []int64      // timestamps by offset, -1 for markers
	end, hw   int64
	wall      int64
	serial    int
}

func newProducersModel(t *testing.T, seed uint64) *producersModel {
	m := &producersModel{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 3)), records: map[int64]string{}, owners: map[int64]int64{}, markers: map[int64]bool{},
		producers: map[int64]*modelProducer{}, wall: epoch0.UnixMilli(),
	}
	m.cfg = DefaultLogConfig()
	m.cfg.SegmentBytes, m.cfg.IndexIntervalBytes, m.cfg.FileDeleteDelay = int32(500+m.rng.IntN(2500)), int32(1+m.rng.IntN(400)), 0
	m.cfg.Delete, m.cfg.Retention, m.cfg.RetentionBytes = false, -1, -1
	m.cfg.DeleteRetention = time.Hour
	if m.rng.IntN(2) == 0 {
		m.cfg.Compact, m.cfg.MinCleanableDirtyRatio = true, 0.001
	}
	m.codec = batch.Codec(m.rng.IntN(5))
	m.w = newWorld(t, func(o *Options) {
		o.Journal.FileBytes, o.Journal.Files, o.Journal.DirectBytes = 64<<10, 2, 1000
		o.Journal.Disabled = m.rng.IntN(4) == 0
		o.Defaults = m.cfg
	})
	m.w.create(m.cfg)
	for pid := range int64(4) {
		m.producers[pid+1] = &modelProducer{open: -1}
	}
	return m
}

func (m *producersModel) fatalf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("seed %d, at offset %d: %s", m.seed, m.end, fmt.Sprintf(format, args...))
}

// draft is a batch; pid 0 is no producer.
func (m *producersModel) draft(pid int64, seq int32, txn bool, kvs []string) batch.Batch {
	o := batch.Options{Codec: m.codec, Transactional: txn}
	if pid > 0 {
		o.Producer = &batch.Producer{ID: pid, Epoch: m.producers[pid].epoch, Sequence: seq}
	}
	b := batch.NewBuilder(o)
	for i := 0; i < len(kvs); i += 2 {
		value := []byte(kvs[i+1])
		if kvs[i+1] == "null" {
			value = nil
		}
		b.Append(m.wall+int64(i/2), []byte(kvs[i]), value)
	}
	out, err := b.Build()
	if err != nil {
		m.fatalf("build a batch: %v", err)
	}
	return append(batch.Batch(nil), out...)
}

func (m *producersModel) keyValues() (kvs []string) {
	for range 1 + m.rng.IntN(4) {
		m.serial++
		v := fmt.Sprint("v", m.serial, strings.Repeat("x", m.rng.IntN(60)))
		if m.rng.IntN(8) == 0 {
			v = "null"
		}
		kvs = append(kvs, fmt.Sprint("k", m.rng.IntN(12)), v)
	}
	return kvs
}

func (m *producersModel) append(b batch.Batch) (AppendInfo, error) {
	return m.w.log().Append(b, AppendOptions{Now: m.w.clock.Now(), LeaderEpoch: 1})
}

func (m *producersModel) produce() {
	pid := int64(m.rng.IntN(len(m.producers) + 1))
	p, seq, txn := m.producers[pid], int32(-1), false
	if p != nil {
		seq, txn = p.next, p.open >= 0 || pid > 2 // 3 and 4 are transactional
	}
	kvs := m.keyValues()
	m.wall += 4 + int64(m.rng.IntN(50)) // beyond the times of the batch before
	info, err := m.append(m.draft(pid, seq, txn, kvs))
	if err != nil || info.Duplicate || info.BaseOffset != m.end {
		m.fatalf("append by producer %d, sequence %d: %+v, %v", pid, seq, info, err)
	}
	n := int64(len(kvs) / 2)
	for i := range n {
		m.records[m.end+i], m.owners[m.end+i] = kvs[2*i]+"="+kvs[2*i+1], pid
		m.times = append(m.times, m.wall+i)
	}
	if p != nil {
		p.last = append(p.last, sentBatch{seq, m.end, kvs})
		p.last = p.last[max(0, len(p.last)-5):]
		p.next += int32(n)
		if txn && p.open < 0 {
			p.open = m.end
		}
	}
	m.end += n
}

// again repeats one of a producer's last five batches: it is answered as the first time.
func (m *producersModel) again() {
	pid := int64(1 + m.rng.IntN(len(m.producers)))
	p := m.producers[pid]
	if len(p.last) == 0 {
		return
	}
	s := p.last[m.rng.IntN(len(p.last))]
	info, err := m.append(m.draft(pid, s.seq, p.open >= 0 || pid > 2, s.specs))
	if err != nil || !info.Duplicate || info.BaseOffset != s.base {
		m.fatalf("producer %d repeats sequence %d, which is at %d, and is no duplicate: %+v, %v", pid, s.seq, s.base, info, err)
	}
}

func (m *producersModel) gap() {
	pid := int64(1 + m.rng.IntN(len(m.producers)))
	p := m.producers[pid]
	if len(p.last) == 0 {
		return
	}
	if _, err := m.append(m.draft(pid, p.next+3, p.open >= 0 || pid > 2, m.keyValues())); !errors.Is(err, kerr.OutOfOrderSequenceNumber) {
		m.fatalf("producer %d leaves sequences out: %v", pid, err)
	}
}

// endTxn writes the marker of an open transaction.
func (m *producersModel) endTxn() {
	pid := int64(3 + m.rng.IntN(2))
	p := m.producers[pid]
	if p.open < 0 {
		return
	}
	kind := batch.Commit
	if m.rng.IntN(2) == 0 {
		kind = batch.Abort
		m.aborted = append(m.aborted, AbortedTxn{ProducerID: pid, FirstOffset: p.open, LastOffset: m.end})
	}
	b := batch.ControlBatch(kind, pid, p.epoch, 1, m.wall, 1)
	if _, err := m.w.log().Append(b, AppendOptions{Now: m.w.clock.Now(), LeaderEpoch: 1, Origin: Coordinator}); err != nil {
		m.fatalf("marker of producer %d: %v", pid, err)
	}
	m.markers[m.end] = true
	m.times = append(m.times, -1)
	m.end++
	p.open = -1
}

// sync makes everything durable and moves the high watermark; one that is asked to go back stays.
func (m *producersModel) sync() {
	l := m.w.log()
	waitSynced(m.t, l, m.end)
	m.hw = m.end
	l.SetHighWatermark(m.hw)
	if l.SetHighWatermark(m.hw / 2); l.HighWatermark() != m.hw {
		m.fatalf("the high watermark moved from %d to %d", m.hw, l.HighWatermark())
	}
}

// restart closes the store in order, or loses power after everything was synced.
func (m *producersModel) restart() {
	if m.end == 0 {
		return // a power cut takes a log that nothing was written to
	}
	m.sync()
	if m.rng.IntN(2) == 0 {
		m.w.reopen()
	} else {
		m.w.crash(vfs.CrashOptions{Seed: m.rng.Uint64(), KeepUnsynced: float64(m.rng.IntN(2))})
	}
	m.w.log().SetConfig(m.cfg)
	m.w.log().SetHighWatermark(m.hw)
	for _, p := range m.producers { // a snapshot keeps the last batch of each, as Kafka's
		p.last = p.last[max(0, len(p.last)-1):]
	}
}

// unstable is the first offset of the oldest open transaction, or -1. One whose marker is above the high watermark is open.
func (m *producersModel) unstable() int64 {
	first := int64(-1)
	for _, p := range m.producers {
		if p.open >= 0 && (first < 0 || p.open < first) {
			first = p.open
		}
	}
	for _, a := range m.aborted {
		if a.LastOffset >= m.hw && (first < 0 || a.FirstOffset < first) {
			first = a.FirstOffset
		}
	}
	return first
}

// checkTxns compares the last stable offset and the aborted transactions.
func (m *producersModel) checkTxns() {
	m.sync()
	l := m.w.log()
	want := m.unstable()
	if got, ok := l.FirstUnstableOffset(); ok != (want >= 0) || ok && got != want {
		m.fatalf("last stable offset: first unstable is %d (%v), want %d", got, ok, want)
	}
	if m.cfg.Compact {
		return // compaction drops aborted transactions
	}
	from := m.rng.Int64N(m.end + 1)
	var list []AbortedTxn
	for _, a := range m.aborted {
		if a.LastOffset >= from {
			list = append(list, a)
		}
	}
	if got := l.AbortedTxns(from, m.end); !reflect.DeepEqual(got, list) {
		m.fatalf("aborted transactions from %d on: %v, want %v", from, got, list)
	}
}

// checkTime looks a time up.
func (m *producersModel) checkTime() {
	if m.cfg.Compact || m.end == 0 {
		return
	}
	ts := epoch0.UnixMilli() + m.rng.Int64N(m.wall-epoch0.UnixMilli()+10)
	want := int64(slices.IndexFunc(m.times, func(at int64) bool { return at >= ts }))
	got, ok, err := m.w.log().OffsetForTimestamp(ts, m.end)
	if err != nil {
		m.fatalf("look time up: %v", err)
	}
	if ok && m.times[got.Offset] < 0 {
		return // a marker's time counts too
	}
	if ok != (want >= 0) || ok && got.Offset != want {
		m.fatalf("look time %d up: offset %d (%v), want %d", ts, got.Offset, ok, want)
	}
}

func (m *producersModel) clean() {
	m.sync()
	m.w.store.Clean(context.Background())
	m.w.clock.Advance(time.Minute)
	m.w.store.emptyTrash(m.w.clock.Now())
}

// checkRecords reads the log: exactly what was appended, or what compaction must have left of it.
func (m *producersModel) checkRecords() {
	l := m.w.log()
	if l.EndOffset() != m.end {
		m.fatalf("the log ends at %d, want %d", l.EndOffset(), m.end)
	}
	got, markers := contents(m.t, l)
	for offset, kv := range got {
		if m.records[offset] != kv {
			m.fatalf("read %q at %d, want %q", kv, offset, m.records[offset])
		}
	}
	if !m.cfg.Compact {
		if len(got) != len(m.records) || len(markers) != len(m.markers) {
			m.fatalf("read %d records and %d markers, want %d and %d", len(got), len(markers), len(m.records), len(m.markers))
		}
		return
	}
	last := map[string]int64{}
	for offset, kv := range m.records {
		key, _, _ := strings.Cut(kv, "=")
		if at, ok := last[key]; !m.isAborted(offset) && (!ok || offset > at) {
			last[key] = offset
		}
	}
	for key, offset := range last {
		if got[offset] == "" {
			m.fatalf("the last record of key %s, %q at %d, is gone", key, m.records[offset], offset)
		}
	}
}

// isAborted says whether a record is of a transaction that was aborted.
func (m *producersModel) isAborted(offset int64) bool {
	for _, a := range m.aborted {
		if m.owners[offset] == a.ProducerID && offset >= a.FirstOffset && offset <= a.LastOffset {
			return true
		}
	}
	return false
}

// TestModelOfProducers plays random histories of idempotent and transactional producers, with repeats, gaps, restarts,
// power cuts and compaction, and compares everything that the log says with a simple model.
func TestModelOfProducers(t *testing.T) {
	const seeds, steps = 200, 120
	for seed := range uint64(seeds) {
		m := newProducersModel(t, seed)
		for range steps {
			switch d := m.rng.IntN(100); {
			case d < 45:
				m.produce()
			case d < 57:
				m.again()
			case d < 60:
				m.gap()
			case d < 72:
				m.endTxn()
			case d < 80:
				m.checkTxns()
			case d < 86:
				m.checkTime()
			case d < 90:
				m.clean()
			case d < 94:
				m.restart()
			default:
				m.checkRecords()
			}
		}
		m.clean()
		m.restart()
		m.checkRecords()
		_ = m.w.store.Close()
	}
	t.Logf("%d histories of %d steps", seeds, steps)
}
