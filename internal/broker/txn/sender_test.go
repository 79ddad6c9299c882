package txn

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/goleak"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// partitions answer markers with what the test has set for them.
type partitions struct {
	mu        sync.Mutex
	errs      map[int32]error
	held      map[int32]func(error)
	hold      bool
	writes    []string
	completed []string
	busy      error // what the shard answers to a completion
}

func (p *partitions) write(tp base.TopicPartition, m coord.Marker, done func(error)) {
	p.mu.Lock()
	p.writes = append(p.writes, fmt.Sprintf("%d:%d/%d", tp.Partition, m.ProducerID, m.ProducerEpoch))
	err := p.errs[tp.Partition]
	if p.hold {
		p.held[tp.Partition] = done
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	done(err)
}

func (p *partitions) complete(m Markers, failed func(error)) {
	p.mu.Lock()
	busy := p.busy
	if busy == nil {
		p.completed = append(p.completed, m.TransactionalID)
	}
	p.mu.Unlock()
	if busy != nil {
		failed(busy)
	}
}

func (p *partitions) take() (writes, completed string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	writes, completed = fmt.Sprint(p.writes), fmt.Sprint(p.completed)
	p.writes, p.completed = nil, nil
	return writes, completed
}

func (p *partitions) set(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
}

func markersFor(id string, parts ...int32) Markers {
	m := Markers{Shard: 1, TransactionalID: id, ProducerID: 9, ProducerEpoch: 2, Commit: true}
	for _, n := range parts {
		m.Partitions = append(m.Partitions, base.TopicPartition{Topic: "t", Partition: n})
	}
	return m
}

func withSender(t *testing.T, fn func(*MarkerSender, *partitions)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &partitions{errs: map[int32]error{}, held: map[int32]func(error){}}
		s := NewMarkerSender(SenderOptions{Write: p.write, Complete: p.complete, Backoff: time.Second})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = s.Run(ctx) }()
		fn(s, p)
		cancel()
		<-ended
	})
}

func TestMarkersReachEveryPartition(t *testing.T) {
	withSender(t, func(s *MarkerSender, p *partitions) {
		s.Send(markersFor("a", 1, 2, 3))
		synctest.Wait()
		writes, completed := p.take()
		if writes != "[1:9/2 2:9/2 3:9/2]" || completed != "[a]" || s.Pending() != 0 {
			t.Errorf("wrote %s, completed %s, %d pending", writes, completed, s.Pending())
		}
	})
}

func TestOnlyMissingMarkersAreWrittenAgain(t *testing.T) {
	withSender(t, func(s *MarkerSender, p *partitions) {
		p.errs[2] = kerr.NotLeaderForPartition
		p.errs[3] = errors.New("unknown trouble")
		s.Send(markersFor("a", 1, 2, 3))
		synctest.Wait()
		if _, completed := p.take(); completed != "[]" || s.Pending() != 1 {
			t.Errorf("completed %s with markers missing, %d pending", completed, s.Pending())
		}
		p.set(func() { delete(p.errs, 2) })
		time.Sleep(time.Second)
		synctest.Wait()
		if writes, _ := p.take(); writes != "[2:9/2 3:9/2]" {
			t.Errorf("second round: %s", writes)
		}
		p.set(func() { delete(p.errs, 3) })
		time.Sleep(time.Second)
		synctest.Wait()
		if writes, completed := p.take(); writes != "[3:9/2]" || completed != "[a]" {
			t.Errorf("third round: %s, completed %s", writes, completed)
		}
	})
}

// TestLaterEpochNeedsNoMarker: such a partition has nothing open of the epoch, so that the
// transaction must not hang on it.
func TestLaterEpochNeedsNoMarker(t *testing.T) {
	withSender(t, func(s *MarkerSender, p *partitions) {
		p.errs[1] = fmt.Errorf("stale: %w", kerr.InvalidProducerEpoch)
		s.Send(markersFor("a", 1))
		synctest.Wait()
		if _, completed := p.take(); completed != "[a]" {
			t.Errorf("completed %s", completed)
		}
	})
}

func TestFencedCoordinatorGivesUp(t *testing.T) {
	withSender(t, func(s *MarkerSender, p *partitions) {
		p.errs[1] = kerr.TransactionCoordinatorFenced
		s.Send(markersFor("a", 1, 2))
		synctest.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, completed := p.take(); completed != "[]" || s.Pending() != 0 {
			t.Errorf("completed %s, %d pending", completed, s.Pending())
		}
	})
}

func TestDroppedMarkersDoNotComplete(t *testing.T) {
	withSender(t, func(s *MarkerSender, p *partitions) {
		p.set(func() { p.hold = true })
		s.Send(markersFor("a", 1))
		synctest.Wait()
		s.Drop(2) // another shard
		if s.Pending() != 1 {
			t.Error("the markers of another shard were dropped")
		}
		s.Drop(1)
		p.held[1](nil)
		synctest.Wait()
		if _, completed := p.take(); completed != "[]" || s.Pending() != 0 {
			t.Errorf("completed %s, %d pending", completed, s.Pending())
		}
	})
}

func TestBusyShardIsToldLater(t *testing.T) {
	withSender(t, func(s *MarkerSender, p *partitions) {
		p.set(func() { p.busy = kerr.CoordinatorNotAvailable })
		s.Send(markersFor("a", 1))
		synctest.Wait()
		p.set(func() { p.busy = nil })
		time.Sleep(time.Second)
		synctest.Wait()
		if writes, completed := p.take(); writes != "[1:9/2]" || completed != "[a]" {
			t.Errorf("wrote %s, completed %s", writes, completed)
		}
		p.set(func() { p.busy = kerr.NotCoordinator })
		s.Send(markersFor("b", 1))
		synctest.Wait()
		if s.Pending() != 0 {
			t.Error("markers of a shard that is gone are kept")
		}
	})
}
