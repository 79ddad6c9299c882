package main

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func produceScenarios() []scenario {
	send := func(name string, s ...func(*vars, *kmsg.ProduceRequest)) step {
		return both(name, kmsg.NewPtrProduceRequest, s...)
	}
	acks := func(n int16) func(*kmsg.ProduceRequest) { return func(r *kmsg.ProduceRequest) { r.Acks = n } }
	header := func(change func(*kmsg.RecordBatch)) batchOf { return numbered(3).with(change) }
	readBack := func(topic string) step {
		return ask("read back", high, kmsg.NewPtrFetchRequest, fetchFrom(topic, 0, 0))
	}
	var codecs []step
	for codec := range int16(5) {
		codecs = append(codecs, send(fmt.Sprint("codec ", codec), produceOf("codecs", 0, numbered(20).compressed(codec))))
	}
	soon := func(by time.Duration) batchOf {
		b := numbered(2)
		b.records[1].timestamp = time.Now().Add(by).UnixMilli()
		return b
	}
	nulls := batchOf{records: []record{
		{nil, nil, longAgo, nil}, {[]byte{}, []byte{}, longAgo, nil},
		{[]byte("k"), []byte("v"), longAgo, []kmsg.Header{{Key: "h", Value: []byte("1")}, {Key: "h"}, {Key: "", Value: []byte{}}}},
	}}
	return []scenario{
		{"produce", concat(makeTopic("produce", 1), makeTopic("codecs", 1), []step{
			ask("acks all, every version", each, kmsg.NewPtrProduceRequest, produceOf("produce", 0, numbered(3))),
			send("acks 1", produceOf("produce", 0, numbered(1), acks(1))),
			ask("acks 0", low, kmsg.NewPtrProduceRequest, produceOf("produce", 0, numbered(1), acks(0))).with(func(s *step) { s.silent = true }),
			ask("after acks 0", high, kmsg.NewPtrListOffsetsRequest, listOffset("produce", 0, -1)).with(func(s *step) {
				s.until = func(r kmsg.Response) bool { return r.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].Offset >= 36 }
			}),
			send("acks 2", produceOf("produce", 0, numbered(1), acks(2))),
			send("nulls and headers", produceOf("produce", 0, nulls)),
			readBack("produce"),
		}, codecs, []step{readBack("codecs")})},
		{"produce-errors", concat(makeTopic("perr", 1), makeTopic("perr-compact", 1, "cleanup.policy", "compact"),
			makeTopic("perr-append", 1, "message.timestamp.type", "LogAppendTime"), makeTopic("perr-small", 1, "max.message.bytes", "200"), makeTopic("perr-junk", 1), []step{
				send("bad checksum", produceOf("perr", 0, numbered(3).spoiled(func(b []byte) []byte { b[17] ^= 1; return b }))),
				send("a spoiled record", produceOf("perr", 0, numbered(3).spoiled(func(b []byte) []byte { b[70] ^= 1; return b }))),
				send("magic 0", produceOf("perr", 0, numbered(3).spoiled(func(b []byte) []byte { b[16] = 0; return b }))),
				send("magic 1", produceOf("perr", 0, numbered(3).spoiled(func(b []byte) []byte { b[16] = 1; return b }))),
				send("magic 3", produceOf("perr", 0, numbered(3).spoiled(func(b []byte) []byte { b[16] = 3; return b }))),
				send("two batches", produceOf("perr", 0, numbered(1).spoiled(func(b []byte) []byte { return append(b, numbered(1).bytes()...) }))),
				send("empty records", produceOf("perr", 0, numbered(1).spoiled(func([]byte) []byte { return []byte{} }))),
				send("a batch without records", produceOf("perr", 0, batchOf{}.with(func(b *kmsg.RecordBatch) { b.LastOffsetDelta = -1 }))),
				send("cut off", produceOf("perr", 0, numbered(3).spoiled(func(b []byte) []byte { return b[:len(b)-5] }))),
				send("junk after the batch", produceOf("perr-junk", 0, numbered(3).spoiled(func(b []byte) []byte { return append(b, 1, 2, 3) }))),
				send("a lying length", produceOf("perr", 0, numbered(3).spoiled(func(b []byte) []byte { binary.BigEndian.PutUint32(b[8:], 20); return b }))),
				send("base offset 5", produceOf("perr", 0, numbered(3).spoiled(func(b []byte) []byte { b[7] = 5; return b }))),
				send("count too high", produceOf("perr", 0, header(func(b *kmsg.RecordBatch) { b.NumRecords = 4; b.LastOffsetDelta = 3 }))),
				send("count too low", produceOf("perr", 0, header(func(b *kmsg.RecordBatch) { b.NumRecords = 2; b.LastOffsetDelta = 1 }))),
				send("count and last offset differ", produceOf("perr", 0, header(func(b *kmsg.RecordBatch) { b.LastOffsetDelta = 5 }))),
				send("control bit", produceOf("perr", 0, header(func(b *kmsg.RecordBatch) { b.Attributes |= 0x20 }))),
				send("producer id without sequence", produceOf("perr", 0, header(func(b *kmsg.RecordBatch) { b.ProducerID = 1000; b.ProducerEpoch = 0 }))),
				send("transactional without an id", produceOf("perr", 0, header(func(b *kmsg.RecordBatch) {
					b.Attributes |= 0x10
					b.ProducerID, b.ProducerEpoch, b.FirstSequence = 1000, 0, 0
				}))),
				send("leader epoch 77", produceOf("perr", 0, header(func(b *kmsg.RecordBatch) { b.PartitionLeaderEpoch = 77 }))),
				send("wrong highest timestamp", produceOf("perr", 0, header(func(b *kmsg.RecordBatch) { b.MaxTimestamp = 5 }))),
				send("append time claimed by the client", produceOf("perr", 0, header(func(b *kmsg.RecordBatch) { b.Attributes |= 8 }))),
				send("append time claimed on a topic that has it", produceOf("perr-append", 0, header(func(b *kmsg.RecordBatch) { b.Attributes |= 8 }))),
				send("a topic with append time", produceOf("perr-append", 0, numbered(2))),
				send("unknown attribute bits", produceOf("perr", 0, header(func(b *kmsg.RecordBatch) { b.Attributes |= 0x4000 }))),
				send("codec 5", produceOf("perr", 0, header(func(b *kmsg.RecordBatch) { b.Attributes |= 5 }))),
				send("gzip that is none", produceOf("perr", 0, header(func(b *kmsg.RecordBatch) { b.Attributes |= 1 }))),
				send("zstd that is none", produceOf("perr", 0, header(func(b *kmsg.RecordBatch) { b.Attributes |= 4 }))),
				send("two hours ahead", produceOf("perr", 0, soon(2*time.Hour))),
				send("half an hour ahead", produceOf("perr", 0, soon(30*time.Minute))),
				send("timestamp -1", produceOf("perr", 0, batchOf{records: []record{{[]byte("k"), []byte("v"), -1, nil}}})),
				send("null key on a compacted topic", produceOf("perr-compact", 0, batchOf{records: []record{{[]byte("k"), nil, longAgo, nil}, {nil, []byte("v"), longAgo, nil}}})),
				send("null key compressed on a compacted topic", produceOf("perr-compact", 0, batchOf{records: []record{{nil, []byte("v"), longAgo, nil}}}.compressed(4))),
				send("too large", produceOf("perr-small", 0, numbered(50))),
				send("unknown topic", produceOf("perr-none", 0, numbered(1))),
				send("unknown partition", produceOf("perr", 9, numbered(1))),
				send("negative partition", produceOf("perr", -1, numbered(1))),
				send("unknown id", produceOf("perr", 0, numbered(1)), func(v *vars, r *kmsg.ProduceRequest) { r.Topics[0].TopicID = unknownID(v) }),
				send("the same partition twice", produceOf("perr-junk", 0, numbered(1)), produceOf("perr-junk", 0, numbered(1))),
				send("good and bad together", produceOf("perr", 0, numbered(1)), produceOf("perr-small", 0, numbered(50))),
				send("no topics", func(_ *vars, r *kmsg.ProduceRequest) { r.Acks = -1 }),
				ask("acks 0 and an unknown partition", low, kmsg.NewPtrProduceRequest, produceOf("perr", 9, numbered(1), acks(0))).with(func(s *step) { s.answerTo = nil }),
				readBack("perr"), readBack("perr-compact"), readBack("perr-append"), readBack("perr-small"),
			})},
		{"recompress", recompression()},
		{"idempotence", idempotence()},
	}
}

// recompression produces to topics whose compression.type is their own.
func recompression() []step {
	var steps []step
	for _, t := range []string{"gzip", "snappy", "lz4", "zstd", "uncompressed"} {
		name := "rec-" + t
		steps = concat(steps, makeTopic(name, 1, "compression.type", t), []step{
			ask("none into "+t, high, kmsg.NewPtrProduceRequest, produceOf(name, 0, numbered(20))),
			ask("zstd into "+t, high, kmsg.NewPtrProduceRequest, produceOf(name, 0, numbered(20).compressed(4))),
			ask("read "+t, high, kmsg.NewPtrFetchRequest, fetchFrom(name, 0, 0)),
		})
	}
	return steps
}

// idempotence walks the rules for sequences and epochs.
func idempotence() []step {
	seq := func(sequence int32, epoch int16, n int) func(*vars, *kmsg.ProduceRequest) {
		return func(v *vars, r *kmsg.ProduceRequest) {
			b := numbered(n).with(func(b *kmsg.RecordBatch) {
				b.ProducerID, b.ProducerEpoch, b.FirstSequence = v.i64("pid"), epoch, sequence
			})
			produceBytes(v, r, "idem", 0, b.bytes())
		}
	}
	send := func(name string, version int16, sequence int32, epoch int16, n int) step {
		return ask(name, version, kmsg.NewPtrProduceRequest, seq(sequence, epoch, n))
	}
	newID := func(key string) step {
		return kept(ask("a producer id", each, kmsg.NewPtrInitProducerIDRequest), func(v *vars, r *kmsg.InitProducerIDResponse) { v.kept[key] = r.ProducerID })
	}
	var duplicates []step
	for _, version := range []int16{low, 8, 11, high} {
		duplicates = append(duplicates, send("a duplicate", version, 6, 0, 3))
	}
	return concat(makeTopic("idem", 1), []step{
		newID("pid"),
		send("a first sequence of 0", high, 0, 0, 3),
		send("the next", high, 3, 0, 3),
		send("the next", low, 6, 0, 3),
	}, duplicates, []step{
		send("a gap", low, 20, 0, 1),
		send("a gap", high, 20, 0, 1),
		send("part of a duplicate", high, 7, 0, 2),
		send("four more", high, 9, 0, 1), send("four more", high, 10, 0, 1), send("four more", high, 11, 0, 1), send("four more", high, 12, 0, 1),
		send("a duplicate of the fifth last", high, 6, 0, 3),
		send("a duplicate older than the last five", low, 3, 0, 3),
		send("a duplicate older than the last five", high, 0, 0, 3),
		send("a new epoch, sequence 5", low, 5, 1, 1),
		send("a new epoch, sequence 5", high, 5, 1, 1),
		send("a new epoch, sequence 0", high, 0, 1, 2),
		send("the old epoch", low, 13, 0, 1),
		send("the old epoch", high, 13, 0, 1),
		send("its duplicate", high, 0, 1, 2),
		{name: "another producer id", version: high, req: func(*vars) kmsg.Request { return kmsg.NewPtrInitProducerIDRequest() },
			keep: func(v *vars, r kmsg.Response) { v.kept["pid"] = r.(*kmsg.InitProducerIDResponse).ProducerID }},
		send("a first sequence of 7", high, 7, 0, 1),
		send("near the end of sequences", high, 8, 0, 1),
		ask("describe its producers", high, kmsg.NewPtrDescribeProducersRequest, describeProducers("idem", 0)),
		ask("an id nobody was given", high, kmsg.NewPtrProduceRequest, func(v *vars, r *kmsg.ProduceRequest) {
			b := numbered(1).with(func(b *kmsg.RecordBatch) { b.ProducerID, b.ProducerEpoch, b.FirstSequence = 7_000_000, 0, 0x7fffffff })
			produceBytes(v, r, "idem", 0, b.bytes())
		}),
		ask("the sequence after the last of all", high, kmsg.NewPtrProduceRequest, func(v *vars, r *kmsg.ProduceRequest) {
			b := numbered(1).with(func(b *kmsg.RecordBatch) { b.ProducerID, b.ProducerEpoch, b.FirstSequence = 7_000_000, 0, 0 })
			produceBytes(v, r, "idem", 0, b.bytes())
		}),
		ask("read back", high, kmsg.NewPtrFetchRequest, fetchFrom("idem", 0, 0)),
	}, makeTopic("idem-new", 1), []step{
		ask("a first sequence of 7 in an empty log", high, kmsg.NewPtrProduceRequest, func(v *vars, r *kmsg.ProduceRequest) {
			b := numbered(1).with(func(b *kmsg.RecordBatch) { b.ProducerID, b.ProducerEpoch, b.FirstSequence = v.i64("pid"), 0, 7 })
			produceBytes(v, r, "idem-new", 0, b.bytes())
		}),
	})
}

func describeProducers(topic string, partitions ...int32) func(*vars, *kmsg.DescribeProducersRequest) {
	return func(v *vars, r *kmsg.DescribeProducersRequest) {
		t := kmsg.NewDescribeProducersRequestTopic()
		t.Topic, t.Partitions = v.name(topic), partitions
		r.Topics = append(r.Topics, t)
	}
}
