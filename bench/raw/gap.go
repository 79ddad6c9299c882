package raw

import (
	"context"
	"errors"
	"time"
)

// GapLoad produces one record after the other with acks=all to the only partition of a topic, wherever
// it is led, and sends each again until it is acknowledged.
type GapLoad struct {
	Addrs []string // brokers to ask who leads
	Topic string
	Batch Batch
	// Calm is how long acks must come before something is broken, and afterwards for it to be over: what
	// follows a fail-over counts in.
	Calm time.Duration
}

// gapRetry is the pause after a failure.
const gapRetry = 5 * time.Millisecond

// Run has something break once acks come, and returns the longest time without one from then on.
func (l GapLoad) Run(ctx context.Context, breakIt func() error) (longest time.Duration, err error) {
	p := gapProducer{GapLoad: l}
	defer p.drop()
	for begin := time.Now(); time.Since(begin) < l.Calm; {
		if err := p.produce(ctx); err != nil {
			return 0, err
		}
	}
	broken, over := error(nil), make(chan struct{})
	last := time.Now()
	go func() {
		defer close(over)
		broken = breakIt()
	}()
	for calm, done := time.Now(), false; !done || time.Since(calm) < l.Calm; {
		if err := p.produce(ctx); err != nil {
			<-over
			return 0, errors.Join(err, broken)
		}
		now := time.Now()
		if gap := now.Sub(last); gap > longest {
			longest, calm = gap, now
		}
		last = now
		if !done {
			select {
			case <-over: // acks have to come for Calm from here on: the break may have been slow to begin
				done, calm = true, now
			default:
			}
		}
	}
	return longest, broken
}

// gapProducer is connected to who leads, if it knows.
type gapProducer struct {
	GapLoad
	conn *Conn
	next int // of Addrs
}

func (p *gapProducer) drop() {
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
}

// produce ends once a record is acknowledged.
func (p *gapProducer) produce(ctx context.Context) error {
	for {
		err := p.try(ctx)
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		p.drop()
		p.next++
		select {
		case <-ctx.Done():
		case <-time.After(gapRetry):
		}
	}
}

func (p *gapProducer) try(ctx context.Context) error {
	if p.conn == nil {
		leaders, err := Leaders(ctx, p.Addrs[p.next%len(p.Addrs)], p.Topic)
		if err != nil {
			return err
		}
		if p.conn, err = Dial(ctx, leaders[0]); err != nil {
			return err
		}
	}
	if err := p.conn.Send(ProduceFrame(p.Topic, 0, -1, p.Batch.Bytes)); err != nil {
		return err
	}
	return receiveProduced(p.conn, produceErrorAt(p.Topic))
}
