package txn

import (
	"cmp"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// CheckInit finds what is wrong with an InitProducerId request before any shard is asked. It also
// serves requests without a transactional id, which only need a producer id.
func CheckInit(req *kmsg.InitProducerIdRequest, c Config) error {
	if (req.ProducerId == noProducerID) != (req.ProducerEpoch == noProducerEpoch) {
		return kerr.InvalidRequest
	}
	timeout := time.Duration(req.TransactionTimeoutMs) * time.Millisecond
	switch {
	case req.TransactionalId == nil:
		return nil
	case *req.TransactionalId == "":
		return kerr.InvalidRequest
	case req.Enable2Pc && !c.TwoPhaseCommit:
		return kerr.TransactionalIDAuthorizationFailed
	case req.KeepPreparedTxn:
		return kerr.UnsupportedVersion
	case !req.Enable2Pc && (timeout <= 0 || timeout > c.MaxTimeout):
		return kerr.InvalidTransactionTimeout
	}
	return nil
}

// InitError is the answer to a failed InitProducerId. Versions before 4 do not know PRODUCER_FENCED.
func InitError(version int16, err error) *kmsg.InitProducerIdResponse {
	resp := kmsg.NewInitProducerIdResponse()
	resp.ProducerId, resp.ProducerEpoch = noProducerID, noProducerEpoch
	resp.ErrorCode = codeFor(err, version < 4)
	return &resp
}

// InitProducerID makes the caller the only producer of its transactional id: it gets the next epoch,
// or a new producer id when there is none. A transaction that the producer before left open is
// aborted first; the caller is told to come back. The request has passed CheckInit.
func (m *Machine) InitProducerID(
	now time.Time, version int16, req *kmsg.InitProducerIdRequest, reply func(*kmsg.InitProducerIdResponse),
) coord.Result {
	id := *req.TransactionalId
	failed := func(err error) coord.Result {
		return answer(func(lost error) { reply(InitError(version, cmp.Or(lost, err))) })
	}
	t := m.txns[id]
	if t != nil && t.state == Ongoing {
		if err := t.checkExpected(req); err != nil {
			return failed(err)
		}
		return m.fenceThenRetry(now, t, failed)
	}
	next, err := m.nextProducer(now, t, req)
	if err != nil {
		return failed(err)
	}
	return coord.Result{
		Records: []coord.Record{m.record(id, &next)},
		Done: []func(error){func(err error) {
			if err != nil {
				reply(InitError(version, logError(err)))
				return
			}
			resp := kmsg.NewInitProducerIdResponse()
			resp.ProducerId, resp.ProducerEpoch = next.producerID, next.epoch
			reply(&resp)
		}},
	}
}

// fenceThenRetry aborts the open transaction under a higher epoch that nobody is given, and answers
// CONCURRENT_TRANSACTIONS. The retry gets the epoch after that.
func (m *Machine) fenceThenRetry(now time.Time, t *txn, failed func(error) coord.Result) coord.Result {
	next, err := m.fence(now, t)
	if err != nil {
		return failed(err)
	}
	res := failed(kerr.ConcurrentTransactions)
	res.Records = []coord.Record{m.record(t.id, &next)}
	res.Done = append([]func(error){m.sendMarkers(t.id, next)}, res.Done...)
	return res
}

// checkExpected verifies the producer id that a producer asks to go on with (KIP-360). It is right
// when it is the current one, or the one before and the epoch was used up, which makes the request
// a retry of one whose answer was lost.
func (t *txn) checkExpected(req *kmsg.InitProducerIdRequest) error {
	if req.ProducerId == noProducerID || req.ProducerId == t.producerID ||
		(req.ProducerId == t.prevProducerID && req.ProducerEpoch >= maxEpoch) {
		return nil
	}
	return kerr.ProducerFenced
}

// nextProducer is the state that gives the id to its new producer.
func (m *Machine) nextProducer(now time.Time, t *txn, req *kmsg.InitProducerIdRequest) (meta, error) {
	m.resume.set = false
	if t == nil {
		return m.firstProducer(now, req)
	}
	if !t.state.idle() {
		return meta{}, kerr.ConcurrentTransactions
	}
	if err := t.checkExpected(req); err != nil {
		return meta{}, err
	}
	expects := req.ProducerId != noProducerID
	next := t.transit(Empty, now.UnixMilli())
	next.timeoutMs = timeoutOf(req)
	next.partitions = nil
	next.startMs = -1
	switch {
	case t.exhausted() && (!expects || req.ProducerEpoch == t.epoch):
		pid, err := m.o.NextProducerID()
		if err != nil {
			return meta{}, err
		}
		next.producerID, next.epoch = pid, 0
	case !expects || req.ProducerEpoch == t.epoch:
		next.epoch++
	case req.ProducerEpoch == t.lastEpoch:
		return m.resumed(t, next, t.lastEpoch), nil // a retry: the same answer again
	default:
		return meta{}, kerr.ProducerFenced
	}
	if expects {
		next = m.resumed(t, next, t.epoch)
	}
	return next, nil
}

func (m *Machine) resumed(t *txn, next meta, lastEpoch int16) meta {
	m.resume.id, m.resume.lastEpoch, m.resume.set = t.id, lastEpoch, true
	return next
}

// firstProducer is the state of an id that is new, or was forgotten.
func (m *Machine) firstProducer(now time.Time, req *kmsg.InitProducerIdRequest) (meta, error) {
	pid, err := m.o.NextProducerID()
	if err != nil {
		return meta{}, err
	}
	return meta{
		producerID: pid, prevProducerID: pid, nextProducerID: noProducerID,
		epoch: 0, timeoutMs: timeoutOf(req), state: Empty, startMs: -1, updatedMs: now.UnixMilli(),
	}, nil
}

// timeoutOf is the transaction's time-out; one in two phases has none.
func timeoutOf(req *kmsg.InitProducerIdRequest) int32 {
	if req.Enable2Pc {
		return math.MaxInt32
	}
	return req.TransactionTimeoutMs
}
