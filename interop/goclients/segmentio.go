package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

type segmentio struct{}

var segmentioCodecs = map[string]kafka.Compression{"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}

// segmentioLogin logs in where the environment says so; nil is no login.
func segmentioLogin() sasl.Mechanism {
	switch mechanism {
	case "":
		return nil
	case "PLAIN":
		return plain.Mechanism{Username: user, Password: password}
	case "SCRAM-SHA-256":
		return must1(scram.Mechanism(scram.SHA256, user, password))
	}
	return must1(scram.Mechanism(scram.SHA512, user, password))
}

// segmentioTransport is the library's own where there is no login.
func segmentioTransport() kafka.RoundTripper {
	if mechanism == "" {
		return nil
	}
	return &kafka.Transport{SASL: segmentioLogin()}
}

func segmentioWriter(topic, codec string) *kafka.Writer {
	return &kafka.Writer{
		Addr: kafka.TCP(bootstrap), Topic: topic, Balancer: kafka.Murmur2Balancer{}, RequiredAcks: kafka.RequireAll,
		Compression: segmentioCodecs[codec], Transport: segmentioTransport(), BatchTimeout: 5 * time.Millisecond, BatchSize: 1000, BatchBytes: 20_000_000,
	}
}

func (segmentio) produce(ctx context.Context) error {
	rows, err := input()
	if err != nil {
		return err
	}
	w := segmentioWriter(args["topic"], args["codec"])
	for from := 0; from < len(rows); from += 1000 {
		var ms []kafka.Message
		for _, row := range rows[from:min(len(rows), from+1000)] {
			ms = append(ms, kafka.Message{Key: []byte(row[0]), Value: []byte(row[1])})
		}
		if err := w.WriteMessages(ctx, ms...); err != nil {
			return err
		}
	}
	fmt.Println("acked", len(rows))
	return w.Close()
}

func segmentioGroup(group, topic string) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{bootstrap}, GroupID: group, Topic: topic, StartOffset: kafka.FirstOffset, MaxWait: 200 * time.Millisecond,
		HeartbeatInterval: 500 * time.Millisecond, JoinGroupBackoff: 100 * time.Millisecond, WatchPartitionChanges: true,
		CommitInterval: 200 * time.Millisecond, Dialer: &kafka.Dialer{Timeout: 10 * time.Second, DualStack: true, SASLMechanism: segmentioLogin()},
	})
}

func (segmentio) consume(ctx context.Context) error {
	r := segmentioGroup(args["group"], args["topic"])
	for {
		m, err := r.ReadMessage(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return err
		}
		printRecord(int32(m.Partition), m.Offset, m.Key, m.Value)
		if m.Offset+1 >= m.HighWaterMark {
			flush()
		}
	}
	flush()
	return r.Close()
}

func segmentioTopic(ctx context.Context, name string, partitions int, entries ...kafka.ConfigEntry) string {
	t := args["prefix"] + "-" + name
	cl := &kafka.Client{Addr: kafka.TCP(bootstrap)}
	resp := must1(cl.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{
		{Topic: t, NumPartitions: partitions, ReplicationFactor: replicas, ConfigEntries: entries},
	}}))
	must(resp.Errors[t])
	settled()
	var ends []kafka.OffsetRequest
	for p := range partitions {
		ends = append(ends, kafka.LastOffsetOf(p))
	}
	until(t+" to be served", func() bool {
		o, err := cl.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{t: ends}})
		return err == nil && len(o.Topics[t]) == partitions && !slices.ContainsFunc(o.Topics[t], func(p kafka.PartitionOffsets) bool { return p.Error != nil })
	})
	return t
}

func segmentioSend(ctx context.Context, t, codec string, values []string) {
	w := segmentioWriter(t, codec)
	defer w.Close()
	var ms []kafka.Message
	for _, v := range values {
		ms = append(ms, kafka.Message{Value: []byte(v)})
	}
	must(w.WriteMessages(ctx, ms...))
}

func segmentioRead(ctx context.Context, t string, n int) []string {
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{bootstrap}, Topic: t, MaxWait: 200 * time.Millisecond, MaxBytes: 20_000_000})
	defer r.Close()
	var out []string
	for len(out) < n {
		out = append(out, string(must1(r.ReadMessage(ctx)).Value))
	}
	return out
}

func (s segmentio) smoke() {
	check("codecs", func(ctx context.Context) {
		for _, codec := range codecs {
			t := segmentioTopic(ctx, "codec-"+codec, 1)
			segmentioSend(ctx, t, codec, numbers(500))
			wantAll(codec, segmentioRead(ctx, t, 500), numbers(500))
		}
	})
	check("large-messages", func(ctx context.Context) {
		t := segmentioTopic(ctx, "large", 1, kafka.ConfigEntry{ConfigName: "max.message.bytes", ConfigValue: "10000000"})
		big := make([]byte, 5_000_000)
		rand.NewChaCha8([32]byte{1}).Read(big)
		segmentioSend(ctx, t, "none", []string{string(big)})
		want("value", segmentioRead(ctx, t, 1)[0] == string(big), true)
	})
	check("seek-by-time", func(ctx context.Context) {
		t := segmentioTopic(ctx, "times", 1)
		w := segmentioWriter(t, "lz4")
		var ms []kafka.Message
		for i := range 100 {
			ms = append(ms, kafka.Message{Value: []byte(strconv.Itoa(i)), Time: time.UnixMilli(1_600_000_000_000 + int64(i)*1000)})
		}
		must(w.WriteMessages(ctx, ms...))
		must(w.Close())
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{bootstrap}, Topic: t, MaxWait: 200 * time.Millisecond})
		defer r.Close()
		must(r.SetOffsetAt(ctx, time.UnixMilli(1_600_000_041_001)))
		want("first record", string(must1(r.ReadMessage(ctx)).Value), "42")
	})
	check("many-partitions", func(ctx context.Context) {
		t := segmentioTopic(ctx, "many", 200)
		w := segmentioWriter(t, "none")
		w.Balancer = &kafka.RoundRobin{}
		var ms []kafka.Message
		for _, v := range numbers(2000) {
			ms = append(ms, kafka.Message{Value: []byte(v)})
		}
		must(w.WriteMessages(ctx, ms...))
		must(w.Close())
		r := segmentioGroup(args["prefix"]+"-many", t)
		seen := map[string]bool{}
		for len(seen) < 2000 {
			seen[string(must1(r.ReadMessage(ctx)).Value)] = true
		}
		must(r.Close())
	})
	check("transaction-offsets", s.offsets)
	check("transaction-fencing", s.fencing)
	check("admin", func(ctx context.Context) {
		t := segmentioTopic(ctx, "admin", 2)
		cl := &kafka.Client{Addr: kafka.TCP(bootstrap)}
		again := must1(cl.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: t, NumPartitions: 1, ReplicationFactor: replicas}}}))
		want("create again", errors.Is(again.Errors[t], kafka.TopicAlreadyExists), true)
		grow := must1(cl.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: t, Count: 4}}}))
		must(grow.Errors[t])
		settled()
		until("4 partitions", func() bool {
			return len(must1(cl.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{t}})).Topics[0].Partitions) == 4
		})
		must1(cl.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
			{ResourceType: kafka.ResourceTypeTopic, ResourceName: t},
		}}))
		must1(cl.ListGroups(ctx, &kafka.ListGroupsRequest{}))
		del := must1(cl.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{t}}))
		must(del.Errors[t])
	})
	check("group-classic", s.group)
}

func (segmentio) group(ctx context.Context) {
	t, g := segmentioTopic(ctx, "group", 6), args["prefix"]+"-group"
	segmentioSend(ctx, t, "zstd", numbers(600))
	seen := make(chan string, 10_000)
	join := func() (*kafka.Reader, chan error) {
		r, done := segmentioGroup(g, t), make(chan error, 1)
		go func() {
			for {
				m, err := r.ReadMessage(ctx)
				if err != nil {
					done <- err
					return
				}
				seen <- fmt.Sprint(m.Partition, "/", m.Offset)
			}
		}()
		return r, done
	}
	all := map[string]bool{}
	collect := func(n int) {
		for len(all) < n {
			select {
			case s := <-seen:
				all[s] = true
			case <-ctx.Done():
				panic(fmt.Sprintf("%d of %d records", len(all), n))
			}
		}
	}
	leave := func(r *kafka.Reader, done chan error) {
		must(r.Close())
		if err := <-done; !errors.Is(err, io.EOF) {
			panic(err)
		}
	}
	a, aDone := join()
	collect(600)
	b, bDone := join()
	segmentioSend(ctx, t, "none", numbers(600))
	collect(1200)
	leave(a, aDone)
	segmentioSend(ctx, t, "none", numbers(600))
	collect(1800)
	leave(b, bDone)
}

// segmentioTxn is a transaction as far as this client has them: it writes no records in one, but offers the requests
// of the coordinator.
type segmentioTxn struct {
	cl *kafka.Client
	id string
	*kafka.ProducerSession
}

// segmentioBegin takes over a transactional id, as soon as what was open under it is aborted.
func segmentioBegin(ctx context.Context, id string) segmentioTxn {
	x := segmentioTxn{cl: &kafka.Client{Addr: kafka.TCP(bootstrap)}, id: id}
	until("the producer id of "+id, func() bool {
		// Zero is a producer id like any other; -1 asks as a new producer does.
		resp := must1(x.cl.InitProducerID(ctx, &kafka.InitProducerIDRequest{
			TransactionalID: id, TransactionTimeoutMs: 60_000, ProducerID: -1, ProducerEpoch: -1,
		}))
		x.ProducerSession = resp.Producer
		return begun(resp.Error)
	})
	return x
}

// begun tells whether the transaction before has ended; any other error is a failure.
func begun(err error) bool {
	if errors.Is(err, kafka.ConcurrentTransactions) {
		return false
	}
	must(err)
	return true
}

func (x segmentioTxn) add(ctx context.Context, t string) error {
	resp := must1(x.cl.AddPartitionsToTxn(ctx, &kafka.AddPartitionsToTxnRequest{
		TransactionalID: x.id, ProducerID: x.ProducerID, ProducerEpoch: x.ProducerEpoch,
		Topics: map[string][]kafka.AddPartitionToTxn{t: {{Partition: 0}}},
	}))
	return resp.Topics[t][0].Error
}

func (x segmentioTxn) commit(ctx context.Context, group, t string, offset int64) {
	added := must1(x.cl.AddOffsetsToTxn(ctx, &kafka.AddOffsetsToTxnRequest{
		TransactionalID: x.id, ProducerID: x.ProducerID, ProducerEpoch: x.ProducerEpoch, GroupID: group,
	}))
	must(added.Error)
	resp := must1(x.cl.TxnOffsetCommit(ctx, &kafka.TxnOffsetCommitRequest{
		TransactionalID: x.id, ProducerID: x.ProducerID, ProducerEpoch: x.ProducerEpoch, GroupID: group, GenerationID: -1,
		Topics: map[string][]kafka.TxnOffsetCommit{t: {{Partition: 0, Offset: offset}}},
	}))
	must(resp.Topics[t][0].Error)
}

func (x segmentioTxn) end(ctx context.Context, commit bool) error {
	return must1(x.cl.EndTxn(ctx, &kafka.EndTxnRequest{
		TransactionalID: x.id, ProducerID: x.ProducerID, ProducerEpoch: x.ProducerEpoch, Committed: commit,
	})).Error
}

// offsets commits offsets in transactions, and reads the records around their markers.
func (segmentio) offsets(ctx context.Context) {
	t, group := segmentioTopic(ctx, "txn-offsets", 1), args["prefix"]+"-txn-offsets"
	segmentioSend(ctx, t, "none", []string{"before"})
	stored := func(x segmentioTxn) int64 {
		resp := must1(x.cl.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{t: {0}}}))
		must(resp.Error)
		return resp.Topics[t][0].CommittedOffset
	}
	x := segmentioBegin(ctx, group)
	for _, commit := range []bool{false, true} {
		until("a transaction to begin", func() bool { return begun(x.add(ctx, t)) })
		x.commit(ctx, group, t, 7)
		must(x.end(ctx, commit))
		if !commit {
			want("offset after an abort", stored(x), -1)
		}
	}
	until("the committed offset", func() bool { return stored(x) == 7 })
	segmentioSend(ctx, t, "none", []string{"after"})
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{bootstrap}, Topic: t, MaxWait: 200 * time.Millisecond, IsolationLevel: kafka.ReadCommitted})
	defer r.Close()
	// This client hands out the markers, too.
	for i, value := range map[int64]string{0: "before", 3: "after"} {
		must(r.SetOffset(i))
		m := must1(r.ReadMessage(ctx))
		want("offset", m.Offset, i)
		want("value", string(m.Value), value)
	}
}

func (segmentio) fencing(ctx context.Context) {
	t, id := segmentioTopic(ctx, "fence", 1), args["prefix"]+"-fence"
	zombie := segmentioBegin(ctx, id)
	must(zombie.add(ctx, t))
	alive := segmentioBegin(ctx, id)
	for name, err := range map[string]error{"add of a partition": zombie.add(ctx, t), "commit": zombie.end(ctx, true)} {
		if !errors.Is(err, kafka.InvalidProducerEpoch) && !errors.Is(err, kafka.ProducerFenced) {
			panic(fmt.Sprintf("the zombie's %s: expected a fencing error, got %v", name, err))
		}
	}
	must(alive.add(ctx, t))
	must(alive.end(ctx, true))
}
