package txn

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
)

// SenderOptions of NewMarkerSender.
type SenderOptions struct {
	Logger *slog.Logger
	// Write appends the marker to the partition and calls done once it is committed there, from any
	// goroutine. A partition that exists no longer counts as done.
	Write func(tp base.TopicPartition, m coord.Marker, done func(error))
	// Complete has Machine.MarkersWritten called on the shard that sent m, or failed when the shard
	// cannot be told now.
	Complete func(m Markers, failed func(error))
	// Backoff is the pause before the partitions that failed are tried again.
	Backoff time.Duration
}

const defaultMarkerBackoff = 100 * time.Millisecond

// MarkerSender has the markers of decided transactions written, each until its partition has it. What
// it holds is lost with the process: a machine sends again after it was loaded.
type MarkerSender struct {
	o    SenderOptions
	wake chan struct{} // capacity 1

	mu struct {
		sync.Mutex
		jobs  map[*markerJob]struct{} // everything on its way, for Drop
		ready []*markerJob            // to be written now
		retry []*markerJob            // to be written again after the pause
	}
}

// markerJob is the markers of one transaction on their way.
type markerJob struct {
	m         Markers
	remaining []base.TopicPartition // not yet known to be written
	inFlight  int
	dropped   bool
}

var _ Outbox = (*MarkerSender)(nil)

// NewMarkerSender makes a sender. Nothing is written before Run.
func NewMarkerSender(o SenderOptions) *MarkerSender {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Backoff <= 0 {
		o.Backoff = defaultMarkerBackoff
	}
	s := &MarkerSender{o: o, wake: make(chan struct{}, 1)}
	s.mu.jobs = map[*markerJob]struct{}{}
	return s
}

// Send takes the markers of one transaction.
func (s *MarkerSender) Send(m Markers) {
	j := &markerJob{m: m, remaining: slices.Clone(m.Partitions)}
	s.mu.Lock()
	s.mu.jobs[j] = struct{}{}
	s.mu.ready = append(s.mu.ready, j)
	s.mu.Unlock()
	s.signal()
}

// Drop forgets the markers that a shard has sent. Those being written now may still arrive, which
// does no harm: the decision stands.
func (s *MarkerSender) Drop(shard int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for j := range s.mu.jobs {
		if j.m.Shard == shard {
			j.dropped = true
			delete(s.mu.jobs, j)
		}
	}
}

// Pending is how many transactions wait for markers.
func (s *MarkerSender) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.jobs)
}

func (s *MarkerSender) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run writes markers until ctx ends.
func (s *MarkerSender) Run(ctx context.Context) error {
	pause := time.NewTimer(time.Hour)
	defer pause.Stop()
	pause.Stop()
	pausing := false
	for {
		ready, failed := s.take()
		for _, j := range ready {
			s.write(j)
		}
		if failed && !pausing {
			pausing = true
			pause.Reset(s.o.Backoff)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-pause.C:
			pausing = false
			s.again()
		}
	}
}

// Work does once, for who drives the sender by hand, what Run does: it writes what was sent, and what failed before.
func (s *MarkerSender) Work() {
	s.again()
	ready, _ := s.take()
	for _, j := range ready {
		s.write(j)
	}
}

// take returns what is to be written, and whether something waits to be tried again.
func (s *MarkerSender) take() (ready []*markerJob, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ready, s.mu.ready = s.mu.ready, nil
	return ready, len(s.mu.retry) > 0
}

// again moves what has failed back to be written.
func (s *MarkerSender) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.ready = append(s.mu.ready, s.mu.retry...)
	s.mu.retry = nil
}

// write writes the markers that are missing.
func (s *MarkerSender) write(j *markerJob) {
	s.mu.Lock()
	if j.dropped {
		s.mu.Unlock()
		return
	}
	todo := slices.Clone(j.remaining)
	j.inFlight = len(todo) + 1 // one for this function, so that a prompt answer does not end the round
	s.mu.Unlock()
	for _, tp := range todo {
		s.o.Write(tp, j.m.Marker(), func(err error) { s.written(j, tp, err) })
	}
	s.finish(j)
}

// written notes what became of one marker.
func (s *MarkerSender) written(j *markerJob, tp base.TopicPartition, err error) {
	switch {
	case err == nil:
		s.done(j, tp)
	case errors.Is(err, kerr.InvalidProducerEpoch):
		// The partition has seen a later epoch of this producer. Nothing of an earlier one is open in it.
		s.o.Logger.Warn("marker not needed: the partition knows a later producer epoch", "partition", tp.String(),
			"transactional_id", j.m.TransactionalID, "producer_id", j.m.ProducerID, "producer_epoch", j.m.ProducerEpoch)
		s.done(j, tp)
	case errors.Is(err, kerr.TransactionCoordinatorFenced):
		s.o.Logger.Warn("markers given up: another coordinator is in charge", "partition", tp.String(),
			"transactional_id", j.m.TransactionalID, "coordinator_epoch", j.m.CoordinatorEpoch)
		s.giveUp(j)
	default:
		s.o.Logger.Debug("marker not written yet", "partition", tp.String(),
			"transactional_id", j.m.TransactionalID, "err", err)
	}
	s.finish(j)
}

func (s *MarkerSender) done(j *markerJob, tp base.TopicPartition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(j.remaining, tp); i >= 0 {
		j.remaining = slices.Delete(j.remaining, i, i+1)
	}
}

func (s *MarkerSender) giveUp(j *markerJob) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.dropped = true
	delete(s.mu.jobs, j)
}

// finish ends a round once every partition has answered: the transaction is complete, or what is
// left is tried again later.
func (s *MarkerSender) finish(j *markerJob) {
	s.mu.Lock()
	j.inFlight--
	over := j.inFlight == 0 && !j.dropped
	complete := over && len(j.remaining) == 0
	switch {
	case complete:
		delete(s.mu.jobs, j)
	case over:
		s.mu.retry = append(s.mu.retry, j)
	}
	s.mu.Unlock()
	if complete {
		s.o.Complete(j.m, func(err error) { s.notTold(j, err) })
	} else if over {
		s.signal()
	}
}

// notTold tries a completion again that its shard was too busy to take. A shard that is gone or loads
// sends its markers again by itself.
func (s *MarkerSender) notTold(j *markerJob, err error) {
	if !errors.Is(err, kerr.CoordinatorNotAvailable) {
		return
	}
	s.mu.Lock()
	if !j.dropped {
		s.mu.jobs[j] = struct{}{}
		s.mu.retry = append(s.mu.retry, j)
	}
	s.mu.Unlock()
	s.signal()
}
