package txn

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// ProducerIDs hands out producer ids from blocks that the controller has reserved for this broker in
// the metadata log. What is left of a block is given up when the broker stops, so no id is ever
// handed out twice.
type ProducerIDs struct {
	fetch  func(ctx context.Context) (first int64, count int32, err error)
	logger *slog.Logger
	wake   chan struct{} // capacity 1

	mu struct {
		sync.Mutex
		current idBlock
		spare   idBlock // fetched before the current block runs out
		wanted  bool    // a fetch is under way or asked for
		waiting []func(error)
	}
}

// idBlock is the ids from next up to end.
type idBlock struct{ next, end, size int64 }

func (b idBlock) left() int64 { return b.end - b.next }

// prefetchShare: the next block is fetched when less than a tenth of this one is left.
const prefetchShare = 10

// maxReadyWaiters bounds those who wait for the first block.
const maxReadyWaiters = 16384

const (
	minFetchBackoff = 50 * time.Millisecond
	maxFetchBackoff = 2 * time.Second
)

// NewProducerIDs makes an allocator over fetch, which reserves a block and does not return before
// that is durable. Nothing is fetched before an id is asked for.
func NewProducerIDs(
	fetch func(ctx context.Context) (first int64, count int32, err error), logger *slog.Logger,
) *ProducerIDs {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &ProducerIDs{fetch: fetch, logger: logger, wake: make(chan struct{}, 1)}
}

// Next hands out an id without waiting. COORDINATOR_LOAD_IN_PROGRESS means that a block is being
// fetched.
func (p *ProducerIDs) Next() (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.current.left() == 0 {
		p.mu.current, p.mu.spare = p.mu.spare, idBlock{}
	}
	b := &p.mu.current
	if b.left() == 0 {
		p.wantLocked()
		return noProducerID, kerr.CoordinatorLoadInProgress
	}
	id := b.next
	b.next++
	if b.left() < b.size/prefetchShare && p.mu.spare.left() == 0 {
		p.wantLocked()
	}
	return id, nil
}

// Ready calls fn once there is an id to hand out, at once if there is, or with an error when none
// could be fetched. fn must not block.
func (p *ProducerIDs) Ready(fn func(error)) {
	p.mu.Lock()
	if p.mu.current.left()+p.mu.spare.left() > 0 {
		p.mu.Unlock()
		fn(nil)
		return
	}
	if len(p.mu.waiting) >= maxReadyWaiters {
		p.mu.Unlock()
		fn(kerr.CoordinatorLoadInProgress)
		return
	}
	p.mu.waiting = append(p.mu.waiting, fn)
	p.wantLocked()
	p.mu.Unlock()
}

func (p *ProducerIDs) wantLocked() {
	if p.mu.wanted {
		return
	}
	p.mu.wanted = true
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run fetches blocks until ctx ends.
func (p *ProducerIDs) Run(ctx context.Context) error {
	defer p.answer(kerr.CoordinatorNotAvailable)
	backoff := minFetchBackoff
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		}
		for ctx.Err() == nil {
			first, count, err := p.fetch(ctx)
			if err == nil && count > 0 {
				p.put(first, int64(count))
				backoff = minFetchBackoff
				break
			}
			p.logger.Warn("no block of producer ids", "retry_in", backoff, "err", err)
			p.answer(kerr.CoordinatorLoadInProgress)
			if !pause(ctx, backoff) {
				return nil
			}
			backoff = min(2*backoff, maxFetchBackoff)
		}
	}
}

func (p *ProducerIDs) put(first, count int64) {
	p.mu.Lock()
	b := idBlock{first, first + count, count}
	if p.mu.current.left() == 0 {
		p.mu.current = b
	} else {
		p.mu.spare = b
	}
	p.mu.wanted = false
	p.mu.Unlock()
	p.answer(nil)
}

// answer calls everyone who waits for an id.
func (p *ProducerIDs) answer(err error) {
	p.mu.Lock()
	waiting := p.mu.waiting
	p.mu.waiting = nil
	p.mu.Unlock()
	for _, fn := range waiting {
		fn(err)
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
