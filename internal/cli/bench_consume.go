package cli

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

func benchConsumeCmd(a *App) *cobra.Command {
	fl := &benchFlags{}
	c := &cobra.Command{
		Use:   "consume",
		Short: "Measure reading",
		Long: `Measure how fast records are read from the start of a topic. Without --topic one is made and filled
first (--num records, 500,000 by default), which is not part of the measurement.`,
		Example: examples(
			"", "logstead bench consume",
			"what is there already", "logstead bench consume --topic orders"),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if fl.topic == "" && fl.num == 0 {
				fl.num = 500_000
			}
			b, err := a.newBench(cmd, fl)
			if err != nil {
				return err
			}
			defer b.close()
			return b.consume(cmd.Context())
		},
	}
	fl.add(c.Flags())
	return c
}

func (b *bench) consume(ctx context.Context) error {
	if b.owned {
		if err := b.fill(ctx); err != nil {
			return err
		}
	}
	total, err := b.available()
	if err != nil {
		return err
	}
	if b.fl.num > 0 {
		total = min(total, b.fl.num)
	}
	if total == 0 {
		return &Fault{What: "there is nothing to read in topic " + b.topic, Exit: exitNotFound}
	}
	limit, cancel := context.WithTimeout(ctx, b.fl.duration)
	defer cancel()
	begin := time.Now()
	var wg sync.WaitGroup
	for range b.fl.clients {
		cn, err := b.app.dialWith(ctx, true, kgo.ConsumeTopics(b.topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.FetchMaxBytes(64<<20), kgo.FetchMaxPartitionBytes(8<<20))
		if err != nil {
			return err
		}
		defer cn.close()
		wg.Go(func() { b.consumeWith(limit, cn, total) })
	}
	wg.Wait()
	took := time.Since(begin)
	b.meter.done()
	return b.finish(b.result("consume", took, nil))
}

// fill writes the records to be read.
func (b *bench) fill(ctx context.Context) error {
	b.app.say("filling topic %s with %s records", b.topic, humanCount(b.fl.num))
	opts, err := b.fl.producerOptions(b.topic)
	if err != nil {
		return err
	}
	cn, err := b.app.dialWith(ctx, true, opts...)
	if err != nil {
		return err
	}
	defer cn.close()
	value := payload(b.size, 7)
	var first error
	var once sync.Once
	for i := int64(0); i < b.fl.num && cn.base.Err() == nil; i++ {
		cn.cl.Produce(cn.base, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				once.Do(func() { first = err })
			}
		})
	}
	if err := cn.cl.Flush(cn.base); err != nil {
		return cn.fault("cannot fill the topic", err)
	}
	if first != nil {
		return cn.fault("cannot fill the topic", first)
	}
	return nil
}

func (b *bench) available() (int64, error) {
	e, err := b.cn.listEnds([]string{b.topic}, nil, false)
	if err != nil {
		return 0, err
	}
	n, _ := e.records(b.topic)
	return n, nil
}

// consumeWith reads everything with one client; each client reads the whole topic.
func (b *bench) consumeWith(ctx context.Context, cn *conn, total int64) {
	var mine int64
	for mine < total && ctx.Err() == nil && cn.base.Err() == nil {
		fetches := cn.cl.PollFetches(ctx)
		fetches.EachError(func(_ string, _ int32, err error) {
			if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
				b.failed(err)
			}
		})
		var records, bytes int64
		fetches.EachRecord(func(r *kgo.Record) {
			records++
			bytes += int64(recordBytes(r))
		})
		mine += records
		b.done(records, bytes)
	}
}
