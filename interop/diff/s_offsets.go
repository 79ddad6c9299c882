package main

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// listOffset asks for one partition's offset at a time.
func listOffset(topic string, partition int32, timestamp int64, change ...func(*kmsg.ListOffsetsRequest, *kmsg.ListOffsetsRequestTopicPartition)) func(*vars, *kmsg.ListOffsetsRequest) {
	return func(v *vars, r *kmsg.ListOffsetsRequest) {
		r.ReplicaID = -1
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = v.name(topic)
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp, p.CurrentLeaderEpoch = partition, timestamp, -1
		for _, c := range change {
			c(r, &p)
		}
		t.Partitions = append(t.Partitions, p)
		r.Topics = append(r.Topics, t)
	}
}

func offsetScenarios() []scenario {
	list := func(name string, s ...func(*vars, *kmsg.ListOffsetsRequest)) step {
		return both(name, kmsg.NewPtrListOffsetsRequest, s...)
	}
	epoch := func(e int32) func(*kmsg.ListOffsetsRequest, *kmsg.ListOffsetsRequestTopicPartition) {
		return func(_ *kmsg.ListOffsetsRequest, p *kmsg.ListOffsetsRequestTopicPartition) { p.CurrentLeaderEpoch = e }
	}
	committed := func(r *kmsg.ListOffsetsRequest, _ *kmsg.ListOffsetsRequestTopicPartition) { r.IsolationLevel = 1 }
	epochEnd := func(topic string, partition, current, asked int32) func(*vars, *kmsg.OffsetForLeaderEpochRequest) {
		return func(v *vars, r *kmsg.OffsetForLeaderEpochRequest) {
			r.ReplicaID = -1
			t := kmsg.NewOffsetForLeaderEpochRequestTopic()
			t.Topic = v.name(topic)
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = partition, current, asked
			t.Partitions = append(t.Partitions, p)
			r.Topics = append(r.Topics, t)
		}
	}
	var specials []step
	for ts := int64(-7); ts <= -1; ts++ {
		specials = append(specials, ask("special "+string('0'+rune(-ts)), each, kmsg.NewPtrListOffsetsRequest, listOffset("lo", 0, ts)))
	}
	outOfOrder := batchOf{records: []record{
		{[]byte("a"), []byte("1"), longAgo + 5000, nil}, {[]byte("b"), []byte("2"), longAgo + 90_000, nil}, {[]byte("c"), []byte("3"), longAgo + 10_000, nil},
	}}
	return []scenario{
		{"list-offsets", concat(makeTopic("lo", 2), []step{
			quietly(ask("plain records", 9, kmsg.NewPtrProduceRequest, produceOf("lo", 0, numbered(10)))),
			quietly(ask("compressed records", 9, kmsg.NewPtrProduceRequest, produceOf("lo", 0, numbered(30).compressed(4)))),
			quietly(ask("out of order", 9, kmsg.NewPtrProduceRequest, produceOf("lo", 0, outOfOrder))),
		}, specials, []step{
			list("the time of a record", listOffset("lo", 0, longAgo+3000)),
			list("a time between records", listOffset("lo", 0, longAgo+3001)),
			list("a time inside a compressed batch", listOffset("lo", 0, longAgo+20_001)),
			list("the highest time", listOffset("lo", 0, longAgo+90_000)),
			list("a time past all", listOffset("lo", 0, longAgo+90_001)),
			list("time 0", listOffset("lo", 0, 0)),
			list("an empty partition, by time", listOffset("lo", 1, 0)),
			list("an empty partition, latest", listOffset("lo", 1, -1)),
			ask("an empty partition, highest timestamp", 7, kmsg.NewPtrListOffsetsRequest, listOffset("lo", 1, -3)),
			list("read committed", listOffset("lo", 0, -1, committed)),
			list("unknown topic", listOffset("lo-none", 0, -1)),
			list("unknown partition", listOffset("lo", 9, -1)),
			list("the same partition twice", listOffset("lo", 0, -1), listOffset("lo", 0, -2)),
			list("a partition twice in one topic", listOffset("lo", 0, -1), func(_ *vars, r *kmsg.ListOffsetsRequest) {
				r.Topics[0].Partitions = append(r.Topics[0].Partitions, r.Topics[0].Partitions[0])
			}),
			list("leader epoch 0", listOffset("lo", 0, -1, epoch(0))),
			ask("leader epoch 9", 4, kmsg.NewPtrListOffsetsRequest, listOffset("lo", 0, -1, epoch(9))),
			ask("leader epoch 9", high, kmsg.NewPtrListOffsetsRequest, listOffset("lo", 0, -1, epoch(9))),
			list("as replica 5", listOffset("lo", 0, -1, func(r *kmsg.ListOffsetsRequest, _ *kmsg.ListOffsetsRequestTopicPartition) { r.ReplicaID = 5 })),
			list("as a debugging consumer", listOffset("lo", 0, -1, func(r *kmsg.ListOffsetsRequest, _ *kmsg.ListOffsetsRequestTopicPartition) { r.ReplicaID = -2 })),
			list("no topics", func(_ *vars, r *kmsg.ListOffsetsRequest) { r.ReplicaID = -1 }),
		})},
		{"offset-for-leader-epoch", concat(makeTopic("olfe", 1), fill("olfe", 10), []step{
			ask("epoch 0, every version", each, kmsg.NewPtrOffsetForLeaderEpochRequest, epochEnd("olfe", 0, -1, 0)),
			both("the current epoch given", kmsg.NewPtrOffsetForLeaderEpochRequest, epochEnd("olfe", 0, 0, 0)),
			both("an epoch of the future asked", kmsg.NewPtrOffsetForLeaderEpochRequest, epochEnd("olfe", 0, -1, 5)),
			both("epoch -1 asked", kmsg.NewPtrOffsetForLeaderEpochRequest, epochEnd("olfe", 0, -1, -1)),
			both("a current epoch of the future", kmsg.NewPtrOffsetForLeaderEpochRequest, epochEnd("olfe", 0, 9, 0)),
			both("unknown topic", kmsg.NewPtrOffsetForLeaderEpochRequest, epochEnd("olfe-none", 0, -1, 0)),
			both("unknown partition", kmsg.NewPtrOffsetForLeaderEpochRequest, epochEnd("olfe", 9, -1, 0)),
		})},
	}
}
