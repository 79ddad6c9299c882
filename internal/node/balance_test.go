package node

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
)

// balanceStatus asks any node, which asks the active controller.
func (c *trio) balanceStatus(by int) (st controller.BalanceStatus) {
	c.t.Helper()
	req := kmsg.NewPtrDescribeQuorumRequest()
	t := kmsg.NewDescribeQuorumRequestTopic()
	t.Topic = "__logstead_balance"
	t.Partitions = append(t.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(deadline(c.t), client(c.t, c.nodes[by]))
	if err != nil {
		c.t.Fatal(err)
	}
	p := resp.Topics[0].Partitions[0]
	if p.ErrorCode != 0 || p.ErrorMessage == nil {
		c.t.Fatalf("status of balancing: error %d", p.ErrorCode)
	}
	if err := json.Unmarshal([]byte(*p.ErrorMessage), &st); err != nil {
		c.t.Fatal(err)
	}
	return st
}

// set changes a config of all brokers.
func (c *trio) setAll(name, value string) {
	c.t.Helper()
	resps, err := kadm.NewClient(c.client()).AlterBrokerConfigs(deadline(c.t), []kadm.AlterConfig{{Name: name, Value: &value}})
	if err == nil {
		_, err = resps.On("", nil)
	}
	if err != nil || resps[0].Err != nil {
		c.t.Fatal(err, resps)
	}
}

// replicasOn counts the replicas of a topic on a broker.
func (c *trio) replicasOn(topic string, id int32) (n int) {
	for _, p := range c.up()[0].image().Topic(topic).Partitions {
		if slices.Contains(p.Replicas, id) {
			n++
		}
	}
	return n
}

// placed makes a topic whose partitions all have the same replicas, the first of which leads.
func (c *trio) placed(topic string, partitions int32, replicas ...int32) {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 60_000
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, -1, -1
	for i := range partitions {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = i, replicas
		rt.ReplicaAssignment = append(rt.ReplicaAssignment, a)
	}
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(deadline(c.t), c.client())
	if err != nil || resp.Topics[0].ErrorCode != 0 && resp.Topics[0].ErrorCode != kerr.TopicAlreadyExists.Code { // of a request that had to be repeated
		c.t.Fatal(err, resp)
	}
}

// TestClusterBalances has everything on two of three brokers: it stays there while balancing is off, is evened out
// with it, and what an operator moves meanwhile is left where he wants it.
func TestClusterBalances(t *testing.T) {
	c := startTrio(t, "logstead.balance.interval.ms=300", "logstead.balance.report.interval.ms=200",
		"logstead.balance.exclude.topics=kept*", "logstead.balance.max.moves=3")
	adm := kadm.NewClient(c.client())
	for _, topic := range []string{"orders", "kept-here"} {
		c.placed(topic, 12, 1, 2)
		c.everywhere(topic)
	}
	p := c.client(kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	produceNumbers(t, p, "orders", 0, 200)

	c.eventually("what brokers carry is reported", func() bool {
		st := c.balanceStatus(1)
		return len(st.Brokers) == 3 && !slices.ContainsFunc(st.Brokers, func(b controller.BalanceBroker) bool { return b.ReportAgeMs < 0 }) &&
			st.Brokers[0].Bytes > 0
	})
	if st := c.balanceStatus(2); st.Enabled || st.State != "off" || st.Rounds > 0 || c.replicasOn("orders", 3) > 0 {
		t.Errorf("balancing that is off: %+v, broker 3 has %d replicas", st, c.replicasOn("orders", 3))
	}

	_, epoch := c.active() // counts, and what was moved by hand, are of the controller that was active then
	c.setAll("logstead.balance.enable", "true")
	c.eventually("evened out", func() bool {
		st := c.balanceStatus(3)
		return st.State == "even" && len(st.Moving) == 0 && c.replicasOn("orders", 3) > 0
	})
	// Of 48 replicas each broker is to have 16; those of the other topic stay.
	if n := c.replicasOn("orders", 3); n != 12 {
		t.Errorf("broker 3 has %d replicas of the 12 that it can have", n)
	}
	if n := c.replicasOn("kept-here", 3); n != 0 {
		t.Errorf("broker 3 got %d replicas of a topic that is excluded", n)
	}
	st := c.balanceStatus(1)
	moved := st.Moves // the last may be between the two that had everything
	if _, now := c.active(); now == epoch && (moved < 12 || moved > 14 || st.Rounds < 4 || st.Overridden != 0) {
		t.Errorf("%+v: want 12 moves and few more, in rounds of 3", st)
	}
	c.noThrottles()
	readAll(t, deadline(t), c.client(kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), 200)

	// By hand, all of it away from broker 3 again: that is left alone.
	c.steady("after moves by hand", func(int) (wrong []string) {
		req := kadm.AlterPartitionAssignmentsReq{}
		for i := range int32(12) {
			req.Assign("orders", i, []int32{1, 2})
		}
		began, moved := epoch, c.balanceStatus(1).Moves
		if _, epoch = c.active(); epoch != began {
			moved = c.balanceStatus(1).Moves + 3 // what is under way
		}
		if resps, err := adm.AlterPartitionAssignments(deadline(t), req); err != nil || resps.Error() != nil {
			t.Fatal(err, resps.Error())
		}
		another := func() bool { _, now := c.active(); return now != epoch }
		c.eventually("moved by hand", func() bool { return another() || c.replicasOn("orders", 3) == 0 && c.reassigning() == 0 })
		for range 3 {
			next := time.Now().Add(time.Second)
			c.eventually("even as it is", func() bool { return another() || c.balanceStatus(1).State == "even" && time.Now().After(next) })
		}
		if st := c.balanceStatus(1); st.Held != 12 || c.replicasOn("orders", 3) != 0 || st.Moves > moved {
			wrong = append(wrong, fmt.Sprintf("%+v, broker 3 has %d replicas", st, c.replicasOn("orders", 3)))
		}
		return wrong
	})
}

func (c *trio) reassigning() (n int) {
	im := c.up()[0].image()
	for t := range im.Topics() {
		for _, p := range t.Partitions {
			if p.Moving() {
				n++
			}
		}
	}
	return n
}

// noThrottles holds that nothing of balancing's throttles is left, once this node has heard of it.
func (c *trio) noThrottles() {
	c.t.Helper()
	c.eventually("no throttles", func() bool {
		im := c.up()[0].image()
		for r := range im.ConfigResources() {
			for name := range im.Configs(r) {
				if strings.Contains(name, "throttled") {
					return false
				}
			}
		}
		return true
	})
	im := c.up()[0].image()
	if v, ok := im.Configs(meta.Resource{Type: meta.ResourceBroker})["logstead.balance.enable"]; !ok || v != "true" {
		c.t.Errorf("logstead.balance.enable is %q", v)
	}
}
