package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/txn"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// InitProducerId (key 22), versions 0 to 5.
//
// Without a transactional id it hands out a fresh producer id. With one it makes the caller the only
// producer of that id; a transaction left open by the one before is aborted first, and the caller
// told CONCURRENT_TRANSACTIONS.
//
//	v3  a producer may name the id and epoch that it had, to go on after an error (KIP-360)
//	v4  PRODUCER_FENCED, before that INVALID_PRODUCER_EPOCH
var _ = register(kmsg.KeyInitProducerId, (*Broker).initProducerID)

func (b *Broker) initProducerID(c *Call, req *kmsg.InitProducerIdRequest) {
	switch id := req.TransactionalId; {
	case id != nil && !c.mayTxn(auth.Write, *id):
		c.Reply(txn.InitError(c.Version, kerr.TransactionalIDAuthorizationFailed))
		return
	case id == nil && !c.seesCluster(auth.IdempotentWrite) && !c.mayAnywhere(auth.Write, auth.Topic):
		c.mayCluster(auth.IdempotentWrite) // for the log
		c.Reply(txn.InitError(c.Version, kerr.ClusterAuthorizationFailed))
		return
	}
	if err := txn.CheckInit(req, b.Txn.Config()); err != nil {
		c.Reply(txn.InitError(c.Version, err))
		return
	}
	b.Txn.ProducerIDs.Ready(func(err error) {
		if req.TransactionalId == nil {
			b.freshProducerID(c, err)
			return
		}
		// A known id needs no new producer id most of the time, so it does not fail for want of one.
		b.Txn.Shards.Submit(b.Txn.Shards.PartitionFor(*req.TransactionalId),
			func(m *txn.Machine, now time.Time) coord.Result {
				return m.InitProducerID(now, c.Version, req, func(r *kmsg.InitProducerIdResponse) { c.Reply(r) })
			},
			func(err error) { c.Reply(txn.InitError(c.Version, err)) })
	})
}

// freshProducerID answers an idempotent producer.
func (b *Broker) freshProducerID(c *Call, err error) {
	resp := kmsg.NewInitProducerIdResponse()
	if err == nil {
		resp.ProducerId, err = b.Txn.ProducerIDs.Next()
	}
	if err != nil {
		c.Reply(txn.InitError(c.Version, err))
		return
	}
	c.Reply(&resp)
}
