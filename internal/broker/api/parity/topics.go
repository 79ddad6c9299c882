package parity

import (
	"strconv"
	"strings"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

type (
	creatableTopic = kmsg.CreateTopicsRequestCreatableTopic
	assignment     = kmsg.CreateTopicsRequestCreatableReplicaAssignment
	topicConfig    = kmsg.CreateTopicsRequestCreatableTopicConfig
)

func topic(name string, partitions int32, replicas int16) creatableTopic {
	return creatableTopic{Name: name, NumPartitions: partitions, ReplicationFactor: replicas}
}

func createTopics(ts ...creatableTopic) *kmsg.CreateTopicsRequest {
	req := kmsg.NewCreateTopicsRequest()
	req.Topics = ts
	return &req
}

// create is a step that creates topics in the newest version, for the steps after it.
func create(ts ...func(*Run) creatableTopic) Step {
	return Step{Name: "create", From: 7, To: -1, Req: func(r *Run) kmsg.Request {
		req := createTopics()
		for _, t := range ts {
			req.Topics = append(req.Topics, t(r))
		}
		return req
	}, Keep: func(_ *Run, resp kmsg.Response) {
		if m, ok := resp.(*kmsg.CreateTopicsResponse); ok {
			for i := range m.Topics {
				m.Topics[i].Configs = nil
			}
		}
	}}
}

func named(name string, partitions int32, configs ...string) func(*Run) creatableTopic {
	return func(r *Run) creatableTopic {
		t := topic(r.Name(name), partitions, 1)
		for i := 0; i < len(configs); i += 2 {
			t.Configs = append(t.Configs, topicConfig{Name: configs[i], Value: &configs[i+1]})
		}
		return t
	}
}

func createStep(name string, build func(*Run) []creatableTopic) Step {
	return Step{Name: name, Req: func(r *Run) kmsg.Request { return createTopics(build(r)...) }}
}

func one(build func(*Run) creatableTopic) func(*Run) []creatableTopic {
	return func(r *Run) []creatableTopic { return []creatableTopic{build(r)} }
}

func manual(r *Run, name string, replicas ...[]int32) creatableTopic {
	t := topic(r.Fresh(name), -1, -1)
	for i, rs := range replicas {
		t.Assignments = append(t.Assignments, assignment{PartitionIndex: int32(i), BrokerIds: rs})
	}
	return t
}

func withConfig(t creatableTopic, key string, value *string) creatableTopic {
	t.Configs = append(t.Configs, topicConfig{Name: key, Value: value})
	return t
}

var createTopicsScript = Script{Name: "create_topics", Steps: []Step{
	createStep("three partitions", one(func(r *Run) creatableTopic { return topic(r.Fresh("three"), 3, 1) })),
	createStep("exists", one(func(r *Run) creatableTopic { return topic(r.Fresh("three"), 3, 1) })),
	createStep("defaults", one(func(r *Run) creatableTopic { return topic(r.Fresh("defaults"), -1, -1) })),
	createStep("three replicas", one(func(r *Run) creatableTopic { return topic(r.Fresh("a"), 1, 3) })),
	createStep("no replicas", one(func(r *Run) creatableTopic { return topic(r.Fresh("b"), 1, 0) })),
	createStep("no partitions", one(func(r *Run) creatableTopic { return topic(r.Fresh("c"), 0, 1) })),
	createStep("minus two partitions", one(func(r *Run) creatableTopic { return topic(r.Fresh("c2"), -2, 1) })),
	createStep("minus two replicas", one(func(r *Run) creatableTopic { return topic(r.Fresh("c3"), 1, -2) })),
	createStep("space in name", one(func(r *Run) creatableTopic { return topic(r.Fresh("a b"), 1, 1) })),
	createStep("empty name", one(func(*Run) creatableTopic { return topic("", 1, 1) })),
	createStep("dots", one(func(*Run) creatableTopic { return topic("..", 1, 1) })),
	createStep("long name", one(func(*Run) creatableTopic { return topic(strings.Repeat("l", 250), 1, 1) })),
	createStep("dot", one(func(r *Run) creatableTopic { return topic(r.Fresh("x.y_z"), 1, 1) })),
	createStep("collides with dot", one(func(r *Run) creatableTopic { return topic(r.Fresh("x_y.z"), 1, 1) })),
	createStep("collides within the request", func(r *Run) []creatableTopic {
		return []creatableTopic{topic(r.Fresh("p.q"), 1, 1), topic(r.Fresh("p_q"), 1, 1)}
	}),
	createStep("twice in the request", func(r *Run) []creatableTopic {
		return []creatableTopic{topic(r.Fresh("twice"), 1, 1), topic(r.Fresh("twice"), 2, 1), topic(r.Fresh("once"), 1, 1)}
	}),
	createStep("manual", one(func(r *Run) creatableTopic { return manual(r, "m1", []int32{1}, []int32{1}) })),
	createStep("manual unknown broker", one(func(r *Run) creatableTopic { return manual(r, "m2", []int32{9}) })),
	createStep("manual broker twice", one(func(r *Run) creatableTopic { return manual(r, "m3", []int32{1, 1}) })),
	createStep("manual no brokers", one(func(r *Run) creatableTopic { return manual(r, "m4", []int32{}) })),
	createStep("manual uneven", one(func(r *Run) creatableTopic { return manual(r, "m5", []int32{1}, []int32{1, 2}) })),
	createStep("manual with count", one(func(r *Run) creatableTopic {
		t := manual(r, "m6", []int32{1})
		t.NumPartitions = 1
		return t
	})),
	createStep("manual with factor", one(func(r *Run) creatableTopic {
		t := manual(r, "m7", []int32{1})
		t.ReplicationFactor = 1
		return t
	})),
	createStep("manual with a gap", one(func(r *Run) creatableTopic {
		t := manual(r, "m8", []int32{1}, []int32{1})
		t.Assignments[1].PartitionIndex = 5
		return t
	})),
	createStep("manual partition twice", one(func(r *Run) creatableTopic {
		t := manual(r, "m9", []int32{1}, []int32{1})
		t.Assignments[1].PartitionIndex = 0
		return t
	})),
	createStep("config", one(func(r *Run) creatableTopic {
		return withConfig(topic(r.Fresh("k1"), 1, 1), "retention.ms", new("12345"))
	})),
	createStep("config twice", one(func(r *Run) creatableTopic {
		t := withConfig(topic(r.Fresh("k6"), 1, 1), "retention.ms", new("1"))
		return withConfig(t, "retention.ms", new("2"))
	})),
	createStep("unknown config", one(func(r *Run) creatableTopic {
		return withConfig(topic(r.Fresh("k2"), 1, 1), "no.such.key", new("1"))
	})),
	createStep("bad config", one(func(r *Run) creatableTopic {
		return withConfig(topic(r.Fresh("k3"), 1, 1), "retention.ms", new("soon"))
	})),
	createStep("small segment", one(func(r *Run) creatableTopic {
		return withConfig(topic(r.Fresh("k4"), 1, 1), "segment.bytes", new("1000"))
	})),
	createStep("null config", one(func(r *Run) creatableTopic {
		return withConfig(topic(r.Fresh("k5"), 1, 1), "retention.ms", nil)
	})),
	createStep("internal name", one(func(*Run) creatableTopic { return topic("__cluster_metadata", 1, 1) })),
	{Name: "validate only", Req: func(r *Run) kmsg.Request {
		req := createTopics(topic(r.Fresh("valid"), 2, 1), topic(r.Fresh("in valid"), 2, 1))
		req.ValidateOnly = true
		return req
	}},
	{Name: "nothing", Req: func(*Run) kmsg.Request { return createTopics() }},
}}

func deleteTopics(r *Run, names ...string) kmsg.Request {
	req := kmsg.NewDeleteTopicsRequest()
	req.TimeoutMs = 10000
	for _, n := range names {
		if r.Version < 6 {
			req.TopicNames = append(req.TopicNames, n)
		} else {
			req.Topics = append(req.Topics, kmsg.DeleteTopicsRequestDeleteTopicState{Name: &n})
		}
	}
	return &req
}

func deleteState(ts ...kmsg.DeleteTopicsRequestDeleteTopicState) func(*Run) kmsg.Request {
	return func(*Run) kmsg.Request {
		req := kmsg.NewDeleteTopicsRequest()
		req.Topics, req.TimeoutMs = ts, 10000
		return &req
	}
}

var deleteTopicsScript = Script{Name: "delete_topics", Steps: []Step{
	create(named("1", 1), named("2", 1), named("3", 1), named("4", 1), named("5", 1), named("6", 1)),
	{Name: "no time", Req: func(r *Run) kmsg.Request {
		req, _ := deleteTopics(r, r.Name("1")).(*kmsg.DeleteTopicsRequest)
		req.TimeoutMs = 0
		return req
	}},
	{Name: "delete", Req: func(r *Run) kmsg.Request { return deleteTopics(r, r.Name(strconv.Itoa(int(r.Version)))) }},
	{Name: "again", Req: func(r *Run) kmsg.Request { return deleteTopics(r, r.Name(strconv.Itoa(int(r.Version)))) }},
	{Name: "unknown", Req: func(r *Run) kmsg.Request { return deleteTopics(r, r.Name("none")) }},
	{Name: "unknown twice", Req: func(r *Run) kmsg.Request { return deleteTopics(r, r.Name("none"), r.Name("none")) }},
	{Name: "nothing", Req: func(r *Run) kmsg.Request { return deleteTopics(r) }},
	{Name: "unknown id", From: 6, To: -1, Req: deleteState(
		kmsg.DeleteTopicsRequestDeleteTopicState{TopicId: base.TopicID{1}})},
	{Name: "unknown id twice", From: 6, To: -1, Req: deleteState(
		kmsg.DeleteTopicsRequestDeleteTopicState{TopicId: base.TopicID{1}},
		kmsg.DeleteTopicsRequestDeleteTopicState{TopicId: base.TopicID{1}})},
	{Name: "name and id", From: 6, To: -1, Req: deleteState(
		kmsg.DeleteTopicsRequestDeleteTopicState{Name: new("a"), TopicId: base.TopicID{1}})},
	{Name: "neither name nor id", From: 6, To: -1, Req: deleteState(kmsg.DeleteTopicsRequestDeleteTopicState{})},
}}

type partitionsTopic = kmsg.CreatePartitionsRequestCreatePartitionsTopic

func createPartitions(name string, validate bool, build func(*Run) []partitionsTopic) Step {
	return Step{Name: name, Req: func(r *Run) kmsg.Request {
		req := kmsg.NewCreatePartitionsRequest()
		req.Topics, req.ValidateOnly, req.TimeoutMs = build(r), validate, 10000
		return &req
	}}
}

func grow(name string, count int32, replicas ...[]int32) func(*Run) []partitionsTopic {
	return func(r *Run) []partitionsTopic {
		t := partitionsTopic{Name: r.Name(name), Count: count}
		for _, rs := range replicas {
			t.Assignments = append(t.Assignments, kmsg.CreatePartitionsRequestCreatePartitionsAssignment{BrokerIds: rs})
		}
		return []partitionsTopic{t}
	}
}

var createPartitionsScript = Script{Name: "create_partitions", Steps: []Step{
	create(named("a", 2), named("b", 1), named("c", 1)),
	createPartitions("grow", false, func(r *Run) []partitionsTopic { return grow("a", 4+int32(r.Version))(r) }),
	createPartitions("equal", false, func(r *Run) []partitionsTopic { return grow("a", 7)(r) }),
	createPartitions("fewer", false, grow("a", 1)),
	createPartitions("zero", false, grow("a", 0)),
	createPartitions("negative", false, grow("a", -1)),
	createPartitions("unknown", false, grow("none", 3)),
	createPartitions("validate", true, grow("b", 3)),
	createPartitions("manual", false, func(r *Run) []partitionsTopic {
		return grow("b", 2+int32(r.Version), []int32{1})(r)
	}),
	createPartitions("manual too many", false, grow("c", 2, []int32{1}, []int32{1})),
	createPartitions("manual too few", false, grow("c", 4, []int32{1})),
	createPartitions("manual unknown broker", false, grow("c", 2, []int32{7})),
	createPartitions("manual two replicas", false, grow("c", 2, []int32{1, 2})),
	createPartitions("manual empty replicas", false, grow("c", 2, []int32{})),
	createPartitions("manual replica twice", false, grow("c", 2, []int32{1, 1})),
	createPartitions("twice", false, func(r *Run) []partitionsTopic { return append(grow("c", 2)(r), grow("c", 3)(r)...) }),
	createPartitions("nothing", false, func(*Run) []partitionsTopic { return nil }),
}}

type deletePartition = kmsg.DeleteRecordsRequestDeleteRecordsPartition

func deleteRecords(name, topic string, ps ...deletePartition) Step {
	return Step{Name: name, Req: func(r *Run) kmsg.Request {
		req := kmsg.NewDeleteRecordsRequest()
		req.TimeoutMs = 10000
		t := topic
		if !strings.HasPrefix(t, "__") {
			t = r.Name(topic)
		}
		req.Topics = []kmsg.DeleteRecordsRequestDeleteRecordsTopic{{Name: t, Partitions: ps}}
		return &req
	}}
}

var deleteRecordsScript = Script{Name: "delete_records", Setup: func(r *Run) error {
	for _, t := range []string{"a", "compacted", "both"} {
		configs := map[string][]string{"compacted": {"cleanup.policy", "compact"},
			"both": {"cleanup.policy", "compact,delete"}}
		if err := createAndFill(r, r.Name(t), 10, configs[t]...); err != nil {
			return err
		}
	}
	return nil
}, Steps: []Step{
	deleteRecords("up to 3", "a", deletePartition{Offset: 3}),
	deleteRecords("up to 2", "a", deletePartition{Offset: 2}),
	deleteRecords("beyond the end", "a", deletePartition{Offset: 11}),
	deleteRecords("minus two", "a", deletePartition{Offset: -2}),
	deleteRecords("all", "a", deletePartition{Offset: -1}),
	deleteRecords("unknown topic", "none", deletePartition{Offset: 1}),
	deleteRecords("unknown partition", "a", deletePartition{PartitionIndex: 5, Offset: 1}),
	deleteRecords("compacted", "compacted", deletePartition{Offset: 2}),
	deleteRecords("compacted and deleted", "both", deletePartition{Offset: 2}),
	deleteRecords("internal", "__consumer_offsets", deletePartition{Offset: 0}),
	deleteRecords("nothing", "a"),
}}
