package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// leaveConsumer handles the last heartbeat of a member. A static one may say that it will be back.
func (m *Machine) leaveConsumer(req *kmsg.ConsumerGroupHeartbeatRequest, out *output) (
	*kmsg.ConsumerGroupHeartbeatResponse, *failure,
) {
	g := m.consumer(req.GroupId)
	if g == nil {
		return nil, failf(kerr.GroupIDNotFound, "group %s is not a consumer group", req.GroupId)
	}
	member, f := m.findMember(g, subscribing{
		id: req.MemberId, instance: req.InstanceId, epoch: epochJoin,
	}, out)
	if f != nil {
		return nil, f
	}
	if req.MemberEpoch == epochLeaveStatic {
		out.putCurrent(g.id, member.with(func(c *consumerMember) {
			c.epoch, c.revoking = epochLeaveStatic, nil
			c.assigned = member.assigned.plain().at(0)
		}))
	} else {
		m.removeMembers(g, []*consumerMember{member}, out)
	}
	return &kmsg.ConsumerGroupHeartbeatResponse{MemberId: &req.MemberId, MemberEpoch: req.MemberEpoch}, nil
}

// removeMembers takes members out of a consumer group. If only classic ones are left it becomes a
// classic group, unless one of them cannot be told its assignment.
func (m *Machine) removeMembers(g *consumerGroup, members []*consumerMember, out *output) {
	if len(members) == 0 {
		return
	}
	if m.canDowngrade(g, members) && m.downgrade(g, members, nil, true, out) == nil {
		return
	}
	gone := map[string]int{}
	for _, member := range members {
		out.dropMember(g.id, member.id)
		m.stopMember(g.id, member.id)
		if member.regex != "" {
			gone[member.regex]++
		}
	}
	for _, regex := range sortedKeys(gone) {
		if g.regexSubs[regex] == gone[regex] {
			out.dropRegex(g.id, regex)
		}
	}
	var hash int64
	g.swap(members, nil, func() { hash = metadataHash(g.topicNames(), m.topics) })
	out.putEpoch(g.id, g.epoch+1, hash)
	m.opts.Events.rebalance(g.id, "members left")
}

// fence removes a member that broke a rule of time.
func (m *Machine) fence(g *consumerGroup, member *consumerMember, why string, out *output) {
	m.opts.Events.fenced(g.id, member.id, why)
	m.removeMembers(g, []*consumerMember{member}, out)
	m.guard(g.id, out)
}

// memberExpired fences a member that has been silent, or a classic one that did not rejoin or sync.
func (m *Machine) memberExpired(t *timer, out *output) {
	g := m.consumer(t.key.group)
	if g == nil || g.members[t.key.member] == nil {
		return
	}
	why := map[timerKind]string{
		timerMember: "the session timed out",
		timerRejoin: "did not rejoin within the rebalance timeout",
		timerResync: "did not sync within the rebalance timeout",
	}[t.key.kind]
	m.fence(g, g.members[t.key.member], why, out)
}

// revocationExpired fences a member that still has partitions it was told to give up.
func (m *Machine) revocationExpired(t *timer, out *output) {
	g := m.consumer(t.key.group)
	if g == nil {
		return
	}
	if member := g.members[t.key.member]; member != nil && member.epoch == t.epoch {
		m.fence(g, member, "did not give up partitions within the rebalance timeout", out)
	}
}

func (m *Machine) startMember(group, member string, session time.Duration) {
	m.timers.set(timer{key: timerKey{timerMember, group, member}, at: m.now.Add(session)})
}

func (m *Machine) stopMember(group, member string) {
	for _, kind := range []timerKind{timerMember, timerRevoke, timerRejoin, timerResync} {
		m.timers.cancel(timerKey{kind, group, member})
	}
}

// sessionOf is how long a member may be silent: a classic one has brought its own limit.
func (m *Machine) sessionOf(g *consumerGroup, member *consumerMember) time.Duration {
	if member.classic != nil {
		return time.Duration(member.classic.sessionMs) * time.Millisecond
	}
	return m.sessionTimeout(g.id)
}

// startConsumer starts the sessions of a group that was loaded.
func (m *Machine) startConsumer(g *consumerGroup) {
	for _, id := range sortedKeys(g.members) {
		member := g.members[id]
		m.startMember(g.id, id, m.sessionOf(g, member))
		if member.state == memberUnrevoked {
			m.timers.set(timer{
				key: timerKey{timerRevoke, g.id, id}, at: m.after(member.rebalanceMs), epoch: member.epoch,
			})
		}
	}
}
