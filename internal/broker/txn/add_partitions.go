package txn

import (
	"cmp"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
)

// Add asks to add partitions to a transaction, or whether they are in it.
type Add struct {
	TransactionalID string
	ProducerID      int64
	ProducerEpoch   int16
	Partitions      []base.TopicPartition
	VerifyOnly      bool
	// ClientVersion is the transaction version that the client's request implies: 2 or 0.
	ClientVersion int16
	// Wait is how long an add may wait for the transaction before to end, instead of being told to
	// come back (add.partitions.to.txn.retry.backoff.max.ms).
	Wait time.Duration
}

// AddReply tells how an Add went. err concerns every partition; missing are those that VerifyOnly
// did not find in the transaction.
type AddReply func(err error, missing []base.TopicPartition)

// AddPartitions adds partitions to the transaction of a producer, and begins one if none is open.
func (m *Machine) AddPartitions(now time.Time, a Add, reply AddReply) coord.Result {
	t := m.txns[a.TransactionalID]
	// The ending comes before the owner: the caller may be the producer id that takes over with it.
	if t != nil && t.state.prepared() && !a.VerifyOnly {
		if a.Wait == 0 {
			return answerAdd(kerr.ConcurrentTransactions, reply)
		}
		m.waiters.add(t, now, a, reply)
		return coord.Result{}
	}
	err := t.ownedBy(a.TransactionalID, a.ProducerID, a.ProducerEpoch)
	switch {
	case err != nil:
		return answerAdd(err, reply)
	case t.state.prepared():
		return answerAdd(kerr.ConcurrentTransactions, reply)
	case a.VerifyOnly:
		return t.verify(a.Partitions, reply)
	case t.state == Ongoing && t.hasAll(a.Partitions):
		return answerAdd(nil, reply)
	}
	next := t.withPartitions(now, a)
	return coord.Result{
		Records: []coord.Record{m.record(t.id, &next)},
		Done:    []func(error){func(err error) { reply(logError(err), nil) }},
	}
}

// withPartitions is the open transaction with more partitions.
func (t *txn) withPartitions(now time.Time, a Add) meta {
	next := t.transit(Ongoing, now.UnixMilli())
	if t.state != Ongoing {
		next.startMs = next.updatedMs
	}
	next.partitions = t.union(a.Partitions)
	next.clientVersion = a.ClientVersion
	return next
}

// verify answers which partitions are not in the transaction.
func (t *txn) verify(partitions []base.TopicPartition, reply AddReply) coord.Result {
	var missing []base.TopicPartition
	for _, tp := range partitions {
		if !t.has(tp) {
			missing = append(missing, tp)
		}
	}
	return answer(func(lost error) {
		if lost != nil {
			reply(lost, nil)
			return
		}
		reply(nil, missing)
	})
}

func answerAdd(err error, reply AddReply) coord.Result {
	return answer(func(lost error) { reply(cmp.Or(lost, err), nil) })
}

// ownedBy checks that the caller is the producer of t, which is nil for an unknown id.
func (t *txn) ownedBy(id string, producerID int64, epoch int16) error {
	switch {
	case id == "":
		return kerr.InvalidRequest
	case t == nil || t.producerID != producerID:
		return kerr.InvalidProducerIDMapping
	case t.epoch != epoch:
		return kerr.ProducerFenced
	}
	return nil
}
