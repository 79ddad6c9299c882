package node

import (
	"bytes"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestClusterThrottles adds a replica to a partition while one side of the copy may do next to nothing: what the
// new replica gets stands still, while the in-sync replicas go on. Without the throttle it gets the rest.
func TestClusterThrottles(t *testing.T) {
	c := startTrio(t, "replica.fetch.max.bytes=65536", "replica.fetch.response.max.bytes=65536")
	for _, side := range []struct{ topic, rate, replicas, list string }{
		{"leader", "leader.replication.throttled.rate", "leader.replication.throttled.replicas", "*"},
		{"follower", "follower.replication.throttled.rate", "follower.replication.throttled.replicas", "0:3"},
	} {
		t.Run(side.topic, func(t *testing.T) { c.throttles(side.topic, side.rate, side.replicas, side.list) })
	}
}

func (c *trio) throttles(topic, rate, replicas, list string) {
	t := c.t
	t.Helper()
	adm := kadm.NewClient(c.client())
	assign := func(to ...int32) {
		t.Helper()
		req := kadm.AlterPartitionAssignmentsReq{}
		req.Assign(topic, 0, to)
		if resps, err := adm.AlterPartitionAssignments(deadline(t), req); err != nil || resps.Error() != nil {
			t.Fatalf("reassign: %v %v", err, resps.Error())
		}
	}
	whole := func(to ...int32) func() bool {
		return func() bool {
			mp := c.up()[0].image().Topic(topic).Partitions[0]
			return slices.Equal(mp.Replicas, to) && len(mp.ISR) == len(to) && len(mp.Adding)+len(mp.Removing) == 0
		}
	}
	c.replicated(topic, 1)
	assign(1, 2)
	c.eventually("two replicas", whole(1, 2))
	c.eventually("the log of the third is gone", func() bool {
		p, err := c.nodes[3].parts.Topic(topic).Partition(0)
		return err != nil && p == nil
	})
	cl := c.client(kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range 20 {
		r := &kgo.Record{Topic: topic, Value: bytes.Repeat([]byte("x"), 50<<10)}
		if err := cl.ProduceSync(deadline(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}

	one := "1"
	if resps, err := adm.AlterBrokerConfigs(deadline(t), []kadm.AlterConfig{{Name: rate, Value: &one}}); err != nil || resps[0].Err != nil {
		t.Fatalf("set %s: %v %v", rate, err, resps)
	}
	set := []kadm.AlterConfig{{Name: replicas, Value: &list}}
	if resps, err := adm.AlterTopicConfigs(deadline(t), set, topic); err != nil || resps[0].Err != nil {
		t.Fatalf("set %s: %v %v", replicas, err, resps)
	}
	c.eventually("the throttle is known", func() bool {
		for _, n := range c.up() {
			if !n.throttles.leader.Limited() && !n.throttles.follower.Limited() {
				return false
			}
			if p, err := n.parts.Topic(topic).Partition(0); err == nil && !p.LeaderThrottled() && list == "*" {
				return false
			}
		}
		return true
	})
	assign(1, 2, 3)
	end := func() int64 {
		p, err := c.nodes[3].parts.Topic(topic).Partition(0)
		if err != nil {
			return 0
		}
		return p.Log().EndOffset()
	}
	c.eventually("the first fetch of the new replica", func() bool { return end() > 0 })
	for range 20 { // with acks=all, past the pause between two looks at the rate
		if err := cl.ProduceSync(deadline(t), &kgo.Record{Topic: topic, Value: bytes.Repeat([]byte("y"), 50<<10)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if got := end(); got > 5 {
		t.Errorf("the throttled replica has got %d records of 50 KiB at one byte a second", got)
	}
	mp := c.up()[0].image().Topic(topic).Partitions[0]
	if slices.Contains(mp.ISR, 3) {
		t.Error("the throttled replica is in sync")
	}

	unset := []kadm.AlterConfig{{Op: kadm.DeleteConfig, Name: replicas}}
	if resps, err := adm.AlterTopicConfigs(deadline(t), unset, topic); err != nil || resps[0].Err != nil {
		t.Fatalf("unset %s: %v %v", replicas, err, resps)
	}
	c.eventually("three replicas", whole(1, 2, 3))
	unset[0].Name = rate
	if resps, err := adm.AlterBrokerConfigs(deadline(t), unset); err != nil || resps[0].Err != nil {
		t.Fatalf("unset %s: %v %v", rate, err, resps)
	}
	c.eventually("no limit is left", func() bool {
		for _, n := range c.up() {
			if n.throttles.leader.Limited() || n.throttles.follower.Limited() {
				return false
			}
		}
		return true
	})
}
