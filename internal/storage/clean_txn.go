package storage

import (
	"slices"

	"github.com/logstead/logstead/internal/proto/batch"
)

// cleanTxns follows the transactions of a log while its batches are read in order, to tell which
// records were aborted and which markers no record needs any more. It is a pure machine.
//
// A marker may go once no batch of its transaction is left before it: until then a reader still
// needs it to know how the transaction ended.
type cleanTxns struct {
	waiting   []txnEntry            // aborted ones that have not begun, by first offset
	aborted   map[int64]*abortedRun // open, by producer
	committed map[int64]bool        // producers with a batch of an open transaction that will commit
	kept      func(txnEntry)        // is told of the aborted transactions that the index still needs
}

// abortedRun is an aborted transaction that has begun.
type abortedRun struct {
	entry txnEntry
	seen  bool // a batch of it was read
}

func newCleanTxns(kept func(txnEntry)) *cleanTxns {
	return &cleanTxns{aborted: map[int64]*abortedRun{}, committed: map[int64]bool{}, kept: kept}
}

// add tells of aborted transactions, in any order; one that is known already is ignored.
func (c *cleanTxns) add(list []txnEntry) {
	for _, e := range list {
		if r := c.aborted[e.ProducerID]; r != nil && r.entry == e || slices.Contains(c.waiting, e) {
			continue
		}
		c.waiting = append(c.waiting, e)
	}
	slices.SortFunc(c.waiting, func(a, b txnEntry) int {
		switch {
		case a.FirstOffset < b.FirstOffset:
			return -1
		case a.FirstOffset > b.FirstOffset:
			return 1
		}
		return 0
	})
}

// begin takes up the aborted transactions that have begun at or before offset.
func (c *cleanTxns) begin(offset int64) {
	n := 0
	for n < len(c.waiting) && c.waiting[n].FirstOffset <= offset {
		if e := c.waiting[n]; c.aborted[e.ProducerID] == nil {
			c.aborted[e.ProducerID] = &abortedRun{entry: e}
		}
		n++
	}
	c.waiting = c.waiting[n:]
}

// data reports whether the records of a data batch were aborted.
func (c *cleanTxns) data(b batch.Batch) bool {
	c.begin(b.LastOffset())
	if !b.IsTransactional() {
		return false
	}
	if r := c.aborted[b.ProducerID()]; r != nil {
		r.seen = true
		return true
	}
	c.committed[b.ProducerID()] = true
	return false
}

// marker reports whether no batch needs the control batch any more.
func (c *cleanTxns) marker(b batch.Batch) bool {
	c.begin(b.LastOffset())
	if b.Count() == 0 {
		return true // emptied before
	}
	kind, _, ok := b.Control()
	pid := b.ProducerID()
	switch {
	case !ok:
		return false
	case kind == batch.Abort:
		r := c.aborted[pid]
		delete(c.aborted, pid)
		if r == nil || !r.seen {
			return true
		}
		if c.kept != nil {
			c.kept(r.entry)
		}
		return false
	case kind == batch.Commit:
		open := c.committed[pid]
		delete(c.committed, pid)
		return !open
	}
	return false
}
