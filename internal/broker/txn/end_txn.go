package txn

import (
	"cmp"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// endVersionTV2 is the EndTxn version from which a client uses transaction version 2.
const endVersionTV2 = 5

// EndError is the answer to a failed EndTxn. Versions before 2 do not know PRODUCER_FENCED.
func EndError(version int16, err error) *kmsg.EndTxnResponse {
	resp := kmsg.NewEndTxnResponse()
	resp.ProducerId, resp.ProducerEpoch = noProducerID, noProducerEpoch
	resp.ErrorCode = codeFor(err, version < 2)
	return &resp
}

// EndTxn decides a transaction. It is answered when the decision is committed; the markers follow.
func (m *Machine) EndTxn(
	now time.Time, version int16, req *kmsg.EndTxnRequest, reply func(*kmsg.EndTxnResponse),
) coord.Result {
	d, err := m.decide(req, version >= endVersionTV2)
	if err != nil || d.retry {
		return answer(func(lost error) { reply(d.response(version, cmp.Or(lost, err))) })
	}
	next, err := m.prepare(now, d)
	if err != nil {
		return answer(func(lost error) { reply(EndError(version, cmp.Or(lost, err))) })
	}
	return m.decided(now, d, next, func(err error) { reply(d.response(version, logError(err))) })
}

// decision is what an EndTxn request comes to.
type decision struct {
	t      *txn
	commit bool
	bump   bool // transaction version 2: the epoch is bumped
	retry  bool // the transaction was ended like this already
	// The producer that goes on, as answered to a client of transaction version 2.
	producerID int64
	epoch      int16
}

func (d *decision) response(version int16, err error) *kmsg.EndTxnResponse {
	resp := EndError(version, err)
	if err == nil && d.bump {
		resp.ProducerId, resp.ProducerEpoch = d.producerID, d.epoch
	}
	return resp
}

func (d *decision) state() State {
	if d.commit {
		return PrepareCommit
	}
	return PrepareAbort
}

// decided writes the decision. A transaction without partitions has nobody to tell and is complete
// at once.
func (m *Machine) decided(now time.Time, d *decision, next meta, reply func(error)) coord.Result {
	done := completed(now, &next)
	d.producerID, d.epoch = done.producerID, done.epoch
	res := coord.Result{Records: []coord.Record{m.record(d.t.id, &next)}}
	if len(next.partitions) == 0 {
		res.Records = append(res.Records, m.record(d.t.id, &done))
	} else {
		res.Done = append(res.Done, m.sendMarkers(d.t.id, next))
	}
	res.Done = append(res.Done, reply)
	return res
}

// decide checks an EndTxn request against the state of its transaction.
func (m *Machine) decide(req *kmsg.EndTxnRequest, bump bool) (*decision, error) {
	d := &decision{commit: req.Committed, bump: bump}
	if req.TransactionalId == "" {
		return d, kerr.InvalidRequest
	}
	if d.t = m.txns[req.TransactionalId]; d.t == nil {
		return d, kerr.InvalidProducerIDMapping
	}
	d.producerID, d.epoch = d.t.producerID, d.t.epoch
	if bump {
		return d, d.checkBumping(req)
	}
	return d, d.checkPlain(req)
}

// checkPlain holds the rules of transaction versions 0 and 1: the epoch stays, and ending a
// transaction again in the same way is a retry.
func (d *decision) checkPlain(req *kmsg.EndTxnRequest) error {
	t := d.t
	switch {
	case t.producerID != req.ProducerId:
		return kerr.InvalidProducerIDMapping
	case t.epoch != req.ProducerEpoch:
		return kerr.ProducerFenced
	}
	switch t.state {
	case Ongoing:
		return nil
	case PrepareCommit, PrepareAbort:
		return kerr.ConcurrentTransactions
	case CompleteCommit, CompleteAbort:
		d.retry = d.commit == (t.state == CompleteCommit)
		if d.retry {
			return nil
		}
	case Empty, Dead, PrepareEpochFence:
	}
	return kerr.InvalidTxnState
}

// checkBumping holds the rules of transaction version 2 (KIP-890). The epoch tells a retry, which
// still has the one before, from the end of the next transaction. Aborting what was never begun is
// allowed: the client cannot know whether its first write arrived.
func (d *decision) checkBumping(req *kmsg.EndTxnRequest) error {
	t := d.t
	if t.state.prepared() {
		return kerr.ConcurrentTransactions // before all else: the caller may be the producer id that takes over
	}
	overflowed := t.prevProducerID == req.ProducerId && req.ProducerEpoch == maxEpoch && t.epoch == 0
	if t.producerID != req.ProducerId && !overflowed {
		return kerr.InvalidProducerIDMapping
	}
	current := req.ProducerEpoch == t.epoch
	bumped := int32(t.epoch) == int32(req.ProducerEpoch)+1
	switch t.state {
	case Ongoing:
		if !current {
			return kerr.ProducerFenced
		}
		return nil
	case CompleteCommit, CompleteAbort:
		if !current && !bumped && !overflowed {
			return kerr.ProducerFenced
		}
		d.retry = bumped || overflowed
		if d.retry && d.commit == (t.state == CompleteCommit) {
			return nil
		}
		if !d.retry && !d.commit {
			return nil
		}
	case Empty:
		if !current {
			return kerr.ProducerFenced
		}
		if !d.commit {
			return nil
		}
	case PrepareCommit, PrepareAbort, Dead, PrepareEpochFence:
	}
	return kerr.InvalidTxnState
}

// prepare is the state in which the decision stands.
func (m *Machine) prepare(now time.Time, d *decision) (meta, error) {
	next := d.t.transit(d.state(), now.UnixMilli())
	if d.t.state != Ongoing {
		next.startMs = next.updatedMs
	}
	next.nextProducerID = noProducerID
	next.clientVersion = 0
	if d.bump {
		next.clientVersion = epochBump
		return next, m.bump(&next, d.t)
	}
	return next, nil
}

// bump raises the epoch, so that nothing the producer sent before can arrive later. The last epoch
// is never given to a client: with it a new producer id takes over at completion.
func (m *Machine) bump(next *meta, t *txn) error {
	if t.exhausted() {
		pid, err := m.o.NextProducerID()
		if err != nil {
			return err
		}
		next.nextProducerID = pid
	}
	if t.epoch < math.MaxInt16 {
		next.epoch = t.epoch + 1
	}
	return nil
}

// fence is the state that aborts a transaction against its producer's will.
func (m *Machine) fence(now time.Time, t *txn) (meta, error) {
	next := t.transit(PrepareAbort, now.UnixMilli())
	next.nextProducerID = noProducerID
	next.clientVersion = 0
	if v := m.o.ServerVersion(); v >= epochBump {
		next.clientVersion = v
		return next, m.bump(&next, t)
	}
	if t.epoch < math.MaxInt16 {
		next.epoch = t.epoch + 1
	}
	return next, nil
}

// completed is the state after every partition has its marker.
func completed(now time.Time, t *meta) meta {
	to := CompleteAbort
	if t.state == PrepareCommit {
		to = CompleteCommit
	}
	next := t.transit(to, now.UnixMilli())
	if t.clientVersion >= epochBump && t.nextProducerID != noProducerID {
		next.producerID, next.epoch = t.nextProducerID, 0
	}
	next.nextProducerID = noProducerID
	next.partitions = nil
	return next
}

// MarkersWritten completes a transaction whose markers have all been written. Markers of another
// decision than the current one are late and mean nothing.
func (m *Machine) MarkersWritten(now time.Time, mk Markers) coord.Result {
	t := m.txns[mk.TransactionalID]
	if t == nil || !t.state.prepared() || t.producerID != mk.ProducerID || t.epoch != mk.ProducerEpoch ||
		mk.Commit != (t.state == PrepareCommit) || mk.CoordinatorEpoch != m.o.CoordinatorEpoch {
		return coord.Result{}
	}
	next := completed(now, &t.meta)
	return coord.Result{Records: []coord.Record{m.record(t.id, &next)}}
}
