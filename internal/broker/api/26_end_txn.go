package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/txn"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// EndTxn (key 26), versions 0 to 5.
//
// Answered when the decision is committed; the markers follow.
//
//	v2  PRODUCER_FENCED, before that INVALID_PRODUCER_EPOCH
//	v5  transaction version 2: the epoch is bumped, the answer names the producer that goes on (KIP-890)
var _ = register(kmsg.KeyEndTxn, (*Broker).endTxn)

func (b *Broker) endTxn(c *Call, req *kmsg.EndTxnRequest) {
	if !c.mayTxn(auth.Write, req.TransactionalId) {
		c.Reply(txn.EndError(c.Version, kerr.TransactionalIDAuthorizationFailed))
		return
	}
	b.Txn.Shards.Submit(b.Txn.Shards.PartitionFor(req.TransactionalId),
		func(m *txn.Machine, now time.Time) coord.Result {
			return m.EndTxn(now, c.Version, req, func(r *kmsg.EndTxnResponse) { c.Reply(r) })
		},
		func(err error) { c.Reply(txn.EndError(c.Version, err)) })
}
