package group

import (
	"testing"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// loadedGroups is a machine with a consumer group of one member and a simple group, and the two
// requests that steady members send.
type loadedGroups struct {
	s      *shell
	beat   kmsg.ConsumerGroupHeartbeatRequest
	old    *kmsg.HeartbeatRequest
	commit func(partitions int) *kmsg.OffsetCommitRequest
	failed int16
}

func newLoadedGroups(t testing.TB) *loadedGroups {
	t.Helper()
	l := &loadedGroups{s: newShell(nil)}
	l.s.topics.set("t", 16)
	l.beat = kmsg.NewConsumerGroupHeartbeatRequest()
	l.beat.GroupId, l.beat.MemberId, l.beat.RebalanceTimeoutMs = "new", "m", 60_000
	l.beat.SubscribedTopicNames = []string{"t"}
	l.beat.TopicPartitions = []kmsg.ConsumerGroupHeartbeatRequestTopicPartitions{}
	answer := func(r *kmsg.ConsumerGroupHeartbeatResponse) {
		l.beat.MemberEpoch, l.failed = r.MemberEpoch, r.ErrorCode
	}
	l.s.do(func() coord.Result {
		return l.s.m.ConsumerGroupHeartbeat(l.s.now, Context{Version: 1}, &l.beat, answer)
	})
	if l.failed != 0 || l.beat.MemberEpoch <= 0 {
		t.Fatalf("joining: error %d, epoch %d", l.failed, l.beat.MemberEpoch)
	}
	l.beat.RebalanceTimeoutMs, l.beat.SubscribedTopicNames, l.beat.TopicPartitions = -1, nil, nil
	l.joinClassic(t)
	l.commit = func(partitions int) *kmsg.OffsetCommitRequest {
		req := kmsg.NewOffsetCommitRequest()
		req.GroupId = "simple"
		topic := kmsg.OffsetCommitRequestOffsetCommitRequestTopic{Name: "t", TopicId: base.TopicID{15: 't'}}
		for p := range partitions {
			part := kmsg.NewOffsetCommitRequestOffsetCommitRequestPartition()
			part.PartitionIndex, part.CommittedOffset = int32(p), 1
			topic.Partitions = append(topic.Partitions, part)
		}
		req.Topics = append(req.Topics, topic)
		return &req
	}
	return l
}

// joinClassic brings one classic member to a stable group.
func (l *loadedGroups) joinClassic(t testing.TB) {
	t.Helper()
	c := Context{Version: 2}
	join := &kmsg.JoinGroupRequest{
		GroupId: "old", SessionTimeoutMs: 30_000, RebalanceTimeoutMs: 30_000, ProtocolType: "consumer",
		Protocols: []kmsg.JoinGroupRequestJoinGroupRequestProtocol{{Name: "range"}},
	}
	var joined kmsg.JoinGroupResponse
	l.s.do(func() coord.Result {
		return l.s.m.JoinGroup(l.s.now, c, join, func(r *kmsg.JoinGroupResponse) { joined = *r })
	})
	l.s.advance(l.s.opts.Config.InitialRebalanceDelay)
	sync := &kmsg.SyncGroupRequest{
		GroupId: "old", MemberId: joined.MemberId, GenerationId: joined.GenerationId,
		Assignments: []kmsg.SyncGroupRequestSyncGroupRequestAssignment{{MemberId: joined.MemberId}},
	}
	var synced kmsg.SyncGroupResponse
	l.s.do(func() coord.Result {
		return l.s.m.SyncGroup(l.s.now, c, sync, func(r *kmsg.SyncGroupResponse) { synced = *r })
	})
	if joined.ErrorCode != 0 || synced.ErrorCode != 0 || joined.MemberId == "" {
		t.Fatalf("joining: error %d, syncing: error %d", joined.ErrorCode, synced.ErrorCode)
	}
	l.old = &kmsg.HeartbeatRequest{GroupId: "old", MemberId: joined.MemberId, GenerationId: joined.GenerationId}
}

// run lets the machine handle an input, replays its records and answers, as a shard does.
func (l *loadedGroups) run(r coord.Result) {
	for i, rec := range r.Records {
		if err := l.s.m.Replay(int64(i), coord.NoTxn, rec); err != nil {
			panic(err)
		}
	}
	for _, fn := range r.Done {
		fn(nil)
	}
}

func (l *loadedGroups) heartbeat() {
	l.run(l.s.m.ConsumerGroupHeartbeat(l.s.now, Context{Version: 1}, &l.beat,
		func(r *kmsg.ConsumerGroupHeartbeatResponse) { l.failed |= r.ErrorCode }))
}

func (l *loadedGroups) classicHeartbeat() {
	l.run(l.s.m.Heartbeat(l.s.now, Context{Version: 4}, l.old, func(r *kmsg.HeartbeatResponse) { l.failed |= r.ErrorCode }))
}

func (l *loadedGroups) commitOffsets(req *kmsg.OffsetCommitRequest) {
	l.run(l.s.m.OffsetCommit(l.s.now, Context{Version: 9}, req, func(r *kmsg.OffsetCommitResponse) {
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				l.failed |= p.ErrorCode
			}
		}
	}))
}

func BenchmarkHeartbeat(b *testing.B) {
	for name, beat := range map[string]func(*loadedGroups){"consumer": (*loadedGroups).heartbeat, "classic": (*loadedGroups).classicHeartbeat} {
		b.Run(name, func(b *testing.B) {
			l := newLoadedGroups(b)
			b.ReportAllocs()
			for b.Loop() {
				beat(l)
			}
			if l.failed != 0 {
				b.Fatalf("error %d", l.failed)
			}
		})
	}
}

func BenchmarkOffsetCommit(b *testing.B) {
	for name, partitions := range map[string]int{"1": 1, "16": 16} {
		b.Run(name, func(b *testing.B) {
			l := newLoadedGroups(b)
			req := l.commit(partitions)
			b.ReportAllocs()
			for b.Loop() {
				l.commitOffsets(req)
			}
			if l.failed != 0 {
				b.Fatalf("error %d", l.failed)
			}
		})
	}
}

// TestAllocations holds down what steady members cost: nothing that grows with the group, and a
// fixed number for each offset of a commit (its record's key and value, encoded and decoded again).
func TestAllocations(t *testing.T) {
	l := newLoadedGroups(t)
	one, many := l.commit(1), l.commit(16)
	for _, tc := range []struct {
		name string
		op   func()
		most float64
	}{
		{"heartbeat of a consumer group", l.heartbeat, 10},
		{"heartbeat of a classic group", l.classicHeartbeat, 7},
		{"commit of 1 offset", func() { l.commitOffsets(one) }, 32},
		{"commit of 16 offsets", func() { l.commitOffsets(many) }, 340},
	} {
		got := testing.AllocsPerRun(200, tc.op)
		t.Logf("%-32s %.1f allocations", tc.name, got)
		if got > tc.most {
			t.Errorf("%s: %.1f allocations, want at most %.0f", tc.name, got, tc.most)
		}
	}
	if l.failed != 0 {
		t.Errorf("error %d", l.failed)
	}
}
