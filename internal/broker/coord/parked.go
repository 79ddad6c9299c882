package coord

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// parkedDone is a set of callbacks that wait for the high watermark.
type parkedDone struct {
	until int64
	at    time.Time
	done  []func(error)
}

// parkedQueue holds callbacks in the order of their offsets.
type parkedQueue struct {
	items []parkedDone
	head  int
}

func (q *parkedQueue) push(until int64, at time.Time, done []func(error)) {
	if len(done) == 0 {
		return
	}
	if q.head > 0 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, parkedDone{until, at, done})
}

func (q *parkedQueue) pop() parkedDone {
	p := q.items[q.head]
	q.items[q.head] = parkedDone{}
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return p
}

func (q *parkedQueue) len() int { return len(q.items) - q.head }

func (q *parkedQueue) empty() bool { return q.len() == 0 }

// release calls everything that waited for an offset up to committed.
func (q *parkedQueue) release(committed int64) {
	for !q.empty() && q.items[q.head].until <= committed {
		callAll(q.pop().done, nil)
	}
}

// expire fails everything that was parked before the deadline.
func (q *parkedQueue) expire(before time.Time) {
	for !q.empty() && !q.items[q.head].at.After(before) {
		callAll(q.pop().done, kerr.CoordinatorNotAvailable)
	}
}

// oldest is when the longest parked callback was parked.
func (q *parkedQueue) oldest() (time.Time, bool) {
	if q.empty() {
		return time.Time{}, false
	}
	return q.items[q.head].at, true
}

func (q *parkedQueue) fail(err error) {
	for !q.empty() {
		callAll(q.pop().done, err)
	}
}

func callAll(done []func(error), err error) {
	for _, fn := range done {
		fn(err)
	}
}
