package storage

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
)

// keptBatches is how many batches of a producer are remembered to tell a retry from a gap.
const keptBatches = 5

// producerBatch is one remembered batch.
type producerBatch struct {
	lastOffset int64
	timestamp  int64
	lastSeq    int32
	delta      int32 // last offset - first offset
}

func (b *producerBatch) firstOffset() int64 { return b.lastOffset - int64(b.delta) }
func (b *producerBatch) firstSeq() int32    { return subSeq(b.lastSeq, b.delta) }

func subSeq(seq, n int32) int32 {
	if seq < n {
		return int32(int64(seq) - int64(n) + 1<<31)
	}
	return seq - n
}

// producer is what a log knows of one producer id.
type producer struct {
	id         int64
	timestamp  int64 // of its last batch or marker
	txnFirst   int64 // first offset of its open transaction, -1 if none
	coordEpoch int32
	epoch      int16
	n          int8
	batches    [keptBatches]producerBatch // oldest first
}

func (p *producer) lastSeq() int32 {
	if p.n == 0 {
		return base.NoSequence
	}
	return p.batches[p.n-1].lastSeq
}

func (p *producer) setEpoch(epoch int16) {
	if p.epoch != epoch {
		p.epoch, p.n = epoch, 0
	}
}

func (p *producer) add(b producerBatch) {
	if p.n == keptBatches {
		copy(p.batches[:], p.batches[1:])
		p.n--
	}
	p.batches[p.n] = b
	p.n++
}

// duplicate finds the remembered batch with exactly h's sequences.
func (p *producer) duplicate(h *header) *producerBatch {
	if p.epoch != h.pepoch {
		return nil
	}
	for i := range p.batches[:p.n] {
		if b := &p.batches[i]; b.lastSeq == h.lastSeq() && b.firstSeq() == h.baseSeq {
			return b
		}
	}
	return nil
}

// txn is a transaction in this log: open, or complete with its marker at last.
type txn struct {
	pid         int64
	first, last int64
}

// AbortedTxn is one aborted transaction: its records lie in FirstOffset..LastOffset, the marker at
// LastOffset.
type AbortedTxn struct {
	ProducerID  int64
	FirstOffset int64
	LastOffset  int64
}

// completed is a transaction that a marker has just ended.
type completed struct {
	txn
	aborted bool
}

// producers is the state of all producers of a log: a pure machine over batch headers. Log.mu
// guards it.
type producers struct {
	byID map[int64]*producer
	// open is sorted by first offset; pending has ended but its marker may be above the high
	// watermark, so the last stable offset still waits for it.
	open    []txn
	pending []txn
	end     int64 // every batch below has been applied
	checks  map[int64]*verification
}

func (s *producers) reset(end int64) {
	*s = producers{end: end, checks: s.checks}
}

func (s *producers) get(pid int64) *producer { return s.byID[pid] }

// firstUnstable is the first offset of the oldest transaction that is open or whose end is not
// below hw; -1 if there is none.
func (s *producers) firstUnstable() int64 {
	first := int64(-1)
	if len(s.open) > 0 {
		first = s.open[0].first
	}
	if len(s.pending) > 0 && (first < 0 || s.pending[0].first < first) {
		first = s.pending[0].first
	}
	return first
}

// onHighWatermark forgets ended transactions whose marker is now below the high watermark. It
// reports whether anything changed.
func (s *producers) onHighWatermark(hw int64) bool {
	before := len(s.pending)
	s.pending = slices.DeleteFunc(s.pending, func(t txn) bool { return t.last < hw })
	return len(s.pending) != before
}

// check decides whether a batch may be appended, without changing anything. dup is the remembered
// batch that this one repeats.
func (s *producers) check(h *header, m marker, o *AppendOptions, verify bool) (dup *producerBatch, err error) {
	p := s.get(h.pid)
	if p != nil && o.Origin == Client {
		if dup = p.duplicate(h); dup != nil {
			return dup, nil
		}
	}
	if h.transactional() && o.Origin != Replica {
		if err = s.checkTxn(p, h, o, verify); err != nil {
			return nil, err
		}
	}
	if h.control() {
		return nil, s.checkMarker(p, h, m, o)
	}
	return nil, s.checkData(p, h, o)
}

// checkTxn: the first batch of a transaction must be known to the coordinator.
func (s *producers) checkTxn(p *producer, h *header, o *AppendOptions, verify bool) error {
	if p != nil && p.txnFirst >= 0 && p.epoch == h.pepoch {
		return nil
	}
	if p != nil && h.pepoch < p.epoch {
		return staleEpoch(h, p)
	}
	if verify && !h.control() && !s.verified(h.pid, o.Guard) {
		return refuse(kerr.InvalidTxnState, "producer %d epoch %d: the batch is not part of an ongoing transaction",
			h.pid, h.pepoch)
	}
	return nil
}

func staleEpoch(h *header, p *producer) error {
	return refuse(kerr.InvalidProducerEpoch, "producer %d has epoch %d, the last seen is %d", h.pid, h.pepoch, p.epoch)
}

func (s *producers) checkData(p *producer, h *header, o *AppendOptions) error {
	if o.Origin == Replica {
		return nil // the leader has checked; Kafka's followers only warn
	}
	if p != nil && h.pepoch < p.epoch {
		return staleEpoch(h, p)
	}
	if o.Origin == Client {
		if err := s.checkSequence(p, h); err != nil {
			return err
		}
	}
	if p != nil && p.txnFirst >= 0 && !h.transactional() {
		return refuse(kerr.InvalidTxnState, "producer %d has an open transaction since offset %d; the batch is not transactional",
			h.pid, p.txnFirst)
	}
	return nil
}

func (s *producers) checkSequence(p *producer, h *header) error {
	if v := s.checks[h.pid]; v != nil {
		if err := v.checkSequence(p, h); err != nil {
			return err
		}
	}
	if p == nil || p.epoch == base.NoProducerEpoch {
		if h.base == 0 && h.baseSeq != 0 {
			// Nothing was ever written here, so nothing can have been forgotten: what comes before is still on its
			// way, by way of a leader that was. Were this one taken, those before it would be refused for as long as
			// the producer tries (KAFKA-15591).
			return refuse(kerr.OutOfOrderSequenceNumber, "producer %d: sequence %d would be the first of an empty log, want 0",
				h.pid, h.baseSeq)
		}
		return nil // nothing is known (any more): take any sequence
	}
	if h.pepoch != p.epoch {
		if h.baseSeq == 0 {
			return nil
		}
		return refuse(kerr.OutOfOrderSequenceNumber, "producer %d: sequence %d begins epoch %d (last seen epoch %d), want 0",
			h.pid, h.baseSeq, h.pepoch, p.epoch)
	}
	if last := p.lastSeq(); h.baseSeq != addOne(last) {
		return refuse(kerr.OutOfOrderSequenceNumber, "producer %d epoch %d: sequence %d follows %d, want %d",
			h.pid, h.pepoch, h.baseSeq, last, addOne(last))
	}
	return nil
}

// addOne is the sequence after last; after none (-1) it is 0.
func addOne(last int32) int32 { return int32((int64(last) + 1) & 0x7fffffff) }

// checkMarker applies the rules for control markers: with transactions v2 the epoch must be newer
// than the last one, an equal one being a retry if nothing is open (KAFKA-19999); with v0 and v1 it
// must not be older. A coordinator that was deposed is fenced.
func (s *producers) checkMarker(p *producer, h *header, m marker, o *AppendOptions) error {
	if p == nil || o.Origin == Replica || !m.ends() {
		return nil
	}
	retry := h.pepoch == p.epoch && (p.txnFirst < 0 || h.pepoch == 1<<15-1)
	if h.pepoch < p.epoch || o.TxnVersion >= 2 && h.pepoch == p.epoch && !retry {
		return staleEpoch(h, p)
	}
	if p.coordEpoch > m.coordEpoch {
		return refuse(kerr.TransactionCoordinatorFenced, "producer %d: marker of coordinator epoch %d, the last seen is %d",
			h.pid, m.coordEpoch, p.coordEpoch)
	}
	return nil
}

// apply takes a batch that is in the log. It returns the transaction that the batch ended, if any,
// with the last stable offset that follows from it.
func (s *producers) apply(h *header, m marker) (done completed, lso int64, ended bool) {
	s.end = h.last + 1
	if h.pid < 0 {
		return done, 0, false
	}
	if h.control() && !m.ends() {
		return done, 0, false
	}
	p := s.get(h.pid)
	if p == nil {
		p = &producer{id: h.pid, epoch: base.NoProducerEpoch, coordEpoch: -1, timestamp: -1, txnFirst: -1}
		if s.byID == nil {
			s.byID = make(map[int64]*producer)
		}
		s.byID[h.pid] = p
	}
	if h.transactional() {
		s.settle(h)
	}
	if !h.control() {
		s.applyData(p, h)
		return done, 0, false
	}
	return s.applyMarker(p, h, m)
}

func (s *producers) applyData(p *producer, h *header) {
	p.setEpoch(h.pepoch)
	p.add(producerBatch{lastOffset: h.last, timestamp: h.maxTimestamp, lastSeq: h.lastSeq(), delta: h.lastDelta})
	p.timestamp = h.maxTimestamp
	if h.transactional() && p.txnFirst < 0 {
		p.txnFirst = h.base
		s.open = append(s.open, txn{pid: h.pid, first: h.base, last: -1})
	}
}

func (s *producers) applyMarker(p *producer, h *header, m marker) (done completed, lso int64, ended bool) {
	if p.txnFirst >= 0 {
		done = completed{txn{h.pid, p.txnFirst, h.last}, !m.commit}
		lso, ended = s.endTxn(done.txn), true
	}
	p.setEpoch(h.pepoch)
	p.coordEpoch, p.timestamp, p.txnFirst = m.coordEpoch, m.timestamp, -1
	return done, lso, ended
}

// endTxn moves a transaction from open to pending and returns the last stable offset after it.
func (s *producers) endTxn(t txn) int64 {
	lso := t.last + 1
	for _, o := range s.open {
		if o.pid != t.pid {
			lso = o.first
			break
		}
	}
	s.open = slices.DeleteFunc(s.open, func(o txn) bool { return o.first == t.first })
	at, _ := slices.BinarySearchFunc(s.pending, t.first, func(p txn, first int64) int {
		if p.first < first {
			return -1
		}
		return 1
	})
	s.pending = slices.Insert(s.pending, at, t)
	return lso
}

// expire forgets producers that have been silent for too long and have nothing open.
func (s *producers) expire(now time.Time, after time.Duration) {
	limit := now.UnixMilli() - after.Milliseconds()
	for id, p := range s.byID {
		if p.txnFirst < 0 && p.timestamp <= limit {
			delete(s.byID, id)
		}
	}
	for id, v := range s.checks {
		if v.since <= limit {
			delete(s.checks, id)
		}
	}
}

// marker is the content of an end-of-transaction marker.
type marker struct {
	timestamp  int64
	coordEpoch int32
	kind       int16
	present    bool
	commit     bool
}

// Control record types (kafka-surface §6.2).
const (
	controlAbort  = 0
	controlCommit = 1
)

// ends reports whether the batch ends a transaction; other control records and batches that
// compaction has emptied do not.
func (m marker) ends() bool { return m.present && (m.kind == controlAbort || m.kind == controlCommit) }

// parseMarker reads the one record of a control batch of a producer.
func parseMarker(b []byte, h *header) (marker, error) {
	if h.count == 0 || h.pid < 0 {
		return marker{}, nil
	}
	r := varReader{b: b[minBatchBytes:]}
	r.varint() // record length
	r.skip(1)  // attributes
	m := marker{timestamp: h.baseTimestamp + r.varint(), present: true}
	r.varint() // offset delta
	key := r.bytes()
	value := r.bytes()
	if r.bad || len(key) < 4 {
		return marker{}, fmt.Errorf("control batch at offset %d: its record cannot be read", h.base)
	}
	m.kind = int16(binary.BigEndian.Uint16(key[2:]))
	if !m.ends() {
		return m, nil
	}
	if len(value) < 6 {
		return marker{}, fmt.Errorf("control batch at offset %d: value has %d bytes, want 6", h.base, len(value))
	}
	m.commit = m.kind == controlCommit
	m.coordEpoch = int32(binary.BigEndian.Uint32(value[2:]))
	if h.attrs&attrLogAppendTime != 0 {
		m.timestamp = h.maxTimestamp
	}
	return m, nil
}

// varReader reads the fields of one record; after an error everything is zero and bad is set.
type varReader struct {
	b   []byte
	bad bool
}

func (r *varReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *varReader) skip(n int64) []byte {
	if n < 0 || n > int64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *varReader) bytes() []byte {
	n := r.varint()
	if n == -1 {
		return nil
	}
	return r.skip(n)
}
