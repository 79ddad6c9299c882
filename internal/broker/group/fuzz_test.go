package group

import (
	"testing"
	"time"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// FuzzReplay feeds a log with any bytes and then uses what came of it: errors, never a panic.
func FuzzReplay(f *testing.F) {
	t := &testing.T{}
	for _, rec := range kafkaRecords(t) {
		f.Add(rec.Key, rec.Value, []byte(nil), []byte(nil))
	}
	recs := kafkaRecords(t)
	for i := range recs[1:] {
		f.Add(recs[i].Key, recs[i].Value, recs[i+1].Key, recs[i+1].Value)
	}
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 []byte) {
		s := newShell(nil)
		s.topics.set("gold1-t", 4)
		for i, rec := range []coord.Record{{Key: k1, Value: v1}, {Key: k2, Value: v2}} {
			if s.m.Replay(int64(i), coord.NoTxn, rec) != nil {
				return
			}
		}
		use(s)
		s.advance(time.Hour)
	})
}

// use sends requests to every group there is, from every member there is.
func use(s *shell) {
	for _, id := range sortedKeys(s.m.groups) {
		members := []string{"", "x"}
		switch g := s.m.groups[id].(type) {
		case *classicGroup:
			for _, m := range g.members {
				members = append(members, m.id)
			}
		case *consumerGroup:
			members = append(members, sortedKeys(g.members)...)
		}
		for _, member := range members {
			useGroup(s, id, member)
		}
		s.do(func() coord.Result {
			return s.m.DescribeGroups(s.now, Context{}, []string{id}, func([]DescribedGroup, error) {})
		})
		s.do(func() coord.Result {
			return s.m.ConsumerGroupDescribe(s.now, []string{id}, func([]DescribedConsumerGroup, error) {})
		})
	}
}

func useGroup(s *shell, id, member string) {
	c := Context{Version: 1}
	join := &kmsg.JoinGroupRequest{
		GroupId: id, MemberId: member, SessionTimeoutMs: 10_000, RebalanceTimeoutMs: 10_000, ProtocolType: "consumer",
		Protocols: []kmsg.JoinGroupRequestJoinGroupRequestProtocol{{Name: "range", Metadata: make([]byte, 10)}},
	}
	s.do(func() coord.Result { return s.m.JoinGroup(s.now, c, join, func(*kmsg.JoinGroupResponse) {}) })
	sync := &kmsg.SyncGroupRequest{GroupId: id, MemberId: member, GenerationId: 2}
	s.do(func() coord.Result { return s.m.SyncGroup(s.now, c, sync, func(*kmsg.SyncGroupResponse) {}) })
	beat := &kmsg.HeartbeatRequest{GroupId: id, MemberId: member, GenerationId: 2}
	s.do(func() coord.Result { return s.m.Heartbeat(s.now, c, beat, func(*kmsg.HeartbeatResponse) {}) })
	for _, epoch := range []int32{0, 2, -1} {
		req := kmsg.NewConsumerGroupHeartbeatRequest()
		req.GroupId, req.MemberId, req.MemberEpoch = id, member, epoch
		req.RebalanceTimeoutMs, req.SubscribedTopicNames = 10_000, []string{"gold1-t"}
		req.TopicPartitions = []kmsg.ConsumerGroupHeartbeatRequestTopicPartitions{}
		s.do(func() coord.Result {
			return s.m.ConsumerGroupHeartbeat(s.now, c, &req, func(*kmsg.ConsumerGroupHeartbeatResponse) {})
		})
	}
	s.advance(time.Second)
}

// FuzzSubscription reads what classic members say of themselves.
func FuzzSubscription(f *testing.F) {
	sub := kmsg.ConsumerProtocolSubscription{Topics: []string{"a", "b"}}
	for v := range int16(4) {
		f.Add(kmsg.AppendVersioned(nil, v, &sub))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := readSubscription(b)
		topics, err0 := readSubscriptionTopics(b)
		if err == nil && (err0 != nil || len(topics) != len(s.Topics)) {
			t.Errorf("%x: topics %v (%v), whole subscription %+v", b, topics, err0, s)
		}
		if _, err := readAssignment(b); err == nil {
			_, _ = writeAssignment(assignment{}, (&fakeTopics{}).snapshot(), b)
		}
	})
}
