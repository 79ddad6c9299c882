package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/proto/batch"
)

// producer is idempotent, has one request under way and repeats it until it is acknowledged.
type producer struct {
	w       *world
	id      int64
	next    map[tp]int32
	epoch   map[tp]int32 // the newest leader epoch that it has heard of: clients do not go back (KIP-320)
	acks    map[tp]int   // batches since the faults ended
	k       tp
	values  []string
	batch   batch.Batch
	attempt int
}

func (w *world) produce() {
	for i := range w.opts.producers {
		p := &producer{w: w, id: int64(1000 + i), next: map[tp]int32{}, epoch: map[tp]int32{}, acks: map[tp]int{}}
		w.producers = append(w.producers, p)
		p.begin()
	}
}

// begin makes the next batch.
func (p *producer) begin() {
	w := p.w
	if w.stopped {
		return
	}
	keys := w.written()
	p.k = keys[w.rng.IntN(len(keys))]
	b := batch.NewBuilder(batch.Options{Producer: &batch.Producer{ID: p.id, Sequence: p.next[p.k]}})
	p.values = nil
	for i := range 1 + w.rng.Int32N(4) {
		v := fmt.Sprintf("%d-%d", p.id, p.next[p.k]+i)
		if w.opts.large {
			v += strings.Repeat(".", w.rng.IntN(3000))
		}
		p.values = append(p.values, v)
		b.Append(w.now().UnixMilli(), nil, []byte(v))
	}
	built, err := b.Build()
	if err != nil {
		panic(err)
	}
	p.batch = slices.Clone(built)
	p.try()
}

// try sends the batch to who leads, as one of the nodes sees it.
func (p *producer) try() {
	w := p.w
	p.attempt++
	attempt := p.attempt
	settle := func(base int64, err error) {
		if p.attempt == attempt {
			p.answered(base, err)
		}
	}
	w.after(patience, func() { settle(-1, kerr.RequestTimedOut) })
	to := int32(-1)
	if n := w.nodes[w.rng.IntN(len(w.nodes))]; n.up && n.states[p.k] != nil && n.states[p.k].LeaderEpoch >= p.epoch[p.k] {
		to, p.epoch[p.k] = n.states[p.k].Leader, n.states[p.k].LeaderEpoch
	}
	if to < 1 {
		return
	}
	k, sent, values := p.k, slices.Clone(p.batch), p.values
	w.send(client, to, func() {
		t := w.node(to)
		boot := t.boot
		t.act(func() {
			t.produce(k, slices.Clone(sent), func(base int64, err error) {
				if t.doomed || t.boot != boot {
					return
				}
				if part := t.parts[k]; err == nil {
					w.check.absorb(t, k, part)
					if w.opts.unclean() { // what it is told is true when it is said
						w.check.acked(k, part.LeaderEpoch(), base, values)
					}
				}
				w.send(to, client, func() { settle(base, err) })
			})
		})
	})
}

func (p *producer) answered(base int64, err error) {
	w := p.w
	p.attempt++ // whatever comes now is late
	switch {
	case err == nil:
		if !w.opts.unclean() {
			w.check.acked(p.k, p.epoch[p.k], base, p.values)
		}
		w.note("producer %d: %s has %v at %d", p.id, p.k, p.values, base)
		p.next[p.k] += int32(len(p.values))
		p.acks[p.k]++
		w.after(w.between(5*time.Millisecond, 60*time.Millisecond), p.begin)
		return
	case errors.Is(err, kerr.OutOfOrderSequenceNumber) && w.check.mayBeLost(p.k):
		// As a client does: it goes on under another name, and what it has not heard of is as if it had not been sent.
		w.reached("a producer began anew after an unclean election")
		p.id += 100
		clear(p.next)
		w.after(w.between(20*time.Millisecond, 100*time.Millisecond), p.begin)
		return
	case errors.Is(err, kerr.OutOfOrderSequenceNumber), errors.Is(err, kerr.InvalidProducerEpoch):
		w.fail("producer %d: batch with sequence %d of %s: %v: what was acknowledged before it is gone", p.id, p.next[p.k], p.k, err)
	default:
		w.reached("produce: " + errName(err))
	}
	w.after(w.between(20*time.Millisecond, 100*time.Millisecond), p.try)
}

type reached func(err error)

func (r reached) Reached(err error) { r(err) }

// produce is the Produce request with acks=all.
func (t *node) produce(k tp, b batch.Batch, reply func(int64, error)) {
	p := t.parts[k]
	if p == nil {
		reply(-1, kerr.UnknownTopicOrPartition)
		return
	}
	t.append(k, p, b, partition.AppendOptions{}, reply)
}

// append writes a batch, and answers when it is committed.
func (t *node) append(k tp, p *partition.Partition, b batch.Batch, o partition.AppendOptions, reply func(int64, error)) {
	count := int64(b.Count())
	o.Now, o.AllInSync = t.w.now(), true
	info, err := p.Append(b, o)
	if err != nil {
		reply(-1, err)
		return
	}
	if info.Duplicate {
		t.w.reached("a batch was sent again, and was there")
	}
	t.w.check.appended(t, k, p)
	p.AwaitEpoch(info.LeaderEpoch, info.BaseOffset+count, reached(func(err error) {
		if err == nil && p.CheckMinInSync() != nil {
			err = kerr.NotEnoughReplicasAfterAppend
		}
		reply(info.BaseOffset, err)
	}))
}
