package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/batch"
)

const (
	// The records of a history are from before it, so that a marker, which a broker stamps with its clock, is later than all of
	// them; but no day before: a broker that starts again forgets producers whose last record is older than
	// producer.id.expiration.ms, and a marker a week after a segment's first record begins a new segment.
	recordsBegin, markersBegin = 2 * time.Hour, time.Hour

	fillers, fillerSize = 3, 600_000

	keys       = 40
	idempotent = 3 // producers 0 to 2
	txnal      = 2 // producers 3 and 4
	settleTime = 4 * time.Minute
	// deletesFrom is the share of a history, in per cent, in which no records are deleted. After that nothing is looked up
	// by time: Kafka finds the greatest timestamp below the log start too, and finds nothing where the first segment that
	// reaches a time holds it below the log start only.
	deletesFrom = 75
	// checkpointed is longer than Kafka takes to note where a log starts.
	checkpointed = time.Second
)

// history is one sequence of steps.
type history struct {
	rng      *rand.Rand
	seed     uint64
	sides    []*side
	settings string
	topics   []string // the last one is compacted
	ends     map[string]int64

	seqs map[int]map[string]int32 // next sequence, by producer and topic
	old  map[int][]retry          // batches that can be sent again
	open map[int]map[string]bool  // topics in the open transaction of a producer

	first, now int64 // timestamps begin at first, and go on from now
	markers    int64 // no record is as late, and no marker as early

	deletes int  // the step from which records are deleted
	deleted bool // they were

	steps, records, compacted int
}

type retry struct {
	topic string
	build func(s *side) (batch.Batch, error)
}

func newHistory(seed uint64, sides ...*side) *history {
	now := time.Now()
	first := now.Add(-recordsBegin).UnixMilli()
	return &history{
		rng: rand.New(rand.NewPCG(seed, 9)), seed: seed, sides: sides, ends: map[string]int64{}, seqs: map[int]map[string]int32{},
		old: map[int][]retry{}, open: map[int]map[string]bool{}, first: first, now: first, markers: now.Add(-markersBegin).UnixMilli(),
	}
}

// both runs a step on both sides and compares what they say.
func (h *history) both(what string, step func(*side) (string, error)) (string, error) {
	text := make([]string, len(h.sides))
	errs := make([]error, len(h.sides))
	var wg sync.WaitGroup
	for i, s := range h.sides {
		wg.Go(func() {
			if text[i], errs[i] = step(s); errs[i] != nil {
				errs[i] = fmt.Errorf("step %d, %s: %s: %w", h.steps, what, s.name, errs[i])
			}
		})
	}
	wg.Wait()
	h.steps++
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	if text[0] != text[1] {
		return "", fmt.Errorf("step %d, %s:\n  %s says %s\n  %s says %s", h.steps, what, h.sides[0].name, text[0], h.sides[1].name, text[1])
	}
	return text[0], nil
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// play makes the topics and carries the history out.
func (h *history) play(ctx context.Context, ops int) error {
	index, compression := pick(h.rng, "1", "4096"), pick(h.rng, "producer", "producer", "uncompressed", "gzip")
	segment, never, dirty := "1048576", "-1", "0.01"
	h.settings = fmt.Sprintf("index.interval.bytes %s, compression.type %s", index, compression)
	plain, keyed := fmt.Sprintf("model-%d-plain", h.seed), fmt.Sprintf("model-%d-keyed", h.seed)
	h.topics = []string{plain, keyed}
	for _, topic := range h.topics {
		cfg := map[string]*string{"segment.bytes": &segment, "retention.ms": &never, "index.interval.bytes": &index, "compression.type": &compression}
		if topic == keyed {
			compact := "compact"
			cfg["cleanup.policy"], cfg["min.cleanable.dirty.ratio"] = &compact, &dirty
		}
		if _, err := h.both("create "+topic, func(s *side) (string, error) {
			r, err := s.adm.CreateTopic(ctx, 1, 1, cfg, topic)
			return "", errors.Join(err, r.Err)
		}); err != nil {
			return err
		}
	}
	for n := range idempotent + txnal {
		if err := h.init(ctx, n); err != nil {
			return err
		}
	}
	restart := ops / 2
	h.deletes = ops * deletesFrom / 100
	for i := range ops {
		var err error
		if i == restart {
			err = h.restart(ctx)
		} else {
			err = h.step(ctx)
		}
		if err != nil {
			return err
		}
	}
	for n := idempotent; n < idempotent+txnal; n++ {
		if h.open[n] != nil {
			if err := h.end(ctx, n); err != nil {
				return err
			}
		}
	}
	if err := h.compareAll(ctx, plain); err != nil {
		return err
	}
	return h.compareCompacted(ctx, keyed)
}

func (h *history) txnID(n int) string {
	if n < idempotent {
		return ""
	}
	return fmt.Sprintf("model-%d-%d", h.seed, n)
}

func (h *history) init(ctx context.Context, n int) error {
	h.seqs[n], h.old[n] = map[string]int32{}, nil
	_, err := h.both(fmt.Sprint("init producer ", n), func(s *side) (string, error) { return s.initProducer(ctx, n, h.txnID(n)) })
	return err
}

// step draws one operation.
func (h *history) step(ctx context.Context) error {
	topic := pick(h.rng, h.topics...)
	switch d := h.rng.IntN(100); {
	case d < 25:
		return h.produce(ctx, topic, -1)
	case d < 40:
		return h.produce(ctx, topic, h.rng.IntN(idempotent))
	case d < 46:
		return h.again(ctx, h.rng.IntN(idempotent))
	case d < 49:
		return h.outOfOrder(ctx, topic, h.rng.IntN(idempotent))
	case d < 64:
		return h.transact(ctx, idempotent+h.rng.IntN(txnal))
	case d < 66:
		n := h.rng.IntN(idempotent + txnal)
		if h.open[n] != nil {
			return h.end(ctx, n)
		}
		return h.init(ctx, n)
	case d < 80:
		return h.find(ctx, topic)
	case d < 84 && topic == h.topics[0] && h.steps > h.deletes:
		return h.delete(ctx, topic)
	default:
		return h.read(ctx, topic)
	}
}

// draft draws the records of a batch; keyed ones now and then have no value.
func (h *history) draft(topic string, n int) func(s *side) (batch.Batch, error) {
	type rec struct {
		ts         int64
		key, value []byte
	}
	var recs []rec
	for range 1 + h.rng.IntN(8) {
		h.now += h.rng.Int64N(2000) - 500 // not always forward
		r := rec{ts: h.now, value: make([]byte, pick(h.rng, 10, 100, 20_000, 60_000))}
		for i := range r.value {
			r.value[i] = byte('a' + h.rng.IntN(4))
		}
		if topic == h.topics[1] || h.rng.IntN(2) == 0 {
			r.key = fmt.Append(nil, "key ", h.rng.IntN(keys))
			if h.rng.IntN(8) == 0 {
				r.value = nil
			}
		}
		recs = append(recs, r)
	}
	codec := batch.Codec(h.rng.IntN(5))
	seq := h.seqs[n][topic]
	if n >= 0 {
		h.seqs[n][topic] += int32(len(recs))
	}
	return func(s *side) (batch.Batch, error) {
		o := batch.Options{Codec: codec, Transactional: n >= idempotent, LeaderEpoch: -1}
		if n >= 0 {
			o.Producer = &batch.Producer{ID: s.producers[n].id, Epoch: s.producers[n].epoch, Sequence: seq}
		}
		b := batch.NewBuilder(o)
		for _, r := range recs {
			b.Append(r.ts, r.key, r.value)
		}
		return b.Build()
	}
}

func (h *history) send(ctx context.Context, what, topic string, n int, build func(*side) (batch.Batch, error)) error {
	txn := ""
	if n >= idempotent {
		txn = h.txnID(n)
	}
	_, err := h.both(fmt.Sprintf("%s by %d to %s", what, n, topic), func(s *side) (string, error) {
		b, err := build(s)
		if err != nil {
			return "", err
		}
		return s.produce(ctx, topic, txn, b)
	})
	return err
}

func (h *history) produce(ctx context.Context, topic string, n int) error {
	build := h.draft(topic, n)
	if n >= 0 && n < idempotent {
		h.old[n] = append(h.old[n], retry{topic, build})
	}
	return h.send(ctx, "produce", topic, n, build)
}

// again sends a batch a second time: one of the last five is answered as the first time.
func (h *history) again(ctx context.Context, n int) error {
	if len(h.old[n]) == 0 {
		return nil
	}
	r := h.old[n][max(0, len(h.old[n])-1-h.rng.IntN(7))]
	return h.send(ctx, "send again", r.topic, n, r.build)
}

// outOfOrder leaves a sequence out, which is refused.
func (h *history) outOfOrder(ctx context.Context, topic string, n int) error {
	was := h.seqs[n][topic]
	if was == 0 {
		return nil // a producer that is new may begin anywhere
	}
	h.seqs[n][topic] += 7
	build := h.draft(topic, n)
	h.seqs[n][topic] = was
	return h.send(ctx, "skip a sequence", topic, n, build)
}

// transact goes on with a transaction, or begins or ends one.
func (h *history) transact(ctx context.Context, n int) error {
	if h.open[n] != nil && h.rng.IntN(3) == 0 {
		return h.end(ctx, n)
	}
	topic := pick(h.rng, h.topics...)
	if h.open[n] == nil {
		h.open[n] = map[string]bool{}
	}
	if !h.open[n][topic] {
		h.open[n][topic] = true
		if _, err := h.both(fmt.Sprintf("add %s to the transaction of %d", topic, n), func(s *side) (string, error) {
			return s.addToTxn(ctx, n, h.txnID(n), topic)
		}); err != nil {
			return err
		}
	}
	return h.produce(ctx, topic, n)
}

func (h *history) end(ctx context.Context, n int) error {
	commit := h.rng.IntN(2) == 0
	h.open[n] = nil
	_, err := h.both(fmt.Sprintf("end the transaction of %d, commit %v", n, commit), func(s *side) (string, error) {
		return s.endTxn(ctx, n, h.txnID(n), commit)
	})
	return err
}

// find looks an offset up: by a time, or the earliest, the latest, or that of the greatest timestamp. Where the log is
// being compacted only what compaction does not change is asked for.
func (h *history) find(ctx context.Context, topic string) error {
	isolation := int8(h.rng.IntN(2))
	ts := pick(h.rng, -1, -2, h.someTime(), h.someTime(), -3)
	if h.deleted && (ts == -3 || ts >= 0) {
		ts = -2 // see deletesFrom
	}
	if topic == h.topics[1] {
		ts = pick(h.rng, int64(-1), -2)
	}
	_, err := h.both(fmt.Sprintf("find %d in %s, isolation %d", ts, topic, isolation), func(s *side) (string, error) {
		return s.listOffset(ctx, topic, ts, isolation, h.markers)
	})
	return err
}

func (h *history) someTime() int64 { return h.first + h.rng.Int64N(max(1, h.now-h.first)) }

func (h *history) delete(ctx context.Context, topic string) error {
	start, end, err := h.sides[0].bounds(ctx, topic)
	if err != nil {
		return err
	}
	to := start
	if end > start {
		to += h.rng.Int64N((end-start)/4 + 1)
	}
	h.deleted = true
	_, err = h.both(fmt.Sprintf("delete records of %s before %d", topic, to), func(s *side) (string, error) {
		return s.deleteRecords(ctx, topic, to)
	})
	return err
}

// read fetches once at some offset and compares as much as both sides give.
func (h *history) read(ctx context.Context, topic string) error {
	if topic == h.topics[1] {
		return nil // the cleaners do not run at the same time; it is compared at the end
	}
	start, end, err := h.sides[0].bounds(ctx, topic)
	if err != nil {
		return err
	}
	offset := max(0, start-2) + h.rng.Int64N(max(1, end-start+4))
	maxBytes, isolation := int32(pick(h.rng, 1, 5000, 200_000, 1<<20)), int8(h.rng.IntN(2))
	lines := make([][]string, len(h.sides))
	_, err = h.both(fmt.Sprintf("fetch %s from %d, at most %d bytes, isolation %d", topic, offset, maxBytes, isolation), func(s *side) (string, error) {
		f, err := s.fetch(ctx, topic, offset, maxBytes, isolation)
		if err != nil {
			return "", err
		}
		err = s.each(f.batches, func(_ int64, line string) {
			for i := range h.sides {
				if h.sides[i] == s {
					lines[i] = append(lines[i], line)
				}
			}
		})
		some := "nothing"
		if len(f.batches) > 0 {
			some = "something"
		}
		return fmt.Sprintf("%s, high watermark %d, stable to %d, log start %d, aborted %v, %s", codeText(f.code), f.hw, f.lso, f.start,
			f.abortedIn(), some), err
	})
	if err != nil {
		return err
	}
	n := min(len(lines[0]), len(lines[1])) // where one recompresses, sizes differ
	h.records += n
	return h.compare(topic, lines[0][:n], lines[1][:n])
}

func (h *history) compare(topic string, a, b []string) error {
	if len(a) != len(b) {
		return fmt.Errorf("%s: %s has %d records, %s has %d; only in the first: %v, only in the second: %v", topic, h.sides[0].name,
			len(a), h.sides[1].name, len(b), without(a, b), without(b, a))
	}
	for i := range a {
		if a[i] != b[i] {
			return fmt.Errorf("%s:\n  %s has %s\n  %s has %s", topic, h.sides[0].name, a[i], h.sides[1].name, b[i])
		}
	}
	return nil
}

// without lists some lines of a that b lacks.
func without(a, b []string) (some []string) {
	for _, line := range a {
		if !slices.Contains(b, line) && len(some) < 5 {
			some = append(some, line[:min(len(line), 120)])
		}
	}
	return some
}

// dump reads a topic from its start to its end, or to the offset end.
func (h *history) dump(ctx context.Context, s *side, topic string, end int64) (lines []string, err error) {
	at, _, err := s.bounds(ctx, topic)
	if err != nil {
		return nil, err
	}
	for {
		f, err := s.fetch(ctx, topic, at, 4<<20, 0)
		if err != nil {
			return nil, err
		}
		if f.code != 0 {
			return nil, fmt.Errorf("%s: read %s at %d: %w", s.name, topic, at, kerr.ErrorForCode(f.code))
		}
		if at >= min(f.hw, end) {
			return lines, nil
		}
		next := at
		if err := s.each(f.batches, func(o int64, line string) {
			if o >= at && o < end {
				lines, next = append(lines, line), o+1
			}
		}); err != nil {
			return nil, err
		}
		if next == at {
			if next = lastOffset(f.batches) + 1; next <= at {
				return lines, nil
			}
		}
		at = next
	}
}

// lastOffset is the last offset that the batches cover.
func lastOffset(b []byte) (last int64) {
	last = -1
	for len(b) >= batch.HeaderSize {
		one, rest, err := batch.Next(b)
		if err != nil {
			break
		}
		last, b = one.LastOffset(), rest
	}
	return last
}

func (h *history) compareAll(ctx context.Context, topic string) error {
	var all [2][]string
	for i, s := range h.sides {
		var err error
		if all[i], err = h.dump(ctx, s, topic, math.MaxInt64); err != nil {
			return err
		}
	}
	if len(all[0]) == 0 {
		return fmt.Errorf("%s: nothing is in it: the history compared nothing", topic)
	}
	h.records += len(all[0])
	return h.compare(topic, all[0], all[1])
}

// seal fills the active segments, which no cleaner touches and which do not begin at the same offset everywhere, with records
// from offset end on.
func (h *history) seal(ctx context.Context, topic string) (end int64, err error) {
	if _, end, err = h.sides[0].bounds(ctx, topic); err != nil {
		return 0, err
	}
	for i := range fillers {
		value := make([]byte, fillerSize)
		for j := range value {
			value[j] = byte(h.rng.Uint32())
		}
		now := time.Now().UnixMilli()
		if err := h.send(ctx, "fill a segment", topic, -1, func(*side) (batch.Batch, error) {
			b := batch.NewBuilder(batch.Options{LeaderEpoch: -1})
			b.Append(now, fmt.Append(nil, "filler ", i), value)
			return b.Build()
		}); err != nil {
			return 0, err
		}
	}
	return end, nil
}

// compareCompacted waits until both cleaners have done what they will do, and compares what they left.
func (h *history) compareCompacted(ctx context.Context, topic string) error {
	end, err := h.seal(ctx, topic)
	if err != nil {
		return err
	}
	var last error
	steady, before := 0, ""
	for began := time.Now(); time.Since(began) < settleTime && ctx.Err() == nil; time.Sleep(500 * time.Millisecond) {
		ours, err := h.dump(ctx, h.sides[0], topic, end)
		if err != nil {
			return err
		}
		theirs, err := h.dump(ctx, h.sides[1], topic, end)
		if err != nil {
			return err
		}
		if now := fmt.Sprint(len(ours), len(theirs)); now == before {
			steady++
		} else {
			steady, before = 0, now
		}
		last = h.compare(topic, ours, theirs)
		if last == nil && steady >= 4 {
			h.compacted = len(ours)
			return nil
		}
	}
	return fmt.Errorf("after %v of compaction: %w", settleTime, last)
}

// restart ends both brokers, in order or not, and starts them again.
// After it old batches are not sent again: a snapshot keeps the last batch of a producer, and how much of the log is
// replayed behind it differs.
func (h *history) restart(ctx context.Context) error {
	clear(h.old)
	kill := h.rng.IntN(2) == 0
	time.Sleep(checkpointed)
	_, err := h.both(fmt.Sprintf("restart, kill %v", kill), func(s *side) (string, error) {
		end := s.process.Stop
		if kill {
			end = s.process.Kill
		}
		if err := end(); err != nil {
			return "", err
		}
		if err := s.process.Start(ctx); err != nil {
			return "", err
		}
		return "", s.connect(ctx)
	})
	return err
}
