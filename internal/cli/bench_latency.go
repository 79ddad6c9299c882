package cli

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

func benchLatencyCmd(a *App) *cobra.Command {
	fl := &benchFlags{}
	c := &cobra.Command{
		Use:     "latency",
		Aliases: []string{"e2e"},
		Short:   "Measure the time from writing a record to reading it",
		Long: `Write at a fixed rate and read the same records back, and measure from when a record was due to be
written until it was read (end to end).`,
		Example: examples(
			"", "logstead bench latency --throughput 1000 --duration 30s",
			"one record after another", "logstead bench latency --throughput 10 -s 100"),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if fl.rate == 0 {
				fl.rate = 1000
			}
			b, err := a.newBench(cmd, fl)
			if err != nil {
				return err
			}
			defer b.close()
			b.size = max(b.size, stampBytes)
			return b.latency(cmd.Context())
		},
	}
	fl.add(c.Flags())
	fl.addProducer(c.Flags())
	return c
}

// stampBytes is what each value begins with: a number that marks the run, and the nanoseconds since
// its begin at which the record was due.
const stampBytes = 16

func (b *bench) latency(ctx context.Context) error {
	opts, err := b.fl.producerOptions(b.topic)
	if err != nil {
		return err
	}
	producer, err := b.app.dialWith(ctx, true, opts...)
	if err != nil {
		return err
	}
	defer producer.close()
	reader, err := b.tailReader(ctx)
	if err != nil {
		return err
	}
	defer reader.close()
	run := &latencyRun{b: b, begin: time.Now(), lat: newLatencies(), mark: uint64(time.Now().UnixNano())}
	readCtx, stopReading := context.WithCancel(ctx)
	defer stopReading()
	var wg sync.WaitGroup
	wg.Go(func() { run.read(readCtx, reader) })
	sent := run.write(ctx, producer)
	run.settle(ctx, sent)
	took := time.Since(run.begin)
	stopReading()
	wg.Wait()
	b.meter.done()
	return b.finish(b.result("latency", took, run.lat))
}

// tailReader reads the topic from its end as it is now, fixed before the first record is written.
func (b *bench) tailReader(ctx context.Context) (*conn, error) {
	e, err := b.cn.listEnds([]string{b.topic}, nil, false)
	if err != nil {
		return nil, err
	}
	at := map[int32]kgo.Offset{}
	for p := range e.end[b.topic] {
		le, err := e.of(b.topic, p)
		if err != nil {
			return nil, err
		}
		at[p] = kgo.NewOffset().At(le.end)
	}
	return b.app.dialWith(ctx, true, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{b.topic: at}),
		kgo.FetchMaxWait(time.Second))
}

type latencyRun struct {
	b     *bench
	begin time.Time
	mark  uint64
	lat   *latencies
}

func (r *latencyRun) write(ctx context.Context, cn *conn) (sent int64) {
	limit, cancel := context.WithDeadline(ctx, r.begin.Add(r.b.fl.duration))
	defer cancel()
	pace := newPace(r.b.fl.rate, r.begin)
	base := payload(r.b.size, 3)
	for i := int64(0); r.b.fl.num == 0 || i < r.b.fl.num; i++ {
		due, ok := pace.wait(limit, i)
		if !ok || cn.base.Err() != nil {
			break
		}
		value := append([]byte(nil), base...)
		binary.BigEndian.PutUint64(value, r.mark)
		binary.BigEndian.PutUint64(value[8:], uint64(due.Sub(r.begin)))
		sent++
		cn.cl.Produce(cn.base, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				r.b.failed(err)
			}
		})
	}
	flush, cancelFlush := context.WithTimeout(cn.base, cn.timeout)
	defer cancelFlush()
	if err := cn.cl.Flush(flush); err != nil {
		r.b.failed(cn.fault("cannot write all records", err))
	}
	return sent
}

func (r *latencyRun) read(ctx context.Context, cn *conn) {
	for ctx.Err() == nil && cn.base.Err() == nil {
		fetches := cn.cl.PollFetches(ctx)
		now := time.Now()
		fetches.EachError(func(_ string, _ int32, err error) {
			if !errors.Is(err, context.Canceled) {
				r.b.failed(err)
			}
		})
		fetches.EachRecord(func(rec *kgo.Record) {
			if len(rec.Value) < stampBytes || binary.BigEndian.Uint64(rec.Value) != r.mark {
				return // someone else's record
			}
			due := time.Duration(binary.BigEndian.Uint64(rec.Value[8:]))
			if due >= r.b.warmup() {
				r.lat.add(now.Sub(r.begin) - due)
			}
			r.b.done(1, int64(len(rec.Value)))
		})
	}
}

// settle waits until everything sent was read, a few seconds at most.
func (r *latencyRun) settle(ctx context.Context, sent int64) {
	deadline := time.Now().Add(5 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) && ctx.Err() == nil {
		r.b.mu.Lock()
		have := r.b.records + r.b.errors
		r.b.mu.Unlock()
		if have >= sent {
			return
		}
		<-tick.C
	}
}
