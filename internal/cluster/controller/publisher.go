package controller

import (
	"context"
	"sync"

	"github.com/logstead/logstead/internal/cluster/meta"
)

// maxUnpublished bounds the images that subscribers have not been told of. Operations wait beyond that.
const maxUnpublished = 10_000

// publication is an image on its way to the subscribers, and whom to tell after that.
type publication struct {
	old, now *meta.Image
	delta    meta.Delta
	done     []func(error)

	subs []func(old, now *meta.Image, d meta.Delta) // those of the time when it was published
}

// publisher tells subscribers of images on a goroutine of its own: what they do then (opening a
// thousand logs) must not keep the controller from the quorum, which would take it for dead.
type publisher struct {
	mu struct {
		sync.Mutex
		subs []func(old, now *meta.Image, d meta.Delta)
		list []publication
	}
	wake chan struct{} // capacity 1
}

func newPublisher() *publisher { return &publisher{wake: make(chan struct{}, 1)} }

func (p *publisher) subscribe(fn func(old, now *meta.Image, d meta.Delta)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.subs = append(p.mu.subs[:len(p.mu.subs):len(p.mu.subs)], fn)
}

func (p *publisher) put(pub publication) {
	p.mu.Lock()
	pub.subs = p.mu.subs
	p.mu.list = append(p.mu.list, pub)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *publisher) full() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.mu.list) >= maxUnpublished
}

// run works until ctx ends, and what is there then to its end.
func (p *publisher) run(ctx context.Context) {
	for {
		p.drain()
		select {
		case <-p.wake:
		case <-ctx.Done():
			p.drain()
			return
		}
	}
}

func (p *publisher) drain() {
	for {
		p.mu.Lock()
		list := p.mu.list
		p.mu.list = nil
		p.mu.Unlock()
		if len(list) == 0 {
			return
		}
		for _, pub := range list {
			for _, fn := range pub.subs {
				fn(pub.old, pub.now, pub.delta)
			}
			tell(pub.done, nil)
		}
	}
}
