package replica

import (
	"fmt"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// counter is a follower that only counts what it is given.
type counter struct{ offset int64 }

func (c *counter) FollowerState() partition.FollowerState {
	return partition.FollowerState{Offset: c.offset, Epoch: 1, Stored: true}
}

func (c *counter) AppendAsFollower(records []byte, _ int32, _, _ int64, _ time.Time, _ *storage.Settlement) error {
	c.offset += int64(len(records))
	return nil
}
func (c *counter) TruncateDiverged(int32, int32, int64) error { return nil }
func (c *counter) FollowerThrottled() bool                    { return false }
func (c *counter) TruncateTo(int32, int64) error              { return nil }
func (c *counter) RestartAt(int32, int64) error               { return nil }

// round is a fetcher in a session over some partitions, and an answer with records for the first few of them.
type round struct {
	f      *Fetcher
	now    time.Time
	answer kmsg.FetchResponse
}

func newRound(t testing.TB, parts, gives int) *round {
	r := &round{now: time.UnixMilli(1)}
	r.f = NewFetcher(FetcherOptions{
		NodeID: 2, BrokerEpoch: func() int64 { return 1 },
		Limits: func() Limits {
			return Limits{MaxWait: time.Second, MinBytes: 1, MaxBytes: 1 << 20, MaxPartitionBytes: 1 << 20}
		},
		Failed: func(tp base.TopicPartition, err error, _ int) { t.Fatal(tp, err) },
	})
	id := base.TopicID{1}
	topic := kmsg.FetchResponseFetchableTopicResponse{Topic: "t", TopicId: id}
	for i := range parts {
		r.f.Add(base.TopicPartition{Topic: "t", Partition: int32(i)}, id, &counter{}, 1)
		d := kmsg.NewFetchResponsePartitionData()
		d.PartitionIndex = int32(i)
		if i < gives {
			d.Records.Bytes = make([]byte, 100)
			topic.Partitions = append(topic.Partitions, d)
		}
	}
	r.answer.SessionId, r.answer.Responses = 7, []kmsg.FetchResponseFetchableTopicResponse{topic}
	r.turn(t)
	return r
}

// turn is one fetch and its answer.
func (r *round) turn(t testing.TB) {
	if req, _ := r.f.Next(r.now); req == nil {
		t.Fatal("nothing to fetch")
	}
	r.f.Answer(r.now, &r.answer)
}

// BenchmarkFetcher is what a fetch costs the follower beside network and log.
func BenchmarkFetcher(b *testing.B) {
	for _, parts := range []int{6, 1000} {
		b.Run(fmt.Sprintf("%d partitions", parts), func(b *testing.B) {
			r := newRound(b, parts, 6)
			b.ReportAllocs()
			for range b.N {
				r.turn(b)
			}
		})
	}
}

// TestFetcherAllocations holds what a fetch allocates: the request, its topics and their partitions, which the
// network may hold longer than the fetcher does. It is the same however many partitions have nothing new.
func TestFetcherAllocations(t *testing.T) {
	for _, parts := range []int{6, 1000} {
		r := newRound(t, parts, 6)
		if got := testing.AllocsPerRun(100, func() { r.turn(t) }); got > maxFetchAllocs {
			t.Errorf("a fetch of 6 partitions of %d allocates %v objects, want at most %d", parts, got, maxFetchAllocs)
		}
	}
}

const maxFetchAllocs = 3
