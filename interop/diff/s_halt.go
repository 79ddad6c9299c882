package main

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Scenarios of this file stop nodes or have them stand still.

// acks has a produce request ask for so many.
func acks(n int16) func(*kmsg.ProduceRequest) {
	return func(r *kmsg.ProduceRequest) { r.Acks = n }
}

// within has a produce request allow so many milliseconds.
func within(millis int32) func(*kmsg.ProduceRequest) {
	return func(r *kmsg.ProduceRequest) { r.TimeoutMillis = millis }
}

// left are a step at the home and at the node 2 past it: the two that are there while the one past the home is not.
func left(steps ...step) []step {
	var all []step
	for _, s := range steps {
		all = append(all, s, besides(2, s))
	}
	return all
}

// firm takes every answer for what it is.
func firm(s step) step {
	s.firm = true
	return s
}

// haltScenarios are none of those that always run: now and then followers of an Apache Kafka that has started again give up
// partitions ("marked as failed") and come into sync no more.
func haltScenarios() []scenario {
	return []scenario{{"stopped-node", stoppedNode()}, {"still-follower", stillFollower()}, {"unclean", uncleanElections()}}
}

// stoppedNode asks the two nodes that are left when the one after the home is stopped.
func stoppedNode() []step {
	return concat(downTopics(), fewTopics(), pendingTopics(), []step{stopped(1)},
		downAnswers(), downTopicChanges(), downElections(), fewInSync(), pendingMoves(), []step{started(1), whole()}, afterwards())
}

const (
	down    = "down"
	few     = "few"
	alone   = "alone"
	hanging = "hanging"
)

// downTopics makes a topic of partitions that have a replica on the node that is to stop: one that it follows, one that
// it leads, one that it has alone, two that the home has no replica of, one that all have.
func downTopics() []step {
	var steps []step
	replicas := [][]int{{0, 1}, {1, 0}, {1}, {1, 2}, {2, 1}, {0, 1, 2}}
	for p, nodes := range replicas {
		steps = append(steps, quietly(ask(fmt.Sprint("fill partition ", p), 9, kmsg.NewPtrProduceRequest, produceOf(down, int32(p), numbered(5)))).with(func(s *step) { s.past = nodes[0] }))
	}
	return concat(makeSpread(down, replicas), steps)
}

// downAnswers are the answers of the two nodes that are left.
func downAnswers() []step {
	fenced := func(_ *vars, r *kmsg.DescribeClusterRequest) { r.IncludeFencedBrokers = true }
	inRack := func(past int) func(*vars, *kmsg.FetchRequest) {
		return func(v *vars, r *kmsg.FetchRequest) { r.Rack = fmt.Sprint("rack", v.node(past)) }
	}
	steps := left(
		ask("metadata", each, kmsg.NewPtrMetadataRequest, metadataOf(down)),
		ask("metadata of no topic", ends, kmsg.NewPtrMetadataRequest, metadataOf()).with(func(s *step) { s.version = 12 }),
		ask("describe the topic", high, kmsg.NewPtrDescribeTopicPartitionsRequest, describePartitions(100, nil, down)),
		ask("describe the cluster", each, kmsg.NewPtrDescribeClusterRequest),
		ask("describe the controllers", high, kmsg.NewPtrDescribeClusterRequest, func(_ *vars, r *kmsg.DescribeClusterRequest) { r.EndpointType = 2 }),
		ask("describe fenced brokers too", high, kmsg.NewPtrDescribeClusterRequest, fenced),
		ask("quorum", each, kmsg.NewPtrDescribeQuorumRequest, func(_ *vars, r *kmsg.DescribeQuorumRequest) {
			t := kmsg.NewDescribeQuorumRequestTopic()
			t.Topic, t.Partitions = "__cluster_metadata", append(t.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
			r.Topics = append(r.Topics, t)
		}),
		ask("coordinators of groups", ends, kmsg.NewPtrFindCoordinatorRequest, findCoordinator(0, "down-a", "down-b", "down-c", "down-d")),
		ask("coordinators of transactions", high, kmsg.NewPtrFindCoordinatorRequest, findCoordinator(1, "down-a", "down-b", "down-c", "down-d")),
		ask("log dirs", high, kmsg.NewPtrDescribeLogDirsRequest, logDirsOf(down, 0, 1, 2, 3, 4, 5)).with(func(s *step) {
			s.until = func(r kmsg.Response) bool { return noFutureLogs(r.(*kmsg.DescribeLogDirsResponse)) }
		}),
		ask("broker configs of the stopped node's topic", high, kmsg.NewPtrDescribeConfigsRequest, describeConfig(topicResource, down, "min.insync.replicas")),
	)
	for p := range int32(6) {
		name := fmt.Sprint("partition ", p, ", ")
		steps = append(steps, left(
			both(name+"latest offset", kmsg.NewPtrListOffsetsRequest, listOffset(down, p, -1)),
			both(name+"earliest offset", kmsg.NewPtrListOffsetsRequest, listOffset(down, p, -2)),
			ask(name+"latest offset in epoch 0", high, kmsg.NewPtrListOffsetsRequest, listOffset(down, p, -1, func(_ *kmsg.ListOffsetsRequest, p *kmsg.ListOffsetsRequestTopicPartition) { p.CurrentLeaderEpoch = 0 })),
			both(name+"fetch", kmsg.NewPtrFetchRequest, fetchFrom(down, p, 0)),
			ask(name+"fetch in epoch 0", high, kmsg.NewPtrFetchRequest, fetchFrom(down, p, 0), currentEpoch(0)),
			ask(name+"fetch in the stopped node's rack", high, kmsg.NewPtrFetchRequest, fetchFrom(down, p, 0), inRack(1)),
			ask(name+"fetch in the third rack", high, kmsg.NewPtrFetchRequest, fetchFrom(down, p, 0), inRack(2)),
			both(name+"the end of epoch 0", kmsg.NewPtrOffsetForLeaderEpochRequest, epochEndOf(down, p, 0)),
			ask(name+"producers", high, kmsg.NewPtrDescribeProducersRequest, describeProducers(down, p)),
			both(name+"produce for acks of 1", kmsg.NewPtrProduceRequest, produceOf(down, p, numbered(1), acks(1))),
			firm(both(name+"produce for all acks", kmsg.NewPtrProduceRequest, produceOf(down, p, numbered(1)))),
			both(name+"delete records", kmsg.NewPtrDeleteRecordsRequest, deleteUpTo(down, p, 0)).with(func(s *step) {
				s.req = quickDelete(down, p)
			}),
		)...)
	}
	return steps
}

// quickDelete is a request to delete nothing that waits a moment only for followers that are not there.
func quickDelete(topic string, partition int32) func(v *vars) kmsg.Request {
	return func(v *vars) kmsg.Request {
		r := kmsg.NewPtrDeleteRecordsRequest()
		deleteUpTo(topic, partition, 0)(v, r)
		r.TimeoutMillis = 100
		return r
	}
}

// downTopicChanges make, grow and delete topics with a node missing.
func downTopicChanges() []step {
	create := func(name string, s ...func(*vars, *kmsg.CreateTopicsRequest)) step {
		return both(name, kmsg.NewPtrCreateTopicsRequest, s...)
	}
	grow := func(name string, s ...func(*vars, *kmsg.CreatePartitionsRequest)) step {
		return both(name, kmsg.NewPtrCreatePartitionsRequest, s...)
	}
	return []step{
		create("create with more replicas than are left", newTopic("down-rf3", 1, 3)),
		create("create with more replicas than are left, validate only", newTopic("down-rf3", 1, 3), validateTopics),
		create("create with as many replicas as are left, validate only", newTopic("down-rf2", 4, 2), validateTopics),
		create("create on the stopped node alone", assignedPast("down-none", []int{1})),
		ask("create on a node that is left", high, kmsg.NewPtrCreateTopicsRequest, assignedPast("down-alone", []int{2})),
		create("create with a partition on the stopped node alone", assignedPast("down-none", []int{0}, []int{1})),
		ask("create on the stopped node first", high, kmsg.NewPtrCreateTopicsRequest, assignedPast("down-first", []int{1, 0}, []int{1, 2}, []int{2, 1})),
		ask("its metadata", high, kmsg.NewPtrMetadataRequest, metadataOf("down-first")),
		ask("describe it", high, kmsg.NewPtrDescribeTopicPartitionsRequest, describePartitions(100, nil, "down-first")),
		ask("create with more replicas than are left, the metadata", high, kmsg.NewPtrMetadataRequest, metadataOf("down-rf3")).with(func(s *step) { s.placed = true }),
		grow("grow by more replicas than are left", growTo("down-rf3", 2)).with(func(s *step) { s.placed = true }),
		grow("grow onto the stopped node alone", growTo("down-alone", 2, []int{1})),
		grow("grow onto the stopped node first", growTo("down-first", 4, []int{1, 2})),
		ask("the metadata after", high, kmsg.NewPtrMetadataRequest, metadataOf("down-first")),
		ask("delete", high, kmsg.NewPtrDeleteTopicsRequest, func(v *vars, r *kmsg.DeleteTopicsRequest) {
			r.TimeoutMillis = enough
			t := kmsg.NewDeleteTopicsRequestTopic()
			t.Topic = ptr(v.name("down-first"))
			r.Topics = append(r.Topics, t)
		}),
		ask("metadata of the deleted", high, kmsg.NewPtrMetadataRequest, metadataOf("down-first")),
	}
}

// downElections ask for leaders that are not there.
func downElections() []step {
	typed := func(name string, kind int8, partitions ...int32) []step {
		return []step{ask(name, 1, kmsg.NewPtrElectLeadersRequest, electIn(kind, down, partitions...)), ask(name, high, kmsg.NewPtrElectLeadersRequest, electIn(kind, down, partitions...))}
	}
	return concat(
		[]step{ask("elect the first, every version", each, kmsg.NewPtrElectLeadersRequest, electIn(preferred, down, 0, 1, 2, 3, 4, 5))},
		typed("elect anybody", unclean, 0, 1, 2, 3, 4, 5),
		typed("elect anybody of a partition without a leader", unclean, 2),
		typed("elect the first, also where there is no partition", preferred, 1, 9),
		[]step{ask("nothing has changed", high, kmsg.NewPtrDescribeTopicPartitionsRequest, describePartitions(100, nil, down))},
	)
}

// fewTopics makes partitions that want two in sync.
func fewTopics() []step {
	wanted := []string{"min.insync.replicas", "2"}
	return concat(makeSpread(few, [][]int{{0, 1}, {1, 0}, {0, 1, 2}}, wanted...), makeSpread(alone, [][]int{{1}}, wanted...), fill(few, 10))
}

// fewInSync is what happens where fewer are in sync than are wanted.
func fewInSync() []step {
	produce := func(name string, partition int32, change ...func(*kmsg.ProduceRequest)) step {
		return firm(both(name, kmsg.NewPtrProduceRequest, produceOf(few, partition, numbered(5), change...)))
	}
	get := func(name string, offset int64, s ...func(*vars, *kmsg.FetchRequest)) step {
		return both(name, kmsg.NewPtrFetchRequest, append([]func(*vars, *kmsg.FetchRequest){fetchFrom(few, 0, offset)}, s...)...)
	}
	idempotent := func(_ *vars, r *kmsg.ProduceRequest) {
		b := numbered(1).with(func(rb *kmsg.RecordBatch) { rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence = 4711, 0, 0 })
		r.Topics[0].Partitions[0].Records = b.bytes()
	}
	return []step{
		ask("few: described", high, kmsg.NewPtrDescribeTopicPartitionsRequest, describePartitions(100, nil, few, alone)),
		produce("few: all acks where the other follows", 0),
		produce("few: all acks where the other led", 1),
		produce("few: all acks of two of three", 2),
		firm(both("few: all acks without a leader", kmsg.NewPtrProduceRequest, produceOf(alone, 0, numbered(1)))),
		produce("few: all acks and no time", 0, within(0)),
		firm(ask("few: all acks of an idempotent producer", high, kmsg.NewPtrProduceRequest, produceOf(few, 0, numbered(1)), idempotent)),
		ask("few: acks of 1, every version", each, kmsg.NewPtrProduceRequest, produceOf(few, 0, numbered(1), acks(1))),
		ask("few: acks of 0", low, kmsg.NewPtrProduceRequest, produceOf(few, 0, numbered(1), acks(0))).with(func(s *step) { s.silent = true }),
		get("few: fetch what all had", 5),
		get("few: fetch what one has", 10),
		get("few: fetch behind what all had", 12),
		get("few: fetch past the end", 99),
		both("few: latest", kmsg.NewPtrListOffsetsRequest, listOffset(few, 0, -1)),
		both("few: latest as a debugging consumer", kmsg.NewPtrListOffsetsRequest, listOffset(few, 0, -1, func(r *kmsg.ListOffsetsRequest, _ *kmsg.ListOffsetsRequestTopicPartition) { r.ReplicaID = -2 })),
		ask("few: highest timestamp", high, kmsg.NewPtrListOffsetsRequest, listOffset(few, 0, -3)),
		both("few: the end of epoch 0", kmsg.NewPtrOffsetForLeaderEpochRequest, epochEndOf(few, 0, 0)),
		ask("few: the end of the epoch of the stop", high, kmsg.NewPtrOffsetForLeaderEpochRequest, epochEndOf(few, 0, 1)),
		ask("few: elect the first", high, kmsg.NewPtrElectLeadersRequest, electIn(preferred, few, 0, 1, 2), electIn(preferred, alone, 0)),
		ask("few: elect anybody", high, kmsg.NewPtrElectLeadersRequest, electIn(unclean, few, 0, 1, 2), electIn(unclean, alone, 0)),
		ask("few: want one in sync", high, kmsg.NewPtrIncrementalAlterConfigsRequest, alterIncrementally(topicResource, few, alterOp{kmsg.IncrementalAlterConfigOpSet, "min.insync.replicas", ptr("1")})),
		ask("few: described with one wanted", high, kmsg.NewPtrDescribeTopicPartitionsRequest, describePartitions(100, nil, few)),
		produce("few: all acks with one wanted", 0),
		get("few: fetch what one acknowledged", 10),
		both("few: latest with one wanted", kmsg.NewPtrListOffsetsRequest, listOffset(few, 0, -1)),
		ask("few: want two in sync again", high, kmsg.NewPtrIncrementalAlterConfigsRequest, alterIncrementally(topicResource, few, alterOp{kmsg.IncrementalAlterConfigOpSet, "min.insync.replicas", ptr("2")})),
		produce("few: all acks with two wanted again", 0),
	}
}

func pendingTopics() []step {
	return makeSpread(hanging, [][]int{{0}, {0, 2}, {0}, {1}, {0, 1}, {2}})
}

// pendingMoves are reassignments that cannot end while a node is stopped, and those that can.
func pendingMoves() []step {
	move := func(name string, s ...func(*vars, *kmsg.AlterPartitionAssignmentsRequest)) step {
		return ask("move: "+name, high, kmsg.NewPtrAlterPartitionAssignmentsRequest, s...)
	}
	list := func(name string, partitions ...int32) []step {
		return []step{
			both("list "+name, kmsg.NewPtrListPartitionReassignmentsRequest, listMoves(hanging, partitions...)),
			ask("metadata "+name, high, kmsg.NewPtrMetadataRequest, metadataOf(hanging)),
		}
	}
	return concat([]step{
		move("onto the stopped node", reassignTo(hanging, 0, []int{1})),
		move("one more replica, on the stopped node", reassignTo(hanging, 2, []int{0, 1})),
		move("another follower, on the stopped node", reassignTo(hanging, 1, []int{0, 1}), sameFactor),
	}, list("those that have begun", 0, 1, 2, 3), []step{
		ask("list all that have begun", high, kmsg.NewPtrListPartitionReassignmentsRequest, listMoves("")),
		besides(2, ask("list all that have begun", high, kmsg.NewPtrListPartitionReassignmentsRequest, listMoves(""))),
		besides(2, ask("describe those that have begun", high, kmsg.NewPtrDescribeTopicPartitionsRequest, describePartitions(100, nil, hanging))),
		move("begun again", reassignTo(hanging, 0, []int{1})),
		move("the number of before it began", reassignTo(hanging, 2, []int{2}), sameFactor),
		move("the number that it leads to", reassignTo(hanging, 2, []int{2, 0}), sameFactor),
		move("away from a node that is not there", reassignTo(hanging, 3, []int{0})),
		move("a follower away that is not there", reassignTo(hanging, 4, []int{0, 2})),
	}, arrived("a follower away that is not there", hanging, []int{0, 2}, map[int32][]int{2: {2, 0}, 4: {0, 2}}), list("those that changed", 0, 2, 3), []step{
		move("cancel", reassignTo(hanging, 0, nil), reassignTo(hanging, 2, nil)),
		move("cancel again", reassignTo(hanging, 0, nil), reassignTo(hanging, 9, nil), reassignTo(hanging+"-none", 0, nil)),
	}, list("what is left after the cancel", 0, 1, 2, 3), []step{
		move("cancel where there is no leader", reassignTo(hanging, 3, nil)),
		move("two at once, one of them bad", reassignTo(hanging, 5, []int{1, 2}), reassignTo(hanging, 2, []int{1, 1})),
	}, list("what is left in the end", 0, 1, 2, 3, 5))
}

// afterwards is what the node has that was away.
func afterwards() []step {
	steps := concat(
		arrived("what moved when the node was back", hanging, []int{0, 1, 2}, map[int32][]int{0: {0}, 1: {0, 1}, 2: {2, 0}, 3: {0}, 4: {0, 2}, 5: {1, 2}}),
		[]step{
			ask("nothing moves any more", high, kmsg.NewPtrListPartitionReassignmentsRequest, listMoves("")),
			at(1, ask("the metadata of the node that was away", high, kmsg.NewPtrMetadataRequest, metadataOf(down, few))),
			at(1, ask("described by the node that was away", high, kmsg.NewPtrDescribeTopicPartitionsRequest, describePartitions(100, nil, down, few))),
			ask("the cluster afterwards", high, kmsg.NewPtrDescribeClusterRequest),
			both("all acks of two again", kmsg.NewPtrProduceRequest, produceOf(few, 0, numbered(1))),
			ask("all of them", high, kmsg.NewPtrFetchRequest, fetchFrom(few, 0, 0)),
		})
	for p, past := range []int{0, 1, 1, 1, 2, 0} {
		steps = append(steps,
			at(past, ask(fmt.Sprint("records of ", p), high, kmsg.NewPtrFetchRequest, fetchFrom(down, int32(p), 0))),
			at(past, ask(fmt.Sprint("latest of ", p), high, kmsg.NewPtrListOffsetsRequest, listOffset(down, int32(p), -1))),
			at(past, ask(fmt.Sprint("the end of the first epoch of ", p), high, kmsg.NewPtrOffsetForLeaderEpochRequest, epochEndOf(down, int32(p), 0))),
			at(past, ask(fmt.Sprint("the end of the second epoch of ", p), high, kmsg.NewPtrOffsetForLeaderEpochRequest, epochEndOf(down, int32(p), 1))),
		)
	}
	return steps
}

// stillFollower has a follower stand still that is in sync to everybody: what is written is committed only when it goes on.
func stillFollower() []step {
	const t = "still"
	debug := func(r *kmsg.ListOffsetsRequest, _ *kmsg.ListOffsetsRequestTopicPartition) { r.ReplicaID = -2 }
	committed := func(r *kmsg.ListOffsetsRequest, _ *kmsg.ListOffsetsRequestTopicPartition) { r.IsolationLevel = 1 }
	get := func(name string, partition int32, offset int64, s ...func(*vars, *kmsg.FetchRequest)) step {
		return ask(name, high, kmsg.NewPtrFetchRequest, append([]func(*vars, *kmsg.FetchRequest){fetchFrom(t, partition, offset)}, s...)...)
	}
	inRack := func(past int) func(*vars, *kmsg.FetchRequest) {
		return func(v *vars, r *kmsg.FetchRequest) { r.Rack = fmt.Sprint("rack", v.node(past)) }
	}
	known := func(partition int32, offset int64, past int) step {
		return quietly(at(past, ask(fmt.Sprint("wait until ", partition, " is committed up to ", offset), 12, kmsg.NewPtrFetchRequest, fetchFrom(t, partition, offset)))).with(func(s *step) {
			s.until = func(r kmsg.Response) bool {
				return r.(*kmsg.FetchResponse).Topics[0].Partitions[0].HighWatermark == offset
			}
		})
	}
	copied := func(offset int64) step {
		return quietly(at(1, ask("wait for the other follower", 7, kmsg.NewPtrListOffsetsRequest, listOffset(t, 1, -1, debug)))).with(func(s *step) {
			s.until = func(r kmsg.Response) bool {
				return r.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].Offset == offset
			}
		})
	}
	fill5 := func(partition int32) step {
		return quietly(ask(fmt.Sprint("fill partition ", partition), 9, kmsg.NewPtrProduceRequest, produceOf(t, partition, numbered(5))))
	}
	return concat(makeSpread(t, [][]int{{0, 2}, {0, 1, 2}, {0, 2}}), []step{
		fill5(0), fill5(0), fill5(1), fill5(1), fill5(2),
		known(1, 10, 1), known(1, 10, 2),
		still(2),
		both("acks of 1", kmsg.NewPtrProduceRequest, produceOf(t, 0, numbered(3), acks(1))),
		both("acks of all, for a moment", kmsg.NewPtrProduceRequest, produceOf(t, 0, numbered(2), within(100))),
		ask("acks of all, for no time", high, kmsg.NewPtrProduceRequest, produceOf(t, 0, numbered(2), within(0))),
		get("fetch up to what is committed", 0, 5),
		both("fetch at the end of what is committed", kmsg.NewPtrFetchRequest, fetchFrom(t, 0, 10)),
		both("fetch what is not committed", kmsg.NewPtrFetchRequest, fetchFrom(t, 0, 11)),
		get("fetch at the end of the log", 0, 22),
		get("fetch past the end of the log", 0, 23),
		ask("latest, every version", each, kmsg.NewPtrListOffsetsRequest, listOffset(t, 0, -1)),
		ask("latest, read committed", high, kmsg.NewPtrListOffsetsRequest, listOffset(t, 0, -1, committed)),
		ask("latest, as a debugging consumer", high, kmsg.NewPtrListOffsetsRequest, listOffset(t, 0, -1, debug)),
		ask("highest timestamp", high, kmsg.NewPtrListOffsetsRequest, listOffset(t, 0, -3)),
		both("by the time of the fourth", kmsg.NewPtrListOffsetsRequest, listOffset(t, 0, longAgo+4000)),
		both("by a time past all", kmsg.NewPtrListOffsetsRequest, listOffset(t, 0, longAgo+4001)),
		both("the end of epoch 0", kmsg.NewPtrOffsetForLeaderEpochRequest, epochEndOf(t, 0, 0)),
		ask("the end of epoch 0, as of a current epoch that is none", high, kmsg.NewPtrOffsetForLeaderEpochRequest, epochEnd(t, -1, -2, 0)),
		ask("the end of epoch 0, as a debugging consumer", high, kmsg.NewPtrOffsetForLeaderEpochRequest, epochEnd(t, -2, -1, 0)),
		get("diverging: past the end of the log", 0, 40, partitionSet(func(p *kmsg.FetchRequestTopicPartition) { p.LastFetchedEpoch = 0 })),
		both("delete what is not committed", kmsg.NewPtrDeleteRecordsRequest, deleteUpTo(t, 0, 15)),
		ask("delete what is committed, for a moment", high, kmsg.NewPtrDeleteRecordsRequest, deleteUpTo(t, 2, 3), func(_ *vars, r *kmsg.DeleteRecordsRequest) { r.TimeoutMillis = 100 }),
		get("fetch what is deleted at the leader", 2, 0),
		both("earliest of what is deleted at the leader", kmsg.NewPtrListOffsetsRequest, listOffset(t, 2, -2)),
		get("in the rack of the follower that stands still", 0, 5, inRack(2)),

		quietly(ask("to all three, acks of 1", 9, kmsg.NewPtrProduceRequest, produceOf(t, 1, numbered(5), acks(1)))),
		copied(15),
		at(1, both("from the other follower: what is not committed", kmsg.NewPtrFetchRequest, fetchFrom(t, 1, 12))),
		at(1, get("from the other follower: the end of what is committed", 1, 10)),
		at(1, get("from the other follower: up to what is committed", 1, 5)),
		at(1, get("from the other follower: the end of its log", 1, 15)),
		at(1, get("from the other follower: past its log", 1, 16)),
		get("what is not committed, in the other follower's rack", 1, 12, inRack(1)),
		get("what is committed, in the other follower's rack", 1, 5, inRack(1)),
		get("past the end, in the other follower's rack", 1, 16, inRack(1)),
		at(1, ask("the other follower's epoch 0, as a debugging consumer", high, kmsg.NewPtrOffsetForLeaderEpochRequest, epochEndOf(t, 1, 0), func(_ *vars, r *kmsg.OffsetForLeaderEpochRequest) { r.ReplicaID = -2 })),

		ask("the other follower first", high, kmsg.NewPtrAlterPartitionAssignmentsRequest, reassignTo(t, 1, []int{1, 0, 2})),
		ask("elect it", high, kmsg.NewPtrElectLeadersRequest, electIn(preferred, t, 1)),
		ask("who leads", high, kmsg.NewPtrMetadataRequest, metadataOf(t)),
		at(1, ask("the new leader: latest, every version", each, kmsg.NewPtrListOffsetsRequest, listOffset(t, 1, -1))),
		at(1, both("the new leader: earliest", kmsg.NewPtrListOffsetsRequest, listOffset(t, 1, -2))),
		at(1, both("the new leader: by the time of the second", kmsg.NewPtrListOffsetsRequest, listOffset(t, 1, longAgo+1000))),
		at(1, both("the new leader: by a time past all", kmsg.NewPtrListOffsetsRequest, listOffset(t, 1, longAgo+4001))),
		at(1, ask("the new leader: highest timestamp", high, kmsg.NewPtrListOffsetsRequest, listOffset(t, 1, -3))),
		at(1, ask("the new leader: latest, read committed", high, kmsg.NewPtrListOffsetsRequest, listOffset(t, 1, -1, committed))),
		at(1, ask("the new leader: latest, as a debugging consumer", high, kmsg.NewPtrListOffsetsRequest, listOffset(t, 1, -1, debug))),
		at(1, get("the new leader: up to what is committed", 1, 5)),
		at(1, both("the new leader: what is not committed", kmsg.NewPtrFetchRequest, fetchFrom(t, 1, 12))),
		at(1, get("the new leader: the end of its log", 1, 15)),
		at(1, get("the new leader: past its log", 1, 16)),
		at(1, both("the new leader: the end of epoch 0", kmsg.NewPtrOffsetForLeaderEpochRequest, epochEndOf(t, 1, 0))),
		at(1, both("the new leader: the end of epoch 1", kmsg.NewPtrOffsetForLeaderEpochRequest, epochEndOf(t, 1, 1))),
		at(1, both("the new leader: acks of all, for a moment", kmsg.NewPtrProduceRequest, produceOf(t, 1, numbered(1), within(100)))),
		at(1, both("the new leader: acks of 1", kmsg.NewPtrProduceRequest, produceOf(t, 1, numbered(1), acks(1)))),
		get("the former leader", 1, 5),
		get("the former leader: what is not committed", 1, 12),

		goesOn(2),
		known(0, 22, 0), known(1, 19, 1), known(1, 19, 2),
		get("all of it", 0, 0),
		at(1, get("all of it by the new leader", 1, 0)),
		at(2, get("all of it by the follower that stood still", 1, 0)),
		at(1, ask("latest of all", each, kmsg.NewPtrListOffsetsRequest, listOffset(t, 1, -1))),
		ask("described at the end", high, kmsg.NewPtrDescribeTopicPartitionsRequest, describePartitions(100, nil, t)),
	})
}

// uncleanElections stop the last node of two before it, and then the first: the one that comes back first was not in
// sync. The home has no replica.
func uncleanElections() []step {
	const t, eager, safe = "unclean", "unclean-eager", "unclean-safe"
	produce := func(name, topic string, past int, version int16, change ...func(*kmsg.ProduceRequest)) step {
		return at(past, firm(ask(name, version, kmsg.NewPtrProduceRequest, produceOf(topic, 0, numbered(5), change...))))
	}
	described := func(name string) step {
		return ask(name, high, kmsg.NewPtrDescribeTopicPartitionsRequest, describePartitions(100, nil, t, eager, safe))
	}
	fillThere := func(topic string) []step {
		known := quietly(at(2, ask("wait until what is in "+topic+" is committed", 12, kmsg.NewPtrFetchRequest, fetchFrom(topic, 0, 5)))).with(func(s *step) {
			s.until = func(r kmsg.Response) bool { return r.(*kmsg.FetchResponse).Topics[0].Partitions[0].HighWatermark == 5 }
		})
		return []step{quietly(at(1, ask("fill "+topic, 9, kmsg.NewPtrProduceRequest, produceOf(topic, 0, numbered(5))))), known}
	}
	acksOf := map[string]int16{t: -1, eager: -1, safe: 1}
	elect := func(name string, kind int8, topic string, partitions ...int32) step {
		return ask(name, high, kmsg.NewPtrElectLeadersRequest, electIn(kind, topic, partitions...))
	}
	pair := [][]int{{1, 2}}
	steps := concat(
		makeSpread(t, [][]int{{1, 2}, {1}, {1, 2, 0}}), makeSpread(eager, pair, "unclean.leader.election.enable", "true"), makeSpread(safe, pair, "min.insync.replicas", "2"),
		fillThere(t), fillThere(eager), fillThere(safe), []step{
			stopped(2),
			described("with one stopped"),
			produce("what the other will not have", t, 1, high),
			produce("what the other will not have, eager", eager, 1, high),
			produce("what the other will not have, safe", safe, 1, high, acks(1)),
			stopped(1),
			started(2),
			described("with the other stopped").with(func(s *step) {
				s.until = func(r kmsg.Response) bool {
					topics := r.(*kmsg.DescribeTopicPartitionsResponse).Topics
					return len(topics) == 3 && len(topics[1].Partitions) == 1 && topics[1].Partitions[0].LeaderID >= 0
				}
			}),
			ask("metadata with the other stopped", each, kmsg.NewPtrMetadataRequest, metadataOf(t, eager, safe)),
			elect("elect the first", preferred, t, 0, 1, 2),
			both("fetch without a leader", kmsg.NewPtrFetchRequest, fetchFrom(t, 0, 0)),
			at(2, both("fetch without a leader from a replica", kmsg.NewPtrFetchRequest, fetchFrom(t, 0, 0))),
			at(2, both("latest without a leader", kmsg.NewPtrListOffsetsRequest, listOffset(t, 0, -1))),
			produce("produce without a leader", t, 2, high),
			ask("elect anybody", 1, kmsg.NewPtrElectLeadersRequest, electIn(unclean, t, 0, 1, 2, 9)),
			elect("elect anybody again", unclean, t, 0, 1),
			elect("elect anybody who is eligible", unclean, safe, 0),
			described("with leaders").with(func(s *step) {
				s.until = func(r kmsg.Response) bool {
					return len(r.(*kmsg.DescribeTopicPartitionsResponse).Topics[0].Partitions[2].ISR) == 2
				}
			}),
			ask("metadata with leaders", high, kmsg.NewPtrMetadataRequest, metadataOf(t, eager, safe)),
		})
	for _, topic := range []string{t, eager, safe} {
		steps = append(steps,
			produce("produce to "+topic, topic, 2, high, acks(acksOf[topic])),
			at(2, ask("records of "+topic, high, kmsg.NewPtrFetchRequest, fetchFrom(topic, 0, 0))),
			at(2, ask("latest of "+topic, high, kmsg.NewPtrListOffsetsRequest, listOffset(topic, 0, -1))),
			at(2, ask("the end of epoch 0 of "+topic, high, kmsg.NewPtrOffsetForLeaderEpochRequest, epochEndOf(topic, 0, 0))),
		)
	}
	steps = append(steps, started(1), whole(), described("with all"))
	for _, topic := range []string{t, eager, safe} {
		steps = append(steps,
			at(1, ask("records of "+topic+" at the one that had more", high, kmsg.NewPtrFetchRequest, fetchFrom(topic, 0, 0))),
			at(1, ask("latest of "+topic+" at the one that had more", high, kmsg.NewPtrListOffsetsRequest, listOffset(topic, 0, -1))),
			at(1, ask("the end of epoch 0 of "+topic+" at the one that had more", high, kmsg.NewPtrOffsetForLeaderEpochRequest, epochEndOf(topic, 0, 0))),
		)
	}
	return steps
}
