package node

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/logstead/logstead/internal/broker/coord"
)

func (c *trio) leader(topic string, partition int) int {
	t := c.up()[0].image().Topic(topic)
	if t == nil {
		return -1
	}
	return int(t.Partitions[partition].Leader)
}

// inSync waits until every partition of a topic has n in-sync replicas.
func (c *trio) inSync(topic string, n int) {
	c.t.Helper()
	c.eventually(topic+" in sync", func() bool {
		t := c.up()[0].image().Topic(topic)
		if t == nil {
			return false
		}
		for _, p := range t.Partitions {
			if len(p.ISR) < n || p.Leader < 0 {
				return false
			}
		}
		return true
	})
}

// replicated creates a topic on all three nodes, and waits until these that run know it.
func (c *trio) replicated(topic string, partitions int32) {
	c.t.Helper()
	_, err := kadm.NewClient(c.client()).CreateTopic(deadline(c.t), partitions, 3, nil, topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) { // which is the answer to a request that had to be repeated
		c.t.Fatal(err)
	}
	c.everywhere(topic)
}

// produceNumbers writes numbered records with acks=all.
func produceNumbers(t *testing.T, cl *kgo.Client, topic string, from, to int) {
	t.Helper()
	ctx := deadline(t)
	for i := from; i < to; i++ {
		cl.Produce(ctx, &kgo.Record{Topic: topic, Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("record %d: %v", i, err)
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestClusterFailsOver kills the leader of a partition, then the active controller, and brings them
// back; what was acknowledged is there once, at the end of it.
func TestClusterFailsOver(t *testing.T) {
	c := startTrio(t)
	c.replicated("orders", 3)
	p := c.client()
	produceNumbers(t, p, "orders", 0, 100)
	lost := c.leader("orders", 0)
	c.crash(lost)
	produceNumbers(t, p, "orders", 100, 200)
	c.eventually("another leader", func() bool { l := c.leader("orders", 0); return l > 0 && l != lost })
	c.startAll(lost)
	c.inSync("orders", 3)
	active, _ := c.active()
	c.crash(active)
	produceNumbers(t, p, "orders", 200, 300)
	c.startAll(active)
	c.inSync("orders", 3)
	readAll(t, deadline(t), c.client(kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), 300)
}

// coordinator is the broker that leads the shard of a key.
func (c *trio) coordinator(topic, key string) int {
	return c.leader(topic, int(coord.ShardFor(key, int32(len(c.up()[0].image().Topic(topic).Partitions)))))
}

// TestClusterMovesCoordinators kills the broker that coordinates a transaction in the middle of it, then the
// one that coordinates a group: neither loses what it was told.
func TestClusterMovesCoordinators(t *testing.T) {
	c := startTrio(t)
	c.replicated("orders", 1)
	ctx := deadline(t)
	p := c.client(kgo.TransactionalID("till"))
	for round := range 4 {
		if err := p.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := p.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: fmt.Append(nil, round)}).FirstErr(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if round == 1 {
			lost := c.coordinator(transactionsTopic, "till")
			c.crash(lost)
			c.eventually("another coordinator", func() bool {
				now := c.coordinator(transactionsTopic, "till")
				return now > 0 && now != lost
			})
			c.startAll(lost)
		}
		if err := p.EndTransaction(ctx, kgo.TransactionEndTry(round != 2)); err != nil {
			t.Fatalf("end of round %d: %v", round, err)
		}
	}
	group := func() *kgo.Client {
		return c.client(kgo.ConsumerGroup("shipping"), kgo.ConsumeTopics("orders"), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	g := group()
	readAll(t, ctx, g, 3) // one of the four was aborted
	if err := g.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	lost := c.coordinator(offsetsTopic, "shipping")
	c.crash(lost)
	if err := p.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := p.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("last")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := p.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	readAll(t, ctx, g, 1)
	if err := g.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	g.Close()
	c.startAll(lost)
	offsets, err := kadm.NewClient(c.client()).FetchOffsets(ctx, "shipping")
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := offsets.Lookup("orders", 0); !ok || at.At < 9 { // five records, four markers before the last
		t.Errorf("committed offset %+v", at)
	}
}

// TestClusterRollingRestart stops and starts every node in order while a producer and a group run; no
// error reaches them.
func TestClusterRollingRestart(t *testing.T) {
	c := startTrio(t)
	c.replicated("orders", 3)
	p := c.client()
	g := c.client(kgo.ConsumerGroup("shipping"), kgo.ConsumeTopics("orders"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	produceNumbers(t, p, "orders", 0, 50)
	read := 0
	reach := func(want int) {
		t.Helper()
		ctx := deadline(t)
		for read < want {
			fetches := g.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatalf("%d of %d records: %v", read, want, err)
			}
			read += fetches.NumRecords()
		}
	}
	reach(50) // a coordinator forgets a member that it has not yet told of the group, and the client says so
	for id := 1; id <= 3; id++ {
		c.stop(id)
		produceNumbers(t, p, "orders", id*50, id*50+50)
		c.startAll(id)
		c.inSync("orders", 3)
		c.inSync(offsetsTopic, 3)
	}
	reach(200)
}

// TestClusterTellsWhoLeads asks a broker for a partition that it is no replica of: it says who leads (KIP-951).
func TestClusterTellsWhoLeads(t *testing.T) {
	c := startTrio(t)
	c.create(1, "orders", 2)
	c.everywhere("orders")
	topic := c.up()[0].image().Topic("orders")
	leader := topic.Partitions[0].Leader
	for id := 1; id <= 3; id++ {
		if slices.Contains(topic.Partitions[0].Replicas, int32(id)) {
			continue
		}
		req := kmsg.NewPtrFetchRequest()
		rt, rp := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
		rt.TopicID, rt.Topic, rp.PartitionMaxBytes = topic.ID, "orders", 1000
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics, req.MaxBytes = append(req.Topics, rt), 1000
		resp, err := c.client().Broker(id).Request(deadline(t), req)
		if err != nil {
			t.Fatal(err)
		}
		f, _ := resp.(*kmsg.FetchResponse)
		p := f.Topics[0].Partitions[0]
		if p.ErrorCode == 0 || p.CurrentLeader.LeaderID != leader || len(f.Brokers) != 1 || f.Brokers[0].NodeID != leader {
			t.Errorf("broker %d: error %d, leader %+v at %+v; broker %d leads", id, p.ErrorCode, p.CurrentLeader, f.Brokers, leader)
		}
	}
}

// TestClusterStopsPromptly starts a cluster and has one broker hand over, with heartbeats ten minutes apart:
// whatever the controller waits for, it hears of at once.
func TestClusterStopsPromptly(t *testing.T) {
	c := startTrio(t, "broker.heartbeat.interval.ms=600000", "broker.session.timeout.ms=1800000")
	c.replicated("orders", 3)
	if err := c.nodes[2].uplink.Shutdown(deadline(t)); err != nil {
		t.Errorf("hand over: %v", err)
	}
	c.stop(2)
}

// TestClusterFetchersOfALeader changes num.replica.fetchers while records come in: partitions move between
// fetchers, and followers go on where they were.
func TestClusterFetchersOfALeader(t *testing.T) {
	c := startTrio(t)
	c.replicated("orders", 12)
	p := c.client()
	loops := func() (most int) {
		for _, n := range c.up() {
			_, l := n.fetchers.Following()
			most = max(most, l)
		}
		return most
	}
	one := loops() // for two leaders, with and without syncing
	adm := kadm.NewClient(c.client())
	for i, fetchers := range []string{"4", "2", "1"} {
		resps, err := adm.AlterBrokerConfigs(deadline(t), []kadm.AlterConfig{{Name: "num.replica.fetchers", Value: &fetchers}})
		if err != nil || resps[0].Err != nil {
			t.Fatalf("set num.replica.fetchers: %v, %+v", err, resps)
		}
		produceNumbers(t, p, "orders", 100*i, 100*(i+1))
		if fetchers == "1" {
			c.eventually("one fetcher a leader again", func() bool { return loops() == one })
			continue
		}
		c.eventually("more fetchers than before", func() bool { return loops() > one })
	}
	c.inSync("orders", 3)
	readAll(t, deadline(t), c.client(kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), 300)
}
