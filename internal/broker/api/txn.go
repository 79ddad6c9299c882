package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/broker/txn"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/storage"
)

// offsetsTopic holds the group coordinator's shards.
const offsetsTopic = "__consumer_offsets"

// Transactions is what handlers need of the transaction coordinator.
type Transactions struct {
	Shards      *coord.Shards[*txn.Machine]
	ProducerIDs *txn.ProducerIDs
	Config      func() txn.Config
	// AddWait is how long an implicit add waits for the transaction before to end
	// (add.partitions.to.txn.retry.backoff.max.ms).
	AddWait time.Duration
	// VerifyTimeout bounds how long a produce request waits for the coordinator (request.timeout.ms).
	VerifyTimeout time.Duration
}

// Remote reaches other brokers.
type Remote interface {
	// WriteMarker has a broker write a marker to a partition that it leads.
	WriteMarker(broker int32, tp base.TopicPartition, m coord.Marker, done func(error))
	// AddPartitions asks the broker that coordinates a transaction.
	AddPartitions(broker int32, add txn.Add, reply txn.AddReply)
}

// txnSupport is what a client's request version lets the broker do about a batch of a transaction
// that the log does not know yet (KIP-890).
type txnSupport int8

const (
	txnVerify      txnSupport = iota // verify; the client does not know TRANSACTION_ABORTABLE
	txnVerifyAbort                   // verify
	txnAdd                           // transaction version 2: add the partition on the client's behalf
)

func produceTxnSupport(version int16) txnSupport {
	switch {
	case version >= 12:
		return txnAdd
	case version >= 11:
		return txnVerifyAbort
	}
	return txnVerify
}

func commitTxnSupport(version int16) txnSupport {
	switch {
	case version >= 5:
		return txnAdd
	case version >= 4:
		return txnVerifyAbort
	}
	return txnVerify
}

// txnWrite is a transactional batch on its way to a partition.
type txnWrite struct {
	part       *partition.Partition
	producerID int64
	epoch      int16
	sequence   int32 // base.NoSequence for offsets

	guard storage.Guard // goes with the append
	err   error         // the batch must not be appended
	asks  bool          // the coordinator has to be asked
}

func newTxnWrite(p *partition.Partition, b batch.Batch) *txnWrite {
	return &txnWrite{part: p, producerID: b.ProducerID(), epoch: b.ProducerEpoch(), sequence: b.BaseSequence()}
}

// startVerification takes a guard for each write whose transaction the log does not have open, and
// says what to ask the coordinator about them; ask is false when there is nothing to ask.
func (b *Broker) startVerification(
	now time.Time, id string, writes []*txnWrite, support txnSupport,
) (add txn.Add, ask bool) {
	add = txn.Add{TransactionalID: id, VerifyOnly: support != txnAdd}
	if support == txnAdd {
		add.ClientVersion, add.Wait = 2, b.Txn.AddWait
	}
	for _, w := range writes {
		// A transaction must not begin, or grow, for what is then refused because another broker leads.
		if w.err = w.part.CheckLeader(base.NoEpoch); w.err != nil {
			continue
		}
		if support != txnAdd && !w.part.Log().Config().VerifyTransactions {
			continue
		}
		w.guard, w.err = w.part.Log().StartVerification(w.producerID, w.sequence, w.epoch, support == txnAdd, now)
		if w.asks = w.err == nil && w.guard != storage.NoGuard; w.asks {
			add.ProducerID, add.ProducerEpoch = w.producerID, w.epoch
			add.Partitions = append(add.Partitions, w.part.TP)
		}
	}
	return add, len(add.Partitions) > 0
}

// askCoordinator has partitions added to a transaction or verified.
func (b *Broker) askCoordinator(add txn.Add, reply txn.AddReply) {
	shard := b.Txn.Shards.PartitionFor(add.TransactionalID)
	if leader, ok := b.elsewhere(base.TopicPartition{Topic: transactionsTopic, Partition: shard}); ok {
		b.Remote.AddPartitions(leader, add, reply)
		return
	}
	b.Txn.Shards.Submit(shard,
		func(m *txn.Machine, now time.Time) coord.Result { return m.AddPartitions(now, add, reply) },
		func(err error) { reply(err, nil) })
}

// verifyCommit settles whether offsets may be written for a transaction. done is called once, perhaps
// on another goroutine, when the write's guard and err are filled in.
func (b *Broker) verifyCommit(c *Call, id string, w *txnWrite, done func()) {
	support := commitTxnSupport(c.Version)
	writes := []*txnWrite{w}
	add, ask := b.startVerification(c.Start, id, writes, support)
	if !ask {
		done()
		return
	}
	b.askCoordinator(add, func(err error, missing []base.TopicPartition) {
		fillVerdicts(writes, support, err, missing)
		done()
	})
}

// fillVerdicts gives each write that asked its share of the coordinator's answer.
func fillVerdicts(writes []*txnWrite, support txnSupport, err error, missing []base.TopicPartition) {
	absent := make(map[base.TopicPartition]bool, len(missing))
	for _, tp := range missing {
		absent[tp] = true
	}
	for _, w := range writes {
		switch {
		case !w.asks:
		case err != nil:
			w.err = err
		case absent[w.part.TP] && support == txnVerify:
			w.err = kerr.InvalidTxnState
		case absent[w.part.TP]:
			w.err = kerr.TransactionAbortable
		}
		if w.asks && w.err == error(kerr.ProducerFenced) {
			w.err = kerr.InvalidProducerEpoch
		}
	}
}

// verdict is the coordinator's answer about a request's writes.
type verdict struct {
	err     error
	missing []base.TopicPartition
}

// verifyProduce settles the transactional batches of one Produce request before they are appended.
// It waits for the coordinator: a connection's requests are in order, and a producer has nothing
// else to do until its partition is in the transaction.
func (b *Broker) verifyProduce(c *Call, id string, writes []*txnWrite) {
	support := produceTxnSupport(c.Version)
	for _, w := range writes {
		if w.producerID != writes[0].producerID || w.epoch != writes[0].epoch {
			failWrites(writes, kerr.InvalidProducerIDMapping) // one request is of one producer
			return
		}
	}
	if add, ask := b.startVerification(c.Start, id, writes, support); ask {
		answer := make(chan verdict, 1)
		b.askCoordinator(add, func(err error, missing []base.TopicPartition) { answer <- verdict{err, missing} })
		v := b.awaitVerdict(answer)
		fillVerdicts(writes, support, v.err, v.missing)
	}
	for _, w := range writes {
		w.err = produceTxnError(w.err, support)
	}
}

func failWrites(writes []*txnWrite, err error) {
	for _, w := range writes {
		w.err = err
	}
}

func (b *Broker) awaitVerdict(answer <-chan verdict) verdict {
	limit := time.NewTimer(b.Txn.VerifyTimeout)
	defer limit.Stop()
	select {
	case v := <-answer:
		return v
	case <-limit.C:
		return verdict{err: kerr.NetworkException}
	}
}

// produceTxnError is a coordinator's error in terms that producers know. What passes by itself
// becomes NOT_ENOUGH_REPLICAS, which makes every client retry without asking for metadata.
func produceTxnError(err error, support txnSupport) error {
	switch err {
	case kerr.InvalidTxnState:
		return &batch.Error{Kerr: kerr.InvalidTxnState, Msg: "Partition was not added to the transaction"}
	case kerr.NetworkException, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator:
	case kerr.ConcurrentTransactions:
		if support == txnAdd {
			return err
		}
	default:
		return err
	}
	return &batch.Error{
		Kerr: kerr.NotEnoughReplicas,
		Msg: "Unable to verify the partition has been added to the transaction. Underlying error: " +
			kafkaError(err).Message,
	}
}

// WriteMarker writes a control marker to one partition and calls done once it is committed there. A
// partition of __consumer_offsets gets it through its group shard, whose pending offsets it settles.
func (b *Broker) WriteMarker(tp base.TopicPartition, m coord.Marker, done func(error)) {
	if tp.Topic == offsetsTopic {
		b.writeGroupMarker(tp.Partition, m, done)
		return
	}
	p, err := b.Parts.Get(tp)
	if err != nil {
		done(err)
		return
	}
	now := b.Clock.Now()
	o := storage.AppendOptions{TxnVersion: int16(m.TransactionVersion)}
	res, err := p.AppendInternal(coord.BuildMarker(now, m), now, o)
	if err != nil {
		done(err)
		return
	}
	p.AwaitHW(res.LeaderEpoch, res.LastOffset+1, done)
}

// writeGroupMarker answers NOT_LEADER_OR_FOLLOWER while the shard is not ready, which the
// transaction coordinator takes as a reason to try again.
func (b *Broker) writeGroupMarker(shard int32, m coord.Marker, done func(error)) {
	finish := func(err error) {
		switch err {
		case kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.NotCoordinator:
			err = kerr.NotLeaderForPartition
		}
		done(err)
	}
	b.Groups.Submit(shard, func(*group.Machine, time.Time) coord.Result {
		return coord.Result{Marker: &m, Done: []func(error){finish}}
	}, finish)
}

// SendMarker is WriteMarker for the marker sender: a partition that was deleted needs no marker.
func (b *Broker) SendMarker(tp base.TopicPartition, m coord.Marker, done func(error)) {
	if !b.partitionExists(tp) {
		done(nil)
		return
	}
	if leader, ok := b.elsewhere(tp); ok {
		b.Remote.WriteMarker(leader, tp, m, done)
		return
	}
	b.WriteMarker(tp, m, done)
}

// elsewhere is the broker that leads a partition, if that is another one.
func (b *Broker) elsewhere(tp base.TopicPartition) (leader int32, ok bool) {
	if b.Remote == nil {
		return 0, false
	}
	t := b.Image().Topic(tp.Topic)
	if t == nil || tp.Partition < 0 || int(tp.Partition) >= len(t.Partitions) {
		return 0, false
	}
	leader = t.Partitions[tp.Partition].Leader
	return leader, leader != b.NodeID && leader >= 0
}

func (b *Broker) partitionExists(tp base.TopicPartition) bool {
	t := b.Image().Topic(tp.Topic)
	return t != nil && tp.Partition >= 0 && int(tp.Partition) < len(t.Partitions)
}

// CompleteMarkers has a transaction completed whose markers are all written. failed is called when the
// shard cannot be told now.
func (b *Broker) CompleteMarkers(m txn.Markers, failed func(error)) {
	b.Txn.Shards.Submit(m.Shard, func(machine *txn.Machine, now time.Time) coord.Result {
		return machine.MarkersWritten(now, m)
	}, failed)
}
