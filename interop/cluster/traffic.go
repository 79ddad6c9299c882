package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
	// java is the same by Java clients, nil where they do not run.
	java *javaTraffic

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

// newTraffic has an admin client and nothing that runs.
func (c *cluster) newTraffic() (t *traffic, err error) {
	t = &traffic{}
	for id := 1; id <= c.Nodes(); id++ {
		t.seeds = append(t.seeds, c.Addr(id))
	}
	t.admin, err = t.client()
	return t, err
}

func (c *cluster) startTraffic(ctx context.Context) (*traffic, error) {
	t, err := c.newTraffic()
	if err != nil {
		return nil, err
	}
	if err := c.serving(ctx, t.admin, c.Nodes()); err != nil {
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

// serving waits until so many brokers serve: a port may answer before its node is let in.
func (c *cluster) serving(ctx context.Context, admin *kgo.Client, want int) error {
	_, err := c.until(ctx, startLimit, func() (string, error) {
		list, err := kadm.NewClient(admin).ListBrokers(ctx)
		if err == nil && len(list) != want {
			err = fmt.Errorf("%d brokers serve, want %d", len(list), want)
		}
		return "", err
	})
	return err
}

// client closes its unused connections early. franz-go finds out that a node has closed one only with its next request
// on it, asks for a coordinator with one try at a node, and lets the error out when that meets a node that is down and
// then such a connection, or the same node twice: with nodes that restart every few seconds that comes to pass.
func (t *traffic) client(o ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(t.seeds...), kgo.MetadataMinAge(100 * time.Millisecond), kgo.UnknownTopicRetries(-1),
		kgo.ConnIdleTimeout(500 * time.Millisecond),
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

// done is how much a client has done.
type done struct {
	client string
	n      *atomic.Int64
}

func (t *traffic) done() []done {
	all := []done{{"producer", &t.acked}, {"transactions", &t.committed}, {"classic group", &t.read[0]}, {"KIP-848 group", &t.read[1]}}
	if j := t.java; j != nil {
		all = append(all, done{"Java producer", &j.acked}, done{"Java transactions", &j.committed},
			done{"Java classic group", &j.read[0]}, done{"Java KIP-848 group", &j.read[1]})
	}
	return all
}

// progress waits until each client has done more than it had.
func (t *traffic) progress(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	all := t.done()
	want := make([]int64, len(all))
	for i, d := range all {
		want[i] = d.n.Load() + 20
	}
	for i, d := range all {
		for d.n.Load() < want[i] {
			if err := t.errors(); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return fmt.Errorf("the %s stands still at %d", d.client, d.n.Load())
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
	err := awaitRead(ctx, "", t.acked.Load()+t.committed.Load(), &t.read)
	if j := t.java; j != nil {
		err = errors.Join(err, j.stopWriters(ctx), awaitRead(ctx, "Java ", j.acked.Load()+j.committed.Load(), &j.read), j.stopReaders(ctx))
	}
	t.stopReaders()
	t.readers.Wait()
	defer t.admin.Close()
	err = errors.Join(err, t.errors(), t.count(ctx, ordersTopic, copiesTopic, t.acked.Load(), t.committed.Load(), t.aborted.Load()))
	if j := t.java; j != nil {
		err = errors.Join(err, t.count(ctx, javaOrdersTopic, javaCopiesTopic, j.acked.Load(), j.committed.Load(), j.aborted.Load()))
	}
	return err
}

// awaitRead waits until both groups have read as many records as there are.
func awaitRead(ctx context.Context, client string, total int64, read *[2]atomic.Int64) error {
	for which, group := range []string{"classic", "KIP-848"} {
		for read[which].Load() < total {
			if ctx.Err() != nil {
				return fmt.Errorf("the %s%s group has read %d records of %d", client, group, read[which].Load(), total)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

// count reads both topics from their start: what was acknowledged or committed is there once, what was aborted is not.
func (t *traffic) count(ctx context.Context, orders, copies string, acked, committed, aborted int64) error {
	total := acked + committed
	cl, err := t.client(kgo.ConsumeTopics(orders, copies), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
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
		if want := map[bool]int{true: 1, false: perTransaction}[strings.HasPrefix(key, orders+" ")]; n != want {
			return fmt.Errorf("%s is there %d times, want %d", key, n, want)
		}
	}
	fmt.Printf("         %s: %d records acknowledged; %s: %d committed, %d aborted\n", orders, acked, copies, committed, aborted)
	return nil
}
