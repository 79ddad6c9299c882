package txn

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// TestModel runs producers, zombies, partitions, restarts and lost tails of the log against one
// machine in random order, and then checks what a read_committed reader and the producers saw.
func TestModel(t *testing.T) {
	const seeds, steps = 400, 250
	var ended, fenced int
	for seed := range uint64(seeds) {
		w := newWorld(t, seed)
		for range steps {
			w.step()
		}
		w.settle()
		w.check()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		ended += len(w.ended)
		for _, p := range w.producers {
			if p.zombie && p.dead {
				fenced++
			}
		}
	}
	t.Logf("%d schedules, %d steps, %d transactions that their producers ended, %d zombies fenced", seeds, seeds*steps, ended, fenced)
	if ended < seeds || fenced < seeds {
		t.Errorf("%d transactions and %d zombies in %d schedules show nothing", ended, fenced, seeds)
	}
}

const (
	modelIDs        = 3
	modelPartitions = 4
)

// world is everything outside the machine.
type world struct {
	*harness
	r         *rand.Rand
	parts     []*modelPartition
	producers []*producer // zombies included
	current   [modelIDs]*producer
	lastTxn   int
	trace     []string
	committed int         // records of the transaction log that cannot be lost any more
	delayed   []func()    // batches on their way to a log
	ended     []*modelTxn // those whose producer was told the outcome
}

// producer is one instance of a client.
type producer struct {
	name   string
	id     string
	slot   int
	tv2    bool
	pid    int64
	epoch  int16
	zombie bool // a later instance has been initialised
	dead   bool // it was told that it is fenced
	txn    *modelTxn
	ending bool // EndTxn was sent and not answered with a final word
	commit bool
}

// modelTxn is one transaction as its producer sees it.
type modelTxn struct {
	n       int
	by      *producer
	writes  int    // acknowledged
	outcome string // what the producer was told, "" when nothing
}

// modelPartition keeps the rules of a partition's producer state (§ marker epoch at the leader).
type modelPartition struct {
	name  base.TopicPartition
	state map[int64]*modelProducerState
	read  map[int]string // transaction → the outcome of its records here
}

type modelProducerState struct {
	epoch int16
	open  []int // transactions with records here that are not decided
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{harness: newHarness(t), r: rand.New(rand.NewPCG(seed, 1))}
	w.config.AbortInterval = time.Second
	for i := range modelPartitions {
		w.parts = append(w.parts, &modelPartition{
			name:  base.TopicPartition{Topic: "t", Partition: int32(i)},
			state: map[int64]*modelProducerState{}, read: map[int]string{},
		})
	}
	return w
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	for _, line := range w.trace {
		w.t.Log(line)
	}
	w.t.Errorf(format, args...)
}

func (w *world) step() {
	switch n := w.r.IntN(100); {
	case n < 8:
		w.initSome()
	case n < 45:
		w.write()
	case n < 65:
		w.end()
	case n < 85:
		w.deliver()
	case n < 88:
		w.hold = true
	case n < 93:
		w.commitLog()
	case n < 95:
		w.crash()
	case n < 97:
		w.advance(time.Duration(w.r.IntN(2500)) * time.Millisecond)
	default:
		w.runDelayed()
	}
	if !w.hold {
		w.committed = len(w.log)
	}
}

func (w *world) commitLog() {
	w.hold = false
	w.harness.commit()
	w.committed = len(w.log)
	w.tick()
}

// crash loses what was not committed, and everything in memory.
func (w *world) crash() {
	w.note("crash at %d of %d", w.committed, len(w.log))
	w.log = w.log[:w.committed]
	w.hold = false
	w.outbox, w.parked = nil, nil
	w.coordinat++
	w.m = w.machine()
	for i, r := range w.log {
		if err := w.m.Replay(int64(i), coord.NoTxn, r); err != nil {
			w.t.Fatal(err)
		}
	}
	w.apply(w.m.Loaded(w.now))
	w.tick()
}

func (w *world) initSome() {
	slot := w.r.IntN(modelIDs)
	p := &producer{
		name: fmt.Sprintf("p%d", len(w.producers)), id: fmt.Sprint("id", slot), slot: slot, tv2: w.r.IntN(2) == 0, pid: -1,
	}
	req := kmsg.NewInitProducerIdRequest()
	req.TransactionalId, req.TransactionTimeoutMs = &p.id, 5000
	w.harness.step(w.m.InitProducerID(w.now, 5, &req, func(r *kmsg.InitProducerIdResponse) {
		w.note("%s init %s: %s %d/%d", p.name, p.id, name(r.ErrorCode), r.ProducerId, r.ProducerEpoch)
		if r.ErrorCode != 0 {
			return
		}
		if old := w.current[slot]; old != nil {
			old.zombie = true
		}
		p.pid, p.epoch = r.ProducerId, r.ProducerEpoch
		w.current[slot] = p
		w.producers = append(w.producers, p)
	}))
}

func (w *world) pick() *producer {
	if len(w.producers) == 0 {
		return nil
	}
	// Mostly one of the latest, sometimes a zombie.
	if w.r.IntN(4) > 0 {
		if p := w.current[w.r.IntN(modelIDs)]; p != nil && !p.dead {
			return p
		}
	}
	p := w.producers[w.r.IntN(len(w.producers))]
	if p.dead {
		return nil
	}
	return p
}

// write adds a partition to the producer's transaction and writes to it, now or later.
func (w *world) write() {
	p := w.pick()
	if p == nil || p.ending {
		return
	}
	if p.txn == nil {
		w.lastTxn++
		p.txn = &modelTxn{n: w.lastTxn, by: p}
	}
	part, txn, pid, epoch := w.parts[w.r.IntN(modelPartitions)], p.txn, p.pid, p.epoch
	if s := part.state[pid]; s != nil && s.epoch == epoch && slices.Contains(s.open, txn.n) {
		w.append(p, part, txn, pid, epoch)
		return
	}
	a := Add{
		TransactionalID: p.id, ProducerID: pid, ProducerEpoch: epoch, Partitions: []base.TopicPartition{part.name},
		Wait: time.Duration(w.r.IntN(2)) * 100 * time.Millisecond,
	}
	if p.tv2 {
		a.ClientVersion = 2
	}
	late := p.tv2 && w.r.IntN(5) == 0
	added := func(err error, _ []base.TopicPartition) {
		w.note("%s adds %v to %d: %v", p.name, part.name, txn.n, err)
		switch {
		case err != nil:
			p.refused(err)
		case late: // the batch is held up between the coordinator's word and the log
			w.delayed = append(w.delayed, func() { w.append(p, part, txn, pid, epoch) })
		default:
			w.append(p, part, txn, pid, epoch)
		}
	}
	if !p.tv2 {
		// With version 1 the client adds, and the leader verifies and appends under a guard that any
		// marker breaks, which one step without an interruption stands for.
		w.addThenVerify(p, a, part, txn)
		return
	}
	w.harness.step(w.m.AddPartitions(w.now, a, added))
}

func (w *world) addThenVerify(p *producer, a Add, part *modelPartition, txn *modelTxn) {
	a.Wait = 0
	w.harness.step(w.m.AddPartitions(w.now, a, func(err error, _ []base.TopicPartition) {
		w.note("%s adds %v to %d: %v", p.name, part.name, txn.n, err)
		if err != nil {
			p.refused(err)
		}
	}))
	a.VerifyOnly = true
	if w.hold {
		return // the client has no answer yet, so it does not produce
	}
	w.harness.step(w.m.AddPartitions(w.now, a, func(err error, missing []base.TopicPartition) {
		if err == nil && len(missing) == 0 {
			w.append(p, part, txn, a.ProducerID, a.ProducerEpoch)
		}
	}))
}

func (p *producer) refused(err error) {
	switch code := codeFor(err, false); name(code) {
	case "PRODUCER_FENCED", "INVALID_PRODUCER_ID_MAPPING", "INVALID_PRODUCER_EPOCH":
		p.dead = true
	}
}

func (w *world) append(p *producer, part *modelPartition, txn *modelTxn, pid int64, epoch int16) {
	s := part.state[pid]
	if s == nil {
		s = &modelProducerState{epoch: -1}
		part.state[pid] = s
	}
	if epoch < s.epoch {
		w.note("%s writes %d to %v: fenced", p.name, txn.n, part.name)
		p.dead = p.txn == txn
		return
	}
	s.epoch = epoch
	if !slices.Contains(s.open, txn.n) {
		s.open = append(s.open, txn.n)
	}
	w.note("%s writes %d to %v at %d/%d", p.name, txn.n, part.name, pid, epoch)
	if p.zombie && w.current[p.slot].pid == pid && w.current[p.slot].epoch > epoch && w.current[p.slot].txn != nil &&
		w.current[p.slot].txn.writes > 0 && slices.Contains(s.open, w.current[p.slot].txn.n) {
		w.fail("zombie %s wrote into %s's partition %v", p.name, w.current[p.slot].name, part.name)
	}
	if p.txn == txn {
		txn.writes++
	}
}

func (w *world) end() {
	p := w.pick()
	if p == nil || p.txn == nil {
		return
	}
	if !p.ending {
		if p.txn.writes == 0 {
			return
		}
		p.ending, p.commit = true, w.r.IntN(3) > 0
	}
	version := int16(4)
	if p.tv2 {
		version = 5
	}
	txn, commit := p.txn, p.commit
	zombie := p.zombie
	req := kmsg.EndTxnRequest{TransactionalId: p.id, ProducerId: p.pid, ProducerEpoch: p.epoch, Committed: commit}
	w.harness.step(w.m.EndTxn(w.now, version, &req, func(r *kmsg.EndTxnResponse) {
		w.note("%s ends %d commit=%t: %s %d/%d", p.name, txn.n, commit, name(r.ErrorCode), r.ProducerId, r.ProducerEpoch)
		if p.txn != txn {
			return // the answer to a duplicate
		}
		switch name(r.ErrorCode) {
		case "ok":
			if zombie && commit {
				w.fail("zombie %s committed", p.name)
			}
			txn.outcome = map[bool]string{true: "committed", false: "aborted"}[commit]
			w.ended = append(w.ended, txn)
			p.txn, p.ending = nil, false
			if p.tv2 {
				p.pid, p.epoch = r.ProducerId, r.ProducerEpoch
			}
		case "CONCURRENT_TRANSACTIONS":
		default:
			p.dead = true
		}
	}))
}

// deliver writes one marker of one decision, or some of them twice.
func (w *world) deliver() {
	if len(w.outbox) == 0 {
		return
	}
	i := w.r.IntN(len(w.outbox))
	m := w.outbox[i]
	rest := m.Partitions
	for len(rest) > 0 && w.r.IntN(4) > 0 {
		w.marker(rest[0], &m)
		if w.r.IntN(8) > 0 {
			rest = rest[1:]
		}
	}
	if len(rest) > 0 {
		w.outbox[i].Partitions = rest
		return
	}
	w.outbox = slices.Delete(w.outbox, i, i+1)
	w.harness.step(w.m.MarkersWritten(w.now, m))
}

func (w *world) marker(tp base.TopicPartition, m *Markers) {
	part := w.parts[tp.Partition]
	s := part.state[m.ProducerID]
	if s == nil {
		s = &modelProducerState{epoch: -1}
		part.state[m.ProducerID] = s
	}
	invalid := m.ProducerEpoch < s.epoch
	if m.TransactionVersion >= 2 {
		invalid = m.ProducerEpoch <= s.epoch && (m.ProducerEpoch != s.epoch || len(s.open) > 0)
	}
	w.note("marker %d/%d commit=%t to %v, refused=%t", m.ProducerID, m.ProducerEpoch, m.Commit, tp, invalid)
	if invalid {
		return
	}
	s.epoch = m.ProducerEpoch
	outcome := "aborted"
	if m.Commit {
		outcome = "committed"
	}
	for _, n := range s.open {
		if was := part.read[n]; was != "" && was != outcome {
			w.fail("transaction %d is %s and %s in %v", n, was, outcome, tp)
		}
		part.read[n] = outcome
	}
	s.open = nil
}

func (w *world) runDelayed() {
	for _, fn := range w.delayed {
		fn()
	}
	w.delayed = nil
}

// settle lets everything end: no new requests, all time-outs, all markers.
func (w *world) settle() {
	w.runDelayed()
	w.commitLog()
	for range 20 {
		w.advance(time.Second)
		for len(w.outbox) > 0 {
			w.deliver()
		}
		w.commitLog()
	}
}

func (w *world) check() {
	for _, t := range w.m.sortedTxns() {
		if !t.state.idle() {
			w.fail("%s is still %s", t.id, t.state)
		}
	}
	seen := map[int]map[string]bool{}
	for _, part := range w.parts {
		for pid, s := range part.state {
			if len(s.open) > 0 {
				w.fail("transactions %v of producer %d hang in %v", s.open, pid, part.name)
			}
		}
		for n, outcome := range part.read {
			if seen[n] == nil {
				seen[n] = map[string]bool{}
			}
			seen[n][outcome] = true
		}
	}
	for n, outcomes := range seen {
		if len(outcomes) > 1 {
			w.fail("transaction %d is committed in one partition and aborted in another", n)
		}
	}
	w.checkPromises(seen)
}

// checkPromises compares what producers were told with what readers see.
func (w *world) checkPromises(seen map[int]map[string]bool) {
	for _, txn := range w.ended {
		for outcome := range seen[txn.n] {
			if outcome != txn.outcome {
				w.fail("transaction %d was answered %s and is %s", txn.n, txn.outcome, outcome)
			}
		}
		if len(seen[txn.n]) == 0 {
			w.fail("transaction %d was answered %s and no reader sees its end", txn.n, txn.outcome)
		}
	}
}
