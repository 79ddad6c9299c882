package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// The two protocols of groups, as consumers speak them.

// beat is the consumer protocol: it joins, and hears what it has.
func (m *member) beat() {
	if m.leaving {
		return
	}
	w := m.g.w
	req := kmsg.NewConsumerGroupHeartbeatRequest()
	req.GroupId, req.MemberId, req.InstanceId, req.MemberEpoch = m.g.id, m.id, m.instance, m.epoch
	req.RebalanceTimeoutMs, req.SubscribedTopicNames = int32(rebalance.Milliseconds()), []string{topicName}
	req.TopicPartitions = []kmsg.ConsumerGroupHeartbeatRequestTopicPartitions{}
	topic := w.newest().topicID()
	if have := m.partitions(); len(have) > 0 {
		req.TopicPartitions = append(req.TopicPartitions, kmsg.ConsumerGroupHeartbeatRequestTopicPartitions{TopicId: topic, Partitions: have})
	}
	var taken owner
	asked := false
	m.request(patience, &m.attempt, func(c *group.Machine, now time.Time, reply func(any)) coord.Result {
		if !asked {
			asked, taken = true, m.taken()
		}
		return c.ConsumerGroupHeartbeat(now, group.Context{Version: 1}, &req, func(r *kmsg.ConsumerGroupHeartbeatResponse) { reply(r) })
	}, func(v any, err error) {
		r, _ := v.(*kmsg.ConsumerGroupHeartbeatResponse)
		if err == nil {
			err = kerr.ErrorForCode(r.ErrorCode)
		}
		if err == nil && taken.member != "" && m.at >= taken.at {
			w.fail("group %s: what %s has was given to %s with epoch %d, and it has not let go", m.g.id, m.name, taken.member, taken.epoch)
		}
		switch {
		case isOne(err, kerr.FencedMemberEpoch, kerr.UnknownMemberID):
			w.reached("a member was fenced")
			m.lose()
			m.epoch = 0
		case err != nil:
			w.reached("a member's heartbeat: " + errName(err))
		case r.Assignment == nil:
			m.epoch = r.MemberEpoch
		default:
			var parts []tp
			for _, t := range r.Assignment.TopicPartitions {
				for _, i := range t.Partitions {
					parts = append(parts, tp{Topic: topicName, Partition: i})
				}
			}
			m.given(r.MemberEpoch, parts)
			w.reached("a member of the consumer protocol was given partitions")
		}
		pause := m.g.between(memberBeat/2, memberBeat)
		w.after(pause, func() {
			if !m.gone {
				m.beat()
			}
		})
	})
}

// taken is who else was given, and knows, what this member says that it has. Who is a member still, and has let go of nothing, shares it with nobody.
func (m *member) taken() (by owner) {
	for _, k := range m.g.w.keys() {
		if l := m.g.latest[k]; m.owned[k] != nil && l.member != m.id {
			by = l
		}
	}
	return by
}

// topicID is the id of the topic that producers write to.
func (n *node) topicID() (id base.TopicID) {
	if n.image != nil {
		id = n.image.Topic(topicName).ID
	}
	return id
}

// partitions are the numbers of those that it has.
func (m *member) partitions() (list []int32) {
	for k := range m.owned {
		list = append(list, k.Partition)
	}
	slices.Sort(list)
	return list
}

const rangeProtocol = "range"

// joinClassic joins, or joins again; the answer comes when all have.
func (m *member) joinClassic() {
	if m.leaving {
		return
	}
	m.lose()
	s := kmsg.NewConsumerProtocolSubscription()
	s.Topics = []string{topicName}
	req := kmsg.NewJoinGroupRequest()
	req.GroupId, req.MemberId, req.GroupInstanceId, req.ProtocolType = m.g.id, m.id, m.instance, "consumer"
	req.SessionTimeoutMs, req.RebalanceTimeoutMs = int32(sessionTimeout.Milliseconds()), int32(rebalance.Milliseconds())
	req.Protocols = []kmsg.JoinGroupRequestJoinGroupRequestProtocol{{Name: rangeProtocol, Metadata: kmsg.AppendVersioned(nil, 1, &s)}}
	m.request(2*rebalance, &m.attempt, func(c *group.Machine, now time.Time, reply func(any)) coord.Result {
		return c.JoinGroup(now, group.Context{Version: 9, ClientID: "sim"}, &req, func(r *kmsg.JoinGroupResponse) { reply(r) })
	}, func(v any, err error) {
		r, _ := v.(*kmsg.JoinGroupResponse)
		if err == nil {
			err = kerr.ErrorForCode(r.ErrorCode)
		}
		switch {
		case err == nil:
			m.id, m.epoch = r.MemberId, r.GenerationId
			m.sync(r)
			return
		case isOne(err, kerr.MemberIDRequired):
			m.id = r.MemberId
		default:
			m.failed(err)
			return
		}
		m.later(m.joinClassic)
	})
}

// failed is what a classic member does when it was refused.
func (m *member) failed(err error) {
	m.g.w.reached("a classic member: " + errName(err))
	switch {
	case isOne(err, kerr.FencedInstanceID):
		m.g.w.reached("a member was fenced")
		m.id = ""
	case isOne(err, kerr.UnknownMemberID):
		m.id = ""
	}
	m.later(m.joinClassic)
}

// sync hears what it has; who leads the group says what all have.
func (m *member) sync(joined *kmsg.JoinGroupResponse) {
	w, kind, name := m.g.w, "consumer", rangeProtocol
	req := kmsg.NewSyncGroupRequest()
	req.GroupId, req.MemberId, req.GroupInstanceId, req.GenerationId = m.g.id, m.id, m.instance, m.epoch
	req.ProtocolType, req.ProtocolName = &kind, &name
	if joined.Leader == m.id && !joined.SkipAssignment {
		req.Assignments = assign(joined.Members, w.opts.partitions)
	}
	m.request(2*rebalance, &m.attempt, func(c *group.Machine, now time.Time, reply func(any)) coord.Result {
		return c.SyncGroup(now, group.Context{Version: 5}, &req, func(r *kmsg.SyncGroupResponse) { reply(r) })
	}, func(v any, err error) {
		r, _ := v.(*kmsg.SyncGroupResponse)
		if err == nil {
			err = kerr.ErrorForCode(r.ErrorCode)
		}
		if err != nil {
			m.failed(err)
			return
		}
		parts, err := assigned(r.Assignment)
		if err != nil {
			w.fail("group %s: %s: assignment %x: %v", m.g.id, m.name, r.Assignment, err)
			return
		}
		m.given(m.epoch, parts)
		w.reached("a member of the classic protocol was given partitions")
		m.later(m.heartbeat)
	})
}

// assign deals partitions out to members in the order of their names.
func assign(members []kmsg.JoinGroupResponseJoinGroupResponseMember, partitions int32) (list []kmsg.SyncGroupRequestSyncGroupRequestAssignment) {
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b kmsg.JoinGroupResponseJoinGroupResponseMember) int {
		return strings.Compare(a.MemberId, b.MemberId)
	})
	for i, member := range members {
		a := kmsg.NewConsumerProtocolAssignment()
		t := kmsg.ConsumerProtocolAssignmentTopicPartition{Topic: topicName}
		for p := int32(i); p < partitions; p += int32(len(members)) {
			t.Partitions = append(t.Partitions, p)
		}
		a.AssignedPartitions = append(a.AssignedPartitions, t)
		list = append(list, kmsg.SyncGroupRequestSyncGroupRequestAssignment{MemberId: member.MemberId, Assignment: kmsg.AppendVersioned(nil, 1, &a)})
	}
	return list
}

func assigned(raw []byte) (list []tp, err error) {
	if len(raw) < 2 {
		return nil, nil
	}
	a := kmsg.NewConsumerProtocolAssignment()
	r := kmsg.NewReader(raw[2:])
	if err := a.Read(&r, 1); err != nil {
		return nil, err
	}
	for _, t := range a.AssignedPartitions {
		for _, p := range t.Partitions {
			list = append(list, tp{Topic: t.Topic, Partition: p})
		}
	}
	return list, nil
}

// heartbeat is that of the classic protocol.
func (m *member) heartbeat() {
	if m.leaving {
		return
	}
	req := kmsg.NewHeartbeatRequest()
	req.GroupId, req.MemberId, req.GroupInstanceId, req.GenerationId = m.g.id, m.id, m.instance, m.epoch
	m.request(patience, &m.attempt, func(c *group.Machine, now time.Time, reply func(any)) coord.Result {
		return c.Heartbeat(now, group.Context{Version: 4}, &req, func(r *kmsg.HeartbeatResponse) { reply(r) })
	}, func(v any, err error) {
		r, _ := v.(*kmsg.HeartbeatResponse)
		if err == nil {
			err = kerr.ErrorForCode(r.ErrorCode)
		}
		if isOne(err, kerr.RebalanceInProgress, kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.FencedInstanceID) {
			m.failed(err)
			return
		}
		m.g.w.after(m.g.between(memberBeat/2, memberBeat), func() {
			if !m.gone {
				m.heartbeat()
			}
		})
	})
}

// leave tells the group, if that arrives, and ends.
func (m *member) leave() {
	g := m.g
	g.w.note("%s leaves", m.name)
	g.w.reached("a member left")
	m.lose()
	m.leaving = true
	done := func(any, error) { m.end() }
	if !g.classic {
		req := kmsg.NewConsumerGroupHeartbeatRequest()
		req.GroupId, req.MemberId, req.InstanceId, req.MemberEpoch = g.id, m.id, m.instance, -1
		if m.instance != nil {
			req.MemberEpoch = -2
		}
		m.request(patience, &m.attempt, func(c *group.Machine, now time.Time, reply func(any)) coord.Result {
			return c.ConsumerGroupHeartbeat(now, group.Context{Version: 1}, &req, func(r *kmsg.ConsumerGroupHeartbeatResponse) { reply(r) })
		}, done)
		return
	}
	req := kmsg.NewLeaveGroupRequest()
	req.GroupId = g.id
	req.Members = []kmsg.LeaveGroupRequestMemberIdentity{{MemberId: m.id, GroupInstanceId: m.instance}}
	m.request(patience, &m.attempt, func(c *group.Machine, now time.Time, reply func(any)) coord.Result {
		return c.LeaveGroup(now, group.Context{Version: 5}, &req, func(r *kmsg.LeaveGroupResponse) { reply(r) })
	}, done)
}
