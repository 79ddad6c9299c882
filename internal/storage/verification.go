package storage

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Guard stands for a verification in progress (KIP-890): whoever asks the transaction coordinator
// whether a partition is in a producer's transaction gets one before asking and presents it with
// the batch. A marker written in between makes it worthless, so a late answer cannot let a batch
// into the next transaction. NoGuard means that none is needed or none was taken.
type Guard uint64

// NoGuard verifies nothing.
const NoGuard Guard = 0

// verification is one producer's guard.
type verification struct {
	guard     Guard
	since     int64 // ms
	lowestSeq int32
	epoch     int16
	bumps     bool // transactions v2: the epoch rises with every transaction
}

// StartVerification returns the guard to present with the first batch of a transaction, or NoGuard
// when the producer's transaction is already open here and needs none. bumps says that the producer
// uses transactions v2.
func (l *Log) StartVerification(pid int64, seq int32, epoch int16, bumps bool, now time.Time) (Guard, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return NoGuard, err
	}
	if err := l.loadProducersLocked(); err != nil {
		return NoGuard, err
	}
	if p := l.prod.get(pid); p != nil {
		if epoch < p.epoch {
			return NoGuard, refuse(kerr.InvalidProducerEpoch, "producer %d has epoch %d, the last seen is %d", pid, epoch, p.epoch)
		}
		if p.txnFirst >= 0 && p.epoch == epoch {
			return NoGuard, nil
		}
	}
	return l.prod.startVerification(pid, seq, epoch, bumps, now, Guard(l.store.guards.Add(1))), nil
}

func (s *producers) startVerification(pid int64, seq int32, epoch int16, bumps bool, now time.Time, g Guard) Guard {
	v := s.checks[pid]
	if v == nil {
		v = &verification{guard: g, since: now.UnixMilli(), lowestSeq: seq, epoch: epoch, bumps: bumps}
		if s.checks == nil {
			s.checks = make(map[int64]*verification)
		}
		s.checks[pid] = v
		return v.guard
	}
	if epoch > v.epoch {
		v.epoch, v.lowestSeq = epoch, seq
	} else if epoch == v.epoch && seq < v.lowestSeq {
		v.lowestSeq = seq
	}
	return v.guard
}

func (s *producers) verified(pid int64, g Guard) bool {
	v := s.checks[pid]
	return v != nil && g != NoGuard && v.guard == g
}

// settle drops the guard once a batch or marker of the producer is in the log. One case keeps it: a
// v2 marker with the guard's own epoch means that the next transaction has already begun to verify.
func (s *producers) settle(h *header) {
	v := s.checks[h.pid]
	if v != nil && !(v.bumps && h.control() && h.pepoch == v.epoch) {
		delete(s.checks, h.pid)
	}
}

// checkSequence: of several batches in flight the lowest must come first, and a v2 producer of
// which nothing is known must begin at 0.
func (v *verification) checkSequence(p *producer, h *header) error {
	if v.bumps && h.baseSeq != 0 && (p == nil || p.n == 0) {
		return refuse(kerr.OutOfOrderSequenceNumber, "producer %d: sequence %d begins a transactions v2 session, want 0",
			h.pid, h.baseSeq)
	}
	if h.baseSeq > v.lowestSeq {
		return refuse(kerr.OutOfOrderSequenceNumber, "producer %d: sequence %d, but %d has not arrived",
			h.pid, h.baseSeq, v.lowestSeq)
	}
	return nil
}
