package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/logstead/logstead/internal/cluster/balance"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// balanceHarness plays a cluster of three brokers whose partitions of topic t are all on 1 and 2.
type balanceHarness struct {
	*clusterHarness
	t *testing.T
	b *balancing
	s balanceSettings
}

var balancedTopic = base.TopicID{15: 9}

func newBalanceHarness(t *testing.T, partitions int32) *balanceHarness {
	t.Helper()
	h := &balanceHarness{clusterHarness: newCluster(t, ""), t: t, b: newBalancing()}
	h.s = newBalanceSettings(h.m.config())
	h.s.Enabled = true
	for id := int32(1); id <= 3; id++ {
		records, _, err := h.m.RegisterBroker(h.now, h.registration(id, false, 1, -1))
		if err != nil {
			t.Fatal(err)
		}
		h.take(records)
		h.take(h.m.unfence(h.m.image().Broker(id)))
	}
	h.take([]kmsg.Record{&kmsg.TopicRecord{Name: "t", TopicId: balancedTopic}})
	for i := range partitions {
		h.take([]kmsg.Record{h.m.newPartition(balancedTopic, i, []int32{1, 2})})
	}
	h.report(1, 2, 3)
	return h
}

// report has brokers report: partitions of 1 GiB.
func (h *balanceHarness) report(ids ...int32) {
	for _, id := range ids {
		r := &balance.Report{Broker: id, Rated: true}
		for i := range h.m.image().Topic("t").Partitions {
			r.Partitions = append(r.Partitions, balance.PartitionLoad{Key: balance.Key{Topic: balancedTopic, Partition: int32(i)}, Bytes: 1 << 30})
		}
		h.b.traffic.Take(h.now, r)
	}
}

// look is one turn of the shell.
func (h *balanceHarness) look() (begun []balance.Move) {
	h.t.Helper()
	h.now = h.now.Add(time.Second)
	h.report(1, 2, 3)
	switch t := h.b.look(h.now, h.m.image(), &h.s); {
	case t.finish:
		h.take(h.m.EndBalance(t.ended))
	case t.plan != nil:
		moves := balance.Balance(*t.plan, h.s.Options)
		h.b.planned(h.now, &h.s, t.plan.Deviation(h.s.Options), len(moves))
		if len(moves) == 0 {
			return nil
		}
		records, begun := h.m.BeginBalance(moves, h.s.Throttle)
		h.take(records)
		h.b.began(h.now, &h.s, h.m.image(), begun)
		return begun
	}
	return nil
}

// catchUp has the new replicas join, and the reassignments end.
func (h *balanceHarness) catchUp() {
	h.t.Helper()
	for i, p := range h.m.image().Topic("t").Partitions {
		if len(p.Adding) == 0 {
			continue
		}
		c := h.m.change(h.m.image().Topic("t"), int32(i))
		c.isr = slices.Clone(p.Replicas)
		h.take([]kmsg.Record{c.record()})
	}
}

func (h *balanceHarness) replicasOf(i int) []int32 {
	return h.m.image().Topic("t").Partitions[i].Replicas
}

func (h *balanceHarness) alter(partition int32, replicas ...int32) {
	h.t.Helper()
	req := kmsg.NewAlterPartitionReassignmentsRequest()
	req.AllowReplicationFactorChange = true
	req.Topics = []kmsg.AlterPartitionReassignmentsRequestReassignableTopic{{
		Name: "t", Partitions: []kmsg.AlterPartitionReassignmentsRequestReassignablePartition{{PartitionIndex: partition, Replicas: replicas}},
	}}
	records, resp := h.m.AlterPartitionReassignments(&req)
	if e := resp.Responses[0].Partitions[0].ErrorCode; e != 0 {
		h.t.Fatalf("reassignment: error %d", e)
	}
	h.take(records)
}

func (h *balanceHarness) configs(kind meta.ResourceType, name string) map[string]string {
	return h.m.image().Configs(meta.Resource{Type: kind, Name: name})
}

func TestBalancingRounds(t *testing.T) {
	h := newBalanceHarness(t, 12)
	moved := 0
	for round := 0; ; round++ {
		begun := h.look()
		if len(begun) == 0 {
			break
		}
		copies := 0
		for _, m := range begun {
			copies += min(len(m.Adding()), 1)
		}
		if moved += copies; copies > h.s.Options.MaxMoves {
			t.Fatalf("%d copies in one round", copies)
		}
		if copies == 0 {
			continue // leaders only: there is nothing to wait for
		}
		if h.configs(meta.ResourceTopic, "t")[followerReplicas] == "" || h.configs(meta.ResourceBroker, "3")[followerRate] != "52428800" {
			t.Errorf("round %d is not throttled: %v", round, h.configs(meta.ResourceTopic, "t"))
		}
		if h.look() != nil {
			t.Fatal("a round begins while another goes on")
		}
		h.catchUp()
		if h.look() != nil || len(h.configs(meta.ResourceTopic, "t"))+len(h.configs(meta.ResourceBroker, "3"))+len(throttledByBalance(h.m.image())) > 0 {
			t.Errorf("after round %d throttles are left: %v", round, h.configs(meta.ResourceTopic, "t"))
		}
	}
	if h.b.state != balanceEven || moved != 8 {
		t.Errorf("%s after %d moves, want even after 8", h.b.state, moved)
	}
	for i, p := range h.m.image().Topic("t").Partitions {
		if p.Leader != p.Replicas[0] {
			t.Errorf("t-%d is led by %d, its replicas are %v", i, p.Leader, p.Replicas)
		}
	}
	if d := h.b.off[balance.Count]; d > h.s.Options.Tolerance {
		t.Errorf("count is off by %v", d)
	}
}

func TestBalancingWaits(t *testing.T) {
	h := newBalanceHarness(t, 6)
	for _, c := range []struct {
		why      string
		do, undo func()
	}{
		{"broker 2 is fenced", func() { h.take(h.m.fence(2)) }, func() {
			h.take(h.m.unfence(h.m.image().Broker(2)))
			for i, p := range h.m.image().Topic("t").Partitions {
				c := h.m.change(h.m.image().Topic("t"), int32(i))
				c.isr = p.Replicas
				h.take([]kmsg.Record{c.record()})
			}
		}},
		{"partition t-0 has replicas [1 2] and only [1] in sync", func() {
			c := h.m.change(h.m.image().Topic("t"), 0)
			c.isr = []int32{1}
			h.take([]kmsg.Record{c.record()})
		}, func() {
			c := h.m.change(h.m.image().Topic("t"), 0)
			c.isr = []int32{1, 2}
			h.take([]kmsg.Record{c.record()})
		}},
		{"1 partitions are being moved by others", func() { h.alter(5, 1, 3) }, func() { h.catchUp() }},
	} {
		c.do()
		if begun := h.look(); begun != nil || h.b.state != "waiting: "+c.why {
			t.Errorf("%d moves, state %q, want to wait because %s", len(begun), h.b.state, c.why)
		}
		c.undo()
	}
	h.b.traffic = balance.NewTraffic()
	h.report(1, 2)
	h.now = h.now.Add(time.Second)
	if got := h.b.look(h.now, h.m.image(), &h.s); got.plan != nil || !strings.Contains(h.b.state, "broker 3 has not reported") {
		t.Errorf("state %q without a report", h.b.state)
	}
	begun := h.look()
	if len(begun) == 0 {
		t.Fatalf("nothing begins, state %q", h.b.state)
	}
	for _, m := range begun {
		if m.Partition == 5 {
			t.Errorf("%+v moves what was moved by hand", m)
		}
	}
}

func TestBalancingGivesWay(t *testing.T) {
	h := newBalanceHarness(t, 12)
	begun := h.look()
	if len(begun) != 5 {
		t.Fatalf("%d moves", len(begun))
	}
	cancelled, changed := begun[0].Partition, begun[1].Partition
	h.alter(cancelled) // null replicas cancel
	h.alter(changed, 2, 1)
	if h.look(); h.b.counts.Overridden != 2 || len(h.b.moving) != 3 {
		t.Errorf("overridden %d, moving %d, want 2 and 3", h.b.counts.Overridden, len(h.b.moving))
	}
	end := h.now.Add(50 * time.Minute)
	for h.now.Before(end) && h.b.state != balanceEven {
		h.catchUp()
		h.look()
	}
	if got := h.replicasOf(int(cancelled)); len(got) != 2 || slices.Contains(got, 3) {
		t.Errorf("what was cancelled is on %v", got)
	}
	if got := h.replicasOf(int(changed)); !slices.Equal(got, []int32{2, 1}) {
		t.Errorf("what was moved elsewhere is on %v", got)
	}
}

// Whoever sets a throttle while balancing has its own keeps it, and one that was there before is left as it is.
func TestBalancingLeavesThrottlesOfOthers(t *testing.T) {
	h := newBalanceHarness(t, 6)
	h.take([]kmsg.Record{configRecord(meta.Resource{Type: meta.ResourceBroker, Name: "1"}, leaderRate, "1000")})
	if len(h.look()) == 0 {
		t.Fatal("nothing begins")
	}
	mine := "2000"
	req := kmsg.NewIncrementalAlterConfigsRequest()
	req.Resources = []kmsg.IncrementalAlterConfigsRequestAlterConfigsResource{{
		ResourceType: int8(meta.ResourceBroker), ResourceName: "3",
		Configs: []kmsg.IncrementalAlterConfigsRequestAlterableConfig{{Name: followerRate, Value: &mine}},
	}}
	records, resp := h.m.IncrementalAlterConfigs(&req)
	if resp.Responses[0].ErrorCode != 0 {
		t.Fatal(*resp.Responses[0].ErrorMessage)
	}
	h.take(records)
	h.catchUp()
	h.look()
	got := fmt.Sprintf("%v %v %s", h.configs(meta.ResourceBroker, "1"), h.configs(meta.ResourceBroker, "2"),
		h.configs(meta.ResourceBroker, "3")[followerRate])
	if got != "map[leader.replication.throttled.rate:1000] map[] 2000" {
		t.Errorf("left are %s", got)
	}
}

// Another controller in the middle of a round goes on with it, but for what somebody else moves by then.
func TestBalancingFailsOver(t *testing.T) {
	h := newBalanceHarness(t, 12)
	begun := h.look()
	changed := begun[0].Partition
	h.alter(changed) // cancelled
	h.alter(changed, 1, 3)
	h.take([]kmsg.Record{configRecord(meta.Resource{Type: meta.ResourceTopic, Name: "t"}, followerReplicas,
		strings.ReplaceAll(h.configs(meta.ResourceTopic, "t")[followerReplicas], throttledReplica(changed, 3), "99:3"))})
	h.cmdFailOver(&datadriven.TestData{})
	h.b.begin()
	if h.look() != nil || len(h.b.moving) != len(begun)-1 || h.b.state != "moving 4 partitions" {
		t.Errorf("state %q, moving %v", h.b.state, h.b.moving)
	}
	h.catchUp()
	h.look()
	if left := throttledByBalance(h.m.image()); len(left) > 0 || len(h.configs(meta.ResourceTopic, "t")) > 0 {
		t.Errorf("throttles are left: %v", left)
	}
	for _, m := range begun[1:] {
		if p := h.m.image().Topic("t").Partitions[m.Partition]; p.Leader != m.To[0] {
			t.Errorf("t-%d is led by %d and not by the first of %v", m.Partition, p.Leader, m.To)
		}
	}
	if len(h.b.held) != 1 {
		t.Errorf("left alone are %v, want what was moved by hand", h.b.held)
	}
	end := h.now.Add(50 * time.Minute)
	for h.now.Before(end) && h.b.state != balanceEven {
		h.catchUp()
		h.look()
	}
	if got := h.replicasOf(int(changed)); !slices.Equal(got, []int32{1, 3}) || h.b.state != balanceEven {
		t.Errorf("what was moved by hand is on %v, state %q", got, h.b.state)
	}
}

// Switched off in the middle, what moves arrives, throttles go, and nothing begins.
func TestBalancingSwitchedOff(t *testing.T) {
	h := newBalanceHarness(t, 12)
	h.look()
	h.s.Enabled = false
	h.look()
	if len(h.b.moving) != 5 {
		t.Errorf("%d partitions are moving", len(h.b.moving))
	}
	h.catchUp()
	for range 5 {
		if h.look() != nil {
			t.Fatal("a round begins")
		}
	}
	if left := throttledByBalance(h.m.image()); len(left) > 0 || h.b.state != balanceOff || h.b.counts.Rounds != 1 {
		t.Errorf("throttles %v, state %q, rounds %d", left, h.b.state, h.b.counts.Rounds)
	}
}

// A plan may be out of date when it reaches the machine.
func TestBeginBalanceChecks(t *testing.T) {
	h := newBalanceHarness(t, 4)
	h.alter(0, 1, 3)
	h.take(h.m.fence(3))
	_, begun := h.m.BeginBalance([]balance.Move{
		{Topic: "t", Partition: 0, From: []int32{1, 2}, To: []int32{3, 2}}, // is moving
		{Topic: "t", Partition: 1, From: []int32{1, 2}, To: []int32{3, 2}}, // to a broker that is fenced
		{Topic: "t", Partition: 2, From: []int32{2, 1}, To: []int32{3, 1}}, // was elsewhere
		{Topic: "u", Partition: 0, From: []int32{1}, To: []int32{2}},       // is gone
		{Topic: "t", Partition: 9, From: []int32{1, 2}, To: []int32{2, 1}},
		{Topic: "t", Partition: 3, From: []int32{1, 2}, To: []int32{2, 1}}, // fits
	}, 1)
	if len(begun) != 1 || begun[0].Partition != 3 {
		t.Errorf("begun are %+v", begun)
	}
}
