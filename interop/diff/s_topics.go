package main

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// newTopic adds a topic to a CreateTopics request; exact names start with "=".
func newTopic(name string, partitions int32, rf int16, change ...func(*kmsg.CreateTopicsRequestTopic)) func(*vars, *kmsg.CreateTopicsRequest) {
	return func(v *vars, r *kmsg.CreateTopicsRequest) {
		r.TimeoutMillis = enough
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = exactOr(v, name), partitions, rf
		for _, c := range change {
			c(&t)
		}
		r.Topics = append(r.Topics, t)
	}
}

// exactOr gives a name that starts with "=" as it is after that, others with the run's prefix.
func exactOr(v *vars, name string) string {
	if exact, ok := strings.CutPrefix(name, "="); ok {
		return exact
	}
	return v.name(name)
}

func topicConfig(name string, value *string) func(*kmsg.CreateTopicsRequestTopic) {
	return func(t *kmsg.CreateTopicsRequestTopic) {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = name, value
		t.Configs = append(t.Configs, c)
	}
}

func assign(partition int32, replicas ...int32) func(*kmsg.CreateTopicsRequestTopic) {
	return func(t *kmsg.CreateTopicsRequestTopic) {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = partition, replicas
		t.ReplicaAssignment = append(t.ReplicaAssignment, a)
	}
}

func validateTopics(_ *vars, r *kmsg.CreateTopicsRequest) { r.ValidateOnly = true }

func topicScenarios() []scenario {
	create := func(name string, s ...func(*vars, *kmsg.CreateTopicsRequest)) step {
		return both(name, kmsg.NewPtrCreateTopicsRequest, s...)
	}
	var everyVersion []step
	for version := int16(2); version <= 7; version++ {
		everyVersion = append(everyVersion, ask("create", version, kmsg.NewPtrCreateTopicsRequest,
			newTopic("create-"+string('a'+rune(version)), 2, 1, topicConfig("retention.ms", ptr("1000")), topicConfig("cleanup.policy", ptr("compact"))),
			newTopic("create-plain-"+string('a'+rune(version)), 1, 1)).with(func(s *step) { s.name += " at " + string('0'+rune(version)) }))
	}
	return []scenario{
		{"create-topics", concat(everyVersion, makeTopic("exists", 1), makeTopic("under_score.dot", 1), []step{
			ask("defaults for both", 4, kmsg.NewPtrCreateTopicsRequest, newTopic("defaults4", -1, -1)),
			ask("defaults for both", high, kmsg.NewPtrCreateTopicsRequest, newTopic("defaults7", -1, -1)),
			ask("defaults at a version without", low, kmsg.NewPtrCreateTopicsRequest, newTopic("defaults2", -1, -1)),
			create("validate only", newTopic("validated", 1, 1), validateTopics),
			create("exists", newTopic("exists", 1, 1)),
			create("exists, validate only", newTopic("exists", 1, 1), validateTopics),
			create("replication factor 3", newTopic("rf3", 1, 3)),
			create("replication factor 0", newTopic("rf0", 1, 0)),
			create("replication factor -2", newTopic("rf-2", 1, -2)),
			create("0 partitions", newTopic("p0", 0, 1)),
			create("-2 partitions", newTopic("p-2", -2, 1)),
			create("name with a space", newTopic("=a b", 1, 1)),
			create("empty name", newTopic("=", 1, 1)),
			create("name .", newTopic("=.", 1, 1)),
			create("name ..", newTopic("=..", 1, 1)),
			create("name of 249 characters", newTopic("="+strings.Repeat("x", 249), 1, 1), validateTopics),
			create("name of 250 characters", newTopic("="+strings.Repeat("x", 250), 1, 1)),
			create("name that collides in metrics", newTopic("under.score_dot", 1, 1)),
			create("unknown config", newTopic("cfg", 1, 1, topicConfig("no.such.key", ptr("1")))),
			create("bad config value", newTopic("cfg", 1, 1, topicConfig("retention.ms", ptr("soon")))),
			create("config out of range", newTopic("cfg", 1, 1, topicConfig("segment.bytes", ptr("1000")))),
			create("null config value", newTopic("cfg", 1, 1, topicConfig("retention.ms", nil))),
			create("empty cleanup.policy", newTopic("cfg", 1, 1, topicConfig("cleanup.policy", ptr(""))), validateTopics),
			create("min.insync.replicas 0", newTopic("cfg", 1, 1, topicConfig("min.insync.replicas", ptr("0")))),
			create("unknown compression", newTopic("cfg", 1, 1, topicConfig("compression.type", ptr("brotli")))),
			create("the same name twice", newTopic("twice", 1, 1), newTopic("twice", 2, 1)),
			create("good and bad together", newTopic("together", 1, 1), newTopic("exists", 1, 1), newTopic("=a b", 1, 1), validateTopics),
			create("manual assignment", newTopic("manual", -1, -1, assign(0, 1), assign(1, 1)), validateTopics),
			create("manual assignment with a gap", newTopic("manual", -1, -1, assign(0, 1), assign(2, 1))),
			create("manual assignment to an unknown broker", newTopic("manual", -1, -1, assign(0, 7))),
			create("manual assignment to one broker twice", newTopic("manual", -1, -1, assign(0, 1, 1))),
			create("manual assignment to nobody", newTopic("manual", -1, -1, assign(0))),
			create("manual assignment and a count", newTopic("manual", 1, 1, assign(0, 1))),
			create("internal-looking name", newTopic("=__diff_internal", 1, 1), validateTopics),
			create("no topics"),
		})},
		{"delete-topics", deleteTopics()},
		{"create-partitions", createPartitions()},
		{"delete-records", deleteRecords()},
	}
}

func deleteTopics() []step {
	named := func(names ...string) func(*vars, *kmsg.DeleteTopicsRequest) {
		return func(v *vars, r *kmsg.DeleteTopicsRequest) {
			r.TimeoutMillis = enough
			for _, n := range names {
				r.TopicNames = append(r.TopicNames, exactOr(v, n))
				t := kmsg.NewDeleteTopicsRequestTopic()
				t.Topic = ptr(exactOr(v, n))
				r.Topics = append(r.Topics, t)
			}
		}
	}
	byID := func(id func(*vars) [16]byte, name *string) func(*vars, *kmsg.DeleteTopicsRequest) {
		return func(v *vars, r *kmsg.DeleteTopicsRequest) {
			r.TimeoutMillis = enough
			t := kmsg.NewDeleteTopicsRequestTopic()
			t.TopicID = id(v)
			if name != nil {
				t.Topic = ptr(v.name(*name))
			}
			r.Topics = append(r.Topics, t)
		}
	}
	var steps []step
	for version := int16(1); version <= 6; version++ {
		name := "del-" + string('a'+rune(version))
		steps = concat(steps, makeTopic(name, 1), []step{ask("delete at "+string('0'+rune(version)), version, kmsg.NewPtrDeleteTopicsRequest, named(name))})
	}
	return concat(steps, makeTopic("del-id", 1), makeTopic("del-both", 1), []step{
		both("unknown topic", kmsg.NewPtrDeleteTopicsRequest, named("del-none")),
		both("empty name", kmsg.NewPtrDeleteTopicsRequest, named("=")),
		both("no topics", kmsg.NewPtrDeleteTopicsRequest, named()),
		ask("by unknown id", high, kmsg.NewPtrDeleteTopicsRequest, byID(unknownID, nil)),
		ask("by the zero id", high, kmsg.NewPtrDeleteTopicsRequest, byID(func(*vars) [16]byte { return [16]byte{} }, nil)),
		ask("by name and id", high, kmsg.NewPtrDeleteTopicsRequest, byID(idOf("del-both"), ptr("del-both"))),
		ask("the same name twice", high, kmsg.NewPtrDeleteTopicsRequest, named("del-both", "del-both")),
		ask("by id", high, kmsg.NewPtrDeleteTopicsRequest, byID(idOf("del-id"), nil)),
		ask("by id again", high, kmsg.NewPtrDeleteTopicsRequest, byID(idOf("del-id"), nil)),
		ask("its metadata", high, kmsg.NewPtrMetadataRequest, metadataOf("del-id")),
	})
}

func createPartitions() []step {
	grow := func(name string, count int32, assignment ...[]int32) func(*vars, *kmsg.CreatePartitionsRequest) {
		return func(v *vars, r *kmsg.CreatePartitionsRequest) {
			r.TimeoutMillis = enough
			t := kmsg.NewCreatePartitionsRequestTopic()
			t.Topic, t.Count = v.name(name), count
			for _, replicas := range assignment {
				a := kmsg.NewCreatePartitionsRequestTopicAssignment()
				a.Replicas = replicas
				t.Assignment = append(t.Assignment, a)
			}
			r.Topics = append(r.Topics, t)
		}
	}
	validate := func(_ *vars, r *kmsg.CreatePartitionsRequest) { r.ValidateOnly = true }
	var steps []step
	for version := int16(0); version <= 3; version++ {
		steps = append(steps, ask("grow at "+string('0'+rune(version)), version, kmsg.NewPtrCreatePartitionsRequest, grow("grow", int32(version)+2)))
	}
	return concat(makeTopic("grow", 1), steps, []step{
		both("validate only", kmsg.NewPtrCreatePartitionsRequest, grow("grow", 9), validate),
		both("the same count", kmsg.NewPtrCreatePartitionsRequest, grow("grow", 5)),
		both("fewer", kmsg.NewPtrCreatePartitionsRequest, grow("grow", 2)),
		both("count 0", kmsg.NewPtrCreatePartitionsRequest, grow("grow", 0)),
		both("count -1", kmsg.NewPtrCreatePartitionsRequest, grow("grow", -1)),
		both("unknown topic", kmsg.NewPtrCreatePartitionsRequest, grow("grow-none", 2)),
		both("the same topic twice", kmsg.NewPtrCreatePartitionsRequest, grow("grow", 6), grow("grow", 7)),
		both("assignment", kmsg.NewPtrCreatePartitionsRequest, grow("grow", 6, []int32{1}), validate),
		both("assignment of the wrong length", kmsg.NewPtrCreatePartitionsRequest, grow("grow", 7, []int32{1})),
		both("assignment to an unknown broker", kmsg.NewPtrCreatePartitionsRequest, grow("grow", 6, []int32{9})),
		both("assignment to nobody", kmsg.NewPtrCreatePartitionsRequest, grow("grow", 6, []int32{})),
		placed(settled(ask("metadata at the end", high, kmsg.NewPtrMetadataRequest, metadataOf("grow")))),
	})
}

func deleteRecords() []step {
	both := func(name string, s ...func(*vars, *kmsg.DeleteRecordsRequest)) step {
		return both(name, kmsg.NewPtrDeleteRecordsRequest, s...)
	}
	return concat(makeTopic("trim", 1), makeTopic("trim-compact", 1, "cleanup.policy", "compact"), fill("trim", 20), []step{
		ask("every version", each, kmsg.NewPtrDeleteRecordsRequest, deleteUpTo("trim", 0, 3)),
		both("before the start", deleteUpTo("trim", 0, 1)),
		both("above the high watermark", deleteUpTo("trim", 0, 21)),
		both("a negative offset", deleteUpTo("trim", 0, -2)),
		both("unknown topic", deleteUpTo("trim-none", 0, 1)),
		both("unknown partition", deleteUpTo("trim", 7, 1)),
		both("a compacted topic", deleteUpTo("trim-compact", 0, 0)),
		ask("fetch below the start", high, kmsg.NewPtrFetchRequest, fetchFrom("trim", 0, 1)),
		ask("the earliest offset", high, kmsg.NewPtrListOffsetsRequest, listOffset("trim", 0, -2)),
		ask("time 0 below the start", high, kmsg.NewPtrListOffsetsRequest, listOffset("trim", 0, 0)),
		both("up to the high watermark", deleteUpTo("trim", 0, -1)),
		ask("the earliest offset of an emptied log", high, kmsg.NewPtrListOffsetsRequest, listOffset("trim", 0, -2)),
		ask("time 0 of an emptied log", high, kmsg.NewPtrListOffsetsRequest, listOffset("trim", 0, 0)),
	})
}
