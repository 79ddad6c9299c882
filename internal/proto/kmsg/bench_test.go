package kmsg

import (
	"fmt"
	"testing"
)

// shapes are requests of a MiB of records, in few or many batches.
var shapes = []struct{ partitions, bytes int }{{1, 1 << 20}, {64, 16 << 10}, {1024, 1 << 10}}

func BenchmarkProduceDecode(b *testing.B) {
	for _, s := range shapes {
		b.Run(fmt.Sprintf("%dx%d", s.partitions, s.bytes), func(b *testing.B) {
			req := NewProduceRequest()
			topic := ProduceRequestTopicProduceData{Name: "a-topic"}
			for i := range s.partitions {
				topic.PartitionData = append(topic.PartitionData, ProduceRequestPartitionProduceData{
					Index: int32(i), Records: Records{Bytes: make([]byte, s.bytes)},
				})
			}
			req.TopicData = append(req.TopicData, topic)
			var w Writer
			req.Append(&w, 9)
			var got ProduceRequest
			r := new(Reader)
			b.SetBytes(int64(len(w.Buf)))
			b.ReportAllocs()
			for b.Loop() {
				*r = NewReader(w.Buf)
				r.Unsafe = true
				if err := got.Read(r, 9); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// fileRange stands for records in a file.
type fileRange int

func (f fileRange) Len() int { return int(f) }

func BenchmarkFetchEncode(b *testing.B) {
	for _, s := range shapes {
		b.Run(fmt.Sprintf("%dx%d", s.partitions, s.bytes), func(b *testing.B) {
			resp := NewFetchResponse()
			topic := FetchResponseFetchableTopicResponse{Topic: "a-topic"}
			for i := range s.partitions {
				p := NewFetchResponsePartitionData()
				p.PartitionIndex, p.Records = int32(i), Records{Ext: fileRange(s.bytes)}
				topic.Partitions = append(topic.Partitions, p)
			}
			resp.Responses = append(resp.Responses, topic)
			var w Writer
			b.SetBytes(int64(s.partitions * s.bytes))
			b.ReportAllocs()
			for b.Loop() {
				w.Reset()
				resp.Append(&w, 12)
			}
		})
	}
}

// TestHotCodecAllocations: what a Produce costs to decode and a Fetch to encode does not depend on
// how many partitions it has.
func TestHotCodecAllocations(t *testing.T) {
	req := NewProduceRequest()
	topic := ProduceRequestTopicProduceData{Name: "a-topic"}
	resp := NewFetchResponse()
	fetched := FetchResponseFetchableTopicResponse{Topic: "a-topic"}
	for range 100 {
		topic.PartitionData = append(topic.PartitionData, ProduceRequestPartitionProduceData{Records: Records{Bytes: make([]byte, 100)}})
		p := NewFetchResponsePartitionData()
		p.Records = Records{Ext: fileRange(100)}
		fetched.Partitions = append(fetched.Partitions, p)
	}
	req.TopicData = append(req.TopicData, topic)
	resp.Responses = append(resp.Responses, fetched)
	var in, out Writer
	req.Append(&in, 9)
	var got ProduceRequest
	r := new(Reader)
	n := testing.AllocsPerRun(100, func() {
		*r = NewReader(in.Buf)
		r.Unsafe = true
		if err := got.Read(r, 9); err != nil {
			t.Fatal(err)
		}
		out.Reset()
		resp.Append(&out, 12)
	})
	if n > 0 {
		t.Errorf("decoding a Produce of 100 partitions and encoding such a Fetch allocates %.1f times, want 0", n)
	}
}
