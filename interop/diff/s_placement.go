package main

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Scenarios of this file say where replicas are to be, rightly and wrongly, on three nodes. Nodes are named by how many
// ids they are past the home; from 10 on there is none.

// reassignTo moves one partition; nil cancels.
func reassignTo(topic string, partition int32, past []int) func(*vars, *kmsg.AlterPartitionAssignmentsRequest) {
	return func(v *vars, r *kmsg.AlterPartitionAssignmentsRequest) {
		r.TimeoutMillis = enough
		t := kmsg.NewAlterPartitionAssignmentsRequestTopic()
		t.Topic = v.name(topic)
		p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		p.Partition = partition
		if past != nil {
			p.Replicas = v.nodesPast(past...)
		}
		t.Partitions = append(t.Partitions, p)
		r.Topics = append(r.Topics, t)
	}
}

// sameFactor has a reassignment refused that changes how many replicas there are.
func sameFactor(_ *vars, r *kmsg.AlterPartitionAssignmentsRequest) {
	r.AllowReplicationFactorChange = false
}

func listMoves(topic string, partitions ...int32) func(*vars, *kmsg.ListPartitionReassignmentsRequest) {
	return func(v *vars, r *kmsg.ListPartitionReassignmentsRequest) {
		r.TimeoutMillis = enough
		if topic == "" {
			return
		}
		t := kmsg.NewListPartitionReassignmentsRequestTopic()
		t.Topic, t.Partitions = v.name(topic), partitions
		r.Topics = append(r.Topics, t)
	}
}

// assignedPast is a topic with one partition for each list.
func assignedPast(name string, replicas ...[]int) func(*vars, *kmsg.CreateTopicsRequest) {
	return func(v *vars, r *kmsg.CreateTopicsRequest) {
		newTopic(name, -1, -1)(v, r)
		for p, past := range replicas {
			assign(int32(p), v.nodesPast(past...)...)(&r.Topics[len(r.Topics)-1])
		}
	}
}

// growTo asks for so many partitions, the new ones on the nodes of the lists.
func growTo(name string, count int32, replicas ...[]int) func(*vars, *kmsg.CreatePartitionsRequest) {
	return func(v *vars, r *kmsg.CreatePartitionsRequest) {
		r.TimeoutMillis = enough
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = v.name(name), count
		for _, past := range replicas {
			a := kmsg.NewCreatePartitionsRequestTopicAssignment()
			a.Replicas = v.nodesPast(past...)
			t.Assignment = append(t.Assignment, a)
		}
		r.Topics = append(r.Topics, t)
	}
}

func placements() []step {
	create := func(name string, s ...func(*vars, *kmsg.CreateTopicsRequest)) step {
		return both(name, kmsg.NewPtrCreateTopicsRequest, s...)
	}
	grow := func(name string, s ...func(*vars, *kmsg.CreatePartitionsRequest)) step {
		return both(name, kmsg.NewPtrCreatePartitionsRequest, s...)
	}
	validateGrowth := func(_ *vars, r *kmsg.CreatePartitionsRequest) { r.ValidateOnly = true }
	const t = "place"
	return concat(makeSpread(t, [][]int{{0, 1}}), []step{
		create("a broker twice", assignedPast("p1", []int{0, 0})),
		create("a broker twice among three", assignedPast("p2", []int{0, 1, 0})),
		create("a broker that is none", assignedPast("p3", []int{0, 77})),
		create("only a broker that is none", assignedPast("p4", []int{77})),
		create("a negative broker", newTopic("p5", -1, -1, assign(0, 1, -1))),
		create("unequal lengths", assignedPast("p6", []int{0, 1}, []int{1})),
		create("a longer second", assignedPast("p7", []int{0}, []int{1, 2})),
		create("an empty list among others", assignedPast("p8", []int{0, 1}, []int{})),
		create("a good one, a bad partition", assignedPast("p9", []int{0, 1}, []int{1, 77})),
		create("all three and one more", assignedPast("p10", []int{0, 1, 2, 77})),
		create("more replicas than brokers", newTopic("p11", 2, 4)),
		create("the same partition twice", newTopic("p12", -1, -1, assign(0, 1), assign(0, 2))),
		create("partitions that begin at 1", newTopic("p13", -1, -1, assign(1, 1), assign(2, 2))),
		create("a negative partition", newTopic("p14", -1, -1, assign(-1, 1), assign(0, 2))),
		create("a good and a bad topic", assignedPast("p15", []int{0, 1}), assignedPast("p16", []int{0, 0}), validateTopics),
		create("good, validate only", assignedPast("p17", []int{2, 0, 1}), validateTopics),
		create("placed and counted", newTopic("p18", 1, 1, assign(0, 1, 2))),
		ask("good", high, kmsg.NewPtrCreateTopicsRequest, assignedPast("p19", []int{2, 0}, []int{1, 2}, []int{0, 1})),
		ask("its metadata", high, kmsg.NewPtrMetadataRequest, metadataOf("p19")),

		grow("grow: a broker twice", growTo(t, 2, []int{1, 1})),
		grow("grow: a broker that is none", growTo(t, 2, []int{1, 77})),
		grow("grow: fewer replicas than the first", growTo(t, 2, []int{1})),
		grow("grow: more replicas than the first", growTo(t, 2, []int{1, 2, 0})),
		grow("grow: unequal lengths", growTo(t, 3, []int{1, 2}, []int{0})),
		grow("grow: too few lists", growTo(t, 3, []int{1, 2})),
		grow("grow: too many lists", growTo(t, 2, []int{1, 2}, []int{2, 0})),
		grow("grow: an empty list", growTo(t, 2, []int{})),
		grow("grow: a good and a bad topic", growTo(t, 2, []int{1, 2}), growTo("p19", 4, []int{1, 1}), validateGrowth),
		grow("grow: validate only", growTo(t, 2, []int{1, 2}), validateGrowth),
		ask("grow", high, kmsg.NewPtrCreatePartitionsRequest, growTo(t, 3, []int{2, 0}, []int{1, 2})),
		ask("the metadata after", high, kmsg.NewPtrMetadataRequest, metadataOf(t)),
	}, badMoves(t))
}

// badMoves are reassignments that are refused, and some that change nothing.
func badMoves(t string) []step {
	move := func(name string, s ...func(*vars, *kmsg.AlterPartitionAssignmentsRequest)) step {
		return both(name, kmsg.NewPtrAlterPartitionAssignmentsRequest, s...)
	}
	return []step{
		move("move: a broker twice", reassignTo(t, 0, []int{1, 1})),
		move("move: a broker that is none", reassignTo(t, 0, []int{1, 77})),
		move("move: all and one more", reassignTo(t, 0, []int{0, 1, 2, 77})),
		move("move: nobody", reassignTo(t, 0, []int{})),
		move("move: to where it is", reassignTo(t, 0, []int{0, 1})),
		move("move: nothing to cancel", reassignTo(t, 0, nil)),
		move("move: the same partition twice", reassignTo(t, 0, []int{0, 1}), reassignTo(t, 0, []int{0, 1})),
		move("move: a good and a bad one", reassignTo(t, 0, []int{0, 1}), reassignTo("p19", 0, []int{1, 1}), reassignTo("p19", 9, []int{1, 0})),
		ask("move: another number of replicas, which is not allowed", high, kmsg.NewPtrAlterPartitionAssignmentsRequest, reassignTo(t, 0, []int{0, 1, 2}), sameFactor),
		ask("move: fewer replicas, which is not allowed", high, kmsg.NewPtrAlterPartitionAssignmentsRequest, reassignTo(t, 0, []int{1}), sameFactor),
		both("no moves", kmsg.NewPtrListPartitionReassignmentsRequest, listMoves(t, 0, 1, 2)),
		both("no moves at all", kmsg.NewPtrListPartitionReassignmentsRequest, listMoves("")),
	}
}
