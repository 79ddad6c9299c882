package main

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Scenarios of this file elect leaders and move replicas while all nodes are there.

// The types of elections.
const (
	preferred int8 = 0
	unclean   int8 = 1
)

// electIn asks for elections in partitions of a topic.
func electIn(kind int8, topic string, partitions ...int32) func(*vars, *kmsg.ElectLeadersRequest) {
	return func(v *vars, r *kmsg.ElectLeadersRequest) {
		r.ElectionType, r.TimeoutMillis = kind, enough
		t := kmsg.NewElectLeadersRequestTopic()
		t.Topic, t.Partitions = exactOr(v, topic), partitions
		r.Topics = append(r.Topics, t)
	}
}

// at sends the step to the node so many ids past the home.
func at(past int, s step) step {
	s.past = past
	return s
}

// arrived are steps that wait until the replicas of partitions of a topic are those named and all in sync, at every node
// named; whoever leads then is compared.
func arrived(name, topic string, nodes []int, replicas map[int32][]int) []step {
	var all []step
	for _, node := range nodes {
		s := at(node, ask(fmt.Sprint(name, ", at node ", node), high, kmsg.NewPtrMetadataRequest, metadataOf(topic)))
		s.untilWith = func(v *vars, r kmsg.Response) bool {
			for _, t := range r.(*kmsg.MetadataResponse).Topics {
				for _, p := range t.Partitions {
					want, ok := replicas[p.Partition]
					if ok && (!slices.Equal(p.Replicas, v.nodesPast(want...)) || len(p.ISR) != len(want) || p.Leader < 0) {
						return false
					}
				}
			}
			return true
		}
		all = append(all, s)
	}
	return all
}

func elections() []step {
	elect := func(name string, s ...func(*vars, *kmsg.ElectLeadersRequest)) step {
		return both(name, kmsg.NewPtrElectLeadersRequest, s...)
	}
	// The lowest version knows no types.
	typed := func(name string, s ...func(*vars, *kmsg.ElectLeadersRequest)) []step {
		return []step{ask(name+" v1", 1, kmsg.NewPtrElectLeadersRequest, s...), ask(name, high, kmsg.NewPtrElectLeadersRequest, s...)}
	}
	order := func(name string, partition int32, past ...int) step {
		return ask(name, high, kmsg.NewPtrAlterPartitionAssignmentsRequest, reassignTo("elect", partition, past))
	}
	in := func(d int64) func(*vars, *kmsg.ElectLeadersRequest) {
		return func(_ *vars, r *kmsg.ElectLeadersRequest) { r.TimeoutMillis = int32(d) }
	}
	const t = "elect"
	return concat(makeSpread(t, [][]int{{0, 1}, {1, 0}, {0, 1, 2}}), fill(t, 10), []step{
		ask("not needed", each, kmsg.NewPtrElectLeadersRequest, electIn(preferred, t, 0, 1, 2)),
		at(2, elect("not needed, at another node", electIn(preferred, t, 0))),
	}, typed("unclean, not needed", electIn(unclean, t, 0, 1, 2)), []step{
		elect("an unknown topic", electIn(preferred, t+"-none", 0)),
		elect("an unknown partition", electIn(preferred, t, 9)),
		elect("a negative partition", electIn(preferred, t, -1)),
		elect("an empty name", electIn(preferred, "=", 0)),
		elect("no partitions", electIn(preferred, t)),
		elect("no topics", func(_ *vars, r *kmsg.ElectLeadersRequest) {
			r.TimeoutMillis, r.Topics = enough, []kmsg.ElectLeadersRequestTopic{}
		}),
		elect("a partition twice", electIn(preferred, t, 0, 0)),
		elect("a topic twice", electIn(preferred, t, 0), electIn(preferred, t, 0, 1)),
		elect("known and unknown", electIn(preferred, t, 0, 7), electIn(preferred, t+"-none", 0)),
	}, typed("unclean in an unknown topic", electIn(unclean, t+"-none", 0)),
		typed("unclean in an unknown partition", electIn(unclean, t, 9)),
		typed("a type that is none", electIn(2, t, 0, 9)),
		typed("a negative type", electIn(-1, t, 0)), []step{
			order("another first replica", 0, 1, 0),
			ask("who leads after that", high, kmsg.NewPtrMetadataRequest, metadataOf(t)),
		}, typed("unclean where another leads than the first", electIn(unclean, t, 0)), []step{
			ask("the first", 1, kmsg.NewPtrElectLeadersRequest, electIn(preferred, t, 0, 1, 9)),
			ask("who leads after the election", high, kmsg.NewPtrMetadataRequest, metadataOf(t)),
			at(2, ask("who leads, at another node", high, kmsg.NewPtrMetadataRequest, metadataOf(t))),
			elect("the first again", electIn(preferred, t, 0)),
			order("the order of three", 2, 2, 1, 0),
			ask("the first of three", high, kmsg.NewPtrElectLeadersRequest, electIn(preferred, t, 2), electIn(preferred, t+"-none", 1)),
			at(2, ask("who leads of three", high, kmsg.NewPtrDescribeTopicPartitionsRequest, describePartitions(100, nil, t))),
			ask("an election with no time", high, kmsg.NewPtrElectLeadersRequest, electIn(preferred, t, 0), in(0)),

			// The home led partition 0 in epoch 0 and does not any more.
			ask("produce to the former leader", each, kmsg.NewPtrProduceRequest, produceOf(t, 0, numbered(1))),
			at(1, both("produce to the leader", kmsg.NewPtrProduceRequest, produceOf(t, 0, numbered(2)))),
			ask("fetch from the former leader", low, kmsg.NewPtrFetchRequest, fetchFrom(t, 0, 12)),
			ask("fetch from the former leader", high, kmsg.NewPtrFetchRequest, fetchFrom(t, 0, 12)).with(func(s *step) {
				s.until = func(r kmsg.Response) bool {
					return r.(*kmsg.FetchResponse).Topics[0].Partitions[0].HighWatermark == 14
				}
			}),
			ask("fetch from the former leader, of its epoch", high, kmsg.NewPtrFetchRequest, fetchFrom(t, 0, 5), currentEpoch(0)),
			at(1, ask("fetch from the leader, of the epoch before", high, kmsg.NewPtrFetchRequest, fetchFrom(t, 0, 5), currentEpoch(0))),
			at(1, ask("fetch from the leader, of its epoch", high, kmsg.NewPtrFetchRequest, fetchFrom(t, 0, 10), currentEpoch(1))),
			at(1, ask("fetch from the leader, of an epoch to come", high, kmsg.NewPtrFetchRequest, fetchFrom(t, 0, 10), currentEpoch(2))),
			at(1, ask("diverging: as of epoch 0, past its end", high, kmsg.NewPtrFetchRequest, fetchFrom(t, 0, 11), partitionSet(func(p *kmsg.FetchRequestTopicPartition) { p.LastFetchedEpoch = 0 }))),
			at(1, both("the end of epoch 0", kmsg.NewPtrOffsetForLeaderEpochRequest, epochEnd(t, -1, -1, 0))),
			at(1, both("the end of epoch 1", kmsg.NewPtrOffsetForLeaderEpochRequest, epochEnd(t, -1, 1, 1))),
			at(1, both("the end of epoch 0, of the epoch before", kmsg.NewPtrOffsetForLeaderEpochRequest, epochEnd(t, -1, 0, 0))),
			both("the end of epoch 0, at the former leader", kmsg.NewPtrOffsetForLeaderEpochRequest, epochEnd(t, -1, -1, 0)),
			both("the latest offset, at the former leader", kmsg.NewPtrListOffsetsRequest, listOffset(t, 0, -1)),
			at(1, both("the latest offset", kmsg.NewPtrListOffsetsRequest, listOffset(t, 0, -1))),
			both("delete records, at the former leader", kmsg.NewPtrDeleteRecordsRequest, deleteUpTo(t, 0, 3)),
			at(1, both("delete records", kmsg.NewPtrDeleteRecordsRequest, deleteUpTo(t, 0, 3))),
		})
}

func moves() []step {
	const t = "move"
	move := func(name string, s ...func(*vars, *kmsg.AlterPartitionAssignmentsRequest)) step {
		return ask(name, high, kmsg.NewPtrAlterPartitionAssignmentsRequest, s...)
	}
	bad := func(name string, s ...func(*vars, *kmsg.AlterPartitionAssignmentsRequest)) step {
		return both(name, kmsg.NewPtrAlterPartitionAssignmentsRequest, s...)
	}
	none := ask("nothing moves", high, kmsg.NewPtrListPartitionReassignmentsRequest, listMoves(t, 0, 1, 2)).with(func(s *step) {
		s.until = func(r kmsg.Response) bool { return len(r.(*kmsg.ListPartitionReassignmentsResponse).Topics) == 0 }
	})
	get := func(name string, past int, partition int32, offset int64) step {
		return at(past, ask(name, high, kmsg.NewPtrFetchRequest, fetchFrom(t, partition, offset)))
	}
	everywhere := []int{0, 1, 2}
	return concat(makeSpread(t, [][]int{{0, 1}, {0}, {0, 1, 2}}), fill(t, 10), []step{
		bad("no topics", func(_ *vars, r *kmsg.AlterPartitionAssignmentsRequest) {
			r.TimeoutMillis, r.Topics = enough, []kmsg.AlterPartitionAssignmentsRequestTopic{}
		}),
		bad("no partitions", func(v *vars, r *kmsg.AlterPartitionAssignmentsRequest) {
			reassignTo(t, 0, nil)(v, r)
			r.Topics[0].Partitions = nil
		}),
		bad("no time", reassignTo(t, 0, []int{0, 1}), func(_ *vars, r *kmsg.AlterPartitionAssignmentsRequest) { r.TimeoutMillis = 0 }),
		bad("a broker that is none", reassignTo(t, 0, []int{77})),
		bad("a broker that is none, at another node", reassignTo(t, 0, []int{0, 77})).with(func(s *step) { s.past = 2 }),
		bad("an unknown topic", reassignTo(t+"-none", 0, []int{0, 1})),
		bad("an unknown topic to cancel in", reassignTo(t+"-none", 0, nil)),
		bad("an unknown partition", reassignTo(t, 9, []int{0, 1})),
		bad("an unknown partition to cancel in", reassignTo(t, 9, nil)),
		bad("a negative partition", reassignTo(t, -1, []int{0, 1})),
		bad("nothing to cancel", reassignTo(t, 0, nil)),
		bad("nobody", reassignTo(t, 0, []int{})),
		move("fewer replicas, which is not allowed", reassignTo(t, 2, []int{0, 1}), sameFactor),
		move("more replicas, which is not allowed", reassignTo(t, 0, []int{0, 1, 2}), sameFactor),
		move("an unknown topic, with a number that must stay", reassignTo(t+"-none", 0, []int{0, 1, 2}), sameFactor),
		move("another order, which is allowed", reassignTo(t, 2, []int{0, 2, 1}), sameFactor),
		both("list no topics", kmsg.NewPtrListPartitionReassignmentsRequest, func(_ *vars, r *kmsg.ListPartitionReassignmentsRequest) {
			r.TimeoutMillis, r.Topics = enough, []kmsg.ListPartitionReassignmentsRequestTopic{}
		}),
		both("list no partitions", kmsg.NewPtrListPartitionReassignmentsRequest, listMoves(t)),
		both("list an unknown topic", kmsg.NewPtrListPartitionReassignmentsRequest, listMoves(t+"-none", 0)),
		both("list an unknown partition", kmsg.NewPtrListPartitionReassignmentsRequest, listMoves(t, 0, 9)),
		both("list with no time", kmsg.NewPtrListPartitionReassignmentsRequest, listMoves(t, 0), func(_ *vars, r *kmsg.ListPartitionReassignmentsRequest) { r.TimeoutMillis = 0 }),

		move("another follower", reassignTo(t, 0, []int{0, 2}), sameFactor), none,
	}, arrived("another follower", t, everywhere, map[int32][]int{0: {0, 2}}), []step{
		get("the former follower", 1, 0, 5),
		get("the new follower", 2, 0, 10).with(func(s *step) {
			s.until = func(r kmsg.Response) bool {
				return r.(*kmsg.FetchResponse).Topics[0].Partitions[0].HighWatermark == 10
			}
		}),
		at(1, ask("log dirs of the former follower", high, kmsg.NewPtrDescribeLogDirsRequest, logDirsOf(t, 0))).with(func(s *step) {
			s.until = func(r kmsg.Response) bool { return !holdsLog(r.(*kmsg.DescribeLogDirsResponse)) }
		}),
		at(2, ask("log dirs of the new follower", high, kmsg.NewPtrDescribeLogDirsRequest, logDirsOf(t, 0))).with(func(s *step) {
			s.until = func(r kmsg.Response) bool { return noFutureLogs(r.(*kmsg.DescribeLogDirsResponse)) }
		}),
		move("both others", reassignTo(t, 0, []int{1, 2})), none,
	}, arrived("both others", t, everywhere, map[int32][]int{0: {1, 2}}), []step{
		get("the former leader", 0, 0, 5),
		both("produce to the former leader", kmsg.NewPtrProduceRequest, produceOf(t, 0, numbered(1))),
		ask("the latest offset of the former leader", high, kmsg.NewPtrListOffsetsRequest, listOffset(t, 0, -1)),
		at(1, ask("produce to the new leader", high, kmsg.NewPtrProduceRequest, produceOf(t, 0, numbered(1)))),
		get("the new leader", 1, 0, 8),
		move("all of a partition elsewhere", reassignTo(t, 1, []int{2})), none,
	}, arrived("all of a partition elsewhere", t, everywhere, map[int32][]int{1: {2}}), []step{
		at(2, ask("produce there", high, kmsg.NewPtrProduceRequest, produceOf(t, 1, numbered(3)))),
		both("produce where it was", kmsg.NewPtrProduceRequest, produceOf(t, 1, numbered(3))),
		move("fewer", reassignTo(t, 2, []int{0})), none,
	}, arrived("fewer", t, everywhere, map[int32][]int{2: {0}}), []step{
		move("more, and another partition", reassignTo(t, 2, []int{1, 0, 2}), reassignTo(t, 0, []int{2, 0}), reassignTo(t, 9, []int{2})), none,
	}, arrived("more", t, everywhere, map[int32][]int{2: {1, 0, 2}, 0: {2, 0}}), []step{
		move("the number that it has is kept", reassignTo(t, 2, []int{2, 1, 0}), sameFactor),
		move("nothing to cancel any more", reassignTo(t, 2, nil), reassignTo(t, 0, nil)),
		at(2, ask("described at the end", high, kmsg.NewPtrDescribeTopicPartitionsRequest, describePartitions(100, nil, t))),
	})
}

func logDirsOf(topic string, partitions ...int32) func(*vars, *kmsg.DescribeLogDirsRequest) {
	return func(v *vars, r *kmsg.DescribeLogDirsRequest) {
		t := kmsg.NewDescribeLogDirsRequestTopic()
		t.Topic, t.Partitions = v.name(topic), partitions
		r.Topics = append(r.Topics, t)
	}
}

func holdsLog(r *kmsg.DescribeLogDirsResponse) bool {
	return slices.ContainsFunc(r.Dirs, func(d kmsg.DescribeLogDirsResponseDir) bool { return len(d.Topics) > 0 })
}
