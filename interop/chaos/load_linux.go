package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The topics of the load.
const (
	plainTopic = "plain" // idempotent producers, acks=all
	txnTopic   = "txn"   // transactions over all partitions, a third of them aborted
	copyTopic  = "copy"  // plain, copied exactly once by a group
	javaTopic  = "java"  // Apache Kafka's own producer
	probeTopic = "probe" // one record after the other, for the gaps
	guardTopic = "guard" // where everything is secured: a user that may not always write
	partitions = 6
	probes     = 3
	guards     = 3
	groupName  = "chaos-readers"
	copyGroup  = "chaos-copy"
)

// The writers; transactional ones are above.
const (
	producers   = 3
	txnWriters  = 2
	firstTxn    = 10
	probeWriter = 20
	javaWriter  = 30
	guestWriter = 40
	txnSize     = partitions
	produceGap  = 5 * time.Millisecond
	probeGap    = 10 * time.Millisecond
	guestGap    = 10 * time.Millisecond
	settleLimit = 60 * time.Second
	wholeLimit  = 2 * settleLimit // until everybody goes on and all is in sync: what must come is waited for, however busy the machine
)

// topics are all of them; plain comes before its copy.
func (c *cluster) topics() []string {
	all := []string{plainTopic, txnTopic, copyTopic, javaTopic, probeTopic}
	if c.secured != nil {
		all = append(all, guardTopic)
	}
	return all
}

// load is everybody who uses the cluster.
type load struct {
	c      *cluster
	h      *History
	gaps   *gaps
	java   string // class path of Kafka's tools, empty for no Java producer
	dir    string
	cancel context.CancelFunc
	done   sync.WaitGroup

	commits, aborts, unsure atomic.Int64
	javaAcks                atomic.Int64
	guest                   guestLoad
	stalled                 atomic.Bool // somebody had no answer for stallAfter, and what was to be seen is written down
}

func (c *cluster) createTopics(ctx context.Context) error {
	small, two := "4194304", "2"
	cfg := map[string]*string{"segment.bytes": &small, "min.insync.replicas": &two}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for _, t := range c.topics() {
		n := int32(partitions)
		switch t {
		case probeTopic:
			n = probes
		case guardTopic:
			n = guards
		}
		for {
			_, err := c.adm.CreateTopic(ctx, n, 3, cfg, t)
			if err == nil || errors.Is(err, kerr.TopicAlreadyExists) {
				break
			}
			if wait(ctx, 200*time.Millisecond) != nil {
				return fmt.Errorf("create topic %s: %w", t, err)
			}
		}
	}
	return c.awaitWhole(ctx, wholeLimit, c.topics()...)
}

// startLoad starts everybody.
func startLoad(ctx context.Context, c *cluster, dir, java string) (*load, error) {
	l := &load{c: c, h: NewHistory(), gaps: newGaps(), dir: dir, java: java}
	ctx, l.cancel = context.WithCancel(ctx)
	for i := range producers {
		cl, err := c.newClient(writer, kgo.DefaultProduceTopic(plainTopic), kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			return l, err
		}
		l.done.Go(func() { l.produce(ctx, cl, i, plainTopic, partitions, produceGap) })
	}
	for i := range probes {
		l.done.Go(func() { l.probe(ctx, int32(i)) })
	}
	for i := range txnWriters {
		l.done.Go(func() { l.transact(ctx, firstTxn+i) })
	}
	for range 2 {
		l.done.Go(func() { l.copy(ctx) })
	}
	l.done.Go(func() { l.tail(ctx, plainTopic, kgo.ReadUncommitted()) })
	l.done.Go(func() { l.tail(ctx, txnTopic, kgo.ReadCommitted()) })
	l.done.Go(func() { l.commit(ctx) })
	l.done.Go(func() { l.watchClock(ctx) })
	l.done.Go(func() { l.watchStalls(ctx) })
	if c.secured != nil {
		l.done.Go(func() { l.visit(ctx) })
	}
	if java != "" {
		l.done.Go(func() { l.javaProducer(ctx) })
	}
	return l, nil
}

// stop ends the load; what is under way is finished.
func (l *load) stop() {
	l.cancel()
	l.done.Wait()
}

// settle notes what a produce call said.
func (l *load) settle(k key, r *kgo.Record, err error) {
	switch {
	case err == nil:
		l.h.Settle(k, acked, r.Offset)
	case refused(err):
		l.h.Settle(k, forbidden, -1)
	default:
		l.h.Settle(k, unknown, -1)
	}
}

// writers are those whose every record has to be answered.
func writers() []int {
	all := []int{javaWriter, guestWriter}
	for i := range producers {
		all = append(all, i)
	}
	for i := range probes {
		all = append(all, probeWriter+i)
	}
	return all
}

// awaitAll returns once nobody waits for an answer to what was sent before, and transactions are committed.
func (l *load) awaitAll(ctx context.Context, limit time.Duration) error {
	began := time.Now()
	ends, visits := l.commits.Load()+1, l.guest.acked()+1
	for {
		waiting := ""
		if l.commits.Load() < ends {
			waiting = "no transaction is committed"
		}
		if l.c.secured != nil && l.guest.acked() < visits {
			waiting = "nothing of the guest's is acknowledged"
		}
		now := time.Now()
		for _, w := range writers() {
			if d, what := l.h.Waiting(w, now); d > now.Sub(began) && d > time.Second {
				waiting = fmt.Sprintf("writer %d has waited %v for an answer to %s", w, d.Round(time.Millisecond), what)
			}
		}
		if waiting == "" {
			return nil
		}
		if now.Sub(began) > limit {
			return fmt.Errorf("%v after the fault was healed %s", limit, waiting)
		}
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// refused says whether an error means that the record was not appended and never will be.
func refused(err error) bool {
	for _, e := range []error{kerr.InvalidRecord, kerr.CorruptMessage, kerr.MessageTooLarge, kerr.RecordListTooLarge,
		kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.InvalidTxnState} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// produce writes numbered records, a writer's numbers going up in each partition.
func (l *load) produce(ctx context.Context, cl *kgo.Client, writer int, topic string, n int32, gap time.Duration) {
	defer cl.Close()
	t := time.NewTicker(gap)
	defer t.Stop()
	for i := int32(0); ; i++ {
		select {
		case <-ctx.Done():
			l.flush(cl, writer)
			return
		case <-t.C:
		}
		p := i % n
		k := l.h.Begin(writer, topic, p)
		cl.Produce(context.WithoutCancel(ctx), &kgo.Record{Partition: p, Value: value(k)}, func(r *kgo.Record, err error) {
			l.settle(k, r, err)
			if err != nil {
				l.h.Anomaly("client-error", "writer %d: %v: %v", writer, k, err)
			}
		})
	}
}

func (l *load) flush(cl *kgo.Client, writer int) {
	ctx, cancel := context.WithTimeout(context.Background(), wholeLimit)
	defer cancel()
	if err := cl.Flush(ctx); err != nil {
		l.h.Anomaly("client-error", "writer %d: records are still not answered %v after the last fault: %v", writer, wholeLimit, err)
	}
}

// probe sends one record after the other to one partition, and notes when it is answered. Its client waits for nothing
// longer than a second, sends nothing twice and is thrown away when something fails: the gaps are then the cluster's, and
// not those of a client that waits for a broker which has fallen silent.
func (l *load) probe(ctx context.Context, p int32) {
	l.h.GivesUp(probeWriter + int(p))
	var cl *kgo.Client
	defer func() {
		if cl != nil {
			cl.Close()
		}
	}()
	t := time.NewTicker(probeGap)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if cl == nil {
			var err error
			if cl, err = l.c.impatientClient(writer, kgo.DefaultProduceTopic(probeTopic)); err != nil {
				l.h.Anomaly("client-error", "probe of partition %d: %v", p, err)
				return
			}
		}
		k := l.h.Begin(probeWriter+int(p), probeTopic, p)
		each, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		r := &kgo.Record{Partition: p, Value: value(k)}
		err := cl.ProduceSync(each, r).FirstErr()
		cancel()
		l.settle(k, r, err)
		if err == nil {
			l.gaps.ack(p, time.Now())
			continue
		}
		go cl.Close() // which may wait for the broker
		cl = nil
	}
}

// transact runs one transaction after the other with one transactional id; every third is aborted.
func (l *load) transact(ctx context.Context, writer int) {
	var cl *kgo.Client
	defer func() {
		if cl != nil {
			cl.Close()
		}
	}()
	for n := 0; ctx.Err() == nil; n++ {
		if cl == nil {
			var err error
			cl, err = l.c.newClient(transactor, kgo.TransactionalID(fmt.Sprint("chaos-", writer)), kgo.DefaultProduceTopic(txnTopic),
				kgo.ProducerLinger(0), kgo.TransactionTimeout(15*time.Second), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			if err != nil {
				l.h.Anomaly("client-error", "transactional writer: %v", err)
				return
			}
		}
		if !l.transaction(ctx, cl, writer, n%3 != 2) {
			cl.Close()
			cl = nil
		}
	}
}

// transaction runs one; false means that the producer is of no more use.
func (l *load) transaction(ctx context.Context, cl *kgo.Client, writer int, commit bool) bool {
	each, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	if err := cl.BeginTransaction(); err != nil {
		return false
	}
	keys := make([]key, txnSize)
	var failed error
	for i := range keys {
		keys[i] = l.h.Begin(writer, txnTopic, int32(i))
		res := cl.ProduceSync(each, &kgo.Record{Partition: int32(i), Value: value(keys[i])})
		failed = errors.Join(failed, res.FirstErr())
	}
	commit = commit && failed == nil
	err := cl.EndTransaction(each, kgo.TransactionEndTry(commit))
	switch {
	case err != nil:
		l.unsure.Add(1)
		return false
	case commit:
		l.commits.Add(1)
		for _, k := range keys {
			l.h.Settle(k, acked, -1)
		}
	default:
		l.aborts.Add(1)
		for _, k := range keys {
			l.h.Settle(k, forbidden, -1)
		}
	}
	return true
}

// copy is one member of a group that consumes, produces and commits in transactions.
func (l *load) copy(ctx context.Context) {
	id := fmt.Sprintf("chaos-copy-%d", rand.Int32())
	for ctx.Err() == nil {
		s, err := kgo.NewGroupTransactSession(append(l.c.login(copier),
			kgo.SeedBrokers(l.c.bootstrap()...), kgo.RetryBackoffFn(retryPause),
			kgo.TransactionalID(id), kgo.TransactionTimeout(15*time.Second), kgo.ConsumerGroup(copyGroup), kgo.ConsumeTopics(plainTopic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.FetchMaxWait(100*time.Millisecond))...)
		if err != nil {
			l.h.Anomaly("client-error", "copying session: %v", err)
			return
		}
		l.copySession(ctx, s)
		s.Close()
	}
}

func (l *load) copySession(ctx context.Context, s *kgo.GroupTransactSession) {
	for ctx.Err() == nil {
		fs := s.PollRecords(ctx, 500)
		if fs.NumRecords() == 0 {
			continue
		}
		each, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
		err := s.Begin()
		if err == nil {
			var out []*kgo.Record
			fs.EachRecord(func(r *kgo.Record) {
				out = append(out, &kgo.Record{Topic: copyTopic, Partition: r.Partition, Value: r.Value})
			})
			produced := s.ProduceSync(each, out...).FirstErr()
			_, err = s.End(each, kgo.TransactionEndTry(produced == nil))
		}
		cancel()
		if err != nil {
			return // a new session goes on from what was committed
		}
	}
}

// tail follows a topic and compares what consecutive polls give.
func (l *load) tail(ctx context.Context, topic string, isolation kgo.IsolationLevel) {
	cl, err := l.c.newClient(reader, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(isolation), kgo.FetchMaxWait(200*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	if err != nil {
		l.h.Anomaly("client-error", "reader of %s: %v", topic, err)
		return
	}
	defer cl.Close()
	next := map[int32]int64{}
	for ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			switch want := next[r.Partition]; {
			case r.Offset < want:
				l.h.Anomaly("nonmonotonic-poll", "%s-%d: offset %d after %d", topic, r.Partition, r.Offset, want-1)
			case r.Offset > want && topic == plainTopic:
				l.h.Anomaly("poll-skip", "%s-%d: offset %d after %d", topic, r.Partition, r.Offset, want-1)
			}
			next[r.Partition] = r.Offset + 1
			if r.Attrs.IsControl() {
				return
			}
			k, err := parseValue(r.Value)
			if err != nil {
				l.h.Anomaly("invented", "%s-%d at %d: %v", topic, r.Partition, r.Offset, err)
				return
			}
			l.h.Saw(place{topic, r.Partition}, r.Offset, k)
		})
	}
}

// commit commits rising offsets for a group of its own and reads them back.
func (l *load) commit(ctx context.Context) {
	cl, err := l.c.newClient(reader)
	if err != nil {
		l.h.Anomaly("client-error", "commits: %v", err)
		return
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	var done [partitions]commits
	for n := int64(1); ctx.Err() == nil; n++ {
		each, cancel := context.WithTimeout(ctx, settleLimit)
		got, err := adm.FetchOffsets(each, groupName)
		for p := range done {
			o, ok := got.Lookup(plainTopic, int32(p))
			if !ok {
				o.At = -1
			}
			if err == nil && done[p].regressed(o.At) {
				l.h.Anomaly("commit-regress", "partition %d: %d was committed, now it is %d", p, done[p].known, o.At)
			}
		}
		p := int32(n % partitions)
		var offsets kadm.Offsets
		offsets.AddOffset(plainTopic, p, n, -1)
		began := time.Now()
		res, err := adm.CommitOffsets(each, groupName, offsets)
		done[p].sent(n, time.Since(began), errors.Join(err, res.Error()))
		cancel()
		_ = wait(ctx, 50*time.Millisecond)
	}
}

// watchClock notes when this process itself does not get to run.
func (l *load) watchClock(ctx context.Context) {
	const tick = 10 * time.Millisecond
	for ctx.Err() == nil {
		began := time.Now()
		time.Sleep(tick)
		l.gaps.overslept(time.Since(began) - tick)
	}
}

// javaLogging has the Java producer say what it sends, hears and decides; without, a record that it never sent looks as
// one that was never answered.
var javaLogging = []string{
	"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
	"-Dorg.slf4j.simpleLogger.showDateTime=true",
	"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
	"-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients.NetworkClient=debug",
	"-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients.Metadata=debug",
	"-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients.producer.internals=debug",
	"-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients.producer.internals.BuiltInPartitioner=warn",
	"-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients.producer.internals.ProducerBatch=warn",
}

// javaProducer runs Apache Kafka's VerifiableProducer: idempotent, acks=all, one line for each record.
// By itself the tool tries nothing again.
func (l *load) javaProducer(ctx context.Context) {
	settings := filepath.Join(l.dir, "java.properties")
	text := "retries=2147483647\nenable.idempotence=true\n" +
		// Who waits too long is found by awaitAll, which says for what.
		fmt.Sprintf("delivery.timeout.ms=%d\nmax.block.ms=%d\n", (2*wholeLimit).Milliseconds(), (2*wholeLimit).Milliseconds())
	if l.c.secured != nil {
		text += l.c.secured.javaSettings(javaUser)
	}
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		l.h.Anomaly("client-error", "settings of the Java producer: %v", err)
		return
	}
	args := append([]string{"-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"}, javaLogging...)
	cmd := exec.Command("java", append(args, "-cp", l.java, "org.apache.kafka.tools.VerifiableProducer",
		"--bootstrap-server", strings.Join(l.c.bootstrap(), ","), "--topic", javaTopic, "--acks", "-1",
		"--throughput", "100", "--value-prefix", fmt.Sprint(javaWriter), "--command-config", settings)...)
	cmd.Stderr, _ = os.Create(l.dir + "/java.log")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = l.c.fabric.inside(l.c.fabric.hosts[0], cmd.Start)
	}
	if err != nil {
		l.h.Anomaly("client-error", "start the Java producer: %v", err)
		return
	}
	go func() {
		<-ctx.Done()
		_ = cmd.Process.Signal(os.Interrupt)
	}()
	sc := bufio.NewScanner(out)
	for sc.Scan() {
		l.javaLine(sc.Bytes())
	}
	_ = cmd.Wait() // it ends by the signal
}

// javaLine reads what the producer says of one record. Its values are "30.SEQ", sent in this order.
func (l *load) javaLine(line []byte) {
	var e struct {
		Name, Value, Topic string
		Partition          int32
		Offset             int64
		Exception, Message string
	}
	if json.Unmarshal(line, &e) != nil {
		return
	}
	switch e.Name {
	case "producer_send_success":
		k, err := parseJava(e.Value)
		if err != nil {
			l.h.Anomaly("client-error", "Java producer: %v", err)
			return
		}
		l.h.Told(k, e.Topic, e.Partition, e.Offset)
		l.javaAcks.Add(1)
	case "producer_send_error":
		if k, err := parseJava(e.Value); err == nil {
			l.h.Told(k, e.Topic, -1, -1)
			l.h.Settle(k, unknown, -1)
		}
		l.h.Anomaly("client-error", "Java producer: %s: %s", e.Exception, e.Message)
	}
}
