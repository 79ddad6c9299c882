package node

import (
	"context"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

const rackAware = "replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector"

// bytesOut is what a node has given consumers of partition 0 of a topic.
func (c *trio) bytesOut(id int, topic string) int64 {
	c.t.Helper()
	p, err := c.nodes[id].parts.Topic(topic).Partition(0)
	if err != nil {
		c.t.Fatal(err)
	}
	return p.Traffic().BytesOut
}

// follower is a node that holds partition 0 and does not lead it.
func (c *trio) follower(topic string) int {
	c.inSync(topic, 3)
	return c.leader(topic, 0)%3 + 1
}

// values polls until n records came, or fails.
func values(t *testing.T, ctx context.Context, cl *kgo.Client, n int) (got []string) {
	t.Helper()
	for len(got) < n {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			t.Fatalf("%d of %d records: %v", len(got), n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	return got
}

// TestClusterReadsFromTheRack has consumers that name their rack read from the replica there (KIP-392): what is
// committed, promptly, without what was aborted; and from the leader when the replica is gone.
func TestClusterReadsFromTheRack(t *testing.T) {
	c := startTrio(t, "broker.rack=rack-ID", rackAware, "replica.fetch.wait.max.ms=600000", "replica.lag.time.max.ms=1200000")
	c.replicated("orders", 1)
	near := c.follower("orders")
	ctx := deadline(t)
	p := c.client(kgo.TransactionalID("tx"), kgo.DefaultProduceTopic("orders"))
	write := func(end kgo.TransactionEndTry, list ...string) {
		t.Helper()
		if err := p.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for _, v := range list {
			if err := p.ProduceSync(ctx, kgo.StringRecord(v)).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.EndTransaction(ctx, end); err != nil {
			t.Fatal(err)
		}
	}
	write(kgo.TryCommit, "a", "b")
	write(kgo.TryAbort, "c")
	consumer := func() *kgo.Client {
		return c.client(kgo.Rack(fmt.Sprintf("rack-%d", near)), kgo.ConsumeTopics("orders"),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	cl := consumer()
	got := values(t, ctx, cl, 2)
	atLeader := c.bytesOut(c.leader("orders", 0), "orders")
	write(kgo.TryCommit, "d")
	// The follower's fetch waits for ten minutes: it must hear of the high watermark before.
	got = append(got, values(t, ctx, cl, 1)...)
	if fmt.Sprint(got) != "[a b d]" {
		t.Errorf("read %v, want a, b and d", got)
	}
	if n := c.bytesOut(near, "orders"); n == 0 {
		t.Errorf("node %d, in the consumer's rack, has served nothing; the leader %d bytes", near, atLeader)
	}
	c.crash(near)
	write(kgo.TryCommit, "e")
	if got := values(t, ctx, consumer(), 4); fmt.Sprint(got) != "[a b d e]" {
		t.Errorf("after the node in the rack was lost: %v, want a, b, d and e", got)
	}
}

// TestPreferredReadReplica asks the leader as a client does, and as one that has no rack, an unknown one, or the leader's own.
func TestPreferredReadReplica(t *testing.T) {
	c := startTrio(t, "broker.rack=rack-ID", rackAware)
	c.replicated("orders", 1)
	near := c.follower("orders")
	leader := c.leader("orders", 0)
	cl := c.client(kgo.DefaultProduceTopic("orders"))
	ctx := deadline(t)
	if err := cl.ProduceSync(ctx, kgo.StringRecord("a")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	id := c.nodes[leader].image().Topic("orders").ID
	fetch := func(version int16, broker int, rack string, offset int64, session, epoch int32) *kmsg.FetchResponse {
		t.Helper()
		req := kmsg.NewPtrFetchRequest()
		req.Version = version
		req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.Rack = -1, 0, 1, 1<<20, rack
		req.SessionID, req.SessionEpoch = session, epoch
		p := kmsg.NewFetchRequestTopicPartition()
		p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = offset, 1<<20, -1
		ft := kmsg.NewFetchRequestTopic()
		ft.Topic, ft.TopicID, ft.Partitions = "orders", id, []kmsg.FetchRequestTopicPartition{p}
		req.Topics = append(req.Topics, ft)
		versions := kversion.Stable()
		versions.SetMaxKeyVersion(req.Key(), version)
		resp, err := c.client(kgo.MaxVersions(versions)).Broker(broker).Request(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		return resp.(*kmsg.FetchResponse)
	}
	for _, q := range []struct {
		what      string
		version   int16
		broker    int
		rack      string
		preferred int32
		code      int16
		records   bool
	}{
		{"its rack", 12, leader, fmt.Sprintf("rack-%d", near), int32(near), 0, false},
		{"by topic id", 16, leader, fmt.Sprintf("rack-%d", near), int32(near), 0, false},
		{"no rack", 12, leader, "", -1, 0, true},
		{"a rack without brokers", 12, leader, "elsewhere", -1, 0, true},
		{"the leader's rack", 12, leader, fmt.Sprintf("rack-%d", leader), -1, 0, true},
		{"a version without racks", 10, leader, fmt.Sprintf("rack-%d", near), -1, 0, true},
		{"the follower", 12, near, fmt.Sprintf("rack-%d", near), -1, 0, true},
		{"the follower, by a version without racks", 10, near, "", -1, kerr.NotLeaderForPartition.Code, false},
	} {
		var p kmsg.FetchResponseTopicPartition
		c.eventually("high watermark at the follower", func() bool {
			p = fetch(q.version, q.broker, q.rack, 0, 0, -1).Topics[0].Partitions[0]
			return !q.records || len(p.RecordBatches) > 0
		})
		if p.PreferredReadReplica != q.preferred || p.ErrorCode != q.code || len(p.RecordBatches) > 0 != q.records {
			t.Errorf("%s: replica %d, error %d, %d bytes; want %d, %d, records %v", q.what, p.PreferredReadReplica, p.ErrorCode,
				len(p.RecordBatches), q.preferred, q.code, q.records)
		}
	}
	if p := fetch(12, leader, fmt.Sprintf("rack-%d", near), 99, 0, -1).Topics[0].Partitions[0]; p.ErrorCode != kerr.OffsetOutOfRange.Code {
		t.Errorf("an offset that nobody has: error %d, replica %d, want %v", p.ErrorCode, p.PreferredReadReplica, kerr.OffsetOutOfRange)
	}
	first := fetch(12, leader, fmt.Sprintf("rack-%d", near), 0, 0, 0)
	again := fetch(12, leader, fmt.Sprintf("rack-%d", near), 0, first.SessionID, 1)
	if len(again.Topics) != 1 || again.Topics[0].Partitions[0].PreferredReadReplica != int32(near) {
		t.Errorf("the session's second answer does not name the replica: %+v", again.Topics)
	}
}
