package storage

import (
	"fmt"
	"slices"
	"sync"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/batch"
)

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

// open reports whether the producer has an open transaction.
func (s *story) open(pid int64) bool {
	p, ok := s.producersUpTo(1 << 62)[pid]
	return ok && p.txnFirst >= 0
}
