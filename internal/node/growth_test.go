package node

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// offsetsOf is an offsets topic with one partition for each list of replicas, led by the first.
func offsetsOf(replicas ...[]int32) []kmsg.Record {
	topic := kmsg.NewTopicRecord()
	topic.Name, topic.TopicId = offsetsTopic, base.TopicID{7}
	return append([]kmsg.Record{&topic}, nowOn(replicas...)...)
}

// nowOn has the partitions of it on other replicas.
func nowOn(replicas ...[]int32) (list []kmsg.Record) {
	for i, r := range replicas {
		p := kmsg.NewPartitionRecord()
		p.TopicId, p.PartitionId, p.Replicas, p.Isr, p.Leader = base.TopicID{7}, int32(i), r, r, r[0]
		list = append(list, &p)
	}
	return list
}

func inRack(id int32, rack string) kmsg.Record {
	r := broker(id, false).(*kmsg.RegisterBrokerRecord)
	r.Rack = &rack
	return r
}

// TestGrowth: topics get replicas when a broker joins, and at no other time.
func TestGrowth(t *testing.T) {
	three := func() []wantedTopic { return []wantedTopic{{name: offsetsTopic, factor: 3}} }
	now := time.Unix(1_000, 0)
	later := func() time.Time { now = now.Add(growthSettle); return now }
	im, _ := applied(t, meta.Empty("c"), append(offsetsOf([]int32{1}, []int32{1}), broker(1, false))...)
	g := &growth{id: 1}
	for range 2 {
		if due := g.look(im, later(), three); len(due) != 0 {
			t.Fatalf("one broker: %+v", due)
		}
	}
	im, _ = applied(t, im, broker(2, true), broker(3, false))
	if due := g.look(im, now, three); len(due) != 0 {
		t.Fatalf("nothing is waited for: %+v", due)
	}
	due := g.look(im, later(), three)
	if len(due) != 1 || len(due[0].replicas) != 2 || len(due[0].replicas[0]) != 2 || slices.Contains(due[0].replicas[0], 2) {
		t.Fatalf("with one that serves: %+v", due)
	}
	if a, b := due[0].replicas[0][0], due[0].replicas[1][0]; a == b {
		t.Errorf("both are to be led by %d", a)
	}
	if due := (&growth{id: 3, known: map[int32]bool{1: true}, joined: now.Add(-growthSettle), begun: map[string]bool{}}).
		look(im, now, three); len(due) != 0 {
		t.Errorf("who does not lead acts: %+v", due)
	}
	im, _ = applied(t, im, append(nowOn([]int32{1, 3}, []int32{3, 1}), brokerChange(2, -1, 0))...)
	if due = g.look(im, later(), three); len(due) != 1 || len(due[0].replicas[0]) != 3 {
		t.Fatalf("the other one serves now: %+v", due)
	}
	im, _ = applied(t, im, nowOn([]int32{1, 2, 3}, []int32{3, 1, 2})...)
	if due = g.look(im, later(), three); len(due) != 0 || !g.joined.IsZero() {
		t.Fatalf("all is reached: %+v", due)
	}
	// Somebody lowers the factor by hand.
	im, _ = applied(t, im, nowOn([]int32{1, 2}, []int32{3, 1})...)
	if due = g.look(im, later(), three); len(due) != 0 {
		t.Errorf("nobody has joined: %+v", due)
	}
}

// TestGrowthRaisesMinInsync: what was lowered with the replicas comes back with them, where this broker has brought them.
func TestGrowthRaisesMinInsync(t *testing.T) {
	want := func() []wantedTopic { return []wantedTopic{{name: offsetsTopic, factor: 3, minInsync: 2}} }
	now := time.Unix(1_000, 0)
	g := &growth{id: 1}
	low := &kmsg.ConfigRecord{ResourceType: int8(meta.ResourceTopic), ResourceName: offsetsTopic, Name: "min.insync.replicas", Value: new("1")}
	im, _ := applied(t, meta.Empty("c"), append(offsetsOf([]int32{1}), broker(1, false), low)...)
	g.look(im, now, want)
	im, _ = applied(t, im, broker(2, false))
	g.look(im, now, want)
	now = now.Add(growthSettle)
	if due := g.look(im, now, want); len(due) != 1 || due[0].minInsync != 0 {
		t.Fatalf("before the replicas are there: %+v", due)
	}
	im, _ = applied(t, im, nowOn([]int32{1, 2})...)
	if due := g.look(im, now, want); len(due) != 1 || due[0].minInsync != 2 || due[0].replicas != nil {
		t.Fatalf("once they are: %+v", due)
	}
	low.Value = new("2")
	im, _ = applied(t, im, low)
	if due := g.look(im, now, want); len(due) != 0 || !g.joined.IsZero() {
		t.Errorf("once it is raised: %+v", due)
	}
}

// TestGrowthChoosesRacks: a rack that has no replica goes before a broker that holds fewer, and no more than so many partitions
// are under way.
func TestGrowthChoosesRacks(t *testing.T) {
	var parts [][]int32
	for range 3 * maxGrowing {
		parts = append(parts, []int32{1})
	}
	records := append(offsetsOf(parts...), inRack(1, "a"), inRack(2, "a"), inRack(3, "b"), inRack(4, "b"))
	im, _ := applied(t, meta.Empty("c"), records...)
	alive, _ := takers(im)
	more := wantedTopic{name: offsetsTopic, factor: 2}.more(im.Topic(offsetsTopic), alive)
	if len(more) != maxGrowing {
		t.Errorf("%d partitions at a time, want %d", len(more), maxGrowing)
	}
	count := map[int32]int{}
	for _, to := range more {
		for _, id := range to {
			count[id]++
		}
	}
	if count[1] != maxGrowing || count[2] != 0 || count[3] != maxGrowing/2 || count[4] != maxGrowing/2 {
		t.Errorf("replicas by broker: %v", count)
	}
}

// TestInternalTopicsGrowWithTheCluster: what a group has committed while there were few brokers is on as many as are configured
// once they are there, and a broker that held all of it may be lost.
func TestInternalTopicsGrowWithTheCluster(t *testing.T) {
	c, run := growing(t)
	run(1)
	run(2)
	c.create(1, "orders", 1)
	ctx := deadline(t)
	commit := kadm.Offsets{}
	commit.Add(kadm.Offset{Topic: "orders", At: 42, LeaderEpoch: -1})
	adm := kadm.NewClient(c.client())
	c.eventually("a commit", func() bool { return adm.CommitAllOffsets(ctx, "readers", commit) == nil })
	if p := c.nodes[1].image().Topic(offsetsTopic).Partitions[0]; len(p.Replicas) != 2 {
		t.Fatalf("replicas %v with two brokers", p.Replicas)
	}
	run(3)
	c.eventually("three replicas of all", func() bool {
		for _, p := range c.nodes[3].image().Topic(offsetsTopic).Partitions {
			if len(p.Replicas) != 3 || len(p.ISR) != 3 || p.Moving() {
				return false
			}
		}
		return true
	})
	for id := 2; id <= 3; id++ {
		if code := c.addVoter(1, id, c.directory(id), 20_000); code != 0 {
			t.Fatalf("node %d was not added: error %d", id, code)
		}
	}
	c.stop(2)
	left := kadm.NewClient(client(t, c.nodes[3], kgo.MetadataMinAge(10*time.Millisecond)))
	c.eventually("the commit without node 2", func() bool {
		got, err := left.FetchOffsets(ctx, "readers")
		o, ok := got.Lookup("orders", 0)
		return err == nil && ok && o.At == 42
	})
	if firsts := countFirsts(c.nodes[3].image().Topic(offsetsTopic)); len(firsts) != 3 {
		t.Errorf("partitions by preferred leader: %v", firsts)
	}
}

func countFirsts(topic *meta.Topic) map[string]int {
	m := map[string]int{}
	for _, p := range topic.Partitions {
		m[fmt.Sprint(p.Replicas[0])]++
	}
	return m
}
