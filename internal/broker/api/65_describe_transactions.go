package api

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/txn"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// DescribeTransactions (key 65), version 0. Each transactional id has its own error.
var _ = register(kmsg.KeyDescribeTransactions, (*Broker).describeTransactions)

func (b *Broker) describeTransactions(c *Call, req *kmsg.DescribeTransactionsRequest) {
	resp := kmsg.NewDescribeTransactionsResponse()
	resp.TransactionStates = make([]txn.Description, len(req.TransactionalIds))
	var pending atomic.Int32
	pending.Store(int32(len(req.TransactionalIds)) + 1)
	finish := func() {
		if pending.Add(-1) == 0 {
			c.Reply(&resp)
		}
	}
	for i, id := range req.TransactionalIds {
		reply := func(d txn.Description) {
			d.Topics = slices.DeleteFunc(d.Topics, func(t kmsg.DescribeTransactionsResponseTopicData) bool {
				return !c.mayTopic(auth.Describe, t.Topic)
			})
			resp.TransactionStates[i] = d
			finish()
		}
		if !c.mayTxn(auth.Describe, id) {
			reply(txn.DescribeError(id, kerr.TransactionalIDAuthorizationFailed))
			continue
		}
		if id == "" { // wherever it would live
			reply(txn.DescribeError(id, kerr.InvalidRequest))
			continue
		}
		b.Txn.Shards.Submit(b.Txn.Shards.PartitionFor(id),
			func(m *txn.Machine, _ time.Time) coord.Result { return m.Describe(id, reply) },
			func(err error) { reply(txn.DescribeError(id, err)) })
	}
	finish()
}
