package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Scenarios of this file need three nodes.

// besides returns the step sent to another node than the one it belongs to, past ids further. With two replicas the
// node 1 past the leader is the follower, and the one 2 past it has no replica.
func besides(past int, s step) step {
	s.past = past
	s.name += map[int]string{1: ", at the node after", 2: ", at the node before"}[past]
	return s
}

// around are a step at each node that is not the right one.
func around(steps ...step) []step {
	var all []step
	for _, s := range steps {
		all = append(all, besides(1, s), besides(2, s))
	}
	return all
}

// makeSpread are quiet steps that create a topic of one partition for each list, which names replicas by how many ids
// they are past the home, and wait until all of them serve consumers. Lists of different lengths cannot be asked for at
// once: their partitions begin with the first replica, and get the others then.
func makeSpread(name string, replicas [][]int, configs ...string) []step {
	ragged := slices.ContainsFunc(replicas, func(past []int) bool { return len(past) != len(replicas[0]) })
	create := quietly(ask("create "+name, 7, kmsg.NewPtrCreateTopicsRequest, func(v *vars, r *kmsg.CreateTopicsRequest) {
		newTopic(name, -1, -1)(v, r)
		t := &r.Topics[len(r.Topics)-1]
		for p, past := range replicas {
			if ragged {
				past = past[:1]
			}
			assign(int32(p), v.nodesPast(past...)...)(t)
		}
		for i := 0; i+1 < len(configs); i += 2 {
			topicConfig(configs[i], &configs[i+1])(t)
		}
	}))
	create.keep = func(v *vars, r kmsg.Response) {
		v.kept[topicIDKey(name)] = r.(*kmsg.CreateTopicsResponse).Topics[0].TopicID
	}
	steps := []step{create}
	if ragged {
		steps = append(steps, addReplicas(name, replicas)...)
	}
	for p, all := range replicas {
		for _, past := range all {
			steps = append(steps, quietly(ask(fmt.Sprint("serve ", name, p), 12, kmsg.NewPtrFetchRequest, fetchFrom(name, int32(p), 0))).with(func(s *step) { s.past = past }))
		}
	}
	return steps
}

// addReplicas are quiet steps that give partitions their replicas, and wait until they have them.
func addReplicas(name string, replicas [][]int) []step {
	add := quietly(ask("add replicas to "+name, 0, kmsg.NewPtrAlterPartitionAssignmentsRequest, func(v *vars, r *kmsg.AlterPartitionAssignmentsRequest) {
		for p, past := range replicas {
			reassignTo(name, int32(p), past)(v, r)
		}
	}))
	added := quietly(ask("wait for the replicas of "+name, 0, kmsg.NewPtrListPartitionReassignmentsRequest, func(_ *vars, r *kmsg.ListPartitionReassignmentsRequest) {
		r.TimeoutMillis = enough
	})).with(func(s *step) {
		s.until = func(r kmsg.Response) bool { return len(r.(*kmsg.ListPartitionReassignmentsResponse).Topics) == 0 }
	})
	return []step{add, added}
}

// pair is one partition that the home leads and the node after it follows.
var pair = [][]int{{0, 1}}

// nodesPast are ids of nodes by how many they are past the home; from 10 on there is none.
func (v *vars) nodesPast(past ...int) []int32 {
	all := []int32{}
	for _, p := range past {
		if p >= 10 {
			all = append(all, int32(p))
			continue
		}
		all = append(all, int32(v.node(p)))
	}
	return all
}

func nodeScenarios() []scenario {
	return []scenario{
		{"wrong-broker-produce", wrongProduce()},
		{"wrong-broker-fetch", wrongFetch()},
		{"wrong-broker-offsets", wrongOffsets()},
		{"any-broker", anyBroker()},
		{"wrong-coordinator-group", wrongGroup()},
		{"wrong-coordinator-transaction", wrongTransaction()},
		{"transaction-across", transactionAcross()},
		{"another-broker's-configs", otherConfigs()},
		{"rack", rack()},
		{"as-replica", asReplica()},
		{"elections", elections()},
		{"moves", moves()},
	}
}

// moveScenarios say where replicas are to be.
func moveScenarios() []scenario {
	return []scenario{
		{"placements", placements()},
	}
}

func wrongProduce() []step {
	acks := func(n int16) func(*kmsg.ProduceRequest) { return func(r *kmsg.ProduceRequest) { r.Acks = n } }
	const t = "wb-produce"
	return concat(makeSpread(t, pair), fill(t, 5), around(
		ask("acks all, every version", each, kmsg.NewPtrProduceRequest, produceOf(t, 0, numbered(1))),
		both("acks 1", kmsg.NewPtrProduceRequest, produceOf(t, 0, numbered(1), acks(1))),
		both("bad checksum", kmsg.NewPtrProduceRequest, produceOf(t, 0, numbered(3).spoiled(func(b []byte) []byte { b[17] ^= 1; return b }))),
		both("a partition that is none", kmsg.NewPtrProduceRequest, produceOf(t, 7, numbered(1))),
		both("a topic that is none", kmsg.NewPtrProduceRequest, produceOf(t+"-none", 0, numbered(1))),
		both("acks 2", kmsg.NewPtrProduceRequest, produceOf(t, 0, numbered(1), acks(2))),
		ask("acks 0", low, kmsg.NewPtrProduceRequest, produceOf(t, 0, numbered(1), acks(0))).with(func(s *step) { s.answerTo = nil }),
		ask("delete records", each, kmsg.NewPtrDeleteRecordsRequest, deleteUpTo(t, 0, 1)),
		ask("its producers", high, kmsg.NewPtrDescribeProducersRequest, describeProducers(t, 0, 7)),
	), []step{ask("read back", high, kmsg.NewPtrFetchRequest, fetchFrom(t, 0, 0))})
}

func deleteUpTo(topic string, partition int32, offset int64) func(*vars, *kmsg.DeleteRecordsRequest) {
	return func(v *vars, r *kmsg.DeleteRecordsRequest) {
		r.TimeoutMillis = enough
		t := kmsg.NewDeleteRecordsRequestTopic()
		t.Topic = v.name(topic)
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition, p.Offset = partition, offset
		t.Partitions = append(t.Partitions, p)
		r.Topics = append(r.Topics, t)
	}
}

// partitionSet changes the first partition of a fetch.
func partitionSet(change func(*kmsg.FetchRequestTopicPartition)) func(*vars, *kmsg.FetchRequest) {
	return func(_ *vars, r *kmsg.FetchRequest) { change(&r.Topics[0].Partitions[0]) }
}

func currentEpoch(e int32) func(*vars, *kmsg.FetchRequest) {
	return partitionSet(func(p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = e })
}

func wrongFetch() []step {
	const t = "wb-fetch"
	from := func(offset int64) func(*vars, *kmsg.FetchRequest) { return fetchFrom(t, 0, offset) }
	get := func(name string, version int16, s ...func(*vars, *kmsg.FetchRequest)) step {
		return ask(name, version, kmsg.NewPtrFetchRequest, s...)
	}
	known := quietly(get("the follower knows that all is committed", 12, from(10))).with(func(s *step) {
		s.past = 1
		s.until = func(r kmsg.Response) bool {
			return r.(*kmsg.FetchResponse).Topics[0].Partitions[0].HighWatermark == 10
		}
	})
	committed := func(_ *vars, r *kmsg.FetchRequest) { r.IsolationLevel = 1 }
	session := func(_ *vars, r *kmsg.FetchRequest) { r.SessionID, r.SessionEpoch = 0, 0 }
	steps := concat(makeSpread(t, pair), fill(t, 10), []step{known}, around(
		get("every version", each, from(0)),
		get("the end", high, from(10)),
		get("past the end", high, from(11)),
		get("a negative offset", high, from(-1)),
		get("read committed", high, from(5), committed),
		get("leader epoch 0", high, from(5), currentEpoch(0)),
		get("leader epoch 9", high, from(5), currentEpoch(9)),
		get("leader epoch 9", 10, from(5), currentEpoch(9)),
		get("a partition that is none", high, fetchFrom(t, 7, 0)),
		get("an id that is none", high, from(0), func(v *vars, r *kmsg.FetchRequest) { r.Topics[0].TopicID = unknownID(v) }),
		get("a topic that is none", 12, fetchFrom(t+"-none", 0, 0)),
		get("a session", high, from(5), session),
		get("a session by names", 12, from(5), session),
	))
	for _, v := range []int16{9, 12, high} {
		steps = append(steps, get("diverging: a last epoch of the future", v, from(3), partitionSet(func(p *kmsg.FetchRequestTopicPartition) { p.LastFetchedEpoch = 7 })))
	}
	return append(steps, around(
		get("diverging: an offset past the end of its epoch", high, from(30), partitionSet(func(p *kmsg.FetchRequestTopicPartition) { p.LastFetchedEpoch = 0 })),
		get("diverging: a last epoch of the future", high, from(3), partitionSet(func(p *kmsg.FetchRequestTopicPartition) { p.LastFetchedEpoch = 7 })),
	)...)
}

// epochEnd asks where an epoch ends.
func epochEnd(topic string, replica, current, asked int32) func(*vars, *kmsg.OffsetForLeaderEpochRequest) {
	return func(v *vars, r *kmsg.OffsetForLeaderEpochRequest) {
		r.ReplicaID = replica
		t := kmsg.NewOffsetForLeaderEpochRequestTopic()
		t.Topic = v.name(topic)
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.CurrentLeaderEpoch, p.LeaderEpoch = current, asked
		t.Partitions = append(t.Partitions, p)
		r.Topics = append(r.Topics, t)
	}
}

// epochEndOf is epochEnd of any partition, as a consumer who does not know the current epoch.
func epochEndOf(topic string, partition, asked int32) func(*vars, *kmsg.OffsetForLeaderEpochRequest) {
	return func(v *vars, r *kmsg.OffsetForLeaderEpochRequest) {
		epochEnd(topic, -1, -1, asked)(v, r)
		r.Topics[0].Partitions[0].Partition = partition
	}
}

func wrongOffsets() []step {
	const t = "wb-offsets"
	var all []step
	for ts := int64(-6); ts <= 0; ts++ {
		all = append(all, around(ask(fmt.Sprint("offset at time ", ts), ends, kmsg.NewPtrListOffsetsRequest, listOffset(t, 0, ts)))...)
	}
	epoch := func(e int32) func(*kmsg.ListOffsetsRequest, *kmsg.ListOffsetsRequestTopicPartition) {
		return func(_ *kmsg.ListOffsetsRequest, p *kmsg.ListOffsetsRequestTopicPartition) { p.CurrentLeaderEpoch = e }
	}
	replica := func(id int32) func(*kmsg.ListOffsetsRequest, *kmsg.ListOffsetsRequestTopicPartition) {
		return func(r *kmsg.ListOffsetsRequest, _ *kmsg.ListOffsetsRequestTopicPartition) { r.ReplicaID = id }
	}
	return concat(makeSpread(t, pair), fill(t, 10), all, around(
		ask("latest, every version", each, kmsg.NewPtrListOffsetsRequest, listOffset(t, 0, -1)),
		ask("leader epoch 0", high, kmsg.NewPtrListOffsetsRequest, listOffset(t, 0, -1, epoch(0))),
		ask("leader epoch 9", high, kmsg.NewPtrListOffsetsRequest, listOffset(t, 0, -1, epoch(9))),
		ask("as replica 1", high, kmsg.NewPtrListOffsetsRequest, listOffset(t, 0, -1, replica(1))),
		ask("of a partition that is none", high, kmsg.NewPtrListOffsetsRequest, listOffset(t, 7, -1)),
		ask("the end of epoch 0, every version", each, kmsg.NewPtrOffsetForLeaderEpochRequest, epochEnd(t, -1, -1, 0)),
		both("the end of epoch 0 with the current one", kmsg.NewPtrOffsetForLeaderEpochRequest, epochEnd(t, -1, 0, 0)),
		both("the end of epoch 0 with one to come", kmsg.NewPtrOffsetForLeaderEpochRequest, epochEnd(t, -1, 9, 0)),
		both("the end of epoch 0 as replica 1", kmsg.NewPtrOffsetForLeaderEpochRequest, epochEnd(t, 1, -1, 0)),
	), []step{
		// What a debugging consumer sees of a follower is what it has, which soon is all.
		besides(1, ask("offset as a debugging consumer", high, kmsg.NewPtrListOffsetsRequest, listOffset(t, 0, -1, replica(-2)))).with(func(s *step) {
			s.until = func(r kmsg.Response) bool { return r.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].Offset == 10 }
		}),
		besides(2, ask("offset as a debugging consumer", high, kmsg.NewPtrListOffsetsRequest, listOffset(t, 0, -1, replica(-2)))),
		besides(1, ask("the end of epoch 0 as a debugging consumer", high, kmsg.NewPtrOffsetForLeaderEpochRequest, epochEnd(t, -2, -1, 0))),
		besides(2, ask("the end of epoch 0 as a debugging consumer", high, kmsg.NewPtrOffsetForLeaderEpochRequest, epochEnd(t, -2, -1, 0))),
	})
}

// anyBroker asks what every node answers alike, or of what it has itself.
func anyBroker() []step {
	const t = "any"
	dirs := func(v *vars, r *kmsg.DescribeLogDirsRequest) {
		rt := kmsg.NewDescribeLogDirsRequestTopic()
		rt.Topic, rt.Partitions = v.name(t), []int32{0, 1, 2}
		r.Topics = append(r.Topics, rt)
	}
	move := func(v *vars, r *kmsg.AlterReplicaLogDirsRequest) {
		d := kmsg.NewAlterReplicaLogDirsRequestDir()
		d.Dir = "/no/such/dir"
		rt := kmsg.NewAlterReplicaLogDirsRequestDirTopic()
		rt.Topic, rt.Partitions = v.name(t), []int32{0, 1, 2}
		d.Topics = append(d.Topics, rt)
		r.Dirs = append(r.Dirs, d)
	}
	fenced := func(_ *vars, r *kmsg.DescribeClusterRequest) { r.IncludeFencedBrokers = true }
	return concat(makeSpread(t, [][]int{{0, 1}, {1, 2}, {2, 0}}), around(
		ask("metadata", each, kmsg.NewPtrMetadataRequest, metadataOf(t)),
		ask("describe the topic", high, kmsg.NewPtrDescribeTopicPartitionsRequest, describePartitions(100, nil, t)),
		ask("describe the cluster", each, kmsg.NewPtrDescribeClusterRequest),
		ask("describe the controllers", 1, kmsg.NewPtrDescribeClusterRequest, func(_ *vars, r *kmsg.DescribeClusterRequest) { r.EndpointType = 2 }),
		ask("describe fenced brokers too", high, kmsg.NewPtrDescribeClusterRequest, fenced),
		ask("log dirs", ends, kmsg.NewPtrDescribeLogDirsRequest, dirs).with(func(s *step) {
			s.until = func(r kmsg.Response) bool { return noFutureLogs(r.(*kmsg.DescribeLogDirsResponse)) }
		}),
		ask("move to a directory that is none", ends, kmsg.NewPtrAlterReplicaLogDirsRequest, move),
		ask("quorum", each, kmsg.NewPtrDescribeQuorumRequest, func(_ *vars, r *kmsg.DescribeQuorumRequest) {
			qt := kmsg.NewDescribeQuorumRequestTopic()
			qt.Topic = "__cluster_metadata"
			qt.Partitions = append(qt.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
			r.Topics = append(r.Topics, qt)
		}),
		ask("API versions", each, kmsg.NewPtrApiVersionsRequest, func(_ *vars, r *kmsg.ApiVersionsRequest) {
			r.ClientSoftwareName, r.ClientSoftwareVersion = "diff", "1"
		}),
		ask("a group's coordinator", ends, kmsg.NewPtrFindCoordinatorRequest, findCoordinator(0, "any-a", "any-b", "any-c")),
		ask("a transaction's coordinator", ends, kmsg.NewPtrFindCoordinatorRequest, findCoordinator(1, "any-a", "any-b", "any-c")).with(func(s *step) { s.version = 4 }),
		ask("list reassignments", high, kmsg.NewPtrListPartitionReassignmentsRequest),
		ask("unregister a broker that is none", high, kmsg.NewPtrUnregisterBrokerRequest, func(_ *vars, r *kmsg.UnregisterBrokerRequest) { r.BrokerID = 77 }),
		ask("feature to what it is", high, kmsg.NewPtrUpdateFeaturesRequest, func(_ *vars, r *kmsg.UpdateFeaturesRequest) {
			r.TimeoutMillis, r.ValidateOnly = enough, true
			f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
			f.Feature, f.MaxVersionLevel, f.UpgradeType = "transaction.version", 2, 1
			r.FeatureUpdates = append(r.FeatureUpdates, f)
		}),
	))
}

// noFutureLogs waits for nothing but lag: a replica that has all says 0.
func noFutureLogs(r *kmsg.DescribeLogDirsResponse) bool {
	for _, d := range r.Dirs {
		for _, t := range d.Topics {
			for _, p := range t.Partitions {
				if p.IsFuture || p.OffsetLag != 0 {
					return false
				}
			}
		}
	}
	return true
}

func wrongGroup() []step {
	const g, t = "wc", "wc"
	id := func(_ *vars, r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = "AAAAAAAAAAAAAAAAAAAAA1" }
	own := func(s *step) { s.own = g }
	return apart(concat(makeTopic(t, 1), enter(g, "member", 9), []step{
		ask("sync", 5, kmsg.NewPtrSyncGroupRequest, syncGroup(g, "member", "member")),
	}, around(
		ask("find it", each, kmsg.NewPtrFindCoordinatorRequest, findCoordinator(0, g)),
		ask("join", each, kmsg.NewPtrJoinGroupRequest, join(g, "")),
		both("join again", kmsg.NewPtrJoinGroupRequest, join(g, "member")),
		ask("sync", each, kmsg.NewPtrSyncGroupRequest, syncGroup(g, "member")),
		ask("heartbeat", each, kmsg.NewPtrHeartbeatRequest, heartbeat(g, "member", 0)),
		ask("leave", each, kmsg.NewPtrLeaveGroupRequest, leave(g, "member")),
		ask("commit", each, kmsg.NewPtrOffsetCommitRequest, commit(g, "member", t, 0, 5)),
		both("commit for a topic that is none", kmsg.NewPtrOffsetCommitRequest, commit(g, "member", t+"-none", 0, 5)),
		ask("fetch", each, kmsg.NewPtrOffsetFetchRequest, fetchOffsets(g, t, 0, 1)),
		both("fetch all", kmsg.NewPtrOffsetFetchRequest, fetchOffsets(g, "")).with(func(s *step) { s.version = 2 }),
		ask("fetch all", high, kmsg.NewPtrOffsetFetchRequest, fetchOffsets(g, "")),
		ask("describe", each, kmsg.NewPtrDescribeGroupsRequest, describeGroup(g)),
		ask("delete", each, kmsg.NewPtrDeleteGroupsRequest, deleteGroups(g)),
		both("delete an offset", kmsg.NewPtrOffsetDeleteRequest, deleteOffsets(g, t, 0)),
		both("heartbeat of the new protocol", kmsg.NewPtrConsumerGroupHeartbeatRequest, beat(g, "", id, subscribe(t))),
		both("describe by the new protocol", kmsg.NewPtrConsumerGroupDescribeRequest, describeConsumers(g)),
		both("list", kmsg.NewPtrListGroupsRequest).with(own),
		both("an empty group id", kmsg.NewPtrHeartbeatRequest, heartbeat("=", "nobody", 0)),
	), []step{
		ask("describe groups of several coordinators", high, kmsg.NewPtrDescribeGroupsRequest, describeGroup(g, "wc2", "wc3", "wc4")),
		ask("delete groups of several coordinators", high, kmsg.NewPtrDeleteGroupsRequest, deleteGroups(g, "wc2", "wc3", "wc4")),
		ask("offsets of several coordinators", high, kmsg.NewPtrOffsetFetchRequest, fetchOffsets(g, t, 0), fetchOffsets("wc2", t, 0), fetchOffsets("wc3", t, 0)),
		ask("consumer groups of several coordinators", high, kmsg.NewPtrConsumerGroupDescribeRequest, describeConsumers(g, "wc2", "wc3", "wc4")),
		ask("list at the coordinator", high, kmsg.NewPtrListGroupsRequest, func(_ *vars, r *kmsg.ListGroupsRequest) { r.StatesFilter = []string{"Stable"} }).with(own),
	}))
}

// apart returns the steps with those that mix coordinators asked once: one of the answers is always that this is not
// the coordinator, for which other steps wait to pass.
func apart(steps []step) []step {
	for i := range steps {
		steps[i].once = strings.HasSuffix(steps[i].name, "several coordinators")
	}
	return steps
}

func wrongTransaction() []step {
	const id, t, g = "wt", "wt", "wt-group"
	return concat(makeSpread(t, pair), []step{
		initiated(id, ask("init", high, kmsg.NewPtrInitProducerIDRequest, initTxn(id))),
	}, around(
		ask("find it", each, kmsg.NewPtrFindCoordinatorRequest, findCoordinator(1, id)).with(func(s *step) { s.version = 3 }),
		ask("init", each, kmsg.NewPtrInitProducerIDRequest, initTxn(id)),
		both("init with a time-out of 0", kmsg.NewPtrInitProducerIDRequest, initTxn(id), func(_ *vars, r *kmsg.InitProducerIDRequest) { r.TransactionTimeoutMillis = 0 }),
		ask("a producer id without a transaction", high, kmsg.NewPtrInitProducerIDRequest),
		ask("add partitions", each, kmsg.NewPtrAddPartitionsToTxnRequest, addPartitions(id, id, 0, t, 0)),
		ask("verify partitions", high, kmsg.NewPtrAddPartitionsToTxnRequest, addPartitions(id, id, 0, t, 0), func(_ *vars, r *kmsg.AddPartitionsToTxnRequest) { r.Transactions[0].VerifyOnly = true }),
		both("add a partition that is none", kmsg.NewPtrAddPartitionsToTxnRequest, addPartitions(id, id, 0, t, 7)).with(func(s *step) { s.version = 3 }),
		ask("add offsets", each, kmsg.NewPtrAddOffsetsToTxnRequest, addOffsets(id, id, 0, g)),
		ask("commit offsets", each, kmsg.NewPtrTxnOffsetCommitRequest, txnCommit(id, id, 0, g, t, 3)),
		ask("end", each, kmsg.NewPtrEndTxnRequest, endTxn(id, id, 0, true)),
		ask("describe", each, kmsg.NewPtrDescribeTransactionsRequest, describeTxns(id)),
		ask("list", high, kmsg.NewPtrListTransactionsRequest, func(v *vars, r *kmsg.ListTransactionsRequest) {
			r.ProducerIDFilters, r.DurationFilterMillis = []int64{v.i64(id)}, -1
		}),
		ask("produce", ends, kmsg.NewPtrProduceRequest, txnProduce(id, id, 0, t, 0, 1)),
	), []step{
		besides(2, ask("markers for partitions that are elsewhere", high, kmsg.NewPtrWriteTxnMarkersRequest, markers(id, t, 0, 7))),
		besides(1, ask("markers at a follower", high, kmsg.NewPtrWriteTxnMarkersRequest, markers(id, t, 0))),
		ask("describe at the coordinator", high, kmsg.NewPtrDescribeTransactionsRequest, describeTxns(id)),
	})
}

func markers(key, topic string, partitions ...int32) func(*vars, *kmsg.WriteTxnMarkersRequest) {
	return func(v *vars, r *kmsg.WriteTxnMarkersRequest) {
		m := kmsg.NewWriteTxnMarkersRequestMarker()
		m.ProducerID, m.ProducerEpoch = as(v, key, 0)
		t := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
		t.Topic, t.Partitions = v.name(topic), partitions
		m.Topics = append(m.Topics, t)
		r.Markers = append(r.Markers, m)
	}
}

// transactionAcross is a transaction over partitions that three nodes lead, ended by a coordinator that leads at most
// one of them, with explicit partitions and without.
func transactionAcross() []step {
	const id, t, g = "ta", "ta", "ta-group"
	produce := func(name string, partition int32, sequence int32, version int16) step {
		return settled(ask(fmt.Sprint(name, partition), version, kmsg.NewPtrProduceRequest, txnProduceTo(id, t, partition, sequence))).with(func(s *step) { s.past = int(partition) })
	}
	look := func(name string) []step {
		var all []step
		for p := range int32(3) {
			// Markers come a little after the answer to the end of a transaction.
			all = append(all, ask(fmt.Sprint(name, p), high, kmsg.NewPtrFetchRequest, fetchFrom(t, p, 0, func(r *kmsg.FetchRequest) { r.IsolationLevel = 1 })).with(func(s *step) {
				s.past = int(p)
				s.until = func(r kmsg.Response) bool {
					got := r.(*kmsg.FetchResponse).Topics
					return len(got) == 1 && got[0].Partitions[0].LastStableOffset == got[0].Partitions[0].HighWatermark
				}
			}))
		}
		return all
	}
	committed := ask("last stable offset while open", high, kmsg.NewPtrListOffsetsRequest, listOffset(t, 2, -1, func(r *kmsg.ListOffsetsRequest, _ *kmsg.ListOffsetsRequestTopicPartition) { r.IsolationLevel = 1 }))
	committed.past = 2
	steps := concat(makeSpread(t, [][]int{{0, 1, 2}, {1, 2, 0}, {2, 0, 1}}), []step{
		initiated(id, ask("init", 4, kmsg.NewPtrInitProducerIDRequest, initTxn(id))),
		settled(ask("add partitions", 3, kmsg.NewPtrAddPartitionsToTxnRequest, addPartitions(id, id, 0, t, 0, 1, 2))),
		produce("produce to ", 0, 0, 11), produce("produce to ", 1, 0, 11), produce("produce to ", 2, 0, 11),
		committed,
		settled(ask("add offsets", 3, kmsg.NewPtrAddOffsetsToTxnRequest, addOffsets(id, id, 0, g))),
		settled(ask("commit offsets", 4, kmsg.NewPtrTxnOffsetCommitRequest, txnCommit(id, id, 0, g, t, 3))),
		ask("describe while open", high, kmsg.NewPtrDescribeTransactionsRequest, describeTxns(id)),
		ended(id, ask("commit", 4, kmsg.NewPtrEndTxnRequest, endTxn(id, id, 0, true))),
	}, look("after the commit, "), []step{
		settled(ask("committed offsets", 7, kmsg.NewPtrOffsetFetchRequest, fetchOffsets(g, t, 0), func(_ *vars, r *kmsg.OffsetFetchRequest) { r.RequireStable = true })),
		initiated(id, ask("init for the second version", high, kmsg.NewPtrInitProducerIDRequest, initTxn(id))),
		produce("produce without adding to ", 0, 0, high), produce("produce without adding to ", 1, 0, high), produce("produce without adding to ", 2, 0, high),
		settled(ask("commit offsets without adding", 5, kmsg.NewPtrTxnOffsetCommitRequest, txnCommit(id, id, 0, g, t, 9))),
		ask("describe the second while open", high, kmsg.NewPtrDescribeTransactionsRequest, describeTxns(id)),
		ended(id, ask("abort", 5, kmsg.NewPtrEndTxnRequest, endTxn(id, id, 0, false))),
	}, look("after the abort, "), []step{
		settled(ask("offsets after the abort", 7, kmsg.NewPtrOffsetFetchRequest, fetchOffsets(g, t, 0), func(_ *vars, r *kmsg.OffsetFetchRequest) { r.RequireStable = true })),
		produce("the epoch after the end, ", 1, 0, high),
		ended(id, ask("abort again", 5, kmsg.NewPtrEndTxnRequest, endTxn(id, id, 0, false))),
	}, look("at the end, "))
	for p := range int32(3) {
		s := ask(fmt.Sprint("producers of ", p), high, kmsg.NewPtrDescribeProducersRequest, describeProducers(t, p))
		s.past = int(p)
		steps = append(steps, s)
	}
	return steps
}

func txnProduceTo(id, topic string, partition, sequence int32) func(*vars, *kmsg.ProduceRequest) {
	return func(v *vars, r *kmsg.ProduceRequest) {
		txnProduce(id, id, 0, topic, sequence, 2)(v, r)
		r.Topics[0].Partitions[0].Partition = partition
	}
}

// otherConfigs asks a node for what is another's.
func otherConfigs() []step {
	set, del := kmsg.IncrementalAlterConfigOpSet, kmsg.IncrementalAlterConfigOpDelete
	return concat(around(
		both("describe", kmsg.NewPtrDescribeConfigsRequest, describeConfig(brokerResource, "=1", "log.retention.bytes", "node.id")),
		both("describe loggers", kmsg.NewPtrDescribeConfigsRequest, describeConfig(loggerResource, "=1", "root")),
		both("alter", kmsg.NewPtrIncrementalAlterConfigsRequest, alterIncrementally(brokerResource, "=1", alterOp{set, "log.retention.bytes", ptr("123456789")})),
		both("alter a read-only key", kmsg.NewPtrIncrementalAlterConfigsRequest, alterIncrementally(brokerResource, "=1", alterOp{set, "node.id", ptr("2")})),
		both("alter to a bad value", kmsg.NewPtrIncrementalAlterConfigsRequest, alterIncrementally(brokerResource, "=1", alterOp{set, "log.cleaner.threads", ptr("x")})),
		both("alter a logger", kmsg.NewPtrIncrementalAlterConfigsRequest, alterIncrementally(loggerResource, "=1", alterOp{set, "no.such.logger", ptr("LOUD")})),
		both("alter whole", kmsg.NewPtrAlterConfigsRequest, alterWhole(brokerResource, "=1", "log.retention.bytes", "123")),
		both("undo", kmsg.NewPtrIncrementalAlterConfigsRequest, alterIncrementally(brokerResource, "=1", alterOp{del, "log.retention.bytes", nil})),
		both("alter the default", kmsg.NewPtrIncrementalAlterConfigsRequest, alterIncrementally(brokerResource, "=", alterOp{set, "log.flush.interval.messages", ptr("77777")})),
		ask("the default", high, kmsg.NewPtrDescribeConfigsRequest, describeConfig(brokerResource, "=", "log.flush.interval.messages")),
		both("undo the default", kmsg.NewPtrIncrementalAlterConfigsRequest, alterIncrementally(brokerResource, "=", alterOp{del, "log.flush.interval.messages", nil})),
	), []step{
		both("describe brokers 1 and 2", kmsg.NewPtrDescribeConfigsRequest, describeConfig(brokerResource, "=1", "node.id"), describeConfig(brokerResource, "=2", "node.id")),
		both("alter brokers 1 and 2", kmsg.NewPtrIncrementalAlterConfigsRequest,
			alterIncrementally(brokerResource, "=1", alterOp{set, "log.retention.bytes", ptr("1000000")}), alterIncrementally(brokerResource, "=2", alterOp{set, "log.retention.bytes", ptr("1000000")})),
		both("undo brokers 1 and 2", kmsg.NewPtrIncrementalAlterConfigsRequest,
			alterIncrementally(brokerResource, "=1", alterOp{del, "log.retention.bytes", nil}), alterIncrementally(brokerResource, "=2", alterOp{del, "log.retention.bytes", nil})),
	})
}

// rack fetches as a consumer that knows its rack; node N is in rack N.
func rack() []step {
	const t = "rack"
	in := func(past int) func(*vars, *kmsg.FetchRequest) {
		return func(v *vars, r *kmsg.FetchRequest) { r.Rack = fmt.Sprint("rack", v.node(past)) }
	}
	get := func(name string, version int16, s ...func(*vars, *kmsg.FetchRequest)) step {
		return ask(name, version, kmsg.NewPtrFetchRequest, s...)
	}
	known := quietly(get("the follower knows that all is committed", 12, fetchFrom(t, 0, 10))).with(func(s *step) {
		s.past = 1
		s.until = func(r kmsg.Response) bool {
			return r.(*kmsg.FetchResponse).Topics[0].Partitions[0].HighWatermark == 10
		}
	})
	return concat(makeSpread(t, pair), fill(t, 10), []step{
		known,
		get("the leader's rack", each, fetchFrom(t, 0, 5), in(0)).with(func(s *step) { s.version = 11 }),
		get("the leader's rack", high, fetchFrom(t, 0, 5), in(0)),
		get("the follower's rack", 11, fetchFrom(t, 0, 5), in(1)),
		get("the follower's rack", high, fetchFrom(t, 0, 5), in(1)),
		get("the follower's rack, at the end", high, fetchFrom(t, 0, 10), in(1)),
		get("the follower's rack, past the end", high, fetchFrom(t, 0, 11), in(1)),
		get("a rack without a replica", high, fetchFrom(t, 0, 5), in(2)),
		get("a rack that is none", high, fetchFrom(t, 0, 5), func(_ *vars, r *kmsg.FetchRequest) { r.Rack = "odd" }),
		besides(1, get("its own rack", high, fetchFrom(t, 0, 5), in(1))),
		besides(1, get("another rack", high, fetchFrom(t, 0, 5), in(0))),
		besides(2, get("its own rack", high, fetchFrom(t, 0, 5), in(2))),
	})
}

// asReplica asks as other brokers do, in ways that change nothing.
func asReplica() []step {
	const t = "replica"
	as := func(id int32, epoch int64) func(*vars, *kmsg.FetchRequest) {
		return func(v *vars, r *kmsg.FetchRequest) {
			as := id
			if id < 10 {
				as = int32(v.node(int(id)))
			}
			r.ReplicaID, r.ReplicaState.ID, r.ReplicaState.Epoch = as, as, epoch
		}
	}
	get := func(name string, version int16, s ...func(*vars, *kmsg.FetchRequest)) step {
		return ask(name, version, kmsg.NewPtrFetchRequest, s...)
	}
	return concat(makeSpread(t, pair), fill(t, 10), []step{
		get("a broker that is none", 14, fetchFrom(t, 0, 5), as(77, -1)),
		get("a broker that is none", high, fetchFrom(t, 0, 5), as(77, -1)),
		get("a broker without a replica", 12, fetchFrom(t, 0, 5), as(2, -1)),
		get("a broker without a replica", high, fetchFrom(t, 0, 5), as(2, -1)),
		get("a leader epoch to come", high, fetchFrom(t, 0, 5), as(1, -1), currentEpoch(9)),
		besides(1, get("a replica", 12, fetchFrom(t, 0, 5), as(0, -1))),
		besides(1, get("a replica", high, fetchFrom(t, 0, 5), as(0, -1))),
		besides(2, get("a replica", high, fetchFrom(t, 0, 5), as(0, -1))),
	})
}
