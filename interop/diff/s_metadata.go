package main

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

func metadataOf(names ...string) func(*vars, *kmsg.MetadataRequest) {
	return func(v *vars, r *kmsg.MetadataRequest) {
		r.Topics = []kmsg.MetadataRequestTopic{}
		for _, n := range names {
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = ptr(v.name(n))
			r.Topics = append(r.Topics, t)
		}
	}
}

func metadataOfIDs(ids ...func(v *vars) [16]byte) func(*vars, *kmsg.MetadataRequest) {
	return func(v *vars, r *kmsg.MetadataRequest) {
		for _, id := range ids {
			t := kmsg.NewMetadataRequestTopic()
			t.TopicID = id(v)
			r.Topics = append(r.Topics, t)
		}
	}
}

func idOf(topic string) func(v *vars) [16]byte {
	return func(v *vars) [16]byte { return v.id(topicIDKey(topic)) }
}

// unknownID is an id that no topic has.
func unknownID(*vars) [16]byte {
	return [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
}

func metadataScenarios() []scenario {
	create := set(func(_ *vars, r *kmsg.MetadataRequest) { r.AllowAutoTopicCreation = true })
	return []scenario{
		{"metadata", concat(makeTopic("meta", 3), []step{
			ask("a topic, every version", each, kmsg.NewPtrMetadataRequest, metadataOf("meta")),
			ask("no topics", each, kmsg.NewPtrMetadataRequest, metadataOf()),
			ask("unknown topic, no creation", each, kmsg.NewPtrMetadataRequest, metadataOf("meta-none"),
				func(_ *vars, r *kmsg.MetadataRequest) { r.AllowAutoTopicCreation = false }).with(func(s *step) { s.version = 4 }),
			ask("unknown topic, no creation", 8, kmsg.NewPtrMetadataRequest, metadataOf("meta-none", "meta")),
			ask("unknown topic, no creation", high, kmsg.NewPtrMetadataRequest, metadataOf("meta-none", "meta")),
			both("invalid names", kmsg.NewPtrMetadataRequest, metadataOf("a b", "c/d", "meta")).with(func(s *step) { s.version = 12 }),
			ask("the same topic twice", high, kmsg.NewPtrMetadataRequest, metadataOf("meta", "meta")),
			ask("by id", 12, kmsg.NewPtrMetadataRequest, metadataOfIDs(idOf("meta"))),
			ask("by id", high, kmsg.NewPtrMetadataRequest, metadataOfIDs(idOf("meta"))),
			ask("by unknown id", 12, kmsg.NewPtrMetadataRequest, metadataOfIDs(unknownID)),
			ask("by unknown id", high, kmsg.NewPtrMetadataRequest, metadataOfIDs(unknownID, idOf("meta"))),
			ask("by id at a version that knows only names", 10, kmsg.NewPtrMetadataRequest, metadataOfIDs(idOf("meta"))),
			ask("with authorized operations", 8, kmsg.NewPtrMetadataRequest, metadataOf("meta"), func(_ *vars, r *kmsg.MetadataRequest) {
				r.IncludeClusterAuthorizedOperations, r.IncludeTopicAuthorizedOperations = true, true
			}),
			ask("with authorized operations", high, kmsg.NewPtrMetadataRequest, metadataOf("meta"), func(_ *vars, r *kmsg.MetadataRequest) {
				r.IncludeTopicAuthorizedOperations = true
			}),
			placed(ask("auto creation: the first answer", high, kmsg.NewPtrMetadataRequest, metadataOf("meta-auto"), create)),
			placed(settled(ask("auto creation: then", high, kmsg.NewPtrMetadataRequest, metadataOf("meta-auto"), create))),
			ask("auto creation of an invalid name", high, kmsg.NewPtrMetadataRequest, metadataOf("a b"), create),
			placed(ask("auto creation of an invalid name", 4, kmsg.NewPtrMetadataRequest, metadataOf(".."), create)),
		})},
		{"describe-topic-partitions", concat(makeTopic("dtp-a", 2), makeTopic("dtp-b", 5), []step{
			ask("two topics", high, kmsg.NewPtrDescribeTopicPartitionsRequest, describePartitions(100, nil, "dtp-a", "dtp-b")),
			ask("unknown and known", high, kmsg.NewPtrDescribeTopicPartitionsRequest, describePartitions(100, nil, "dtp-none", "dtp-a")),
			ask("invalid name", high, kmsg.NewPtrDescribeTopicPartitionsRequest, describePartitions(100, nil, "a b")),
			ask("a page of 3", high, kmsg.NewPtrDescribeTopicPartitionsRequest, describePartitions(3, nil, "dtp-a", "dtp-b")),
			ask("the page after", high, kmsg.NewPtrDescribeTopicPartitionsRequest, describePartitions(3, ptr("dtp-b"), "dtp-a", "dtp-b")),
			ask("a page of 0", high, kmsg.NewPtrDescribeTopicPartitionsRequest, describePartitions(0, nil, "dtp-a")),
		})},
	}
}

func describePartitions(limit int32, cursor *string, topics ...string) func(*vars, *kmsg.DescribeTopicPartitionsRequest) {
	return func(v *vars, r *kmsg.DescribeTopicPartitionsRequest) {
		r.ResponsePartitionLimit = limit
		for _, t := range topics {
			rt := kmsg.NewDescribeTopicPartitionsRequestTopic()
			rt.Topic = v.name(t)
			r.Topics = append(r.Topics, rt)
		}
		if cursor != nil {
			c := kmsg.NewDescribeTopicPartitionsRequestCursor()
			c.Topic, c.Partition = v.name(*cursor), 1
			r.Cursor = &c
		}
	}
}
