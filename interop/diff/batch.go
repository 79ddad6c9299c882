package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// longAgo is the timestamp of what the scenarios produce: fixed, so that it is compared.
const longAgo = 1_600_000_000_000

// record is a record to produce.
type record struct {
	key, value []byte
	timestamp  int64
	headers    []kmsg.Header
}

// batchOf builds a record batch; change may spoil the header before the checksum, spoil the bytes after it.
type batchOf struct {
	records []record
	codec   int16
	change  func(*kmsg.RecordBatch)
	spoil   func([]byte) []byte
}

// numbered are n records with keys and values by number, a second apart.
func numbered(n int) batchOf {
	var b batchOf
	for i := range n {
		b.records = append(b.records, record{
			key: []byte(fmt.Sprintf("k%d", i)), value: []byte(fmt.Sprintf("value %d", i)), timestamp: longAgo + int64(i)*1000,
		})
	}
	return b
}

func (b batchOf) with(change func(*kmsg.RecordBatch)) batchOf {
	b.change = change
	return b
}

func (b batchOf) compressed(codec int16) batchOf {
	b.codec = codec
	return b
}

func (b batchOf) spoiled(spoil func([]byte) []byte) batchOf {
	b.spoil = spoil
	return b
}

// bytes writes the batch.
func (b batchOf) bytes() []byte {
	rb := kmsg.NewRecordBatch()
	rb.Magic, rb.PartitionLeaderEpoch, rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence = 2, -1, -1, -1, -1
	rb.NumRecords = int32(len(b.records))
	rb.LastOffsetDelta = rb.NumRecords - 1
	rb.Attributes = b.codec
	for i, r := range b.records {
		if i == 0 {
			rb.FirstTimestamp = r.timestamp
		}
		rb.MaxTimestamp = max(rb.MaxTimestamp, r.timestamp)
		rec := kmsg.NewRecord()
		rec.TimestampDelta64, rec.OffsetDelta, rec.Key, rec.Value, rec.Headers = r.timestamp-rb.FirstTimestamp, int32(i), r.key, r.value, r.headers
		// The length counts what follows it; written as 0 it takes one byte.
		rec.Length = int32(len(rec.AppendTo(nil)) - 1)
		rb.Records = rec.AppendTo(rb.Records)
	}
	if b.codec != 0 {
		rb.Records = compress(b.codec, rb.Records)
	}
	if b.change != nil {
		b.change(&rb)
	}
	rb.Length = int32(49 + len(rb.Records))
	out := rb.AppendTo(nil)
	binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[21:], crc32.MakeTable(crc32.Castagnoli)))
	if b.spoil != nil {
		out = b.spoil(out)
	}
	return out
}

// compress compresses records as clients do.
func compress(codec int16, b []byte) []byte {
	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	if int(codec) >= len(codecs) {
		return b
	}
	c, err := kgo.DefaultCompressor(codecs[codec])
	if err != nil {
		panic(err)
	}
	out, got := c.Compress(new(bytes.Buffer), b)
	if int16(got) != codec {
		panic(fmt.Sprintf("asked for codec %d, got %d", codec, got))
	}
	return out
}

// produceOf puts one batch into a Produce request.
func produceOf(topic string, partition int32, b batchOf, change ...func(*kmsg.ProduceRequest)) func(*vars, *kmsg.ProduceRequest) {
	return func(v *vars, r *kmsg.ProduceRequest) { produceBytes(v, r, topic, partition, b.bytes(), change...) }
}

func produceBytes(v *vars, r *kmsg.ProduceRequest, topic string, partition int32, records []byte, change ...func(*kmsg.ProduceRequest)) {
	r.Acks, r.TimeoutMillis = -1, enough
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = v.name(topic), v.id(topicIDKey(topic))
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, records
	t.Partitions = append(t.Partitions, p)
	r.Topics = append(r.Topics, t)
	for _, c := range change {
		c(r)
	}
}

// fill are quiet steps that put n records into partition 0 in batches of 5.
func fill(topic string, n int) []step {
	var steps []step
	for range n / 5 {
		steps = append(steps, quietly(ask("fill "+topic, 9, kmsg.NewPtrProduceRequest, produceOf(topic, 0, numbered(5)))))
	}
	return steps
}
