package api

import (
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/txn"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// ListTransactions (key 66), versions 0 to 2.
//
// Lists what the shards of this broker know; clients ask every broker. It answers an empty list when
// there is no transaction log yet.
//
//	v1  by duration
//	v2  by a pattern of the transactional id (KIP-1152)
var _ = register(kmsg.KeyListTransactions, (*Broker).listTransactions)

// transactionList collects the rows of all shards.
type transactionList struct {
	mu      sync.Mutex
	resp    kmsg.ListTransactionsResponse
	pending int
	call    *Call
}

func (b *Broker) listTransactions(c *Call, req *kmsg.ListTransactionsRequest) {
	l := &transactionList{resp: kmsg.NewListTransactionsResponse(), call: c}
	l.resp.TransactionStates = []txn.Listing{}
	filter, unknown, err := txn.ParseFilter(req)
	shards, loading := b.Txn.Shards.Loaded()
	if err == nil && loading {
		err = kerr.CoordinatorLoadInProgress
	}
	if err != nil {
		l.resp.ErrorCode = c.code(err)
		c.Reply(&l.resp)
		return
	}
	l.resp.UnknownStateFilters = append([]string{}, unknown...)
	l.pending = len(shards) + 1
	for _, shard := range shards {
		b.Txn.Shards.Submit(shard,
			func(m *txn.Machine, now time.Time) coord.Result { return m.List(now, &filter, l.add) },
			func(err error) { l.add(nil, err) })
	}
	l.add(nil, nil)
}

// add takes the rows of one shard. A shard that has moved away is another broker's to list.
func (l *transactionList) add(rows []txn.Listing, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		rows = slices.DeleteFunc(rows, func(t txn.Listing) bool {
			return !l.call.mayTxn(auth.Describe, t.TransactionalId)
		})
		l.resp.TransactionStates = append(l.resp.TransactionStates, rows...)
	} else if err != error(kerr.NotCoordinator) {
		l.resp.ErrorCode = l.call.code(err)
	}
	if l.pending--; l.pending == 0 {
		l.call.Reply(&l.resp)
	}
}
