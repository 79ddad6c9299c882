package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

var (
	testTP = base.TopicPartition{Topic: "t"}
	testID = base.NewTopicID()
)

// cluster is three brokers in one process with a partition each, over real logs in memory and real loops. The
// controller is this test: it says who leads, and answers the leaders' proposals.
type cluster struct {
	t          *testing.T
	durability storage.Durability
	minISR     int
	brokers    [3]*broker

	mu struct {
		sync.Mutex
		state partition.State
	}
}

// broker is one of them; what is nil is down.
type broker struct {
	c     *cluster
	id    int32
	mem   *vfs.Mem
	store *storage.Store
	fetch *Fetchers
	stop  func()

	mu struct {
		sync.Mutex
		p *partition.Partition
	}
}

func newCluster(t *testing.T, d storage.Durability, minISR int) *cluster {
	c := &cluster{t: t, durability: d, minISR: minISR}
	c.mu.state = partition.State{Replicas: []int32{0, 1, 2}, ISR: []int32{0, 1, 2}, Leader: 0}
	for i := range c.brokers {
		c.brokers[i] = &broker{c: c, id: int32(i), mem: vfs.NewMem()}
	}
	for _, b := range c.brokers {
		b.start()
	}
	t.Cleanup(func() {
		for _, b := range c.brokers {
			b.halt()
		}
	})
	return c
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (b *broker) partition() *partition.Partition {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.p
}

func (b *broker) start() {
	c := b.c
	c.t.Helper()
	var err error
	b.store, err = storage.Open(context.Background(), storage.Options{
		FS: b.mem, Dirs: []string{"/data"}, NodeID: b.id, Journal: storage.JournalOptions{Inline: true},
	})
	c.must(err)
	cfg := storage.DefaultLogConfig()
	cfg.Durability = c.durability
	log, err := b.store.Create(testTP, testID, cfg, "")
	c.must(err)
	p := partition.New(testTP, testID, log, &partition.Settings{
		Durability: c.durability, MinInSync: c.minISR,
		Validate: batch.ValidateOptions{TimestampAfterMaxMs: 1<<63 - 1, TimestampBeforeMaxMs: 1<<63 - 1, MaxMessageBytes: 1 << 20},
	})
	p.SetCluster(&partition.Cluster{
		Eligible: func(int32, int64) bool { return true },
		Propose:  func(p *partition.Partition, ch partition.ISRChange) { go c.decide(p, ch) },
	})
	b.mu.Lock()
	b.mu.p = p
	b.mu.Unlock()
	b.fetch = New(Options{
		NodeID: b.id, Logger: slog.New(slog.DiscardHandler), Clock: clock.System{}, BrokerEpoch: func() int64 { return 1 },
		Limits: func() Limits {
			return Limits{MaxWait: 30 * time.Millisecond, MinBytes: 1, MaxBytes: 1 << 20, MaxPartitionBytes: 1 << 20, Backoff: 50 * time.Millisecond}
		},
		Leader: func(id int32) Leader { return &way{from: b.id, to: c.brokers[id]} },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	for _, run := range []func(context.Context) error{b.fetch.Run, b.store.Run} {
		go func() {
			_ = run(ctx)
			done <- struct{}{}
		}()
	}
	b.stop = func() {
		cancel()
		<-done
		<-done
	}
	b.tell()
}

func (b *broker) halt() {
	b.mu.Lock()
	p := b.mu.p
	b.mu.p = nil
	b.mu.Unlock()
	if p == nil {
		return
	}
	b.stop()
	p.Close(kerr.NotLeaderForPartition)
	b.c.must(b.store.Close())
}

// tell gives a broker the metadata.
func (b *broker) tell() {
	b.c.mu.Lock()
	s := b.c.mu.state
	b.c.mu.Unlock()
	p := b.partition()
	if p == nil {
		return
	}
	if s.Leader == b.id {
		b.fetch.Unfollow(p)
		p.MakeLeader(b.id, s, time.Now())
		return
	}
	p.MakeFollower(b.id, s)
	b.fetch.Follow(p, s.Leader, s.LeaderEpoch)
	b.fetch.Wake()
}

// change has the controller decide something, and tells the brokers of who.
func (c *cluster) change(fn func(s *partition.State), who ...int) {
	c.mu.Lock()
	fn(&c.mu.state)
	c.mu.state.PartitionEpoch++
	c.mu.Unlock()
	for _, i := range who {
		c.brokers[i].tell()
	}
}

// decide is AlterPartition, after which the leader hears of the metadata as well.
func (c *cluster) decide(p *partition.Partition, ch partition.ISRChange) {
	c.mu.Lock()
	s := &c.mu.state
	if ch.LeaderEpoch != s.LeaderEpoch || ch.PartitionEpoch != s.PartitionEpoch {
		c.mu.Unlock()
		p.ISRAnswered(ch, partition.ISRState{}, kerr.FencedLeaderEpoch)
		return
	}
	s.ISR = nil
	for _, m := range ch.ISR {
		s.ISR = append(s.ISR, m.ID)
	}
	s.PartitionEpoch++
	answer := partition.ISRState{Leader: s.Leader, LeaderEpoch: s.LeaderEpoch, PartitionEpoch: s.PartitionEpoch, ISR: s.ISR}
	c.mu.Unlock()
	p.ISRAnswered(ch, answer, nil)
	c.brokers[answer.Leader].tell()
}

func (c *cluster) isr() []int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(slices.Values(c.mu.state.ISR))
}

// way serves fetches as a leader does that keeps no sessions.
type way struct {
	from int32
	to   *broker
}

func (w *way) Close() {}

var errDown = errors.New("the broker is down")

func (w *way) Fetch(ctx context.Context, req *kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
	resp := kmsg.NewFetchResponse()
	p := w.to.partition()
	if p == nil {
		return nil, errDown
	}
	in := req.Topics[0].Partitions[0]
	out := kmsg.NewFetchResponsePartitionData()
	tail := partition.NewTailWaiter()
	p.AddTail(tail, true)
	defer p.RemoveTail(tail, true)
	timer := time.NewTimer(time.Duration(req.MaxWaitMs) * time.Millisecond)
	defer timer.Stop()
	for told := false; ; told = true {
		err := p.CheckLeader(in.CurrentLeaderEpoch)
		if err == nil {
			err = p.CheckFollower(w.from)
		}
		if err == nil && in.LastFetchedEpoch >= 0 {
			epoch, end := p.Log().EpochEnd(in.LastFetchedEpoch)
			if epoch < in.LastFetchedEpoch || end < in.FetchOffset {
				out.DivergingEpoch = kmsg.FetchResponseEpochEndOffset{Epoch: epoch, EndOffset: end}
				break
			}
		}
		var res partition.ReadResult
		if err == nil {
			if !told && in.FetchOffset <= p.Log().EndOffset() {
				p.FollowerFetched(partition.FollowerFetch{ID: w.from, BrokerEpoch: 1, Offset: in.FetchOffset,
					LogStart: in.LogStartOffset, LeaderEpoch: in.CurrentLeaderEpoch, Now: time.Now()})
			}
			res, err = p.Read(partition.ReadRequest{Offset: in.FetchOffset, MaxBytes: 1 << 20, MinOne: true,
				LeaderEpoch: in.CurrentLeaderEpoch, ToEnd: true})
		}
		var ke *kerr.Error
		if errors.As(err, &ke) {
			out.ErrorCode = ke.Code
			break
		}
		if err != nil {
			return nil, err
		}
		out.HighWatermark, out.LogStartOffset = res.HighWatermark, res.LogStart
		if res.Range != nil {
			out.Records.Bytes, err = io.ReadAll(io.NewSectionReader(res.Range, 0, int64(res.Range.Len())))
			res.Range.Release()
			if err != nil {
				return nil, err
			}
			break
		}
		select {
		case <-tail.C:
			continue
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		break
	}
	resp.Responses = []kmsg.FetchResponseFetchableTopicResponse{{
		Topic: testTP.Topic, TopicId: testID, Partitions: []kmsg.FetchResponsePartitionData{out},
	}}
	return &resp, nil
}

func (w *way) ListOffsets(_ context.Context, req *kmsg.ListOffsetsRequest) (*kmsg.ListOffsetsResponse, error) {
	p := w.to.partition()
	if p == nil {
		return nil, errDown
	}
	in := req.Topics[0].Partitions[0]
	out := kmsg.NewListOffsetsResponseListOffsetsPartitionResponse()
	if err := p.CheckLeader(in.CurrentLeaderEpoch); err != nil {
		out.ErrorCode = kerr.NotLeaderForPartition.Code
	} else if out.Offset = p.Log().EndOffset(); in.Timestamp == earliest {
		out.Offset = p.Log().StartOffset()
	}
	resp := kmsg.NewListOffsetsResponse()
	resp.Topics = []kmsg.ListOffsetsResponseListOffsetsTopicResponse{{
		Name: testTP.Topic, Partitions: []kmsg.ListOffsetsResponseListOffsetsPartitionResponse{out},
	}}
	return &resp, nil
}

// produce writes n records to a broker, as with acks=all, without waiting for them.
func (c *cluster) produce(id, n int) (end int64, err error) {
	for i := range n {
		b := batch.NewBuilder(batch.Options{})
		b.Append(time.Now().UnixMilli(), nil, fmt.Appendf(nil, "%d-%d", id, i))
		built, err := b.Build()
		c.must(err)
		res, err := c.brokers[id].partition().Append(built, partition.AppendOptions{Now: time.Now(), AllInSync: true})
		if err != nil {
			return 0, err
		}
		end = res.LastOffset + 1
	}
	return end, nil
}

// patience is how long a test waits for what takes milliseconds on a machine that is free.
const patience = 2 * time.Minute

// committed produces and waits until every in-sync replica has it.
func (c *cluster) committed(id, n int) {
	c.t.Helper()
	end, err := c.produce(id, n)
	c.must(err)
	done := make(chan error, 1)
	p := c.brokers[id].partition()
	p.AwaitHW(p.LeaderEpoch(), end, func(err error) { done <- err })
	select {
	case err := <-done:
		c.must(err)
	case <-time.After(patience):
		c.t.Fatalf("not committed within %v: high watermark %d, want %d", patience, c.brokers[id].partition().HighWatermark(), end)
	}
}

func (c *cluster) until(what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			for _, b := range c.brokers {
				if p := b.partition(); p != nil {
					c.t.Logf("broker %d: %+v, high watermark %d", b.id, p.FollowerState(), p.HighWatermark())
				}
			}
			c.t.Fatalf("not within %v: %s; in-sync set %v", patience, what, c.isr())
		}
	}
}

// same waits until every broker that is up has the same log and knows all of it as committed.
func (c *cluster) same() {
	c.t.Helper()
	c.until("all logs are the same", func() bool {
		var want []byte
		first := true
		for _, b := range c.brokers {
			p := b.partition()
			if p == nil {
				continue
			}
			got := c.content(p)
			if !first && !bytes.Equal(got, want) || p.HighWatermark() != p.Log().EndOffset() {
				return false
			}
			want, first = got, false
		}
		return true
	})
}

func (c *cluster) content(p *partition.Partition) []byte {
	rng, err := p.Log().Read(p.Log().StartOffset(), 1<<20, p.Log().EndOffset(), true)
	if err != nil || rng == nil {
		return nil
	}
	defer rng.Release()
	data, err := io.ReadAll(io.NewSectionReader(rng, 0, int64(rng.Len())))
	c.must(err)
	return data
}

// lead moves the lead.
func lead(id int32) func(*partition.State) {
	return func(s *partition.State) {
		s.Leader = id
		s.LeaderEpoch++
	}
}

func durabilities(t *testing.T, fn func(t *testing.T, d storage.Durability)) {
	for name, d := range map[string]storage.Durability{"fsync": storage.Fsync, "replicated": storage.Replicated} {
		t.Run(name, func(t *testing.T) { fn(t, d) })
	}
}

func TestReplicate(t *testing.T) {
	durabilities(t, func(t *testing.T, d storage.Durability) {
		c := newCluster(t, d, 2)
		for range 20 {
			c.committed(0, 3)
		}
		c.same()
		if n, loops := c.brokers[1].fetch.Following(); n != 1 || loops != 1 {
			t.Errorf("broker 1 follows %d partitions with %d loops, want one of each", n, loops)
		}
	})
}

// TestLeaderChangeWithDivergence: a leader that was deposed without knowing has records that nobody else has.
// They go, and it follows.
func TestLeaderChangeWithDivergence(t *testing.T) {
	durabilities(t, func(t *testing.T, d storage.Durability) {
		c := newCluster(t, d, 1)
		c.committed(0, 5)
		c.same()
		c.change(lead(1), 1, 2)
		if _, err := c.produce(0, 7); err != nil { // it does not know yet
			t.Fatal(err)
		}
		c.change(func(s *partition.State) { s.ISR = []int32{1, 2} }, 1, 2)
		c.committed(1, 3)
		if hw := c.brokers[0].partition().HighWatermark(); hw != 5 {
			t.Errorf("the deposed leader has a high watermark of %d, want 5", hw)
		}
		c.brokers[0].tell()
		c.until("the deposed leader is in sync again", func() bool { return len(c.isr()) == 3 })
		c.committed(1, 1)
		c.same()
		if end := c.brokers[0].partition().Log().EndOffset(); end != 9 {
			t.Errorf("the log of the deposed leader ends at %d, want 9", end)
		}
	})
}

// TestFollowerLeavesAndComesBack: without a follower the set shrinks, below min.insync.replicas nothing is
// taken, and once it is back and has caught up all goes on.
func TestFollowerLeavesAndComesBack(t *testing.T) {
	durabilities(t, func(t *testing.T, d storage.Durability) {
		c := newCluster(t, d, 2)
		c.committed(0, 2)
		c.brokers[2].halt()
		end, err := c.produce(0, 1)
		c.must(err)
		c.until("broker 1 has the record", func() bool { return c.brokers[1].partition().Log().EndOffset() == end })
		if hw := c.brokers[0].partition().HighWatermark(); hw != 2 {
			t.Errorf("high watermark %d without a member of the in-sync set, want 2", hw)
		}
		leader := c.brokers[0].partition()
		c.until("the set shrinks", func() bool {
			leader.Tick(time.Now(), 20*time.Millisecond)
			return slices.Equal(c.isr(), []int32{0, 1})
		})
		c.committed(0, 2)
		c.brokers[1].halt()
		end, err = c.produce(0, 1)
		c.must(err)
		var late error
		leader.AwaitHW(leader.LeaderEpoch(), end, func(err error) { late = err })
		c.until("the set shrinks to the leader", func() bool {
			leader.Tick(time.Now(), 20*time.Millisecond)
			return slices.Equal(c.isr(), []int32{0})
		})
		if _, err := c.produce(0, 1); !errors.Is(err, kerr.NotEnoughReplicas) {
			t.Errorf("produce below min.insync.replicas: %v, want NOT_ENOUGH_REPLICAS", err)
		}
		if hw := leader.HighWatermark(); hw >= end || late != nil {
			t.Errorf("high watermark %d below min.insync.replicas, error %v: want the record of offset %d to wait", hw, late, end-1)
		}
		c.brokers[1].start()
		c.brokers[2].start()
		c.until("all are in sync again", func() bool { return len(c.isr()) == 3 })
		c.committed(0, 2)
		c.same()
	})
}

// TestFollowerThatWasAwayForLong begins anew at the leader's log start.
func TestFollowerThatWasAwayForLong(t *testing.T) {
	durabilities(t, func(t *testing.T, d storage.Durability) {
		c := newCluster(t, d, 1)
		c.committed(0, 2)
		c.brokers[2].halt()
		c.change(func(s *partition.State) { s.ISR = []int32{0, 1} }, 0, 1)
		c.committed(0, 8)
		leader := c.brokers[0].partition()
		if _, err := leader.DeleteRecords(6); err != nil {
			t.Fatal(err)
		}
		c.brokers[2].start()
		c.until("broker 2 is in sync again", func() bool { return len(c.isr()) == 3 })
		c.committed(0, 1)
		c.until("log starts are the same", func() bool {
			for _, b := range c.brokers {
				if b.partition().Log().StartOffset() != 6 {
					return false
				}
			}
			return true
		})
		if end := c.brokers[2].partition().Log().EndOffset(); end != 11 {
			t.Errorf("the log of broker 2 ends at %d, want 11", end)
		}
	})
}
