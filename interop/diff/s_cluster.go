package main

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

func clusterScenarios() []scenario {
	operations := func(_ *vars, r *kmsg.DescribeClusterRequest) { r.IncludeClusterAuthorizedOperations = true }
	endpoint := func(kind int8) func(*vars, *kmsg.DescribeClusterRequest) {
		return func(_ *vars, r *kmsg.DescribeClusterRequest) { r.EndpointType = kind }
	}
	dirs := func(topic string, partitions ...int32) func(*vars, *kmsg.DescribeLogDirsRequest) {
		return func(v *vars, r *kmsg.DescribeLogDirsRequest) {
			t := kmsg.NewDescribeLogDirsRequestTopic()
			t.Topic, t.Partitions = v.name(topic), partitions
			r.Topics = append(r.Topics, t)
		}
	}
	quorum := func(topic string, partition int32) func(*vars, *kmsg.DescribeQuorumRequest) {
		return func(_ *vars, r *kmsg.DescribeQuorumRequest) {
			t := kmsg.NewDescribeQuorumRequestTopic()
			t.Topic = topic
			p := kmsg.NewDescribeQuorumRequestTopicPartition()
			p.Partition = partition
			t.Partitions = append(t.Partitions, p)
			r.Topics = append(r.Topics, t)
		}
	}
	elect := func(kind int8, topic string, partitions ...int32) func(*vars, *kmsg.ElectLeadersRequest) {
		return func(v *vars, r *kmsg.ElectLeadersRequest) {
			r.ElectionType, r.TimeoutMillis = kind, enough
			t := kmsg.NewElectLeadersRequestTopic()
			t.Topic, t.Partitions = v.name(topic), partitions
			r.Topics = append(r.Topics, t)
		}
	}
	reassign := func(topic string, partition int32, replicas []int32) func(*vars, *kmsg.AlterPartitionAssignmentsRequest) {
		return func(v *vars, r *kmsg.AlterPartitionAssignmentsRequest) {
			r.TimeoutMillis = enough
			t := kmsg.NewAlterPartitionAssignmentsRequestTopic()
			t.Topic = v.name(topic)
			p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
			p.Partition, p.Replicas = partition, replicas
			t.Partitions = append(t.Partitions, p)
			r.Topics = append(r.Topics, t)
		}
	}
	moves := func(topic string, partitions ...int32) func(*vars, *kmsg.ListPartitionReassignmentsRequest) {
		return func(v *vars, r *kmsg.ListPartitionReassignmentsRequest) {
			r.TimeoutMillis = enough
			t := kmsg.NewListPartitionReassignmentsRequestTopic()
			t.Topic, t.Partitions = v.name(topic), partitions
			r.Topics = append(r.Topics, t)
		}
	}
	feature := func(name string, level int16, kind int8) func(*vars, *kmsg.UpdateFeaturesRequest) {
		return func(_ *vars, r *kmsg.UpdateFeaturesRequest) {
			r.TimeoutMillis, r.ValidateOnly = enough, true
			f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
			f.Feature, f.MaxVersionLevel, f.UpgradeType = name, level, kind
			r.FeatureUpdates = append(r.FeatureUpdates, f)
		}
	}
	moveDir := func(dir, topic string, partitions ...int32) func(*vars, *kmsg.AlterReplicaLogDirsRequest) {
		return func(v *vars, r *kmsg.AlterReplicaLogDirsRequest) {
			d := kmsg.NewAlterReplicaLogDirsRequestDir()
			d.Dir = dir
			t := kmsg.NewAlterReplicaLogDirsRequestDirTopic()
			t.Topic, t.Partitions = v.name(topic), partitions
			d.Topics = append(d.Topics, t)
			r.Dirs = append(r.Dirs, d)
		}
	}
	return []scenario{
		{"cluster", concat(makeTopic("cluster", 2), fill("cluster", 10), []step{
			ask("describe, every version", each, kmsg.NewPtrDescribeClusterRequest),
			both("describe with operations", kmsg.NewPtrDescribeClusterRequest, operations),
			ask("describe the controllers", 1, kmsg.NewPtrDescribeClusterRequest, endpoint(2)),
			ask("describe an endpoint type that is none", high, kmsg.NewPtrDescribeClusterRequest, endpoint(9)),
			ask("fenced brokers too", 2, kmsg.NewPtrDescribeClusterRequest, func(_ *vars, r *kmsg.DescribeClusterRequest) { r.IncludeFencedBrokers = true }),
			ask("log dirs, every version", each, kmsg.NewPtrDescribeLogDirsRequest, dirs("cluster", 0, 1)),
			both("log dirs of an unknown topic", kmsg.NewPtrDescribeLogDirsRequest, dirs("cluster-none", 0)),
			both("log dirs of an unknown partition", kmsg.NewPtrDescribeLogDirsRequest, dirs("cluster", 9)),
			both("log dirs of nothing", kmsg.NewPtrDescribeLogDirsRequest, func(_ *vars, r *kmsg.DescribeLogDirsRequest) { r.Topics = []kmsg.DescribeLogDirsRequestTopic{} }),
			both("move to a directory that is none", kmsg.NewPtrAlterReplicaLogDirsRequest, moveDir("/no/such/dir", "cluster", 0)),
			both("move an unknown partition", kmsg.NewPtrAlterReplicaLogDirsRequest, moveDir("/no/such/dir", "cluster-none", 0)),
			ask("quorum, every version", each, kmsg.NewPtrDescribeQuorumRequest, quorum("__cluster_metadata", 0)),
			both("quorum of another topic", kmsg.NewPtrDescribeQuorumRequest, quorum("odd", 0)),
			both("quorum of another partition", kmsg.NewPtrDescribeQuorumRequest, quorum("__cluster_metadata", 1)),
			ask("elect the preferred, every version", each, kmsg.NewPtrElectLeadersRequest, elect(0, "cluster", 0)),
			both("elect unclean", kmsg.NewPtrElectLeadersRequest, elect(1, "cluster", 0)).with(func(s *step) { s.version = 2 }),
			both("elect of an unknown topic", kmsg.NewPtrElectLeadersRequest, elect(0, "cluster-none", 0)),
			both("elect of an unknown partition", kmsg.NewPtrElectLeadersRequest, elect(0, "cluster", 9)),
			ask("elect of a type that is none", high, kmsg.NewPtrElectLeadersRequest, elect(9, "cluster", 0)),
			both("reassign to itself", kmsg.NewPtrAlterPartitionAssignmentsRequest, reassign("cluster", 0, []int32{1})),
			both("reassign to a broker that is none", kmsg.NewPtrAlterPartitionAssignmentsRequest, reassign("cluster", 0, []int32{9})),
			both("reassign to nobody", kmsg.NewPtrAlterPartitionAssignmentsRequest, reassign("cluster", 0, []int32{})),
			both("reassign to one twice", kmsg.NewPtrAlterPartitionAssignmentsRequest, reassign("cluster", 0, []int32{1, 1})),
			both("reassign to a negative id", kmsg.NewPtrAlterPartitionAssignmentsRequest, reassign("cluster", 0, []int32{-1})),
			both("cancel what is not there", kmsg.NewPtrAlterPartitionAssignmentsRequest, reassign("cluster", 0, nil)),
			both("reassign an unknown topic", kmsg.NewPtrAlterPartitionAssignmentsRequest, reassign("cluster-none", 0, []int32{1})),
			both("reassign an unknown partition", kmsg.NewPtrAlterPartitionAssignmentsRequest, reassign("cluster", 9, []int32{1})),
			both("list reassignments", kmsg.NewPtrListPartitionReassignmentsRequest, moves("cluster", 0)),
			both("list all reassignments", kmsg.NewPtrListPartitionReassignmentsRequest),
			both("list those of an unknown topic", kmsg.NewPtrListPartitionReassignmentsRequest, moves("cluster-none", 0)),
			both("feature to what it is", kmsg.NewPtrUpdateFeaturesRequest, feature("transaction.version", 2, 1)),
			both("feature too high", kmsg.NewPtrUpdateFeaturesRequest, feature("transaction.version", 9, 1)),
			both("feature unknown", kmsg.NewPtrUpdateFeaturesRequest, feature("odd.version", 1, 1)),
			both("feature down by an upgrade", kmsg.NewPtrUpdateFeaturesRequest, feature("transaction.version", 1, 1)).with(func(s *step) { s.version = 1 }),
			both("feature of an upgrade type that is none", kmsg.NewPtrUpdateFeaturesRequest, feature("transaction.version", 1, 9)).with(func(s *step) { s.version = 1 }),
			both("feature down safely", kmsg.NewPtrUpdateFeaturesRequest, feature("transaction.version", 1, 2)).with(func(s *step) { s.version = 1 }),
			ask("the same feature twice", 1, kmsg.NewPtrUpdateFeaturesRequest, feature("transaction.version", 2, 1), feature("transaction.version", 2, 1)),
			ask("unregister a broker that is none", high, kmsg.NewPtrUnregisterBrokerRequest, func(_ *vars, r *kmsg.UnregisterBrokerRequest) { r.BrokerID = 77 }),
		})},
		{"quotas", quotas()},
	}
}

// entriesAre makes a step ask until there are n entries, for Kafka answers before a change has reached all of it.
func entriesAre(n int) func(*step) {
	return func(s *step) {
		s.until = func(r kmsg.Response) bool { return len(r.(*kmsg.DescribeClientQuotasResponse).Entries) == n }
	}
}

func quotas() []step {
	alter := func(name string, change ...func(*vars, *kmsg.AlterClientQuotasRequest)) step {
		return both(name, kmsg.NewPtrAlterClientQuotasRequest, change...)
	}
	entry := func(kind string, name *string, key string, value float64, remove bool) func(*vars, *kmsg.AlterClientQuotasRequest) {
		return func(v *vars, r *kmsg.AlterClientQuotasRequest) {
			e := kmsg.NewAlterClientQuotasRequestEntry()
			en := kmsg.NewAlterClientQuotasRequestEntryEntity()
			en.Type = kind
			if name != nil {
				en.Name = ptr(exactOr(v, *name))
			}
			op := kmsg.NewAlterClientQuotasRequestEntryOp()
			op.Key, op.Value, op.Remove = key, value, remove
			e.Entity, e.Ops = append(e.Entity, en), append(e.Ops, op)
			r.Entries = append(r.Entries, e)
		}
	}
	describe := func(kind string, match kmsg.QuotasMatchType, name *string, strict bool) func(*vars, *kmsg.DescribeClientQuotasRequest) {
		return func(v *vars, r *kmsg.DescribeClientQuotasRequest) {
			r.Strict = strict
			c := kmsg.NewDescribeClientQuotasRequestComponent()
			c.EntityType, c.MatchType = kind, match
			if name != nil {
				c.Match = ptr(exactOr(v, *name))
			}
			r.Components = append(r.Components, c)
		}
	}
	return []step{
		alter("set", entry("client-id", ptr("q"), "producer_byte_rate", 1e8, false)),
		both("describe", kmsg.NewPtrDescribeClientQuotasRequest, describe("client-id", 0, ptr("q"), true)).with(entriesAre(1)),
		both("describe another", kmsg.NewPtrDescribeClientQuotasRequest, describe("client-id", 0, ptr("q-none"), true)),
		both("describe the default", kmsg.NewPtrDescribeClientQuotasRequest, describe("client-id", 1, nil, true)),
		both("describe a type that is none", kmsg.NewPtrDescribeClientQuotasRequest, describe("odd", 0, ptr("q"), true)),
		both("describe a match that is none", kmsg.NewPtrDescribeClientQuotasRequest, describe("client-id", 9, ptr("q"), true)),
		both("describe one type twice", kmsg.NewPtrDescribeClientQuotasRequest, describe("client-id", 0, ptr("q"), true), describe("client-id", 0, ptr("q"), true)),
		alter("a key that is none", entry("client-id", ptr("q"), "odd", 1, false)),
		alter("a type that is none", entry("odd", ptr("q"), "producer_byte_rate", 1, false)),
		alter("a negative value", entry("client-id", ptr("q"), "producer_byte_rate", -1, false)),
		alter("0", entry("client-id", ptr("q"), "producer_byte_rate", 0, false)),
		alter("a fraction of a byte", entry("client-id", ptr("q"), "producer_byte_rate", 1.5, false)),
		alter("connections of a client", entry("client-id", ptr("q"), "connection_creation_rate", 1, false)),
		alter("a name that is no address", entry("ip", ptr("=not an address"), "connection_creation_rate", 1, false)),
		alter("no entity", func(_ *vars, r *kmsg.AlterClientQuotasRequest) {
			r.Entries = append(r.Entries, kmsg.NewAlterClientQuotasRequestEntry())
		}),
		alter("validate only", entry("client-id", ptr("q"), "request_percentage", 50, false), func(_ *vars, r *kmsg.AlterClientQuotasRequest) { r.ValidateOnly = true }),
		alter("remove", entry("client-id", ptr("q"), "producer_byte_rate", 0, true)),
		alter("remove what is not there", entry("client-id", ptr("q"), "consumer_byte_rate", 0, true)),
		both("describe the removed", kmsg.NewPtrDescribeClientQuotasRequest, describe("client-id", 0, ptr("q"), true)).with(entriesAre(0)),
	}
}
