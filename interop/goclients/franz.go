package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

type franz struct{}

func kgoCodec(name string) kgo.Opt {
	return kgo.ProducerBatchCompression(map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}[name])
}

// kgoLogin logs in where the environment says so.
func kgoLogin() []kgo.Opt {
	switch mechanism {
	case "":
		return nil
	case "PLAIN":
		return []kgo.Opt{kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism())}
	case "SCRAM-SHA-256":
		return []kgo.Opt{kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha256Mechanism())}
	}
	return []kgo.Opt{kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism())}
}

func kgoClient(opts ...kgo.Opt) *kgo.Client {
	if c := tlsConfig(); c != nil {
		opts = append(opts, kgo.DialTLSConfig(c))
	}
	opts = append(kgoLogin(), opts...)
	return must1(kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(bootstrap), kgo.MetadataMaxAge(time.Second), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.HeartbeatInterval(500 * time.Millisecond),
	}, opts...)...))
}

func kgoGroup(group, topic string, opts ...kgo.Opt) *kgo.Client {
	return kgoClient(append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}, opts...)...)
}

// kip848 returns the option that makes a client join by the consumer protocol.
func kip848() kgo.Opt { return kgo.ServerSideBalancer() }

func (franz) produce(ctx context.Context) error {
	rows, err := input()
	if err != nil {
		return err
	}
	cl := kgoClient(kgoCodec(args["codec"]), kgo.ProducerLinger(5*time.Millisecond))
	defer cl.Close()
	var mu sync.Mutex
	var acked int
	var first error
	for _, row := range rows {
		cl.Produce(ctx, &kgo.Record{Topic: args["topic"], Key: []byte(row[0]), Value: []byte(row[1])}, func(_ *kgo.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				acked++
			} else if first == nil {
				first = err
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	fmt.Println("acked", acked)
	return first
}

func (franz) consume(ctx context.Context) error {
	opts := []kgo.Opt{}
	if args["isolation"] == "read_committed" {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if args["protocol"] == "consumer" {
		opts = append(opts, kip848())
	}
	cl := kgoGroup(args["group"], args["topic"], opts...)
	for ctx.Err() == nil {
		fs := cl.PollFetches(ctx)
		if err := fs.Err0(); err != nil && ctx.Err() == nil {
			return err
		}
		fs.EachRecord(func(r *kgo.Record) { printRecord(r.Partition, r.Offset, r.Key, r.Value) })
		flush()
	}
	if err := cl.CommitUncommittedOffsets(context.Background()); err != nil {
		return err
	}
	cl.Close()
	return nil
}

func (franz) move(ctx context.Context) error {
	sess, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(bootstrap), kgo.TransactionalID(args["txid"]),
		kgo.ConsumerGroup(args["group"]), kgo.ConsumeTopics(args["from"]), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RequireStableFetchOffsets(), kgoCodec(arg("codec", "lz4")))
	if err != nil {
		return err
	}
	defer sess.Close()
	moved, aborted, txns, every, expect := 0, 0, 0, number("abort", 3), number("expect", 0)
	for moved < expect {
		fs := sess.PollRecords(ctx, 1000)
		if err := fs.Err0(); err != nil {
			return err
		}
		if fs.NumRecords() == 0 {
			continue
		}
		if err := sess.Begin(); err != nil {
			return err
		}
		var sent []*kgo.Record
		fs.EachRecord(func(r *kgo.Record) { sent = append(sent, &kgo.Record{Topic: args["to"], Key: r.Key, Value: r.Value}) })
		if err := sess.ProduceSync(ctx, sent...).FirstErr(); err != nil {
			return err
		}
		txns++
		// A session that aborts goes back to what was committed by itself.
		committed, err := sess.End(ctx, kgo.TransactionEndTry(txns%every != 0))
		if err != nil {
			return err
		}
		if committed {
			moved += len(sent)
		} else {
			aborted += len(sent)
		}
	}
	fmt.Println("moved", moved, "aborted", aborted)
	return nil
}

func kgoTopic(ctx context.Context, name string, partitions int32, configs map[string]*string) string {
	adm := kadm.NewClient(kgoClient())
	defer adm.Close()
	t := args["prefix"] + "-" + name
	must(must1(adm.CreateTopics(ctx, partitions, int16(replicas), configs, t)).Error())
	settled()
	until(t+" to be served", func() bool {
		l, err := adm.ListEndOffsets(ctx, t)
		return err == nil && l.Error() == nil && len(l[t]) == int(partitions)
	})
	return t
}

func kgoSend(ctx context.Context, topic string, values []string, opts ...kgo.Opt) {
	cl := kgoClient(append(opts, kgo.DefaultProduceTopic(topic))...)
	defer cl.Close()
	var rs []*kgo.Record
	for _, v := range values {
		rs = append(rs, kgo.StringRecord(v))
	}
	must(cl.ProduceSync(ctx, rs...).FirstErr())
}

// kgoRead reads a topic up to its end offsets at the isolation level.
func kgoRead(ctx context.Context, topic string, opts ...kgo.Opt) []*kgo.Record {
	cl := kgoClient(append(opts, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())...)
	defer cl.Close()
	ends := must1(kadm.NewClient(cl).ListCommittedOffsets(ctx, topic))
	must(ends.Error())
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	var out []*kgo.Record
	for len(left) > 0 {
		fs := cl.PollFetches(ctx)
		must(fs.Err())
		fs.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				out = append(out, r)
			}
			if end, ok := left[r.Partition]; ok && r.Offset+1 >= end {
				delete(left, r.Partition)
			}
		})
	}
	slices.SortFunc(out, func(a, b *kgo.Record) int {
		if a.Partition != b.Partition {
			return int(a.Partition - b.Partition)
		}
		return int(a.Offset - b.Offset)
	})
	return out
}

func kgoValues(ctx context.Context, topic string, opts ...kgo.Opt) []string {
	var out []string
	for _, r := range kgoRead(ctx, topic, opts...) {
		out = append(out, string(r.Value))
	}
	return out
}

// kgoCommitted waits until read_committed sees exactly the values: a commit is answered before its markers are written.
func kgoCommitted(ctx context.Context, topic string, values []string) {
	var got []string
	for len(got) < len(values) && ctx.Err() == nil {
		got = kgoValues(ctx, topic, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	wantAll("committed values of "+topic, got, values)
}

func (f franz) smoke() {
	check("codecs", func(ctx context.Context) {
		for _, codec := range codecs {
			t := kgoTopic(ctx, "codec-"+codec, 1, nil)
			kgoSend(ctx, t, numbers(500), kgoCodec(codec))
			wantAll(codec, kgoValues(ctx, t), numbers(500))
		}
	})
	check("idempotence", func(ctx context.Context) {
		t := kgoTopic(ctx, "idempotent", 1, nil)
		kgoSend(ctx, t, numbers(3000), kgo.ProducerBatchMaxBytes(1024))
		for i, r := range kgoRead(ctx, t) {
			want("offset", r.Offset, int64(i))
			want("value", string(r.Value), strconv.Itoa(i))
		}
	})
	check("transactions", f.transactions)
	check("transaction-fencing", f.fencing)
	check("seek-by-time", f.times)
	check("admin", f.admin)
	check("large-messages", func(ctx context.Context) {
		t := kgoTopic(ctx, "large", 1, map[string]*string{"max.message.bytes": kadm.StringPtr("10000000")})
		big := make([]byte, 5_000_000)
		rnd := rand.NewChaCha8([32]byte{1})
		rnd.Read(big)
		kgoSend(ctx, t, []string{string(big)}, kgo.ProducerBatchMaxBytes(20_000_000), kgo.BrokerMaxWriteBytes(50_000_000))
		got := kgoRead(ctx, t, kgo.FetchMaxPartitionBytes(1000))
		want("records", len(got), 1)
		want("same bytes", bytes.Equal(got[0].Value, big), true)
		cl := kgoClient(kgo.ProducerBatchMaxBytes(20_000_000), kgo.BrokerMaxWriteBytes(50_000_000))
		defer cl.Close()
		huge := make([]byte, 11_000_000)
		rnd.Read(huge)
		err := cl.ProduceSync(ctx, &kgo.Record{Topic: t, Value: huge}).FirstErr()
		want("error of a record too large", errors.Is(err, kerr.MessageTooLarge), true)
	})
	check("many-partitions", func(ctx context.Context) {
		t := kgoTopic(ctx, "many", 200, nil)
		kgoSend(ctx, t, numbers(5000), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
		want("records", len(kgoRead(ctx, t)), 5000)
	})
	check("pause-resume", f.pause)
	check("regex-subscription", f.regex)
	check("group-classic", func(ctx context.Context) { f.group(ctx, "classic", kgo.Balancers(kgo.RangeBalancer())) })
	check("group-cooperative", func(ctx context.Context) { f.group(ctx, "cooperative", kgo.Balancers(kgo.CooperativeStickyBalancer())) })
	check("group-static", f.static)
	// These wait for the heartbeats of the consumer protocol, whose interval is the broker's: they wait side by side.
	var wg sync.WaitGroup
	wg.Go(func() { check("group-kip848", func(ctx context.Context) { f.group(ctx, "kip848", kip848()) }) })
	wg.Go(func() { check("group-live-migration", f.migration) })
	wg.Wait()
}

func (franz) transactions(ctx context.Context) {
	t := kgoTopic(ctx, "txn", 1, nil)
	cl := kgoClient(kgo.TransactionalID(args["prefix"]+"-txn"), kgo.DefaultProduceTopic(t))
	defer cl.Close()
	var committed []string
	for n := range 6 {
		must(cl.BeginTransaction())
		for i := range 10 {
			v := fmt.Sprint(n, "-", i)
			must(cl.ProduceSync(ctx, kgo.StringRecord(v)).FirstErr())
			if n%3 != 1 {
				committed = append(committed, v)
			}
		}
		must(cl.EndTransaction(ctx, kgo.TransactionEndTry(n%3 != 1)))
	}
	kgoCommitted(ctx, t, committed)
	want("uncommitted records", len(kgoRead(ctx, t)), 60)
	must(cl.BeginTransaction())
	must(cl.ProduceSync(ctx, kgo.StringRecord("open")).FirstErr())
	adm := kadm.NewClient(cl)
	lso, hw := must1(adm.ListCommittedOffsets(ctx, t)), must1(adm.ListEndOffsets(ctx, t))
	want("last stable offset", lso[t][0].Offset, 66)
	want("high watermark", hw[t][0].Offset, 67)
	txns := must1(adm.DescribeTransactions(ctx, args["prefix"]+"-txn"))
	want("state", txns[args["prefix"]+"-txn"].State, "Ongoing")
	prods := must1(adm.DescribeProducers(ctx, kadm.TopicsSet{t: {0: {}}}))
	want("active producers", len(prods[t].Partitions[0].ActiveProducers), 1)
	must(cl.EndTransaction(ctx, kgo.TryAbort))
	kgoCommitted(ctx, t, committed)
}

func (franz) fencing(ctx context.Context) {
	t := kgoTopic(ctx, "fence", 1, nil)
	id := kgo.TransactionalID(args["prefix"] + "-fence")
	zombie, alive := kgoClient(id, kgo.DefaultProduceTopic(t)), kgoClient(id, kgo.DefaultProduceTopic(t))
	defer zombie.Close()
	defer alive.Close()
	must(zombie.BeginTransaction())
	must(zombie.ProduceSync(ctx, kgo.StringRecord("zombie")).FirstErr())
	must(alive.BeginTransaction())
	must(alive.ProduceSync(ctx, kgo.StringRecord("alive")).FirstErr())
	must(alive.EndTransaction(ctx, kgo.TryCommit))
	err := zombie.ProduceSync(ctx, kgo.StringRecord("late")).FirstErr()
	if err == nil {
		err = zombie.EndTransaction(ctx, kgo.TryCommit)
	}
	if !errors.Is(err, kerr.InvalidProducerEpoch) && !errors.Is(err, kerr.ProducerFenced) {
		panic(fmt.Sprintf("expected a fencing error, got %v", err))
	}
	kgoCommitted(ctx, t, []string{"alive"})
}

func (franz) times(ctx context.Context) {
	t := kgoTopic(ctx, "times", 1, nil)
	base := time.UnixMilli(1_600_000_000_000)
	cl := kgoClient(kgoCodec("zstd"))
	defer cl.Close()
	var rs []*kgo.Record
	for i := range 100 {
		rs = append(rs, &kgo.Record{Topic: t, Value: []byte(strconv.Itoa(i)), Timestamp: base.Add(time.Duration(i) * time.Second)})
	}
	must(cl.ProduceSync(ctx, rs...).FirstErr())
	adm := kadm.NewClient(cl)
	got := must1(adm.ListOffsetsAfterMilli(ctx, base.UnixMilli()+41_001, t))
	want("offset inside a compressed batch", got[t][0].Offset, 42)
	want("its timestamp", got[t][0].Timestamp, base.UnixMilli()+42_000)
	want("offset of the highest timestamp", must1(adm.ListMaxTimestampOffsets(ctx, t))[t][0].Offset, 99)
	c := kgoClient(kgo.ConsumeTopics(t), kgo.ConsumeStartOffset(kgo.NewOffset().AfterMilli(base.UnixMilli()+41_001)))
	defer c.Close()
	want("first record", string(c.PollFetches(ctx).Records()[0].Value), "42")
}

func (franz) admin(ctx context.Context) {
	t := kgoTopic(ctx, "admin", 2, map[string]*string{"retention.ms": kadm.StringPtr("3600000")})
	cl := kgoClient(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close()
	adm := kadm.NewClient(cl)
	_, err := adm.CreateTopic(ctx, 1, int16(replicas), nil, t)
	want("create again", errors.Is(err, kerr.TopicAlreadyExists), true)
	must(must1(adm.CreatePartitions(ctx, 2, t)).Error())
	settled()
	until("4 partitions", func() bool { return len(must1(adm.ListTopics(ctx, t))[t].Partitions) == 4 })
	must1(adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.DeleteConfig, Name: "retention.ms"}, {Name: "max.message.bytes", Value: kadm.StringPtr("2000000")}}, t))
	// Of several brokers another may be asked, which has not heard of it yet.
	until("the changed configs", func() bool {
		got := map[string]string{}
		for _, c := range must1(must1(adm.DescribeTopicConfigs(ctx, t)).On(t, nil)).Configs {
			got[c.Key] = c.MaybeValue()
		}
		return got["retention.ms"] == "604800000" && got["max.message.bytes"] == "2000000"
	})
	var rs []*kgo.Record
	for i := range 100 {
		rs = append(rs, &kgo.Record{Topic: t, Value: []byte(strconv.Itoa(i))})
	}
	must(cl.ProduceSync(ctx, rs...).FirstErr())
	must(must1(adm.DeleteRecords(ctx, kadm.Offsets{t: {0: {Topic: t, Partition: 0, At: 60}}})).Error())
	want("earliest", must1(adm.ListStartOffsets(ctx, t))[t][0].Offset, 60)
	group := args["prefix"] + "-admin"
	must(must1(adm.CommitOffsets(ctx, group, kadm.Offsets{t: {0: {Topic: t, Partition: 0, At: 70}}})).Error())
	lag := must1(adm.Lag(ctx, group))
	must(lag.Error())
	want("lag", lag[group].Lag[t][0].Lag, 30)
	must(must1(adm.DeleteGroups(ctx, group)).Error())
	want("brokers", len(must1(adm.ListBrokers(ctx))), nodes)
	must1(adm.DescribeAllLogDirs(ctx, nil))
	must(must1(adm.DeleteTopics(ctx, t)).Error())
	until("the deletion", func() bool { l := must1(adm.ListTopics(ctx)); return !l.Has(t) })
}

func (franz) pause(ctx context.Context) {
	t := kgoTopic(ctx, "pause", 2, nil)
	kgoSend(ctx, t, numbers(200), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	cl := kgoGroup(args["prefix"]+"-pause", t)
	defer cl.Close()
	cl.PauseFetchPartitions(map[string][]int32{t: {0}})
	count := map[int32]int{}
	drain := func(p int32) {
		for count[p] < 100 {
			fs := cl.PollFetches(ctx)
			must(fs.Err())
			fs.EachRecord(func(r *kgo.Record) { count[r.Partition]++ })
		}
	}
	drain(1)
	want("records of the paused partition", count[0], 0)
	cl.ResumeFetchPartitions(map[string][]int32{t: {0}})
	drain(0)
}

func (franz) regex(ctx context.Context) {
	t1 := kgoTopic(ctx, "regex-1", 1, nil)
	kgoSend(ctx, t1, []string{"one"})
	cl := kgoGroup(args["prefix"]+"-regex", "^"+args["prefix"]+"-regex-[0-9]+$", kgo.ConsumeRegex())
	defer cl.Close()
	seen := map[string]bool{}
	poll := func(t string) {
		for !seen[t] {
			fs := cl.PollFetches(ctx)
			must(fs.Err0())
			fs.EachRecord(func(r *kgo.Record) { seen[r.Topic] = true })
		}
	}
	poll(t1)
	t2 := kgoTopic(ctx, "regex-22", 1, nil)
	kgoSend(ctx, t2, []string{"two"})
	poll(t2)
}

// kgoMember is a group member polled by its own goroutine.
type kgoMember struct {
	cl   *kgo.Client
	done chan struct{}
	mu   sync.Mutex
	own  map[int32]bool
	seen map[string]bool
	err  error
}

func newKgoMember(group, topic string, opts ...kgo.Opt) *kgoMember {
	m := &kgoMember{own: map[int32]bool{}, seen: map[string]bool{}, done: make(chan struct{})}
	change := func(have bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, p := range parts[topic] {
				if have {
					m.own[p] = true
				} else {
					delete(m.own, p)
				}
			}
		}
	}
	opts = append(opts, kgo.OnPartitionsAssigned(change(true)), kgo.OnPartitionsRevoked(change(false)), kgo.OnPartitionsLost(change(false)),
		kgo.AutoCommitInterval(200*time.Millisecond))
	m.cl = kgoGroup(group, topic, opts...)
	go func() {
		defer close(m.done)
		for {
			fs := m.cl.PollFetches(context.Background())
			if fs.IsClientClosed() {
				return
			}
			m.mu.Lock()
			if err := fs.Err(); err != nil && m.err == nil {
				m.err = err
			}
			fs.EachRecord(func(r *kgo.Record) { m.seen[fmt.Sprint(r.Partition, "/", r.Offset)] = true })
			m.mu.Unlock()
		}
	}()
	return m
}

func (m *kgoMember) close() {
	must(m.cl.CommitUncommittedOffsets(context.Background()))
	m.cl.Close()
	<-m.done
}

func (m *kgoMember) owned() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		panic(m.err)
	}
	var out []int32
	for p := range m.own {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

func kgoBalanced(n int, members ...*kgoMember) {
	until(fmt.Sprintf("%d partitions spread over %d members", n, len(members)), func() bool {
		all, sum, most := map[int32]bool{}, 0, 0
		for _, m := range members {
			own := m.owned()
			sum += len(own)
			most = max(most, len(own))
			for _, p := range own {
				all[p] = true
			}
		}
		return sum == n && len(all) == n && most <= (n+len(members)-1)/len(members)
	})
}

func (franz) group(ctx context.Context, name string, opts ...kgo.Opt) {
	t, g := kgoTopic(ctx, "group-"+name, 6, nil), args["prefix"]+"-group-"+name
	kgoSend(ctx, t, numbers(600), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	a := newKgoMember(g, t, opts...)
	kgoBalanced(6, a)
	b, c := newKgoMember(g, t, opts...), newKgoMember(g, t, opts...)
	kgoBalanced(6, a, b, c)
	b.close()
	kgoBalanced(6, a, c)
	kgoSend(ctx, t, numbers(600), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	until("1200 records", func() bool {
		all := map[string]bool{}
		for _, m := range []*kgoMember{a, b, c} {
			m.mu.Lock()
			for k := range m.seen {
				all[k] = true
			}
			m.mu.Unlock()
		}
		return len(all) == 1200
	})
	a.close()
	c.close()
	adm := kadm.NewClient(kgoClient())
	defer adm.Close()
	committed, ends := must1(adm.FetchOffsets(ctx, g)), must1(adm.ListEndOffsets(ctx, t))
	ends.Each(func(o kadm.ListedOffset) {
		at, _ := committed.Lookup(t, o.Partition)
		want(fmt.Sprint("committed offset of partition ", o.Partition), at.At, o.Offset)
	})
	want("state", must1(adm.ListGroups(ctx))[g].State, "Empty")
}

func (franz) static(ctx context.Context) {
	t, g := kgoTopic(ctx, "static", 4, nil), args["prefix"]+"-static"
	a, b := newKgoMember(g, t, kgo.InstanceID("one")), newKgoMember(g, t, kgo.InstanceID("two"))
	kgoBalanced(4, a, b)
	before := a.owned()
	a.close()
	a = newKgoMember(g, t, kgo.InstanceID("one"))
	kgoBalanced(4, a, b)
	wantAll("assignment after the restart", a.owned(), before)
	b.close()
	a.close()
	adm := kadm.NewClient(kgoClient())
	defer adm.Close()
	must(must1(adm.LeaveGroup(ctx, kadm.LeaveGroup(g).InstanceIDs("one", "two"))).Error())
}

// migration rolls a classic group, member by member, to the consumer protocol and back, without a stop.
func (franz) migration(ctx context.Context) {
	t, g := kgoTopic(ctx, "migrate", 6, nil), args["prefix"]+"-migrate"
	classic := kgo.Balancers(kgo.RangeBalancer())
	a, b := newKgoMember(g, t, classic), newKgoMember(g, t, classic)
	kgoBalanced(6, a, b)
	c := newKgoMember(g, t, kip848())
	kgoBalanced(6, a, b, c)
	a.close()
	b.close()
	kgoBalanced(6, c)
	d := newKgoMember(g, t, classic)
	kgoBalanced(6, c, d)
	c.close()
	kgoBalanced(6, d)
	d.close()
}
