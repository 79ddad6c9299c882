package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

type saramaClient struct{}

func saramaConfig(edit ...func(*sarama.Config)) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V4_0_0_0
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	c.Consumer.Return.Errors = true
	c.Metadata.RefreshFrequency = time.Second
	c.Net.TLS.Config = tlsConfig()
	c.Net.TLS.Enable = c.Net.TLS.Config != nil
	saramaLogin(c)
	for _, e := range edit {
		e(c)
	}
	return c
}

// saramaLogin logs in where the environment says so. sarama leaves SCRAM to another library.
func saramaLogin(c *sarama.Config) {
	if mechanism == "" {
		return
	}
	c.Net.SASL.Enable, c.Net.SASL.Mechanism = true, sarama.SASLMechanism(mechanism)
	c.Net.SASL.User, c.Net.SASL.Password = user, password
	hash := scram.SHA256
	if mechanism == sarama.SASLTypeSCRAMSHA512 {
		hash = scram.SHA512
	}
	c.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &saramaScram{hash: hash} }
}

type saramaScram struct {
	hash scram.HashGeneratorFcn
	*scram.ClientConversation
}

func (s *saramaScram) Begin(user, password, authzID string) error {
	cl, err := s.hash.NewClient(user, password, authzID)
	if err == nil {
		s.ClientConversation = cl.NewConversation()
	}
	return err
}

func saramaCodec(name string) func(*sarama.Config) {
	return func(c *sarama.Config) { must(c.Producer.Compression.UnmarshalText([]byte(name))) }
}

// javaPartitioner spreads keys as the Java client does.
func javaPartitioner(c *sarama.Config) {
	c.Producer.Partitioner = func(string) sarama.Partitioner { return murmur{} }
}

type murmur struct{}

func (murmur) RequiresConsistency() bool { return true }

func (murmur) Partition(m *sarama.ProducerMessage, n int32) (int32, error) {
	key, err := m.Key.Encode()
	return int32(murmur2(key)&0x7fffffff) % n, err
}

// murmur2 is the hash by which Kafka's default partitioner spreads keys.
func murmur2(b []byte) uint32 {
	const m, r = 0x5bd1e995, 24
	h := uint32(0x9747b28c) ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h = h*m ^ k
	}
	for i := len(b) - 1; i >= 0; i-- {
		h ^= uint32(b[i]) << (8 * i)
	}
	if len(b) > 0 {
		h *= m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}

func (saramaClient) produce(context.Context) error {
	rows, err := input()
	if err != nil {
		return err
	}
	p, err := sarama.NewSyncProducer([]string{bootstrap}, saramaConfig(saramaCodec(args["codec"]), javaPartitioner))
	if err != nil {
		return err
	}
	defer p.Close()
	var ms []*sarama.ProducerMessage
	for _, row := range rows {
		ms = append(ms, &sarama.ProducerMessage{Topic: args["topic"], Key: sarama.StringEncoder(row[0]), Value: sarama.StringEncoder(row[1])})
	}
	if err := p.SendMessages(ms); err != nil {
		return err
	}
	fmt.Println("acked", len(ms))
	return nil
}

// printer prints what a group member consumes.
type printer struct{}

func (printer) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (printer) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (printer) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	for m := range c.Messages() {
		printRecord(m.Partition, m.Offset, m.Key, m.Value)
		s.MarkMessage(m, "")
		if len(c.Messages()) == 0 {
			flush()
		}
	}
	flush()
	return nil
}

func (saramaClient) consume(ctx context.Context) error {
	g, err := sarama.NewConsumerGroup([]string{bootstrap}, args["group"], saramaConfig(func(c *sarama.Config) {
		if args["isolation"] == "read_committed" {
			c.Consumer.IsolationLevel = sarama.ReadCommitted
		}
	}))
	if err != nil {
		return err
	}
	go func() {
		for range g.Errors() {
		}
	}()
	for ctx.Err() == nil {
		if err := g.Consume(ctx, []string{args["topic"]}, printer{}); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return g.Close()
}

func saramaTopic(name string, partitions int32, configs map[string]*string) string {
	adm := must1(sarama.NewClusterAdmin([]string{bootstrap}, saramaConfig()))
	defer adm.Close()
	t := args["prefix"] + "-" + name
	must(adm.CreateTopic(t, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: int16(replicas), ConfigEntries: configs}, false))
	settled()
	cl := must1(sarama.NewClient([]string{bootstrap}, saramaConfig()))
	defer cl.Close()
	until(t+" to be served", func() bool {
		for p := range partitions {
			if _, err := cl.GetOffset(t, p, sarama.OffsetNewest); err != nil {
				return false
			}
		}
		return true
	})
	return t
}

func saramaSend(t string, values []string, edit ...func(*sarama.Config)) {
	p := must1(sarama.NewSyncProducer([]string{bootstrap}, saramaConfig(edit...)))
	defer p.Close()
	var ms []*sarama.ProducerMessage
	for _, v := range values {
		ms = append(ms, &sarama.ProducerMessage{Topic: t, Value: sarama.StringEncoder(v)})
	}
	must(p.SendMessages(ms))
}

// saramaRead reads n records of partition 0.
func saramaRead(t string, n int, edit ...func(*sarama.Config)) []*sarama.ConsumerMessage {
	c := must1(sarama.NewConsumer([]string{bootstrap}, saramaConfig(edit...)))
	defer c.Close()
	pc := must1(c.ConsumePartition(t, 0, sarama.OffsetOldest))
	defer pc.Close()
	var out []*sarama.ConsumerMessage
	for len(out) < n {
		select {
		case m := <-pc.Messages():
			out = append(out, m)
		case err := <-pc.Errors():
			panic(err)
		case <-time.After(20 * time.Second):
			panic(fmt.Sprintf("%d of %d records after 20 s of silence", len(out), n))
		}
	}
	return out
}

func saramaValues(t string, n int, edit ...func(*sarama.Config)) []string {
	var out []string
	for _, m := range saramaRead(t, n, edit...) {
		out = append(out, string(m.Value))
	}
	return out
}

func idempotent(c *sarama.Config) {
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
}

func transactional(id string) func(*sarama.Config) {
	return func(c *sarama.Config) {
		idempotent(c)
		c.Producer.Transaction.ID = args["prefix"] + "-" + id
	}
}

func readCommitted(c *sarama.Config) { c.Consumer.IsolationLevel = sarama.ReadCommitted }

func (s saramaClient) smoke() {
	check("codecs", func(context.Context) {
		for _, codec := range codecs {
			t := saramaTopic("codec-"+codec, 1, nil)
			saramaSend(t, numbers(500), saramaCodec(codec))
			wantAll(codec, saramaValues(t, 500), numbers(500))
		}
	})
	check("oldest-protocol", func(context.Context) {
		// The oldest versions that Apache Kafka 4 still serves.
		old := func(c *sarama.Config) { c.Version = sarama.V2_1_0_0; c.ApiVersionsRequest = false }
		t := saramaTopic("old", 1, nil)
		saramaSend(t, numbers(100), old)
		wantAll("values", saramaValues(t, 100, old), numbers(100))
	})
	check("idempotence", func(context.Context) {
		t := saramaTopic("idempotent", 1, nil)
		saramaSend(t, numbers(2000), idempotent)
		for i, m := range saramaRead(t, 2000) {
			want("offset", m.Offset, int64(i))
			want("value", string(m.Value), strconv.Itoa(i))
		}
	})
	check("transactions", func(context.Context) {
		t := saramaTopic("txn", 1, nil)
		p := must1(sarama.NewSyncProducer([]string{bootstrap}, saramaConfig(transactional("txn"))))
		defer p.Close()
		var committed []string
		for n := range 6 {
			must(p.BeginTxn())
			for i := range 10 {
				v := fmt.Sprint(n, "-", i)
				_, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: t, Value: sarama.StringEncoder(v)})
				must(err)
				if n%3 != 1 {
					committed = append(committed, v)
				}
			}
			if n%3 == 1 {
				must(p.AbortTxn())
			} else {
				must(p.CommitTxn())
			}
		}
		wantAll("committed", saramaValues(t, 40, readCommitted), committed)
		want("uncommitted records", len(saramaRead(t, 60)), 60)
	})
	check("transaction-fencing", func(context.Context) {
		t := saramaTopic("fence", 1, nil)
		zombie := must1(sarama.NewSyncProducer([]string{bootstrap}, saramaConfig(transactional("fence"))))
		must(zombie.BeginTxn())
		_, _, err := zombie.SendMessage(&sarama.ProducerMessage{Topic: t, Value: sarama.StringEncoder("zombie")})
		must(err)
		p := must1(sarama.NewSyncProducer([]string{bootstrap}, saramaConfig(transactional("fence"))))
		defer p.Close()
		must(p.BeginTxn())
		_, _, err = p.SendMessage(&sarama.ProducerMessage{Topic: t, Value: sarama.StringEncoder("alive")})
		must(err)
		must(p.CommitTxn())
		if err := zombie.CommitTxn(); err == nil {
			panic("a fenced producer could commit")
		}
		wantAll("committed", saramaValues(t, 1, readCommitted), []string{"alive"})
	})
	check("seek-by-time", func(context.Context) {
		t := saramaTopic("times", 1, nil)
		p := must1(sarama.NewSyncProducer([]string{bootstrap}, saramaConfig(saramaCodec("gzip"))))
		defer p.Close()
		var ms []*sarama.ProducerMessage
		for i := range 100 {
			ms = append(ms, &sarama.ProducerMessage{Topic: t, Value: sarama.StringEncoder("v"), Timestamp: time.UnixMilli(1_600_000_000_000 + int64(i)*1000)})
		}
		must(p.SendMessages(ms))
		cl := must1(sarama.NewClient([]string{bootstrap}, saramaConfig()))
		defer cl.Close()
		want("offset inside a compressed batch", must1(cl.GetOffset(t, 0, 1_600_000_041_001)), 42)
		want("end", must1(cl.GetOffset(t, 0, sarama.OffsetNewest)), 100)
	})
	check("large-messages", func(context.Context) {
		size := "10000000"
		t := saramaTopic("large", 1, map[string]*string{"max.message.bytes": &size})
		big := make([]byte, 5_000_000)
		rand.NewChaCha8([32]byte{1}).Read(big)
		saramaSend(t, []string{string(big)}, func(c *sarama.Config) { c.Producer.MaxMessageBytes = 20_000_000 })
		want("value", string(saramaRead(t, 1)[0].Value) == string(big), true)
	})
	check("many-partitions", s.many)
	check("pause-resume", s.pause)
	check("admin", s.admin)
	check("group-classic", func(ctx context.Context) { s.group(ctx, "classic", nil) })
	check("group-static", func(ctx context.Context) {
		n := 0
		s.group(ctx, "static", func(c *sarama.Config) { n++; c.Consumer.Group.InstanceId = "i" + strconv.Itoa(n) })
	})
}

// saramaSpread sends n records, each to the next of the partitions.
func saramaSpread(t string, n int, partitions ...int32) {
	p := must1(sarama.NewSyncProducer([]string{bootstrap}, saramaConfig(func(c *sarama.Config) { c.Producer.Partitioner = sarama.NewManualPartitioner })))
	defer p.Close()
	var ms []*sarama.ProducerMessage
	for i := range n {
		ms = append(ms, &sarama.ProducerMessage{Topic: t, Partition: partitions[i%len(partitions)], Value: sarama.StringEncoder("v")})
	}
	must(p.SendMessages(ms))
}

func (saramaClient) many(ctx context.Context) {
	t := saramaTopic("many", 200, nil)
	var every []int32
	for p := range int32(200) {
		every = append(every, p)
	}
	saramaSpread(t, 2000, every...)
	c := must1(sarama.NewConsumer([]string{bootstrap}, saramaConfig()))
	defer c.Close()
	all := make(chan string, 2000)
	for p := range int32(200) {
		pc := must1(c.ConsumePartition(t, p, sarama.OffsetOldest))
		defer pc.AsyncClose()
		go func() {
			for m := range pc.Messages() {
				all <- fmt.Sprint(m.Partition, "/", m.Offset)
			}
		}()
	}
	seen := map[string]bool{}
	for len(seen) < 2000 {
		select {
		case r := <-all:
			seen[r] = true
		case <-ctx.Done():
			panic(fmt.Sprintf("%d of 2000 records", len(seen)))
		}
	}
}

// saramaNeighbours are two partitions that one broker leads, of a topic with more partitions than there are brokers.
func saramaNeighbours(t string) (int32, int32) {
	cl := must1(sarama.NewClient([]string{bootstrap}, saramaConfig()))
	defer cl.Close()
	led := map[int32]int32{}
	for p := range int32(nodes) + 1 {
		leader := must1(cl.Leader(t, p)).ID()
		if other, ok := led[leader]; ok {
			return other, p
		}
		led[leader] = p
	}
	panic("no broker leads two partitions of " + t)
}

func (saramaClient) pause(ctx context.Context) {
	t := saramaTopic("pause", int32(nodes)+1, nil)
	one, two := saramaNeighbours(t)
	c := must1(sarama.NewConsumer([]string{bootstrap}, saramaConfig()))
	defer c.Close()
	first, second := must1(c.ConsumePartition(t, one, sarama.OffsetOldest)), must1(c.ConsumePartition(t, two, sarama.OffsetOldest))
	defer first.AsyncClose()
	defer second.AsyncClose()
	saramaSpread(t, 2, one, two)
	drain := func(pc sarama.PartitionConsumer, n int) {
		for range n {
			select {
			case <-pc.Messages():
			case <-ctx.Done():
				panic("the records of a partition that is not paused did not come")
			}
		}
	}
	drain(first, 1)
	drain(second, 1)
	c.Pause(map[string][]int32{t: {one}})
	want("paused", first.IsPaused(), true)
	// Both partitions of one broker share its fetches: one that was under way when the first was paused still asks
	// for it, and has ended once the second brought something after the pause.
	saramaSpread(t, 1, two)
	drain(second, 1)
	saramaSpread(t, 200, one, two)
	drain(second, 100)
	want("high watermark of the paused partition", first.HighWaterMarkOffset(), 1)
	want("records of the paused partition", len(first.Messages()), 0)
	c.Resume(map[string][]int32{t: {one}})
	drain(first, 100)
}

func (saramaClient) admin(context.Context) {
	t := saramaTopic("admin", 2, nil)
	adm := must1(sarama.NewClusterAdmin([]string{bootstrap}, saramaConfig()))
	defer adm.Close()
	err := adm.CreateTopic(t, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: int16(replicas)}, false)
	want("create again", errors.Is(err, sarama.ErrTopicAlreadyExists), true)
	must(adm.CreatePartitions(t, 4, nil, false))
	settled()
	until("4 partitions", func() bool { return len(must1(adm.DescribeTopics([]string{t}))[0].Partitions) == 4 })
	v := "2000000"
	must(adm.IncrementalAlterConfig(sarama.TopicResource, t, map[string]sarama.IncrementalAlterConfigsEntry{
		"max.message.bytes": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &v},
	}, false))
	settled()
	cfg := must1(adm.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: t}))
	i := slices.IndexFunc(cfg, func(e sarama.ConfigEntry) bool { return e.Name == "max.message.bytes" })
	want("max.message.bytes", cfg[i].Value, v)
	saramaSend(t, numbers(100), func(c *sarama.Config) { c.Producer.Partitioner = sarama.NewManualPartitioner })
	must(adm.DeleteRecords(t, map[int32]int64{0: 60}))
	cl := must1(sarama.NewClient([]string{bootstrap}, saramaConfig()))
	defer cl.Close()
	want("earliest", must1(cl.GetOffset(t, 0, sarama.OffsetOldest)), 60)
	must1(adm.ListConsumerGroups())
	brokers, _, err := adm.DescribeCluster()
	must(err)
	want("brokers", len(brokers), nodes)
	must1(adm.DescribeLogDirs([]int32{brokers[0].ID()}))
	must(adm.DeleteTopic(t))
}

// owner records what a group member holds and sees.
type owner struct {
	mu   sync.Mutex
	own  []int32
	seen map[string]bool
}

func (o *owner) set(own []int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.own = own
}

func (o *owner) owned() []int32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.own
}

func (o *owner) Setup(s sarama.ConsumerGroupSession) error {
	for _, parts := range s.Claims() {
		o.set(slices.Clone(parts))
	}
	return nil
}

func (o *owner) Cleanup(sarama.ConsumerGroupSession) error { o.set(nil); return nil }

func (o *owner) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	for m := range c.Messages() {
		o.mu.Lock()
		o.seen[fmt.Sprint(m.Partition, "/", m.Offset)] = true
		o.mu.Unlock()
		s.MarkMessage(m, "")
	}
	return nil
}

func (saramaClient) group(ctx context.Context, name string, edit func(*sarama.Config)) {
	t, g := saramaTopic("group-"+name, 6, nil), args["prefix"]+"-group-"+name
	saramaSend(t, numbers(600))
	type member struct {
		*owner
		stop func()
	}
	join := func() member {
		cfg := saramaConfig()
		if edit != nil {
			edit(cfg)
		}
		cg := must1(sarama.NewConsumerGroup([]string{bootstrap}, g, cfg))
		go func() {
			for range cg.Errors() {
			}
		}()
		ctx, cancel := context.WithCancel(ctx)
		o := &owner{seen: map[string]bool{}}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ctx.Err() == nil {
				if err := cg.Consume(ctx, []string{t}, o); err != nil {
					return
				}
			}
		}()
		return member{o, func() { cancel(); <-done; must(cg.Close()) }}
	}
	balanced := func(ms ...member) {
		until(fmt.Sprintf("6 partitions spread over %d members", len(ms)), func() bool {
			all, most := map[int32]bool{}, 0
			sum := 0
			for _, m := range ms {
				own := m.owned()
				sum, most = sum+len(own), max(most, len(own))
				for _, p := range own {
					all[p] = true
				}
			}
			return sum == 6 && len(all) == 6 && most == 6/len(ms)
		})
	}
	a := join()
	balanced(a)
	b, c := join(), join()
	balanced(a, b, c)
	if name == "classic" {
		b.stop()
		balanced(a, c)
	}
	saramaSend(t, numbers(600))
	until("1200 records", func() bool {
		all := map[string]bool{}
		for _, m := range []member{a, b, c} {
			m.mu.Lock()
			for k := range m.seen {
				all[k] = true
			}
			m.mu.Unlock()
		}
		return len(all) == 1200
	})
	a.stop()
	c.stop()
	if name != "classic" {
		b.stop()
	}
}
