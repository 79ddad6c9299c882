package main

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchFrom asks for one partition from an offset, without waiting.
func fetchFrom(topic string, partition int32, offset int64, change ...func(*kmsg.FetchRequest)) func(*vars, *kmsg.FetchRequest) {
	return func(v *vars, r *kmsg.FetchRequest) {
		if r.Topics == nil && r.MaxBytes == 0x7fffffff {
			r.MaxWaitMillis, r.MinBytes, r.MaxBytes, r.ReplicaID = 0, 1, 50<<20, -1
			r.ReplicaState.ID = -1
		}
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = v.name(topic), v.id(topicIDKey(topic))
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, 1<<20
		p.CurrentLeaderEpoch, p.LastFetchedEpoch, p.LogStartOffset = -1, -1, -1
		t.Partitions = append(t.Partitions, p)
		r.Topics = append(r.Topics, t)
		r.SessionEpoch = -1
		for _, c := range change {
			c(r)
		}
	}
}

func fetchScenarios() []scenario {
	get := func(name string, s ...func(*vars, *kmsg.FetchRequest)) step {
		return both(name, kmsg.NewPtrFetchRequest, s...)
	}
	limit := func(partition, total int32) func(*kmsg.FetchRequest) {
		return func(r *kmsg.FetchRequest) {
			r.MaxBytes = total
			for i := range r.Topics {
				for j := range r.Topics[i].Partitions {
					r.Topics[i].Partitions[j].PartitionMaxBytes = partition
				}
			}
		}
	}
	first := func(change func(*kmsg.FetchRequestTopicPartition)) func(*kmsg.FetchRequest) {
		return func(r *kmsg.FetchRequest) { change(&r.Topics[0].Partitions[0]) }
	}
	return []scenario{
		{"fetch", concat(makeTopic("fetch", 2), fill("fetch", 20), []step{
			ask("every version", each, kmsg.NewPtrFetchRequest, fetchFrom("fetch", 0, 0)),
			get("inside a batch", fetchFrom("fetch", 0, 7)),
			get("the last record", fetchFrom("fetch", 0, 19)),
			get("the end", fetchFrom("fetch", 0, 20)),
			get("past the end", fetchFrom("fetch", 0, 21)),
			get("a negative offset", fetchFrom("fetch", 0, -1)),
			get("an empty partition", fetchFrom("fetch", 1, 0)),
			get("partition limit 1", fetchFrom("fetch", 0, 0, limit(1, 50<<20))),
			get("total limit 1", fetchFrom("fetch", 0, 0, limit(1<<20, 1))),
			get("total limit 0", fetchFrom("fetch", 0, 0, limit(1<<20, 0))),
			get("a limit of two batches and a half", fetchFrom("fetch", 0, 0, limit(500, 50<<20))),
			get("two partitions, total limit 1", fetchFrom("fetch", 1, 0), fetchFrom("fetch", 0, 0, limit(1<<20, 1))),
			get("unknown topic", fetchFrom("fetch-none", 0, 0)),
			get("unknown partition", fetchFrom("fetch", 7, 0)),
			get("unknown id", fetchFrom("fetch", 0, 0), func(v *vars, r *kmsg.FetchRequest) { r.Topics[0].TopicID = unknownID(v) }),
			get("one good, one bad", fetchFrom("fetch", 0, 15), fetchFrom("fetch", 7, 0)),
			get("read committed", fetchFrom("fetch", 0, 10, func(r *kmsg.FetchRequest) { r.IsolationLevel = 1 })),
			ask("leader epoch 0", 9, kmsg.NewPtrFetchRequest, fetchFrom("fetch", 0, 18, first(func(p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = 0 }))),
			ask("leader epoch 9", 9, kmsg.NewPtrFetchRequest, fetchFrom("fetch", 0, 0, first(func(p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = 9 }))),
			ask("leader epoch 9", high, kmsg.NewPtrFetchRequest, fetchFrom("fetch", 0, 0, first(func(p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = 9 }))),
			ask("last fetched epoch 0", 12, kmsg.NewPtrFetchRequest, fetchFrom("fetch", 0, 18, first(func(p *kmsg.FetchRequestTopicPartition) { p.LastFetchedEpoch = 0 }))),
			ask("last fetched epoch 5", high, kmsg.NewPtrFetchRequest, fetchFrom("fetch", 0, 18, first(func(p *kmsg.FetchRequestTopicPartition) { p.LastFetchedEpoch, p.CurrentLeaderEpoch = 5, 0 }))),
			ask("waits for its time", high, kmsg.NewPtrFetchRequest, fetchFrom("fetch", 0, 20, func(r *kmsg.FetchRequest) { r.MaxWaitMillis = 100 })),
			ask("waits for more than there is", high, kmsg.NewPtrFetchRequest, fetchFrom("fetch", 0, 15, func(r *kmsg.FetchRequest) { r.MaxWaitMillis, r.MinBytes = 100, 1<<20 })),
			ask("with a rack", 11, kmsg.NewPtrFetchRequest, fetchFrom("fetch", 0, 18, func(r *kmsg.FetchRequest) { r.Rack = "r1" })),
			ask("as replica 5, which is none", high, kmsg.NewPtrFetchRequest, fetchFrom("fetch", 0, 0, func(r *kmsg.FetchRequest) { r.ReplicaState.ID, r.ReplicaState.Epoch = 5, 1 })),
			ask("as replica 5, which is none", 4, kmsg.NewPtrFetchRequest, fetchFrom("fetch", 0, 0, func(r *kmsg.FetchRequest) { r.ReplicaID = 5 })),
			get("no topics", func(_ *vars, r *kmsg.FetchRequest) {
				r.MaxWaitMillis, r.MinBytes, r.MaxBytes, r.ReplicaID, r.ReplicaState.ID, r.SessionEpoch = 0, 1, 1<<20, -1, -1, -1
			}),
			settled(get("a topic deleted and made again: deleted", fetchFrom("fetch", 0, 20))),
		})},
		{"fetch-sessions v7", sessions(7)},
		{"fetch-sessions v12", sessions(12)},
		{"fetch-sessions v13", sessions(13)},
		{"fetch-sessions v18", sessions(18)},
	}
}

// sessions walks the life of a fetch session.
func sessions(version int16) []step {
	session := func(epoch int32) func(v *vars, r *kmsg.FetchRequest) {
		return func(v *vars, r *kmsg.FetchRequest) {
			r.MaxWaitMillis, r.MinBytes, r.MaxBytes, r.ReplicaID, r.ReplicaState.ID = 0, 1, 50<<20, -1, -1
			r.SessionID, r.SessionEpoch = int32(v.i64("session")), epoch
		}
	}
	name := "sess" + string('a'+rune(version))
	incremental := func(text string, epoch int32, s ...func(*vars, *kmsg.FetchRequest)) step {
		return ask(text, version, kmsg.NewPtrFetchRequest, append(s, session(epoch))...)
	}
	forget := func(v *vars, r *kmsg.FetchRequest) {
		f := kmsg.NewFetchRequestForgottenTopic()
		f.Topic, f.TopicID, f.Partitions = v.name(name), v.id(topicIDKey(name)), []int32{1}
		r.ForgottenTopics = append(r.ForgottenTopics, f)
	}
	full := kept(incremental("a new session", 0, fetchFrom(name, 0, 0), fetchFrom(name, 1, 0)), func(v *vars, r *kmsg.FetchResponse) { v.kept["session"] = r.SessionID })
	steps := concat(makeTopic(name, 2), fill(name, 10), []step{
		full,
		incremental("nothing new", 1, fetchFrom(name, 0, 10)),
		incremental("nothing at all", 2),
		incremental("an epoch again", 2),
		incremental("an epoch too far", 9),
		incremental("the right epoch", 3),
		quietly(ask("produce", 9, kmsg.NewPtrProduceRequest, produceOf(name, 1, numbered(2)))),
		incremental("records in the other partition", 4),
		incremental("past them", 5, fetchFrom(name, 1, 2)),
		incremental("one forgotten", 6, forget),
		quietly(ask("produce again", 9, kmsg.NewPtrProduceRequest, produceOf(name, 1, numbered(2)))),
		incremental("nothing of the forgotten", 7),
		incremental("an unknown partition joins", 8, fetchFrom(name, 7, 0)),
		incremental("its error comes again", 9),
		incremental("an unknown topic joins", 10, fetchFrom(name+"-none", 0, 0)),
		incremental("an unknown id joins", 11, fetchFrom(name, 0, 0, func(r *kmsg.FetchRequest) {
			r.Topics = append(r.Topics, r.Topics[0])
			r.Topics[len(r.Topics)-1].TopicID, r.Topics[len(r.Topics)-1].Topic = unknownID(nil), "diff-unknown"
		})),
		incremental("an unknown session", 1, func(v *vars, _ *kmsg.FetchRequest) { v.kept["session"] = int32(12345) }),
		incremental("a new session at an unknown id", 0, fetchFrom(name, 0, 10)),
		incremental("no session", -1, fetchFrom(name, 0, 10)),
		incremental("a session of nothing", 0),
	})
	if version >= 13 {
		return append(steps, full, ask("the session used by names", 12, kmsg.NewPtrFetchRequest, session(1)))
	}
	return append(steps, full, ask("the session used by ids", 13, kmsg.NewPtrFetchRequest, session(1)))
}
