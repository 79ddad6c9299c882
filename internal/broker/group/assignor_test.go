package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/logstead/logstead/internal/kit/base"
)

func testTopic(i int) base.TopicID { return base.TopicID{0: byte(i + 1), 15: 't'} }

// randomSpec is a group of up to ten members over up to six topics.
func randomSpec(r *rand.Rand) assignSpec {
	spec := assignSpec{same: r.IntN(2) == 0, count: map[base.TopicID]int32{}}
	var topics []base.TopicID
	for i := range 1 + r.IntN(6) {
		topics = append(topics, testTopic(i))
		spec.count[testTopic(i)] = int32(1 + r.IntN(12))
	}
	for i := range 1 + r.IntN(10) {
		m := assignMember{id: fmt.Sprintf("m%02d", i), owned: assignment{}}
		for _, t := range topics {
			if spec.same || r.IntN(2) == 0 {
				m.topics = append(m.topics, t)
			}
		}
		spec.members = append(spec.members, m)
	}
	return spec
}

// owners checks that every partition that somebody wants has one owner who wants it.
func owners(t *testing.T, spec assignSpec, out map[string]assignment) map[topicPartition]string {
	t.Helper()
	owner := map[topicPartition]string{}
	wanted := map[base.TopicID]bool{}
	for _, m := range spec.members {
		for _, topic := range m.topics {
			wanted[topic] = true
		}
		for topic, ps := range out[m.id] {
			if !slices.Contains(m.topics, topic) {
				t.Fatalf("%s got a topic that it does not subscribe to", m.id)
			}
			if len(ps) == 0 || !slices.IsSorted(ps) {
				t.Fatalf("%s has %v of a topic: want sorted and not empty", m.id, ps)
			}
			for _, p := range ps {
				if other, ok := owner[topicPartition{topic, p}]; ok {
					t.Fatalf("%s and %s both got %v-%d", other, m.id, topic, p)
				}
				owner[topicPartition{topic, p}] = m.id
			}
		}
	}
	for topic := range wanted {
		for p := range spec.count[topic] {
			if owner[topicPartition{topic, p}] == "" {
				t.Fatalf("nobody got %v-%d", topic, p)
			}
		}
	}
	return owner
}

func loads(spec assignSpec, out map[string]assignment) map[string]int {
	n := map[string]int{}
	for _, m := range spec.members {
		for _, ps := range out[m.id] {
			n[m.id] += len(ps)
		}
	}
	return n
}

// TestUniformAssignor checks random groups: complete, balanced, and stable when nothing changes.
func TestUniformAssignor(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		spec := randomSpec(r)
		out := assignUniform(spec)
		owner := owners(t, spec, out)
		load := loads(spec, out)
		for i := range spec.members {
			a := &spec.members[i]
			for _, b := range spec.members {
				if load[a.id]-load[b.id] <= 1 {
					continue
				}
				for topic := range out[a.id] {
					if slices.Contains(b.topics, topic) {
						t.Fatalf("%s has %d partitions, %s %d: one could move", a.id, load[a.id], b.id, load[b.id])
					}
				}
			}
			a.owned = out[a.id]
		}
		again := assignUniform(spec)
		for tp, id := range owners(t, spec, again) {
			if owner[tp] != id {
				t.Fatalf("%v-%d moved from %s to %s though nothing changed", tp.topic, tp.partition, owner[tp], id)
			}
		}
		checkSticky(t, r, spec, owner)
	}
}

// checkSticky takes a member out of a group with one subscription: only its partitions may move.
func checkSticky(t *testing.T, r *rand.Rand, spec assignSpec, before map[topicPartition]string) {
	t.Helper()
	if !spec.same || len(spec.members) < 2 {
		return
	}
	i := r.IntN(len(spec.members))
	gone := spec.members[i].id
	spec.members = slices.Delete(slices.Clone(spec.members), i, i+1)
	for tp, id := range owners(t, spec, assignUniform(spec)) {
		if before[tp] != gone && before[tp] != id {
			t.Fatalf("%v-%d moved from %s to %s though only %s left", tp.topic, tp.partition, before[tp], id, gone)
		}
	}
}

// TestRangeAssignor checks that ranges are contiguous, even, and the same for topics alike.
func TestRangeAssignor(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		spec := randomSpec(r)
		out := assignRange(spec)
		owners(t, spec, out)
		for _, m := range spec.members {
			for topic, ps := range out[m.id] {
				if int(ps[len(ps)-1]-ps[0])+1 != len(ps) {
					t.Fatalf("%s got %v of %v: not a range", m.id, ps, topic)
				}
				for other, qs := range out[m.id] {
					if spec.same && spec.count[topic] == spec.count[other] && !slices.Equal(ps, qs) {
						t.Fatalf("%s got %v and %v of topics with equal partition counts", m.id, ps, qs)
					}
				}
			}
		}
	}
}

// TestRangeOrder checks that static members come first, by their instance ids.
func TestRangeOrder(t *testing.T) {
	topic := testTopic(0)
	spec := assignSpec{same: true, count: map[base.TopicID]int32{topic: 4}}
	for _, m := range []assignMember{{id: "a"}, {id: "b", instance: "z"}, {id: "c", instance: "y"}, {id: "d"}} {
		m.topics = []base.TopicID{topic}
		spec.members = append(spec.members, m)
	}
	out := assignRange(spec)
	for i, id := range []string{"c", "b", "a", "d"} {
		if got := out[id][topic]; len(got) != 1 || got[0] != int32(i) {
			t.Errorf("%s got %v, want partition %d", id, got, i)
		}
	}
}
