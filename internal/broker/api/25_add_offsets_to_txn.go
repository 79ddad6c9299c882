package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/txn"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// AddOffsetsToTxn (key 25), versions 0 to 4.
//
// Adds the partition of __consumer_offsets that holds the group to the transaction. Clients of
// transaction version 2 do not send it: TxnOffsetCommit adds the partition itself.
//
//	v2  PRODUCER_FENCED, before that INVALID_PRODUCER_EPOCH
var _ = register(kmsg.KeyAddOffsetsToTxn, (*Broker).addOffsetsToTxn)

func (b *Broker) addOffsetsToTxn(c *Call, req *kmsg.AddOffsetsToTxnRequest) {
	reply := func(err error, _ []base.TopicPartition) {
		if c.Version < 2 && err == error(kerr.ProducerFenced) {
			err = kerr.InvalidProducerEpoch
		}
		resp := kmsg.NewAddOffsetsToTxnResponse()
		resp.ErrorCode = c.code(err)
		c.Reply(&resp)
	}
	switch {
	case !c.mayTxn(auth.Write, req.TransactionalId):
		reply(kerr.TransactionalIDAuthorizationFailed, nil)
		return
	case !c.mayGroup(auth.Read, req.GroupId):
		reply(kerr.GroupAuthorizationFailed, nil)
		return
	}
	shard := b.Groups.PartitionFor(req.GroupId)
	if shard < 0 {
		reply(kerr.CoordinatorNotAvailable, nil)
		return
	}
	add := txn.Add{
		TransactionalID: req.TransactionalId, ProducerID: req.ProducerId, ProducerEpoch: req.ProducerEpoch,
		Partitions: []base.TopicPartition{{Topic: offsetsTopic, Partition: shard}},
	}
	b.Txn.Shards.Submit(b.Txn.Shards.PartitionFor(req.TransactionalId),
		func(m *txn.Machine, now time.Time) coord.Result { return m.AddPartitions(now, add, reply) },
		func(err error) { reply(err, nil) })
}
