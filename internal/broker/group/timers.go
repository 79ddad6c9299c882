package group

import (
	"container/heap"
	"time"
)

// timerKind says what happens when a timer fires.
type timerKind uint8

const (
	timerSession timerKind = iota // a classic member, or an id given out, has been silent too long
	timerJoin                     // the join phase of a classic group ends
	timerSync                     // members of a classic group did not sync in time
	timerMember                   // a consumer group member has been silent too long
	timerRevoke                   // a consumer group member did not give up partitions in time
	timerRejoin                   // a classic member of a consumer group did not rejoin in time
	timerResync                   // a classic member of a consumer group did not sync in time
	timerRegex                    // regular expressions of a consumer group are to be resolved
	timerExpiry                   // offsets and empty groups are to be expired
)

// timerKey names a timer. There is one for each key: setting it again moves it.
type timerKey struct {
	kind          timerKind
	group, member string
}

// timer is a deadline and what was known when it was set.
type timer struct {
	key   timerKey
	at    time.Time
	seq   uint64 // order among equal deadlines
	index int

	epoch     int32         // member epoch or generation it was set for
	delay     time.Duration // initial rebalance: length of this step
	remaining time.Duration // initial rebalance: how much longer it may be drawn out
	ctx       Context       // regular expressions: on whose behalf
}

// timers are the deadlines of a shard.
type timers struct {
	byKey map[timerKey]*timer
	queue timerQueue
	seq   uint64
}

func newTimers() timers { return timers{byKey: map[timerKey]*timer{}} }

// set puts t in place of the timer with the same key.
func (ts *timers) set(t timer) {
	ts.cancel(t.key)
	ts.seq++
	t.seq = ts.seq
	ts.byKey[t.key] = &t
	heap.Push(&ts.queue, &t)
}

func (ts *timers) has(key timerKey) bool { return ts.byKey[key] != nil }

func (ts *timers) cancel(key timerKey) {
	if t := ts.byKey[key]; t != nil {
		delete(ts.byKey, key)
		heap.Remove(&ts.queue, t.index)
	}
}

// first returns the timer that fires next, nil if there is none.
func (ts *timers) first() *timer {
	if len(ts.queue) == 0 {
		return nil
	}
	return ts.queue[0]
}

// timerQueue is a heap by deadline.
type timerQueue []*timer

func (q timerQueue) Len() int { return len(q) }

func (q timerQueue) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].seq < q[j].seq
}

func (q timerQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *timerQueue) Push(x any) {
	t, _ := x.(*timer)
	t.index = len(*q)
	*q = append(*q, t)
}

func (q *timerQueue) Pop() any {
	old := *q
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return t
}
