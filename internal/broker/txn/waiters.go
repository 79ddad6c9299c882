package txn

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
)

// waiter is an add that came while the transaction before was still ending. A producer of
// transaction version 2 begins the next transaction as soon as EndTxn is answered, which is before
// the markers are written; to be sent back then would cost it a round trip and a pause.
type waiter struct {
	t        *txn
	deadline time.Time
	add      Add
	reply    AddReply
}

// waiters are all adds that wait in a shard, and those whose wait is over.
type waiters struct {
	all   []*waiter // by arrival
	ready []*waiter
}

func (ws *waiters) add(t *txn, now time.Time, a Add, reply AddReply) {
	w := &waiter{t: t, deadline: now.Add(a.Wait), add: a, reply: reply}
	w.add.Wait = 0
	t.waiting = append(t.waiting, w)
	ws.all = append(ws.all, w)
}

// wake ends the wait of everything that waited for t.
func (ws *waiters) wake(t *txn) {
	for _, w := range t.waiting {
		ws.all = remove(ws.all, w)
		ws.ready = append(ws.ready, w)
	}
	t.waiting = nil
}

func remove(from []*waiter, w *waiter) []*waiter {
	if i := slices.Index(from, w); i >= 0 {
		return slices.Delete(from, i, i+1)
	}
	return from
}

// expire takes out those that have waited long enough.
func (ws *waiters) expire(now time.Time) (late []*waiter, next time.Time) {
	for _, w := range ws.all {
		if !now.Before(w.deadline) {
			late = append(late, w)
		} else if next.IsZero() || w.deadline.Before(next) {
			next = w.deadline
		}
	}
	for _, w := range late {
		ws.all = remove(ws.all, w)
		w.t.waiting = remove(w.t.waiting, w)
	}
	return late, next
}

func (ws *waiters) fail(err error) {
	for _, w := range slices.Concat(ws.ready, ws.all) {
		w.reply(err, nil)
	}
	ws.ready, ws.all = nil, nil
}

// tickWaiters runs the adds whose wait is over, one per transactional id: the next one must see the
// record of the one before.
func (m *Machine) tickWaiters(now time.Time, res *coord.Result, touched map[string]bool) (next time.Time) {
	late, next := m.waiters.expire(now)
	for _, w := range late {
		res.Done = append(res.Done, answerAdd(kerr.ConcurrentTransactions, w.reply).Done...)
	}
	ready := m.waiters.ready
	m.waiters.ready = nil
	for _, w := range ready {
		if touched[w.add.TransactionalID] {
			m.waiters.ready = append(m.waiters.ready, w)
			continue
		}
		touched[w.add.TransactionalID] = true
		r := m.AddPartitions(now, w.add, w.reply)
		res.Records = append(res.Records, r.Records...)
		res.Done = append(res.Done, r.Done...)
	}
	if len(m.waiters.ready) > 0 {
		return now
	}
	return next
}
