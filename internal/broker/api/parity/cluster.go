package parity

import (
	"slices"
	"strings"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// ask is a step with one fixed request.
func ask[T any, P interface {
	*T
	kmsg.Request
}](name string, build func(*Run, P)) Step {
	return Step{Name: name, Req: func(r *Run) kmsg.Request {
		req := P(new(T))
		req.Default()
		build(r, req)
		return req
	}}
}

// since limits a step to the versions from v on.
func since(v int16, s Step) Step {
	s.From, s.To = v, kmsg.ByKey(s.Req(&Run{}).Key()).Max
	return s
}

func keep[T any](s Step, fn func(*Run, *T)) Step {
	s.Keep = func(r *Run, resp kmsg.Response) {
		if m, ok := any(resp).(*T); ok {
			fn(r, m)
		}
	}
	return s
}

var clusterScript = Script{Name: "cluster", Steps: []Step{
	ask("brokers", func(_ *Run, _ *kmsg.DescribeClusterRequest) {}),
	ask("operations", func(_ *Run, m *kmsg.DescribeClusterRequest) { m.IncludeClusterAuthorizedOperations = true }),
	since(1, ask("controllers", func(_ *Run, m *kmsg.DescribeClusterRequest) { m.EndpointType = 2 })),
	since(1, ask("other endpoints", func(_ *Run, m *kmsg.DescribeClusterRequest) { m.EndpointType = 3 })),
	since(2, ask("fenced too", func(_ *Run, m *kmsg.DescribeClusterRequest) { m.IncludeFencedBrokers = true })),
	keep(ask("quorum", quorum("__cluster_metadata", 0)), func(_ *Run, m *kmsg.DescribeQuorumResponse) {
		m.Topics[0].Partitions[0].LeaderEpoch = 0 // how often the broker has started
	}),
	ask("quorum, other partition", quorum("__cluster_metadata", 1)),
	ask("quorum, other topic", quorum("foo", 0)),
	ask("quorum, nothing", func(_ *Run, _ *kmsg.DescribeQuorumRequest) {}),
	ask("unregister unknown broker", func(_ *Run, m *kmsg.UnregisterBrokerRequest) { m.BrokerId = 77 }),
	ask("add voter, other cluster", func(_ *Run, m *kmsg.AddRaftVoterRequest) {
		m.ClusterId, m.VoterId, m.VoterDirectoryId = new("other"), 7, [16]byte{1}
		m.Listeners = []kmsg.AddRaftVoterRequestListener{{Name: "CONTROLLER", Host: "localhost", Port: 1}}
	}),
	ask("add the only voter", func(_ *Run, m *kmsg.AddRaftVoterRequest) {
		m.ClusterId = nil
		m.VoterId, m.VoterDirectoryId = 1, [16]byte{1}
		m.Listeners = []kmsg.AddRaftVoterRequestListener{{Name: "CONTROLLER", Host: "localhost", Port: 1}}
	}),
	ask("add voter without endpoint", func(_ *Run, m *kmsg.AddRaftVoterRequest) {
		m.ClusterId = nil
		m.VoterId, m.VoterDirectoryId = 7, [16]byte{1}
	}),
	ask("add voter", func(_ *Run, m *kmsg.AddRaftVoterRequest) {
		m.ClusterId = nil
		m.VoterId, m.VoterDirectoryId, m.TimeoutMs = 7, [16]byte{1}, 1000
		m.Listeners = []kmsg.AddRaftVoterRequestListener{{Name: "CONTROLLER", Host: "localhost", Port: 1}}
	}),
	ask("remove unknown voter", func(_ *Run, m *kmsg.RemoveRaftVoterRequest) {
		m.ClusterId = nil
		m.VoterId, m.VoterDirectoryId = 7, [16]byte{1}
	}),
	ask("remove voter, other cluster", func(_ *Run, m *kmsg.RemoveRaftVoterRequest) {
		m.ClusterId, m.VoterId = new("other"), 1
	}),
	features("unknown feature", "no.such.feature", 1, 1),
	features("same level", "metadata.version", 30, 1),
	features("too high", "metadata.version", 3000, 1),
	features("too low", "metadata.version", 3, 2),
	features("lower by an upgrade", "metadata.version", 29, 1),
	features("group too high", "group.version", 9, 1),
	features("group same", "group.version", 1, 1),
	features("negative", "group.version", -1, 1),
	since(1, validFeatures("validate downgrade", "group.version", 0, 2)),
	since(1, validFeatures("validate unsafe downgrade", "group.version", 0, 3)),
	since(1, validFeatures("validate unknown type", "group.version", 0, 7)),
	since(1, validFeatures("validate type 0", "group.version", 0, 0)),
	since(1, validFeatures("validate metadata downgrade", "metadata.version", 29, 2)),
	since(1, validFeatures("validate unsafe metadata downgrade", "metadata.version", 29, 3)),
	since(1, validFeatures("validate kraft", "kraft.version", 0, 2)),
	ask("no features", func(_ *Run, _ *kmsg.UpdateFeaturesRequest) {}),
	ask("feature twice", func(_ *Run, m *kmsg.UpdateFeaturesRequest) {
		f := kmsg.NewUpdateFeaturesRequestFeatureUpdateKey()
		f.Feature, f.MaxVersionLevel = "group.version", 1
		m.FeatureUpdates = append(m.FeatureUpdates, f, f)
	}),
}}

func quorum(topic string, partition int32) func(*Run, *kmsg.DescribeQuorumRequest) {
	return func(_ *Run, m *kmsg.DescribeQuorumRequest) {
		m.Topics = []kmsg.DescribeQuorumRequestTopicData{{
			TopicName:  topic,
			Partitions: []kmsg.DescribeQuorumRequestPartitionData{{PartitionIndex: partition}},
		}}
	}
}

func features(name, feature string, level int16, kind int8) Step {
	return ask(name, func(r *Run, m *kmsg.UpdateFeaturesRequest) {
		m.TimeoutMs = 10000
		f := kmsg.NewUpdateFeaturesRequestFeatureUpdateKey()
		f.Feature, f.MaxVersionLevel = feature, level
		if r.Version >= 1 {
			f.UpgradeType = kind
		} else {
			f.AllowDowngrade = kind > 1
		}
		m.FeatureUpdates = append(m.FeatureUpdates, f)
	})
}

func validFeatures(name, feature string, level int16, kind int8) Step {
	s := features(name, feature, level, kind)
	inner := s.Req
	s.Req = func(r *Run) kmsg.Request {
		m, _ := inner(r).(*kmsg.UpdateFeaturesRequest)
		m.ValidateOnly = true
		return m
	}
	return s
}

func dirs(name string, build func(*Run, *kmsg.DescribeLogDirsRequest)) Step {
	return keep(ask(name, build), func(r *Run, m *kmsg.DescribeLogDirsResponse) {
		for i := range m.Results {
			m.Results[i].Topics = slices.DeleteFunc(m.Results[i].Topics,
				func(t kmsg.DescribeLogDirsResponseDescribeLogDirsTopic) bool {
					return !strings.HasPrefix(t.Name, r.prefix)
				})
		}
	})
}

var logDirsScript = Script{Name: "log_dirs", Setup: func(r *Run) error {
	return createAndFill(r, r.Name("a"), 3)
}, Steps: []Step{
	dirs("all", func(_ *Run, _ *kmsg.DescribeLogDirsRequest) {}),
	dirs("one", func(r *Run, m *kmsg.DescribeLogDirsRequest) {
		m.Topics = []kmsg.DescribeLogDirsRequestDescribableLogDirTopic{{Topic: r.Name("a"), Partitions: []int32{0, 7}}}
	}),
	dirs("unknown", func(r *Run, m *kmsg.DescribeLogDirsRequest) {
		m.Topics = []kmsg.DescribeLogDirsRequestDescribableLogDirTopic{{Topic: r.Name("none"), Partitions: []int32{0}}}
	}),
	dirs("none", func(_ *Run, m *kmsg.DescribeLogDirsRequest) {
		m.Topics = []kmsg.DescribeLogDirsRequestDescribableLogDirTopic{}
	}),
	ask("move to an unknown dir", func(r *Run, m *kmsg.AlterReplicaLogDirsRequest) {
		m.Dirs = []kmsg.AlterReplicaLogDirsRequestAlterReplicaLogDir{{
			Path: "/no/such/dir",
			Topics: []kmsg.AlterReplicaLogDirsRequestAlterReplicaLogDirTopic{
				{Name: r.Name("a"), Partitions: []int32{0, 5}}, {Name: r.Name("none"), Partitions: []int32{0}},
			},
		}}
	}),
	ask("move to a relative dir", func(r *Run, m *kmsg.AlterReplicaLogDirsRequest) {
		m.Dirs = []kmsg.AlterReplicaLogDirsRequestAlterReplicaLogDir{{
			Path:   "dir",
			Topics: []kmsg.AlterReplicaLogDirsRequestAlterReplicaLogDirTopic{{Name: r.Name("a"), Partitions: []int32{0}}},
		}}
	}),
	ask("move nothing", func(_ *Run, _ *kmsg.AlterReplicaLogDirsRequest) {}),
}}

func describePartitions(name string, limit int32, cursor func(*Run) *kmsg.DescribeTopicPartitionsRequestCursor,
	topics ...string,
) Step {
	s := ask(name, func(r *Run, m *kmsg.DescribeTopicPartitionsRequest) {
		m.ResponsePartitionLimit = limit
		if cursor != nil {
			m.Cursor = cursor(r)
		}
		for _, t := range topics {
			m.Topics = append(m.Topics, kmsg.DescribeTopicPartitionsRequestTopicRequest{Name: r.Name(t)})
		}
	})
	return s
}

func at(topic string, partition int32) func(*Run) *kmsg.DescribeTopicPartitionsRequestCursor {
	return func(r *Run) *kmsg.DescribeTopicPartitionsRequestCursor {
		return &kmsg.DescribeTopicPartitionsRequestCursor{TopicName: r.Name(topic), PartitionIndex: partition}
	}
}

var partitionsScript = Script{Name: "partitions", Setup: func(r *Run) error {
	return createAndFill(r, r.Name("filled"), 4)
}, Steps: []Step{
	create(named("a", 3), named("b", 2)),
	describePartitions("all partitions", 2000, nil, "a", "b", "none"),
	describePartitions("limit 2", 2, nil, "a", "b"),
	describePartitions("limit 3", 3, nil, "a", "b"),
	describePartitions("limit 0", 0, nil, "a"),
	describePartitions("from a cursor", 2000, at("a", 2), "a", "b"),
	describePartitions("from the next topic", 2000, at("b", 0), "a", "b"),
	describePartitions("cursor past the end", 2000, at("a", 9), "a", "b"),
	describePartitions("cursor with no topic", 2000, at("aa", 0), "a", "b"),
	describePartitions("cursor with negative index", 2000, at("a", -1), "a"),
	describePartitions("twice", 2000, nil, "a", "a"),
	elect("preferred", 0, "a", 0, 1), elect("unclean", 1, "a", 0), elect("other type", 5, "a", 0),
	elect("unknown topic", 0, "none", 0), elect("unknown partition", 0, "a", 9), elect("no partitions", 0, "a"),
	ask("reassign to the same", reassign("a", 0, []int32{1})),
	ask("reassign to an unknown broker", reassign("a", 0, []int32{2})),
	ask("reassign to nothing", reassign("a", 0, []int32{})),
	ask("reassign twice", reassign("a", 0, []int32{1, 1})),
	ask("reassign negative", reassign("a", 0, []int32{-1})),
	ask("cancel", reassign("a", 0, nil)),
	ask("reassign unknown partition", reassign("a", 9, []int32{1})),
	ask("reassign unknown topic", reassign("none", 0, []int32{1})),
	ask("reassign nothing", func(_ *Run, m *kmsg.AlterPartitionReassignmentsRequest) {}),
	ask("list reassignments", func(_ *Run, _ *kmsg.ListPartitionReassignmentsRequest) {}),
	ask("list reassignments of", func(r *Run, m *kmsg.ListPartitionReassignmentsRequest) {
		m.Topics = []kmsg.ListPartitionReassignmentsRequestListPartitionReassignmentsTopics{
			{Name: r.Name("a"), PartitionIndexes: []int32{0, 9}}, {Name: r.Name("none"), PartitionIndexes: []int32{0}},
		}
	}),
	ask("epoch 0", epochEnd("filled", 0, -1, 0)),
	ask("epoch 5", epochEnd("filled", 0, -1, 5)),
	ask("epoch -1", epochEnd("filled", 0, -1, -1)),
	ask("newer current epoch", epochEnd("filled", 0, 5, 0)),
	ask("equal current epoch", epochEnd("filled", 0, 0, 0)),
	ask("epoch of unknown partition", epochEnd("filled", 3, -1, 0)),
	ask("epoch of unknown topic", epochEnd("none", 0, -1, 0)),
	ask("epoch of empty", epochEnd("a", 0, -1, 0)),
	ask("producers", producers("filled", 0)),
	ask("producers of empty", producers("a", 0)),
	ask("producers of unknown partition", producers("a", 9)),
	ask("producers of unknown topic", producers("none", 0)),
	ask("producers of nothing", func(_ *Run, _ *kmsg.DescribeProducersRequest) {}),
	ask("producers of a bad name", func(_ *Run, m *kmsg.DescribeProducersRequest) {
		m.Topics = []kmsg.DescribeProducersRequestTopicRequest{{Name: "a b", PartitionIndexes: []int32{0}}}
	}),
}}

func elect(name string, kind int8, topic string, ps ...int32) Step {
	return ask("elect "+name, func(r *Run, m *kmsg.ElectLeadersRequest) {
		m.ElectionType = kind
		m.TopicPartitions = []kmsg.ElectLeadersRequestTopicPartitions{{Topic: r.Name(topic), Partitions: ps}}
	})
}

func reassign(topic string, partition int32, to []int32) func(*Run, *kmsg.AlterPartitionReassignmentsRequest) {
	return func(r *Run, m *kmsg.AlterPartitionReassignmentsRequest) {
		m.Topics = []kmsg.AlterPartitionReassignmentsRequestReassignableTopic{{
			Name: r.Name(topic),
			Partitions: []kmsg.AlterPartitionReassignmentsRequestReassignablePartition{
				{PartitionIndex: partition, Replicas: to},
			},
		}}
	}
}

func epochEnd(topic string, partition, current, epoch int32) func(*Run, *kmsg.OffsetForLeaderEpochRequest) {
	return func(r *Run, m *kmsg.OffsetForLeaderEpochRequest) {
		m.ReplicaId = -1
		m.Topics = []kmsg.OffsetForLeaderEpochRequestOffsetForLeaderTopic{{
			Topic: r.Name(topic),
			Partitions: []kmsg.OffsetForLeaderEpochRequestOffsetForLeaderPartition{
				{Partition: partition, CurrentLeaderEpoch: current, LeaderEpoch: epoch},
			},
		}}
	}
}

func producers(topic string, partition int32) func(*Run, *kmsg.DescribeProducersRequest) {
	return func(r *Run, m *kmsg.DescribeProducersRequest) {
		m.Topics = []kmsg.DescribeProducersRequestTopicRequest{
			{Name: r.Name(topic), PartitionIndexes: []int32{partition}},
		}
	}
}
