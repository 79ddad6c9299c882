package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/bench/raw"
)

// clientCases measure with a real client, franz-go: there the client costs most of the time.
func clientCases(short bool) []benchCase {
	records, txns := 300_000, 300
	if short {
		records, txns = 100_000, 100
	}
	return []benchCase{
		{name: "franz-go/idempotent produce", warm: true, fills: int64(records) * recordBytes, run: func(ctx context.Context, r *rival) ([]figure, error) {
			return withTopic(ctx, r, partitions, func(topic string) ([]figure, error) {
				res, used, allocs, err := counted(ctx, r, func() (raw.Result, error) { return clientProduce(ctx, r.addr, topic, records) })
				if err != nil {
					return nil, err
				}
				return volumeFigures(res, used, allocs), nil
			})
		}},
		{name: "franz-go/consume", warm: true, run: func(ctx context.Context, r *rival) ([]figure, error) {
			return withTopic(ctx, r, partitions, func(topic string) ([]figure, error) {
				if _, err := clientProduce(ctx, r.addr, topic, records); err != nil {
					return nil, err
				}
				res, used, allocs, err := counted(ctx, r, func() (raw.Result, error) { return clientConsume(ctx, r.addr, topic, records) })
				if err != nil {
					return nil, err
				}
				return volumeFigures(res, used, allocs), nil
			})
		}},
		{name: "franz-go/transactions of 1 record", warm: true, run: func(ctx context.Context, r *rival) ([]figure, error) {
			return withTopic(ctx, r, partitions, func(topic string) ([]figure, error) {
				res, used, allocs, err := counted(ctx, r, func() (raw.Result, error) { return clientTxns(ctx, r.addr, topic, txns) })
				if err != nil {
					return nil, err
				}
				out := requestFigures(res, used, allocs)
				for i := range out {
					switch out[i].unit {
					case "us/request":
						out[i].unit = "us/txn"
					case "requests/s":
						out[i].unit = "txn/s"
					case "/request":
						out[i].unit = "/txn"
					}
				}
				return out, nil
			})
		}},
	}
}

func clientProduce(ctx context.Context, addr, topic string, records int) (res raw.Result, err error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedRecords(20_000))
	if err != nil {
		return res, err
	}
	defer c.Close()
	value := make([]byte, recordBytes)
	start := time.Now()
	failed := make(chan error, 1)
	for range records {
		c.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if err := c.Flush(ctx); err != nil {
		return res, err
	}
	select {
	case err := <-failed:
		return res, err
	default:
	}
	n := int64(records)
	return raw.Result{Requests: n, Records: n, Bytes: n * recordBytes, Elapsed: time.Since(start)}, nil
}

func clientConsume(ctx context.Context, addr, topic string, records int) (res raw.Result, err error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return res, err
	}
	defer c.Close()
	start := time.Now()
	seen := 0
	for seen < records {
		f := c.PollFetches(ctx)
		if err := f.Err0(); err != nil {
			return res, err
		}
		seen += f.NumRecords()
	}
	n := int64(seen)
	return raw.Result{Requests: n, Records: n, Bytes: n * recordBytes, Elapsed: time.Since(start)}, nil
}

// clientTxns commits one transaction after the other, of one record each.
func clientTxns(ctx context.Context, addr, topic string, txns int) (res raw.Result, err error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.TransactionalID(fmt.Sprint("bench-", topic)),
		kgo.ProducerLinger(0))
	if err != nil {
		return res, err
	}
	defer c.Close()
	start := time.Now()
	for range txns {
		if err := c.BeginTransaction(); err != nil {
			return res, err
		}
		perr := c.ProduceSync(ctx, &kgo.Record{Value: make([]byte, 100)}).FirstErr()
		if err := errors.Join(perr, c.EndTransaction(ctx, kgo.TryCommit)); err != nil {
			return res, err
		}
	}
	n := int64(txns)
	return raw.Result{Requests: n, Records: n, Bytes: n * 100, Elapsed: time.Since(start)}, nil
}
