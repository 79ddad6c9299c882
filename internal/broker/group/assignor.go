package group

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/logstead/logstead/internal/kit/base"
)

// The server-side assignors by the names that clients ask for.
const (
	AssignorUniform = "uniform"
	AssignorRange   = "range"
)

// assignment is a set of partitions: sorted partition numbers by topic, no topic without partitions.
// Assignments are shared between structs and never changed in place.
type assignment map[base.TopicID][]int32

// topics are the assignment's topic ids in order.
func (a assignment) topics() []base.TopicID { return slices.SortedFunc(maps.Keys(a), compareIDs) }

func (a assignment) equal(b assignment) bool { return maps.EqualFunc(a, b, slices.Equal[[]int32]) }

func compareIDs(a, b base.TopicID) int { return bytes.Compare(a[:], b[:]) }

// assignMember is what an assignor knows of a member.
type assignMember struct {
	id       string
	instance string         // "" for a dynamic member
	topics   []base.TopicID // subscribed topics that exist, sorted
	owned    assignment     // its last target
}

// assignSpec is the input of an assignor. Members are sorted by id, so that the same group gets the
// same assignment on every node.
type assignSpec struct {
	members []assignMember
	same    bool // every member subscribes to the same topics
	count   map[base.TopicID]int32
}

// assignor computes the target assignment of every member. Members that get nothing may be left out.
type assignor func(assignSpec) map[string]assignment

// assignors by name.
var assignors = map[string]assignor{
	AssignorUniform: assignUniform,
	AssignorRange:   assignRange,
}

// assignRange gives each member a contiguous range of every topic it subscribes to. Members are taken
// in the order of their instance ids, then of their ids, so topics with the same partition count and
// subscribers are co-partitioned. It does not look at what members had.
func assignRange(spec assignSpec) map[string]assignment {
	order := slices.Clone(spec.members)
	slices.SortStableFunc(order, func(a, b assignMember) int {
		switch {
		case a.instance != "" && b.instance != "":
			return cmp.Compare(a.instance, b.instance)
		case a.instance != "":
			return -1
		case b.instance != "":
			return 1
		}
		return cmp.Compare(a.id, b.id)
	})
	subscribers := map[base.TopicID]int32{}
	for _, m := range order {
		for _, t := range m.topics {
			subscribers[t]++
		}
	}
	given := map[base.TopicID]int32{} // partitions handed out
	taken := map[base.TopicID]int32{} // members served
	out := make(map[string]assignment, len(order))
	for _, m := range order {
		a := assignment{}
		for _, t := range m.topics {
			quota := spec.count[t] / subscribers[t]
			if taken[t] < spec.count[t]%subscribers[t] {
				quota++
			}
			taken[t]++
			for range quota {
				a[t] = append(a[t], given[t])
				given[t]++
			}
		}
		out[m.id] = a
	}
	return out
}

// assignUniform spreads all partitions evenly over the members and moves as few as it can.
func assignUniform(spec assignSpec) map[string]assignment {
	if spec.same {
		return assignEvenly(spec)
	}
	return assignBalanced(spec)
}

// topicPartition is a partition by topic id.
type topicPartition struct {
	topic     base.TopicID
	partition int32
}

// assignEvenly is the uniform assignor for members with one common subscription: everyone gets the
// same number of partitions, or one more.
func assignEvenly(spec assignSpec) map[string]assignment {
	out := make(map[string]assignment, len(spec.members))
	if len(spec.members) == 0 || len(spec.members[0].topics) == 0 {
		return out
	}
	e := evener{spec: spec, out: out}
	e.collect()
	for i := range spec.members {
		e.keep(i)
	}
	e.fill()
	return out
}

// evener is one run of assignEvenly.
type evener struct {
	spec   assignSpec
	out    map[string]assignment
	free   []topicPartition // partitions without an owner
	quota  int              // what everyone gets
	extras int              // how many members may still get one more
	short  []shortMember
}

// shortMember is a member with room for more partitions.
type shortMember struct {
	id   string
	room int
}

// collect finds the partitions that nobody has and computes the quota.
func (e *evener) collect() {
	owned := map[topicPartition]struct{}{}
	for _, m := range e.spec.members {
		for t, ps := range m.owned {
			for _, p := range ps {
				owned[topicPartition{t, p}] = struct{}{}
			}
		}
	}
	total := 0
	for _, t := range e.spec.members[0].topics {
		for p := range e.spec.count[t] {
			if _, ok := owned[topicPartition{t, p}]; !ok {
				e.free = append(e.free, topicPartition{t, p})
			}
		}
		total += int(e.spec.count[t])
	}
	e.quota, e.extras = total/len(e.spec.members), total%len(e.spec.members)
}

// keep leaves a member what it has, up to its quota. Whoever cannot use one of the extra partitions
// leaves it to those that follow, as long as there are enough of them.
func (e *evener) keep(i int) {
	m := &e.spec.members[i]
	room, extra := e.quota, e.extras > 0
	if extra {
		room++
	}
	kept := assignment{}
	for _, t := range m.owned.topics() {
		if _, ok := slices.BinarySearchFunc(m.topics, t, compareIDs); !ok {
			continue
		}
		n := min(room, len(m.owned[t]))
		room -= n
		if n > 0 {
			kept[t] = m.owned[t][:n:n]
		}
		for _, p := range m.owned[t][n:] {
			e.free = append(e.free, topicPartition{t, p})
		}
	}
	if room > 0 && extra && len(e.spec.members)-i > e.extras {
		room, extra = room-1, false
	}
	if room > 0 {
		e.short = append(e.short, shortMember{m.id, room})
	}
	if extra {
		e.extras--
	}
	e.out[m.id] = kept
}

// fill hands the free partitions to the members with room.
func (e *evener) fill() {
	for _, s := range e.short {
		n := min(s.room, len(e.free))
		a := e.out[s.id]
		for _, tp := range e.free[:n] {
			a[tp.topic] = append(slices.Clip(a[tp.topic]), tp.partition)
		}
		for t := range a {
			slices.Sort(a[t])
		}
		e.free = e.free[n:]
	}
}
