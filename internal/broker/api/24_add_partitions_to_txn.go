package api

import (
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/txn"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// AddPartitionsToTxn (key 24), versions 0 to 5.
//
// All partitions of a transaction are added or none: one that does not exist makes the others
// OPERATION_NOT_ATTEMPTED.
//
//	v2  PRODUCER_FENCED, before that INVALID_PRODUCER_EPOCH
//	v4  from broker to coordinator: a batch of transactions, each to be added or only verified
var _ = register(kmsg.KeyAddPartitionsToTxn, (*Broker).addPartitionsToTxn)

// addVersionBatched is the first version that holds a batch of transactions.
const addVersionBatched = 4

type (
	addTxn     = kmsg.AddPartitionsToTxnRequestAddPartitionsToTxnTransaction
	addTopic   = kmsg.AddPartitionsToTxnResponseAddPartitionsToTxnTopicResult
	addResult  = kmsg.AddPartitionsToTxnResponseAddPartitionsToTxnResult
	addOutcome = kmsg.AddPartitionsToTxnResponseAddPartitionsToTxnPartitionResult
)

func (b *Broker) addPartitionsToTxn(c *Call, req *kmsg.AddPartitionsToTxnRequest) {
	txns := req.Transactions
	if c.Version < addVersionBatched {
		txns = []addTxn{{
			TransactionalId: req.V3AndBelowTransactionalId,
			ProducerId:      req.V3AndBelowProducerId,
			ProducerEpoch:   req.V3AndBelowProducerEpoch,
			Topics:          req.V3AndBelowTopics,
		}}
	}
	resp := kmsg.NewAddPartitionsToTxnResponse()
	if c.Version >= addVersionBatched && !c.mayCluster(auth.ClusterAction) { // no client sends it
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		c.Reply(&resp)
		return
	}
	results := make([]addResult, len(txns))
	var pending atomic.Int32
	pending.Store(int32(len(txns)) + 1)
	finish := func() {
		if pending.Add(-1) > 0 {
			return
		}
		if c.Version < addVersionBatched {
			resp.ResultsByTopicV3AndBelow = results[0].TopicResults
		} else {
			resp.ResultsByTransaction = results
		}
		c.Reply(&resp)
	}
	for i := range txns {
		b.addToOneTxn(c, &txns[i], &results[i], finish)
	}
	finish()
}

// addToOneTxn fills in the result of one transaction and then calls finish.
func (b *Broker) addToOneTxn(c *Call, t *addTxn, result *addResult, finish func()) {
	add := txn.Add{
		TransactionalID: t.TransactionalId, ProducerID: t.ProducerId, ProducerEpoch: t.ProducerEpoch,
		VerifyOnly: t.VerifyOnly,
	}
	if c.Version >= addVersionBatched {
		add.ClientVersion = 2
	}
	client := c.Version < addVersionBatched
	if client && !c.mayTxn(auth.Write, t.TransactionalId) {
		*result = addResults(t, func(base.TopicPartition) error { return kerr.TransactionalIDAuthorizationFailed }, c)
		finish()
		return
	}
	wrong := map[base.TopicPartition]error{}
	for _, topic := range t.Topics {
		refused := client && (meta.IsInternal(topic.Name) || !c.mayTopic(auth.Write, topic.Name))
		for _, n := range topic.Partitions {
			tp := base.TopicPartition{Topic: topic.Name, Partition: n}
			add.Partitions = append(add.Partitions, tp)
			if refused {
				wrong[tp] = kerr.TopicAuthorizationFailed
			} else if !b.partitionExists(tp) {
				wrong[tp] = kerr.UnknownTopicOrPartition
			}
		}
	}
	if len(wrong) > 0 {
		*result = addResults(t, func(tp base.TopicPartition) error {
			if err := wrong[tp]; err != nil {
				return err
			}
			return kerr.OperationNotAttempted
		}, c)
		finish()
		return
	}
	reply := func(err error, missing []base.TopicPartition) {
		if c.Version < 2 && err == error(kerr.ProducerFenced) {
			err = kerr.InvalidProducerEpoch
		}
		absent := map[base.TopicPartition]bool{}
		for _, tp := range missing {
			absent[tp] = true
		}
		*result = addResults(t, func(tp base.TopicPartition) error {
			if absent[tp] {
				return kerr.TransactionAbortable
			}
			return err
		}, c)
		finish()
	}
	b.Txn.Shards.Submit(b.Txn.Shards.PartitionFor(t.TransactionalId),
		func(m *txn.Machine, now time.Time) coord.Result { return m.AddPartitions(now, add, reply) },
		func(err error) { reply(err, nil) })
}

func addResults(t *addTxn, outcome func(base.TopicPartition) error, c *Call) addResult {
	r := addResult{TransactionalId: t.TransactionalId, TopicResults: []addTopic{}}
	for _, topic := range t.Topics {
		tr := addTopic{Name: topic.Name, ResultsByPartition: []addOutcome{}}
		for _, n := range topic.Partitions {
			err := outcome(base.TopicPartition{Topic: topic.Name, Partition: n})
			tr.ResultsByPartition = append(tr.ResultsByPartition, addOutcome{PartitionIndex: n, PartitionErrorCode: c.code(err)})
		}
		r.TopicResults = append(r.TopicResults, tr)
	}
	return r
}
