package group

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/logstead/logstead/internal/kit/base"
)

// balanceRounds bounds how often the balanced assignor goes over the topics. Two or three rounds are
// enough in practice.
const balanceRounds = 16

// assignBalanced is the uniform assignor for members with different subscriptions. Members keep what
// they have, free partitions go to the least loaded subscriber, and then single partitions move from
// the most to the least loaded subscriber of a topic until no topic can be improved.
func assignBalanced(spec assignSpec) map[string]assignment {
	b := newBalancer(spec)
	b.keep()
	b.giveOut()
	b.balance()
	return b.result()
}

// balancer is one run of assignBalanced. Members are known by their index in spec.
type balancer struct {
	spec   assignSpec
	topics []base.TopicID           // in the order in which they are worked on
	subs   map[base.TopicID][]int   // subscribers
	owner  map[base.TopicID][]int   // by partition, -1 for none
	parts  []map[base.TopicID]int32 // by member: how many partitions of the topic it has
	load   []int                    // by member: how many partitions it has
}

func newBalancer(spec assignSpec) *balancer {
	b := &balancer{
		spec:  spec,
		subs:  map[base.TopicID][]int{},
		owner: map[base.TopicID][]int{},
		parts: make([]map[base.TopicID]int32, len(spec.members)),
		load:  make([]int, len(spec.members)),
	}
	for i, m := range spec.members {
		b.parts[i] = map[base.TopicID]int32{}
		for _, t := range m.topics {
			if b.subs[t] == nil {
				b.topics = append(b.topics, t)
				b.owner[t] = slices.Repeat([]int{-1}, int(spec.count[t]))
			}
			b.subs[t] = append(b.subs[t], i)
		}
	}
	slices.SortFunc(b.topics, b.compareTopics)
	return b
}

// compareTopics puts first the topics that load their subscribers most, because they are hardest to
// place, then those with few subscribers.
func (b *balancer) compareTopics(s, t base.TopicID) int {
	ns, nt := int64(len(b.subs[s])), int64(len(b.subs[t]))
	if c := cmp.Compare(int64(b.spec.count[t])*ns, int64(b.spec.count[s])*nt); c != 0 {
		return c
	}
	if c := cmp.Compare(ns, nt); c != 0 {
		return c
	}
	return compareIDs(s, t)
}

func (b *balancer) assign(t base.TopicID, p int32, to int) {
	if from := b.owner[t][p]; from >= 0 {
		b.load[from]--
		b.parts[from][t]--
	}
	b.owner[t][p] = to
	b.load[to]++
	b.parts[to][t]++
}

// keep leaves every member the partitions of topics it still subscribes to.
func (b *balancer) keep() {
	for i, m := range b.spec.members {
		for _, t := range m.topics {
			for _, p := range m.owned[t] {
				if int(p) < len(b.owner[t]) && b.owner[t][p] < 0 {
					b.assign(t, p, i)
				}
			}
		}
	}
}

// giveOut hands each free partition to the least loaded subscriber of its topic.
func (b *balancer) giveOut() {
	for _, t := range b.topics {
		least := &loadHeap{members: slices.Clone(b.subs[t]), load: b.load}
		heap.Init(least)
		for p, owner := range b.owner[t] {
			if owner < 0 {
				b.assign(t, int32(p), least.members[0])
				heap.Fix(least, 0)
			}
		}
	}
}

// balance moves partitions until a whole round over the topics changes nothing.
func (b *balancer) balance() {
	for range balanceRounds {
		moved := false
		for _, t := range b.topics {
			moved = b.balanceTopic(t) || moved
		}
		if !moved {
			return
		}
	}
}

func (b *balancer) balanceTopic(t base.TopicID) (moved bool) {
	if len(b.subs[t]) < 2 {
		return false
	}
	for {
		from, to := b.extremes(t)
		if from < 0 || b.load[from]-b.load[to] <= 1 {
			return moved
		}
		b.assign(t, b.lastOwned(t, from), to)
		moved = true
	}
}

// extremes finds the most loaded subscriber that owns a partition of the topic, and the least loaded.
func (b *balancer) extremes(t base.TopicID) (most, least int) {
	most, least = -1, b.subs[t][0]
	for _, i := range b.subs[t] {
		if b.load[i] < b.load[least] {
			least = i
		}
		if b.parts[i][t] > 0 && (most < 0 || b.load[i] > b.load[most]) {
			most = i
		}
	}
	return most, least
}

func (b *balancer) lastOwned(t base.TopicID, member int) int32 {
	for p := len(b.owner[t]) - 1; p >= 0; p-- {
		if b.owner[t][p] == member {
			return int32(p)
		}
	}
	panic("group: a member's partition count is wrong")
}

func (b *balancer) result() map[string]assignment {
	out := make(map[string]assignment, len(b.spec.members))
	for _, m := range b.spec.members {
		out[m.id] = assignment{}
	}
	for _, t := range b.topics {
		for p, i := range b.owner[t] {
			a := out[b.spec.members[i].id]
			a[t] = append(a[t], int32(p))
		}
	}
	return out
}

// loadHeap has the least loaded member on top, the one with the lowest index among equals.
type loadHeap struct {
	members []int
	load    []int
}

func (h *loadHeap) Len() int { return len(h.members) }

func (h *loadHeap) Less(i, j int) bool {
	a, b := h.members[i], h.members[j]
	if h.load[a] != h.load[b] {
		return h.load[a] < h.load[b]
	}
	return a < b
}

func (h *loadHeap) Swap(i, j int) { h.members[i], h.members[j] = h.members[j], h.members[i] }
func (h *loadHeap) Push(any)      {}
func (h *loadHeap) Pop() any      { return nil }
