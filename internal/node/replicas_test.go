package node

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
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

// replicated creates a topic on all three nodes.
func (c *trio) replicated(topic string, partitions int32) {
	c.t.Helper()
	if _, err := kadm.NewClient(c.client()).CreateTopic(deadline(c.t), partitions, 3, nil, topic); err != nil {
		c.t.Fatal(err)
	}
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
