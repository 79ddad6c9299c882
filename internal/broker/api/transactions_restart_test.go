package api_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/internal/broker/partition"
)

// internalTopics makes the coordinators' topics before anybody looks for them.
func (k *asker) internalTopics() {
	k.t.Helper()
	k.createTopic("__consumer_offsets", 5)
	k.createTopic("__transaction_state", 5)
}

// TestTransactionsSurviveRestarts stops the broker in every phase of a transaction.
func TestTransactionsSurviveRestarts(t *testing.T) {
	dir := t.TempDir()
	b, stop := startTxnBroker(t, dir)
	k := newAsker(t, b.addr)
	k.internalTopics()
	k.createTopic("t", 3)
	ending, open, idle := "ending", "open", "idle"
	group := "g"

	pid1, ep1 := k.initRetry(4, &ending, 60000, -1, -1)
	k.produce(12, &ending, "t", []int32{0, 1}, pid1, ep1, 0)
	k.commitOffsets(5, ending, pid1, ep1, group, "t", []int32{0}, 7, "", -1)
	pid2, ep2 := k.initRetry(4, &open, 60000, -1, -1)
	k.produce(12, &open, "t", []int32{1, 2}, pid2, ep2, 0)
	pid3, ep3 := k.initRetry(4, &idle, 60000, -1, -1)
	if _, next := k.end(5, ending, pid1, ep1, true); next != ep1+1 {
		t.Fatal(k.out.String())
	}
	stop() // most often before the markers are all written

	b, stop = startTxnBroker(t, dir)
	k = newAsker(t, b.addr)
	k.ids = []string{ending, open, idle}
	k.loaded()
	k.settle()
	states := k.askDescribe(k.ids...)
	for i, want := range []string{"CompleteCommit", "Ongoing", "Empty"} {
		if states[i].TransactionState != want {
			t.Errorf("%s is %s, want %s", k.ids[i], states[i].TransactionState, want)
		}
	}
	if n, _ := k.readCommitted("t", 0); n != 1 {
		t.Errorf("%d committed records in partition 0, want 1", n)
	}
	if n, _ := k.readCommitted("t", 2); n != 0 {
		t.Errorf("%d records of an open transaction were read", n)
	}
	k.fetchOffsets(group, "t", true)
	if got := k.out.String(); !strings.Contains(got, "0=7/ok") {
		t.Errorf("committed offsets: %s", got)
	}
	k.end(5, open, pid2, ep2, true)
	k.settle()
	for _, p := range []int32{0, 1, 2} {
		if n, aborted := k.readCommitted("t", p); n == 0 || aborted != 0 {
			t.Errorf("partition %d: %d committed, %d aborted", p, n, aborted)
		}
	}
	if fresh, _ := k.initRetry(4, nil, 0, -1, -1); fresh == pid1 || fresh == pid2 || fresh == pid3 {
		t.Errorf("producer id %d was handed out twice", fresh)
	}
	if again, next := k.initRetry(4, &idle, 60000, pid3, ep3); again != pid3 || next != ep3+1 {
		t.Errorf("the idle producer goes on with %d/%d, want %d/%d", again, next, pid3, ep3+1)
	}
	stop()
}

func TestAbortedRecordsAreNotRead(t *testing.T) {
	b, _ := startTxnBroker(t, "")
	k := newAsker(t, b.addr)
	k.internalTopics()
	k.createTopic("t", 1)
	id := "a"
	pid, ep := k.initRetry(4, &id, 60000, -1, -1)
	for i := range 6 {
		k.produce(12, &id, "t", []int32{0}, pid, ep, 0)
		_, ep = k.end(5, id, pid, ep, i%3 == 0)
	}
	k.settle()
	if n, aborted := k.readCommitted("t", 0); n != 2 || aborted != 4 {
		t.Errorf("%d committed and %d aborted, want 2 and 4:\n%s", n, aborted, k.out.String())
	}
}

// TestTransactionalClients runs consume-transform-produce over two instances of franz-go's client,
// some of whose transactions abort, and checks that each input arrives exactly once.
func TestTransactionalClients(t *testing.T) {
	for version := range int16(3) {
		t.Run(fmt.Sprint("transaction version ", version), func(t *testing.T) { transformOnce(t, version) })
	}
}

func transformOnce(t *testing.T, version int16) {
	b, _ := startTxnBroker(t, "")
	b.version.Store(version)
	k := newAsker(t, b.addr)
	k.internalTopics()
	k.createTopic("in", 4)
	k.createTopic("out", 4)
	const inputs = 400
	fill(t, b.addr, inputs)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			if err := transform(ctx, b.addr, i); err != nil {
				t.Errorf("instance %d: %v", i, err)
			}
		})
	}
	seen := consume(t, ctx, b.addr, inputs)
	cancel()
	wg.Wait()
	for v, n := range seen {
		if n != 1 {
			t.Errorf("%s arrived %d times", v, n)
		}
	}
}

func fill(t *testing.T, addr string, n int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("in"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var records []*kgo.Record
	for i := range n {
		records = append(records, &kgo.Record{Partition: int32(i % 4), Value: fmt.Append(nil, i)})
	}
	if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// transform copies in to out in transactions, and aborts each third.
func transform(ctx context.Context, addr string, instance int) error {
	s, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(addr), kgo.ConsumerGroup("transform"), kgo.ConsumeTopics("in"), kgo.DefaultProduceTopic("out"),
		kgo.TransactionalID(fmt.Sprint("transform-", instance)), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RequireStableFetchOffsets(),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.FetchMaxPartitionBytes(2000),
	)
	if err != nil {
		return err
	}
	defer s.Close()
	for round := 0; ctx.Err() == nil; round++ {
		fetches := s.PollRecords(ctx, 20)
		if ctx.Err() != nil {
			return nil
		}
		if err := s.Begin(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			s.Produce(ctx, &kgo.Record{Value: r.Value}, nil)
		})
		_, err := s.End(ctx, kgo.TransactionEndTry(round%3 != 2))
		if err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("end round %d: %w", round, err)
		}
	}
	return nil
}

// consume reads out until every input has arrived, and a while longer for what must not.
func consume(t *testing.T, ctx context.Context, addr string, inputs int) map[string]int {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("out"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	seen := map[string]int{}
	for len(seen) < inputs {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d of %d inputs arrived in time", len(seen), inputs)
		}
		fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Value)]++ })
	}
	return seen
}

// TestTransactionAtAnotherLeader: what a broker refuses because another leads is not added to the transaction before.
func TestTransactionAtAnotherLeader(t *testing.T) {
	b, _ := startTxnBroker(t, "")
	k := newAsker(t, b.addr)
	k.internalTopics()
	k.createTopic("t", 1)
	id := "a"
	pid, ep := k.initRetry(4, &id, 60000, -1, -1)
	elsewhere := partition.State{Replicas: []int32{2, 1}, ISR: []int32{2, 1}, Leader: 2, LeaderEpoch: 7, PartitionEpoch: 7}
	for _, name := range []string{"t", "__consumer_offsets"} {
		for _, p := range b.parts.Topic(name).Parts {
			p.MakeFollower(1, elsewhere)
		}
	}
	for _, version := range []int16{10, 11, 12} {
		k.out.Reset()
		k.produce(version, &id, "t", []int32{0}, pid, ep, 0)
		if got := k.out.String(); !strings.Contains(got, "NOT_LEADER_FOR_PARTITION") {
			t.Errorf("Produce v%d: %s", version, got)
		}
	}
	for _, version := range []int16{3, 4, 5} {
		k.out.Reset()
		k.commitOffsets(version, id, pid, ep, "g", "t", []int32{0}, 7, "", -1)
		if got := k.out.String(); !strings.Contains(got, "NOT_COORDINATOR") {
			t.Errorf("TxnOffsetCommit v%d: %s", version, got)
		}
	}
	if d := k.askDescribe(id)[0]; d.TransactionState != "Empty" {
		t.Errorf("the transaction is %s of %v, want Empty", d.TransactionState, d.Topics)
	}
}
