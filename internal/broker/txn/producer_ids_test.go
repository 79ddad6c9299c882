package txn

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// blocks hands out blocks of ids as a controller does.
type blocks struct {
	mu      sync.Mutex
	next    int64
	size    int32
	fetched int
	err     error
}

func (b *blocks) fetch(context.Context) (int64, int32, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, 0, b.err
	}
	b.fetched++
	first := b.next
	b.next += int64(b.size)
	return first, b.size, nil
}

func (b *blocks) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fetched
}

func withProducerIDs(t *testing.T, b *blocks, fn func(*ProducerIDs)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := NewProducerIDs(b.fetch, nil)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = p.Run(ctx) }()
		fn(p)
		cancel()
		<-ended
	})
}

func TestProducerIDsAreUniqueAndFetchedAhead(t *testing.T) {
	b := &blocks{next: 5000, size: 100}
	withProducerIDs(t, b, func(p *ProducerIDs) {
		synctest.Wait()
		if b.count() != 0 {
			t.Error("a block was fetched that nobody asked for")
		}
		if _, err := p.Next(); !errors.Is(err, kerr.CoordinatorLoadInProgress) {
			t.Errorf("the first id came out of nothing: %v", err)
		}
		seen := map[int64]bool{}
		for range 1000 {
			synctest.Wait() // a block is always there in time
			id, err := p.Next()
			if err != nil || seen[id] || id < 5000 {
				t.Fatalf("id %d (seen %t): %v", id, seen[id], err)
			}
			seen[id] = true
		}
		if n := b.count(); n < 10 || n > 11 {
			t.Errorf("%d blocks for 1000 ids", n)
		}
	})
}

func TestReadyWaitsForABlock(t *testing.T) {
	b := &blocks{size: 10}
	withProducerIDs(t, b, func(p *ProducerIDs) {
		var ids []int64
		for range 3 {
			p.Ready(func(err error) {
				id, nextErr := p.Next()
				if err != nil || nextErr != nil {
					t.Error(err, nextErr)
				}
				ids = append(ids, id)
			})
		}
		synctest.Wait()
		if len(ids) != 3 || ids[0] != 0 || ids[2] != 2 {
			t.Errorf("ids %v", ids)
		}
	})
}

func TestFailedFetchIsTriedAgain(t *testing.T) {
	b := &blocks{size: 10, err: errors.New("no controller")}
	withProducerIDs(t, b, func(p *ProducerIDs) {
		var told error
		p.Ready(func(err error) { told = err })
		synctest.Wait()
		if !errors.Is(told, kerr.CoordinatorLoadInProgress) {
			t.Errorf("told %v", told)
		}
		b.mu.Lock()
		b.err = nil
		b.mu.Unlock()
		time.Sleep(minFetchBackoff)
		synctest.Wait()
		if id, err := p.Next(); id != 0 || err != nil {
			t.Errorf("id %d: %v", id, err)
		}
	})
}

func TestStopAnswersWhoWaits(t *testing.T) {
	b := &blocks{err: errors.New("no controller")}
	var told error
	withProducerIDs(t, b, func(p *ProducerIDs) {
		p.Ready(func(error) {})
		synctest.Wait()
		p.Ready(func(err error) { told = err })
	})
	if told == nil {
		t.Error("nobody told the waiter")
	}
}
