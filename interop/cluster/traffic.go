package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// traffic is an idempotent producer, a transactional one, and a member each of a classic and of a KIP-848 group that
// read what they write. Their errors are what a program that uses the client would see, after its retries.
type traffic struct {
	admin *kgo.Client
	// seeds are the addresses of the nodes.
	seeds []string

	acked, committed, aborted atomic.Int64
	read                      [2]atomic.Int64

	stopWriters, stopReaders context.CancelFunc
	writers, readers         sync.WaitGroup

	mu struct {
		sync.Mutex
		errs []error
	}
}

const (
	ordersTopic = "orders"
	copiesTopic = "copies"
	// perTransaction is how many records a transaction has; every fifth is aborted.
	perTransaction = 5
)

func (c *cluster) startTraffic(ctx context.Context) (*traffic, error) {
	t := &traffic{}
	for id := 1; id <= c.Nodes(); id++ {
		t.seeds = append(t.seeds, c.Addr(id))
	}
	var err error
	if t.admin, err = t.client(); err != nil {
		return nil, err
	}
	for _, topic := range []string{ordersTopic, copiesTopic} {
		if _, err := kadm.NewClient(t.admin).CreateTopic(ctx, 3, 3, nil, topic); err != nil {
			return nil, err
		}
	}
	writers, stopWriters := context.WithCancel(ctx)
	readers, stopReaders := context.WithCancel(ctx)
	t.stopWriters, t.stopReaders = stopWriters, stopReaders
	t.writers.Go(func() { t.produce(writers) })
	t.writers.Go(func() { t.transact(writers) })
	t.readers.Go(func() { t.consume(readers, 0, "classic") })
	t.readers.Go(func() { t.consume(readers, 1, "kip-848", kgo.ServerSideBalancer()) })
	return t, nil
}

func (t *traffic) client(o ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(t.seeds...), kgo.MetadataMinAge(100 * time.Millisecond), kgo.UnknownTopicRetries(-1),
	}, o...)...)
}

// told notes an error that a client has let out.
func (t *traffic) told(who string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.errs = append(t.mu.errs, fmt.Errorf("%s: %w", who, err))
}

// produce writes one record after the other, each a number of its own, until ctx ends; the last is waited for.
func (t *traffic) produce(ctx context.Context) {
	cl, err := t.client(kgo.DefaultProduceTopic(ordersTopic))
	if err != nil {
		t.told("producer", err)
		return
	}
	defer cl.Close()
	for i := 0; ctx.Err() == nil; i++ {
		if err := cl.ProduceSync(context.WithoutCancel(ctx), kgo.StringRecord(fmt.Sprint(i))).FirstErr(); err != nil {
			t.told("producer", err)
			return
		}
		t.acked.Add(1)
	}
}

// transact writes transactions until ctx ends.
func (t *traffic) transact(ctx context.Context) {
	cl, err := t.client(kgo.DefaultProduceTopic(copiesTopic), kgo.TransactionalID("rolling"))
	if err != nil {
		t.told("transactions", err)
		return
	}
	defer cl.Close()
	always := context.WithoutCancel(ctx)
	for i := 0; ctx.Err() == nil; i++ {
		err := cl.BeginTransaction()
		for range perTransaction {
			if err == nil {
				err = cl.ProduceSync(always, kgo.StringRecord(fmt.Sprint(i))).FirstErr()
			}
		}
		commit := i%5 != 4
		if err == nil {
			err = cl.EndTransaction(always, kgo.TransactionEndTry(commit))
		}
		switch {
		case err != nil:
			t.told("transactions", err)
			return
		case commit:
			t.committed.Add(perTransaction)
		default:
			t.aborted.Add(perTransaction)
		}
	}
}

// consume reads both topics in a group until ctx ends.
func (t *traffic) consume(ctx context.Context, which int, group string, o ...kgo.Opt) {
	cl, err := t.client(append(o, kgo.ConsumerGroup(group), kgo.ConsumeTopics(ordersTopic, copiesTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		t.told(group+" group", err)
		return
	}
	defer cl.Close()
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		fetches.EachError(func(topic string, p int32, err error) {
			if ctx.Err() == nil && !errors.Is(err, context.Canceled) {
				t.told(fmt.Sprintf("%s group, %s-%d", group, topic, p), err)
			}
		})
		t.read[which].Add(int64(fetches.NumRecords()))
	}
}

// progress waits until each client has done more than it had.
func (t *traffic) progress(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	counts := []*atomic.Int64{&t.acked, &t.committed, &t.read[0], &t.read[1]}
	want := make([]int64, len(counts))
	for i, n := range counts {
		want[i] = n.Load() + 20
	}
	for i, n := range counts {
		for n.Load() < want[i] {
			if ctx.Err() != nil {
				return fmt.Errorf("client %d of producer, transactions, classic group, KIP-848 group stands still at %d: %w", i+1, n.Load(), t.errors())
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return t.errors()
}

func (t *traffic) errors() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(t.mu.errs...)
}

// finish ends the clients and reads everything again.
func (t *traffic) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	t.stopWriters()
	t.writers.Wait()
	total := t.acked.Load() + t.committed.Load()
	for which := range t.read {
		for t.read[which].Load() < total && ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
		}
	}
	t.stopReaders()
	t.readers.Wait()
	defer t.admin.Close()
	err := t.errors()
	for which, group := range []string{"classic", "KIP-848"} {
		if n := t.read[which].Load(); n < total {
			err = errors.Join(err, fmt.Errorf("the %s group has read %d records of %d", group, n, total))
		}
	}
	return errors.Join(err, t.count(ctx))
}

// count reads both topics from their start: what was acknowledged or committed is there once, what was aborted is not.
func (t *traffic) count(ctx context.Context) error {
	total := t.acked.Load() + t.committed.Load()
	cl, err := t.client(kgo.ConsumeTopics(ordersTopic, copiesTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return err
	}
	defer cl.Close()
	seen := map[string]int{}
	for n := int64(0); n < total; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("%d of %d records read: %w", n, total, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { seen[r.Topic+" "+string(r.Value)]++; n++ })
	}
	for key, n := range seen {
		if want := map[bool]int{true: 1, false: perTransaction}[key[:len(ordersTopic)] == ordersTopic]; n != want {
			return fmt.Errorf("%s is there %d times, want %d", key, n, want)
		}
	}
	fmt.Printf("         %d records acknowledged, %d committed, %d aborted\n", t.acked.Load(), t.committed.Load(), t.aborted.Load())
	return nil
}
