package txn

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/logstead/logstead/internal/broker/coord"
)

// maxRecordsPerTick bounds what one Tick writes, so that it fits a batch.
const maxRecordsPerTick = 1000

// Tick aborts what has timed out, forgets what has expired, and runs the adds that waited.
func (m *Machine) Tick(now time.Time) (coord.Result, time.Time) {
	var res coord.Result
	touched := map[string]bool(nil)
	if len(m.waiters.all)+len(m.waiters.ready) > 0 {
		touched = map[string]bool{}
	}
	next := m.tickWaiters(now, &res, touched)
	if due(m.nextAbort, now) {
		m.nextAbort = m.abortTimedOut(now, &res, touched)
	}
	if due(m.nextExpire, now) {
		m.nextExpire = m.expireIDs(now, &res, touched)
	}
	return res, earliest(next, m.nextAbort, m.nextExpire)
}

func due(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

func earliest(times ...time.Time) time.Time {
	var first time.Time
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// onGrid is the first point of the grid at or after t. Deadlines are looked at on a grid, as Kafka
// does, which bounds the wake-ups of a shard by its interval.
func onGrid(t time.Time, interval time.Duration) time.Time {
	ms := max(interval.Milliseconds(), 1)
	at := t.UnixMilli()
	if r := at % ms; r != 0 {
		at += ms - r
	}
	return time.UnixMilli(at)
}

// timeoutAt is the first moment at which the open transaction has timed out. One in two phases never
// does: its owner alone decides.
func (t *txn) timeoutAt() (time.Time, bool) {
	if t.timeoutMs == math.MaxInt32 {
		return time.Time{}, false
	}
	return time.UnixMilli(t.startMs + int64(t.timeoutMs) + 1), true
}

func (m *Machine) watchTimeout(t *txn) {
	if at, ok := t.timeoutAt(); ok {
		m.nextAbort = earliest(m.nextAbort, onGrid(at, m.o.Config().AbortInterval))
	}
}

func (m *Machine) watchExpiration(t *txn) {
	if m.nextExpire.IsZero() {
		c := m.o.Config()
		m.nextExpire = onGrid(time.UnixMilli(t.updatedMs).Add(c.IDExpiration), c.ExpireInterval)
	}
}

// abortTimedOut aborts every transaction that was open for too long, under a higher epoch, and says
// when to look again.
func (m *Machine) abortTimedOut(now time.Time, res *coord.Result, touched map[string]bool) (next time.Time) {
	grid := m.o.Config().AbortInterval
	for _, t := range slices.SortedFunc(maps.Keys(m.ongoing), byID) {
		at, ok := t.timeoutAt()
		switch {
		case !ok:
			continue
		case now.Before(at):
			next = earliest(next, onGrid(at, grid))
			continue
		case touched[t.id] || len(res.Records) >= maxRecordsPerTick:
			next = now
			continue
		}
		fenced, err := m.fence(now, t)
		if err != nil { // no producer id to be had now
			next = earliest(next, onGrid(now.Add(time.Millisecond), grid))
			continue
		}
		m.o.Logger.Info("transaction timed out", "transactional_id", t.id, "producer_id", t.producerID,
			"producer_epoch", t.epoch, "timeout_ms", t.timeoutMs)
		d := &decision{t: t}
		r := m.decided(now, d, fenced, func(error) {})
		res.Records = append(res.Records, r.Records...)
		res.Done = append(res.Done, r.Done...)
	}
	return next
}

// expireIDs forgets the ids that were not used for long, and says when to look again.
func (m *Machine) expireIDs(now time.Time, res *coord.Result, touched map[string]bool) (next time.Time) {
	c := m.o.Config()
	for _, t := range m.sortedTxns() { // the same machine says the same: the simulator depends on it
		if !t.state.idle() {
			continue // it is watched again when it is complete, at the latest one interval from now
		}
		at := time.UnixMilli(t.updatedMs).Add(c.IDExpiration)
		switch {
		case now.Before(at):
			next = earliest(next, onGrid(at, c.ExpireInterval))
		case touched[t.id] || len(res.Records) >= maxRecordsPerTick:
			next = now
		default:
			res.Records = append(res.Records, coord.Record{Key: encodeKey(t.id)})
		}
	}
	return next
}
