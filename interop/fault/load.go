package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/interop/local"
)

const (
	plainTopic  = "plain"
	txnTopic    = "txn"
	groupName   = "fault-group"
	partitions  = 3
	producers   = 2
	txnRecords  = 5
	valueBytes  = 200
	awaitAcks   = 4 * time.Minute // what must come is waited for, however busy the machine
	produceGap  = 2 * time.Millisecond
	abortEveryN = 3
)

// fate is what is known of a transaction.
type fate int

const (
	unknown fate = iota
	committed
	aborted
)

// load is what runs beside the faults, and what it was promised.
type load struct {
	addr   string
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu struct {
		sync.Mutex
		acked   map[string]kgo.Record // of the plain topic, by value: partition and offset
		sent    [producers]int
		fates   []fate
		commits map[int32]int64 // acknowledged commits of the group, by partition
		wrong   []string
	}
}

// startLoad makes the topics and starts everybody.
func startLoad(ctx context.Context, addr string) (*load, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	small := "1048576"
	for _, t := range []string{plainTopic, txnTopic} {
		if _, err := kadm.NewClient(cl).CreateTopic(ctx, partitions, 1, map[string]*string{"segment.bytes": &small}, t); err != nil {
			return nil, fmt.Errorf("create topic %s: %w", t, err)
		}
	}
	l := &load{addr: addr}
	l.mu.acked, l.mu.commits = map[string]kgo.Record{}, map[int32]int64{}
	ctx, l.cancel = context.WithCancel(ctx)
	for i := range producers {
		p, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(plainTopic), kgo.ProducerLinger(0),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RetryBackoffFn(backoff), kgo.RetryTimeout(awaitAcks))
		if err != nil {
			return nil, err
		}
		l.done.Go(func() { l.produce(ctx, p, i) })
	}
	l.done.Go(func() { l.transact(ctx) })
	l.done.Go(func() { l.consume(ctx) })
	return l, nil
}

func backoff(int) time.Duration { return 50 * time.Millisecond }

func (l *load) wrong(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.wrong = append(l.mu.wrong, fmt.Sprintf(format, args...))
}

func value(who string, n int) []byte {
	v := make([]byte, valueBytes)
	copy(v, fmt.Sprintf("%s %09d ", who, n))
	return v
}

// produce writes numbered records with idempotence and acks=all, a producer's numbers going up in each partition.
func (l *load) produce(ctx context.Context, cl *kgo.Client, who int) {
	defer cl.Close()
	t := time.NewTicker(produceGap)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), awaitAcks)
			defer cancel()
			if err := cl.Flush(flush); err != nil {
				l.wrong("producer %d: flush: %v", who, err)
			}
			return
		case <-t.C:
		}
		l.mu.Lock()
		l.mu.sent[who] = n + 1
		l.mu.Unlock()
		rec := &kgo.Record{Partition: int32(n % partitions), Value: value(fmt.Sprint("p", who), n)}
		cl.Produce(context.WithoutCancel(ctx), rec, func(r *kgo.Record, err error) {
			if err != nil {
				l.wrong("producer %d: record %d: %v", who, n, err)
				return
			}
			l.mu.Lock()
			l.mu.acked[string(r.Value)] = kgo.Record{Partition: r.Partition, Offset: r.Offset}
			l.mu.Unlock()
		})
	}
}

// transact runs one transaction after the other; every third is aborted.
func (l *load) transact(ctx context.Context) {
	var cl *kgo.Client
	defer func() {
		if cl != nil {
			cl.Close()
		}
	}()
	for ctx.Err() == nil {
		if cl == nil {
			var err error
			cl, err = kgo.NewClient(kgo.SeedBrokers(l.addr), kgo.TransactionalID("fault-txn"), kgo.DefaultProduceTopic(txnTopic),
				kgo.ProducerLinger(0), kgo.TransactionTimeout(20*time.Second), kgo.RetryBackoffFn(backoff),
				kgo.RecordPartitioner(kgo.ManualPartitioner()))
			if err != nil {
				l.wrong("transactional producer: %v", err)
				return
			}
		}
		if !l.transaction(ctx, cl) {
			cl.Close()
			cl = nil
		}
	}
}

// transaction runs one; false means that the producer is of no more use.
func (l *load) transaction(ctx context.Context, cl *kgo.Client) bool {
	l.mu.Lock()
	n := len(l.mu.fates)
	l.mu.fates = append(l.mu.fates, unknown)
	l.mu.Unlock()
	if err := cl.BeginTransaction(); err != nil {
		return false
	}
	// In time: an answer that does not come leaves the fate unknown.
	each, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	// What has been sent outlives its context where no broker answers any more, but not its client.
	defer context.AfterFunc(each, cl.Close)()
	var errs []error
	for i := range txnRecords {
		rec := &kgo.Record{Partition: int32(i % partitions), Value: value(fmt.Sprint("t", i), n)}
		errs = append(errs, cl.ProduceSync(each, rec).FirstErr())
	}
	commit := n%abortEveryN != 0 && errors.Join(errs...) == nil
	if err := cl.EndTransaction(each, kgo.TransactionEndTry(commit)); err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.fates[n] = aborted
	if commit {
		l.mu.fates[n] = committed
	}
	return true
}

// consume reads the plain topic as a group and commits what it has read.
func (l *load) consume(ctx context.Context) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(l.addr), kgo.ConsumerGroup(groupName), kgo.ConsumeTopics(plainTopic),
		kgo.DisableAutoCommit(), kgo.RetryBackoffFn(backoff), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		l.wrong("group member: %v", err)
		return
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	for ctx.Err() == nil {
		fs := cl.PollFetches(ctx)
		at := map[int32]int64{}
		fs.EachRecord(func(r *kgo.Record) { at[r.Partition] = max(at[r.Partition], r.Offset+1) })
		if len(at) == 0 {
			continue
		}
		if err := cl.CommitUncommittedOffsets(ctx); err != nil {
			continue
		}
		offsets, err := adm.FetchOffsets(ctx, groupName)
		l.mu.Lock()
		for p, o := range l.mu.commits {
			if got, ok := offsets.Lookup(plainTopic, p); err == nil && (!ok || got.At < o) {
				l.mu.wrong = append(l.mu.wrong, fmt.Sprintf("commit of partition %d went back from %d to %d", p, o, got.At))
			}
		}
		for p, o := range at {
			l.mu.commits[p] = max(l.mu.commits[p], o)
		}
		l.mu.Unlock()
	}
}

func (l *load) acks() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.mu.acked)
}

// txns is how many transactions ended for certain.
func (l *load) txns() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.mu.fates {
		if f != unknown {
			n++
		}
	}
	return n
}

// await returns when so many records are acknowledged.
func (l *load) await(ctx context.Context, n int) error {
	for began := time.Now(); l.acks() < n; time.Sleep(5 * time.Millisecond) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(began) > awaitAcks {
			return fmt.Errorf("%d records acknowledged, and no more within %v", l.acks(), awaitAcks)
		}
	}
	return nil
}

func (l *load) pause(d time.Duration) { time.Sleep(d) }

func (l *load) close() {
	l.cancel()
	l.done.Wait()
}

// stop ends the load; what is under way is finished.
func (l *load) stop(context.Context) error {
	l.close()
	return nil
}

// check reads everything back and compares it with what was promised.
func (l *load) check(ctx context.Context, r *local.Report, prefix string) {
	plain, err := readAll(ctx, l.addr, plainTopic, kgo.ReadUncommitted())
	r.Check(prefix+"plain topic can be read", err)
	txn, err := readAll(ctx, l.addr, txnTopic, kgo.ReadCommitted())
	r.Check(prefix+"transactions can be read", err)
	l.mu.Lock()
	defer l.mu.Unlock()
	r.That(prefix+"clients saw no error", len(l.mu.wrong) == 0, "%d%s", len(l.mu.wrong), first(l.mu.wrong))
	lost, twice, order, invented := l.judgePlain(plain)
	r.That(prefix+"no acknowledged record lost", len(lost) == 0 && len(l.mu.acked) > 0, "%d acknowledged, %d lost%s", len(l.mu.acked), len(lost), first(lost))
	r.That(prefix+"no record twice", len(twice) == 0, "%d of %d%s", len(twice), len(plain), first(twice))
	r.That(prefix+"order of each producer kept", len(order) == 0, "%d breaks%s", len(order), first(order))
	r.That(prefix+"nothing invented", len(invented) == 0, "%d%s", len(invented), first(invented))
	bad, counts := l.judgeTxns(txn)
	r.That(prefix+"transactions are all or nothing", len(bad) == 0 && counts[committed] > 0, "%d committed, %d aborted, %d unknown, %d wrong%s",
		counts[committed], counts[aborted], counts[unknown], len(bad), first(bad))
	bad = l.judgeCommits(ctx)
	r.That(prefix+"committed offsets never went back", len(bad) == 0 && len(l.mu.commits) > 0, "%d partitions%s", len(l.mu.commits), first(bad))
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return ", the first: " + list[0]
}

// judgePlain compares the plain topic; mu is held.
func (l *load) judgePlain(all []*kgo.Record) (lost, twice, order, invented []string) {
	seen := map[string]int{}
	type lane struct {
		who  string
		part int32
	}
	last, next := map[lane]string{}, map[int32]int64{}
	for _, r := range all {
		v := string(r.Value)
		seen[v]++
		if seen[v] == 2 {
			twice = append(twice, fmt.Sprintf("%.15q", v))
		}
		at := lane{v[:2], r.Partition}
		if v <= last[at] {
			order = append(order, fmt.Sprintf("partition %d: %.15q behind %.15q", r.Partition, v, last[at]))
		}
		last[at] = v
		if r.Offset != next[r.Partition] {
			invented = append(invented, fmt.Sprintf("partition %d: offset %d where %d is next", r.Partition, r.Offset, next[r.Partition]))
		}
		next[r.Partition] = r.Offset + 1
		if a, ok := l.mu.acked[v]; ok && (a.Offset != r.Offset || a.Partition != r.Partition) {
			invented = append(invented, fmt.Sprintf("%.15q was acknowledged at %d, stands at %d", v, a.Offset, r.Offset))
		}
		var who, n int
		if _, err := fmt.Sscanf(v, "p%d %d", &who, &n); err != nil || who >= producers || n >= l.mu.sent[who] {
			invented = append(invented, fmt.Sprintf("%.30q", v))
		}
	}
	for v := range l.mu.acked {
		if seen[v] == 0 {
			lost = append(lost, fmt.Sprintf("%.15q", v))
		}
	}
	return lost, twice, order, invented
}

// judgeTxns compares the transactions with their fates; mu is held.
func (l *load) judgeTxns(all []*kgo.Record) (bad []string, counts map[fate]int) {
	seen := map[int]int{}
	for _, r := range all {
		var i, n int
		if _, err := fmt.Sscanf(string(r.Value), "t%d %d", &i, &n); err != nil {
			bad = append(bad, fmt.Sprintf("%.30q", r.Value))
			continue
		}
		seen[n]++
	}
	counts = map[fate]int{}
	for n, f := range l.mu.fates {
		counts[f]++
		if got := seen[n]; got != 0 && got != txnRecords || f == committed && got == 0 || f == aborted && got != 0 {
			bad = append(bad, fmt.Sprintf("transaction %d of fate %d has %d of %d records", n, f, got, txnRecords))
		}
	}
	return bad, counts
}

// judgeCommits compares the group's offsets; mu is held.
func (l *load) judgeCommits(ctx context.Context) (bad []string) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(l.addr))
	if err != nil {
		return []string{err.Error()}
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	var got kadm.OffsetResponses
	err = eventually(ctx, func() (err error) {
		if got, err = adm.FetchOffsets(ctx, groupName); err == nil {
			err = got.Error()
		}
		return err
	})
	if err != nil {
		return []string{err.Error()}
	}
	for p, o := range maps.All(l.mu.commits) {
		if at, ok := got.Lookup(plainTopic, p); !ok || at.At < o {
			bad = append(bad, fmt.Sprintf("partition %d: %d was committed, now it is %d", p, o, at.At))
		}
	}
	return bad
}

// readAll reads a topic from its start to its end.
func readAll(ctx context.Context, addr, topic string, isolation kgo.IsolationLevel) ([]*kgo.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, awaitAcks)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(isolation),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond), kgo.KeepControlRecords())
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ends, err := awaitStable(ctx, kadm.NewClient(cl), topic)
	if err != nil {
		return nil, err
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	var all []*kgo.Record
	for len(left) > 0 {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return all, fmt.Errorf("partitions %v are not at their ends: %w", left, err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				all = append(all, r)
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return all, nil
}

// awaitStable waits until no transaction is open any more, and returns the ends.
func awaitStable(ctx context.Context, adm *kadm.Client, topic string) (kadm.ListedOffsets, error) {
	for {
		ends, err := adm.ListEndOffsets(ctx, topic)
		stable, other := adm.ListCommittedOffsets(ctx, topic)
		err = errors.Join(err, other, ends.Error(), stable.Error())
		same := err == nil
		ends.Each(func(o kadm.ListedOffset) {
			s, ok := stable.Lookup(o.Topic, o.Partition)
			same = same && ok && s.Offset == o.Offset
		})
		if same {
			return ends, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("a transaction of %s stays open, or its ends are not told: %w", topic, errors.Join(ctx.Err(), err))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
