package txn

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// harness drives a machine as the runtime does: records come back through Replay before the next
// input, and what is done at their commit waits in line for it.
type harness struct {
	t      *testing.T
	m      *Machine
	now    time.Time
	config Config
	server int16 // transaction.version

	log       []coord.Record
	parked    []func(error)
	hold      bool // commits are held back
	nextPID   int64
	noPID     error // what the allocator answers instead
	outbox    []Markers
	dropped   int
	next      time.Time // when the machine wants its next Tick
	coordinat int32
}

func newHarness(t *testing.T) *harness {
	h := &harness{
		t: t, now: time.UnixMilli(1_000_000), config: DefaultConfig(), server: 2, nextPID: 1000, coordinat: 7,
	}
	h.m = h.machine()
	return h
}

func (h *harness) machine() *Machine {
	return New(Options{
		Shard: 3, CoordinatorEpoch: h.coordinat,
		Config:        func() Config { return h.config },
		ServerVersion: func() int16 { return h.server },
		NextProducerID: func() (int64, error) {
			if h.noPID != nil {
				return -1, h.noPID
			}
			h.nextPID++
			return h.nextPID - 1, nil
		},
		Outbox: h,
	})
}

func (h *harness) Send(m Markers) { h.outbox = append(h.outbox, m) }
func (h *harness) Drop(int32)     { h.dropped++ }

// step gives the machine one input and then its Tick.
func (h *harness) step(res coord.Result) {
	h.apply(res)
	h.tick()
}

func (h *harness) apply(res coord.Result) {
	if res.Txn != nil || res.Marker != nil {
		h.t.Fatal("a transaction log holds plain records only")
	}
	for _, r := range res.Records {
		if err := h.m.Replay(int64(len(h.log)), coord.NoTxn, r); err != nil {
			h.t.Fatal(err)
		}
		h.log = append(h.log, r)
	}
	h.parked = append(h.parked, res.Done...)
	if !h.hold {
		h.commit()
	}
}

func (h *harness) commit() {
	for len(h.parked) > 0 {
		done := h.parked[0]
		h.parked = h.parked[1:]
		done(nil)
	}
}

// tick runs everything that is due now.
func (h *harness) tick() {
	for range 100 {
		var res coord.Result
		res, h.next = h.m.Tick(h.now)
		h.apply(res)
		if !due(h.next, h.now) {
			return
		}
	}
	h.t.Fatalf("the machine still wants a tick at %v after a hundred", h.next)
}

// advance moves the clock, stopping at every deadline on the way.
func (h *harness) advance(d time.Duration) {
	end := h.now.Add(d)
	for !h.next.IsZero() && !h.next.After(end) {
		h.now = h.next
		h.tick()
	}
	h.now = end
	h.tick()
}

// restart throws the machine away and loads another from the log.
func (h *harness) restart(epoch int32) {
	h.m.Unload(fmt.Errorf("restart"))
	h.outbox, h.parked, h.coordinat = nil, nil, epoch
	before := h.m
	h.m = h.machine()
	for i, r := range h.log {
		if err := h.m.Replay(int64(i), coord.NoTxn, r); err != nil {
			h.t.Fatal(err)
		}
	}
	if diff := difference(before, h.m); diff != "" {
		h.t.Fatalf("a loaded machine differs from the live one: %s", diff)
	}
	h.apply(h.m.Loaded(h.now))
	h.tick()
}

// difference compares what two machines keep in records.
func difference(a, b *Machine) string {
	if len(a.txns) != len(b.txns) || len(a.ongoing) != len(b.ongoing) {
		return fmt.Sprintf("%d ids, %d ongoing; %d ids, %d ongoing", len(a.txns), len(a.ongoing), len(b.txns), len(b.ongoing))
	}
	for _, id := range slices.Sorted(maps.Keys(a.txns)) {
		x, y := a.txns[id], b.txns[id]
		if y == nil || fmt.Sprintf("%+v", x.meta) != fmt.Sprintf("%+v", y.meta) {
			return fmt.Sprintf("%s: %+v; %+v", id, x, y)
		}
	}
	return ""
}

func (h *harness) init(version int16, req kmsg.InitProducerIdRequest) *kmsg.InitProducerIdResponse {
	if err := CheckInit(&req, h.config); err != nil {
		return InitError(version, err)
	}
	var got *kmsg.InitProducerIdResponse
	h.step(h.m.InitProducerID(h.now, version, &req, func(r *kmsg.InitProducerIdResponse) { got = r }))
	return got
}

// addResult is the answer to an add, which may come later.
type addResult struct {
	answered bool
	err      error
	missing  []base.TopicPartition
}

func (h *harness) add(a Add) *addResult {
	r := &addResult{}
	h.step(h.m.AddPartitions(h.now, a, func(err error, missing []base.TopicPartition) {
		if r.answered {
			h.t.Error("an add was answered twice")
		}
		*r = addResult{true, err, missing}
	}))
	return r
}

func (h *harness) end(version int16, id string, pid int64, epoch int16, commit bool) *kmsg.EndTxnResponse {
	var got *kmsg.EndTxnResponse
	req := kmsg.EndTxnRequest{TransactionalId: id, ProducerId: pid, ProducerEpoch: epoch, Committed: commit}
	h.step(h.m.EndTxn(h.now, version, &req, func(r *kmsg.EndTxnResponse) { got = r }))
	return got
}

// written reports every marker in the outbox as written.
func (h *harness) written() {
	for len(h.outbox) > 0 {
		m := h.outbox[0]
		h.outbox = h.outbox[1:]
		h.step(h.m.MarkersWritten(h.now, m))
	}
}
