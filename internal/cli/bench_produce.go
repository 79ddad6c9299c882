package cli

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

func benchProduceCmd(a *App) *cobra.Command {
	fl := &benchFlags{}
	c := &cobra.Command{
		Use:   "produce",
		Short: "Measure writing: rate, and the time until a record is acknowledged",
		Example: examples(
			"", "logstead bench produce --duration 10s",
			"small records, many clients", "logstead bench produce -s 100 --clients 4 -p 12",
			"latency at a fixed rate", "logstead bench produce --throughput 5000 -o json"),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := a.newBench(cmd, fl)
			if err != nil {
				return err
			}
			defer b.close()
			return b.produce(cmd.Context())
		},
	}
	fl.add(c.Flags())
	fl.addProducer(c.Flags())
	return c
}

func (b *bench) produce(ctx context.Context) error {
	opts, err := b.fl.producerOptions(b.topic)
	if err != nil {
		return err
	}
	clients := make([]*conn, b.fl.clients)
	for i := range clients {
		if clients[i], err = b.app.dialWith(ctx, true, opts...); err != nil {
			return err
		}
		defer clients[i].close()
	}
	lat := newLatencies()
	begin := time.Now()
	limit, cancel := context.WithDeadline(ctx, begin.Add(b.fl.duration))
	defer cancel()
	var wg sync.WaitGroup
	for i, cn := range clients {
		wg.Go(func() { b.produceWith(limit, cn, i, begin, lat) })
	}
	wg.Wait()
	took := time.Since(begin)
	b.meter.done()
	return b.finish(b.result("produce", took, lat))
}

// produceWith sends with one client until its share or the time is used up. At a fixed rate a record
// is due at its place in the schedule, and its latency counts from there: time that the client spends
// blocked behind a slow broker is part of it.
func (b *bench) produceWith(ctx context.Context, cn *conn, id int, begin time.Time, lat *latencies) {
	value := payload(b.size, uint64(id))
	share := b.share(id)
	pace := newPace(b.fl.rate/float64(b.fl.clients), begin)
	for i := int64(0); share == 0 || i < share; i++ {
		due, ok := pace.wait(ctx, i)
		if !ok || cn.base.Err() != nil {
			break
		}
		r := &kgo.Record{Value: value}
		if b.fl.keys > 0 {
			r.Key = strconv.AppendInt(nil, (i*int64(b.fl.clients)+int64(id))%int64(b.fl.keys), 10)
		}
		cn.cl.Produce(cn.base, r, func(r *kgo.Record, err error) {
			if err != nil {
				b.failed(err)
				return
			}
			now := time.Now()
			if now.Sub(begin) >= b.warmup() {
				lat.add(now.Sub(due))
			}
			b.done(1, int64(len(r.Value)+len(r.Key)))
		})
	}
	flush, cancel := context.WithTimeout(cn.base, cn.timeout)
	defer cancel()
	if err := cn.cl.Flush(flush); err != nil {
		b.failed(cn.fault("cannot write all records", err))
	}
}

// share is how many records one client sends, 0 for no limit.
func (b *bench) share(id int) int64 {
	if b.fl.num == 0 {
		return 0
	}
	n := b.fl.num / int64(b.fl.clients)
	if int64(id) < b.fl.num%int64(b.fl.clients) {
		n++
	}
	return max(n, 1)
}

// warmup is left out of the percentiles, but never more than a quarter of the run.
func (b *bench) warmup() time.Duration {
	if b.fl.num > 0 {
		return 0
	}
	return min(b.fl.warmup, b.fl.duration/4)
}

// pace is a schedule: record i is due at begin + i/rate.
type pace struct {
	every time.Duration
	begin time.Time
}

func newPace(rate float64, begin time.Time) pace {
	if rate <= 0 {
		return pace{begin: begin}
	}
	return pace{every: time.Duration(float64(time.Second) / rate), begin: begin}
}

// wait returns when record i is due, and false when the run is over. Without a rate it is due at once.
func (p pace) wait(ctx context.Context, i int64) (time.Time, bool) {
	if p.every == 0 {
		return time.Now(), ctx.Err() == nil
	}
	due := p.begin.Add(time.Duration(i) * p.every)
	early := time.Until(due)
	if early <= 0 {
		return due, ctx.Err() == nil
	}
	t := time.NewTimer(early)
	defer t.Stop()
	select {
	case <-t.C:
		return due, true
	case <-ctx.Done():
		return due, false
	}
}
