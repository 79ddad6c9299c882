package server

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// sessionClient reads partitions through one fetch session, as a consumer does.
type sessionClient struct {
	*caller
	id, epoch int32
	offsets   []int64
	moved     []int32 // named by the next fetch
}

func (s *sessionClient) fetch(maxBytes int32, maxWait time.Duration) (records int) {
	req := kmsg.NewFetchRequest()
	req.ReplicaId, req.MinBytes, req.MaxBytes, req.MaxWaitMs = -1, 1, maxBytes, int32(maxWait.Milliseconds())
	req.SessionId, req.SessionEpoch = s.id, s.epoch
	ft := kmsg.FetchRequestFetchTopic{Topic: "t"}
	for _, i := range s.moved {
		p := kmsg.NewFetchRequestFetchPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LastFetchedEpoch = i, s.offsets[i], 1<<20, -1, -1
		ft.Partitions = append(ft.Partitions, p)
	}
	if len(ft.Partitions) > 0 {
		req.Topics = append(req.Topics, ft)
	}
	s.frame, s.moved = frameOf(&req, 12), nil
	r := kmsg.NewReader(append([]byte(nil), s.call()...)[5:])
	var resp kmsg.FetchResponse
	if err := resp.Read(&r, 12); err != nil || resp.ErrorCode != 0 || resp.SessionId == 0 {
		s.t.Fatalf("session %d, error %d, %v", resp.SessionId, resp.ErrorCode, err)
	}
	s.id, s.epoch = resp.SessionId, s.epoch+1
	for _, topic := range resp.Responses {
		for _, p := range topic.Partitions {
			if p.ErrorCode != 0 {
				s.t.Fatalf("partition %d: error %d", p.PartitionIndex, p.ErrorCode)
			}
			records += s.take(p.PartitionIndex, p.Records.Bytes)
		}
	}
	return records
}

// take takes in whole batches that must go on where the last ones ended.
func (s *sessionClient) take(i int32, data []byte) (records int) {
	if len(data) == 0 {
		return 0
	}
	for len(data) > 0 {
		b, rest, err := batch.Next(data)
		if err != nil {
			break
		}
		if b.BaseOffset() != s.offsets[i] {
			s.t.Fatalf("partition %d: a batch at offset %d, want %d", i, b.BaseOffset(), s.offsets[i])
		}
		s.offsets[i], data = b.LastOffset()+1, rest
		records += int(b.Count())
	}
	s.moved = append(s.moved, i)
	return records
}

// TestFetchSessionMissesNothing: a session over many partitions at rest gets every record of the few that are written, in both
// durabilities: a fetch that waits is woken by the next, and what has no room in one answer is in a later one.
func TestFetchSessionMissesNothing(t *testing.T) {
	const partitions = 100
	for name, d := range durabilities {
		t.Run(name, func(t *testing.T) {
			addr := startBroker(t, Options{}, vfs.NewMem(), "/data", d, map[string]int{"t": partitions}).addr
			s := &sessionClient{caller: newCaller(t, addr, nil), offsets: make([]int64, partitions)}
			for i := range int32(partitions) {
				s.moved = append(s.moved, i)
			}
			if n := s.fetch(1<<20, 0); n != 0 {
				t.Fatalf("%d records of empty partitions", n)
			}
			rng := rand.New(rand.NewPCG(1, 1))
			producer := newCaller(t, addr, nil)
			for range 100 {
				to := make([]int32, 1+rng.IntN(8))
				for i := range to {
					to[i] = rng.Int32N(partitions)
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					for _, i := range to {
						producer.frame = produceTo(t, i)
						producer.call()
					}
				}()
				most := int32(1 << 20)
				if rng.IntN(2) == 0 {
					most = 300 // hardly two batches
				}
				for got := 0; got < len(to); {
					n := s.fetch(most, 30*time.Second)
					if n == 0 {
						t.Fatalf("a fetch has waited for 30 s, with %d of %d records read", got, len(to))
					}
					got += n
				}
				<-done
			}
			if n := s.fetch(1<<20, 0); n != 0 {
				t.Errorf("%d records more than were produced", n)
			}
		})
	}
}

// produceTo is a request of one record of 100 bytes to a partition.
func produceTo(t *testing.T, i int32) []byte {
	b := batch.NewBuilder(batch.Options{})
	b.Append(time.Now().UnixMilli(), nil, make([]byte, 100))
	bt, err := b.Build()
	if err != nil {
		t.Error(err)
	}
	req := kmsg.NewProduceRequest()
	req.Acks, req.TimeoutMs = -1, 30000
	req.TopicData = append(req.TopicData, kmsg.ProduceRequestTopicProduceData{
		Name: "t", PartitionData: []kmsg.ProduceRequestPartitionProduceData{{Index: i, Records: kmsg.Records{Bytes: bt}}},
	})
	return frameOf(&req, 9)
}
