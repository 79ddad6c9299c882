package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// joinConsumerGroup lets a member with the classic protocol into a consumer group. The coordinator
// assigns; the member epoch is the generation that the member sees.
func (m *Machine) joinConsumerGroup(g *consumerGroup, j *joining, out *output) *failure {
	id := j.req.MemberId
	isNew := id == ""
	if isNew {
		id = m.newMemberID()
	}
	if m.opts.Config.ConsumerMigration == MigrateNone {
		return failf(kerr.InconsistentGroupProtocol, "group.consumer.migration.policy is disabled")
	}
	if f := m.checkSize(g, id); f != nil {
		return f
	}
	if !g.supports(j.req.ProtocolType, j.protocols) {
		return fail(kerr.InconsistentGroupProtocol)
	}
	if isNew && j.req.GroupInstanceId == nil && j.ctx.Version >= joinKnownIDVersion {
		j.fail(id, kerr.MemberIDRequired)
		return nil
	}
	subscription, err := readSubscription(j.protocols[0].metadata)
	if err != nil {
		return failf(kerr.InconsistentGroupProtocol, "the subscription for protocol %s is malformed: %v",
			j.protocols[0].name, err)
	}
	if f := m.joinAsClassic(g, j, id, subscription, out); f != nil {
		m.undo(g.id, out)
		return f
	}
	return nil
}

func (m *Machine) joinAsClassic(g *consumerGroup, j *joining, id string, s *kmsg.ConsumerProtocolSubscription,
	out *output,
) *failure {
	predecessor := g.staticMember(j.req.GroupInstanceId)
	member, f := m.findMember(g, subscribing{
		id: id, instance: j.req.GroupInstanceId, classic: true,
		create: j.req.GroupInstanceId == nil || j.req.MemberId == "",
	}, out)
	if f != nil {
		return f
	}
	ch := &change{
		ctx: j.ctx, group: g, old: member, owned: ownedBySubscription(s, m.topics),
		member: member.with(func(u *consumerMember) { u.updateClassic(j, s) }),
	}
	if f := m.subscribe(ch, out); f != nil {
		return f
	}
	if m.canDowngradeFor(g, predecessor) {
		if f := m.finishAsClassicGroup(ch, out); f != nil {
			return f
		}
	} else {
		target, epoch := m.retarget(ch, out)
		if f := m.reconcile(ch, target, epoch, out); f != nil {
			return f
		}
		m.timers.cancel(timerKey{timerRejoin, g.id, id})
		m.startMember(g.id, id, m.sessionOf(g, ch.member))
		m.timers.set(timer{key: timerKey{timerResync, g.id, id}, at: m.after(j.req.RebalanceTimeoutMs)})
	}
	m.guard(g.id, out)
	m.answerClassic(ch.member, j, out)
	return nil
}

// finishAsClassicGroup is for a join that leaves only classic members behind. If the target is up to
// date it stays; else the classic group starts with a rebalance.
func (m *Machine) finishAsClassicGroup(ch *change, out *output) *failure {
	g := ch.group
	unsettled := g.targetEpoch < ch.epoch
	if !unsettled {
		if f := m.reconcile(ch, g.targetOf(ch.member), g.targetEpoch, out); f != nil {
			return f
		}
	}
	return m.downgrade(g, nil, ch.member, unsettled, out)
}

func (m *Machine) answerClassic(member *consumerMember, j *joining, out *output) {
	protocolType := consumerProtocolType
	out.then(func(err error) {
		if err != nil {
			j.fail("", appendFailure(err).kerr)
			return
		}
		j.reply.send(&kmsg.JoinGroupResponse{
			MemberId:     member.id,
			GenerationId: member.epoch,
			ProtocolType: &protocolType,
			ProtocolName: member.classic.protocolName(),
		})
	})
}

func (m *consumerMember) updateClassic(j *joining, s *kmsg.ConsumerProtocolSubscription) {
	m.clientID, m.clientHost = j.ctx.ClientID, j.ctx.ClientHost
	if j.req.GroupInstanceId != nil {
		m.instance = j.req.GroupInstanceId
	}
	if rack := nonEmpty(s.RackId); rack != nil {
		m.rack = rack
	}
	if j.req.RebalanceTimeoutMs != -1 {
		m.rebalanceMs = j.req.RebalanceTimeoutMs
	}
	m.topics, m.regex = sortedSet(s.Topics), ""
	m.classic = &classicMetadata{sessionMs: j.req.SessionTimeoutMs, protocols: j.protocols}
}

// supports reports whether the classic members of the group could agree with this one.
func (g *consumerGroup) supports(protocolType string, ps []protocol) bool {
	if protocolType != consumerProtocolType {
		return false
	}
	for _, p := range ps {
		if g.offered[p.name] == g.classics {
			return true
		}
	}
	return false
}

// classicMemberOf finds the member that a classic request is from.
func (g *consumerGroup) classicMemberOf(id string, instance *string) (*consumerMember, *failure) {
	member := g.members[id]
	if instance != nil {
		member = g.staticMember(instance)
	}
	switch {
	case member == nil:
		return nil, fail(kerr.UnknownMemberID)
	case member.id != id:
		return nil, fail(kerr.FencedInstanceID)
	case member.classic == nil:
		return nil, fail(kerr.UnknownMemberID)
	}
	return member, nil
}

// syncConsumer gives a classic member of a consumer group its assignment, unless a newer target means
// that it should rejoin first.
func (m *Machine) syncConsumer(g *consumerGroup, s *syncing, out *output) *failure {
	member, f := g.classicMemberOf(s.req.MemberId, s.req.GroupInstanceId)
	if f != nil {
		return f
	}
	consumers := consumerProtocolType
	switch {
	case member.epoch != s.req.GenerationId:
		return fail(kerr.IllegalGeneration)
	case differs(s.req.ProtocolType, &consumers),
		differs(s.req.ProtocolName, member.classic.protocolName()):
		return fail(kerr.InconsistentGroupProtocol)
	case g.targetEpoch > member.epoch && member.state != memberUnrevoked:
		m.awaitRejoin(g, member)
		return fail(kerr.RebalanceInProgress)
	}
	assigned, err := writeAssignment(member.assigned.plain(), m.topics, member.classic.subscription())
	if err != nil {
		return failf(kerr.InconsistentGroupProtocol, "the subscription is malformed: %v", err)
	}
	m.timers.cancel(timerKey{timerResync, g.id, member.id})
	m.startMember(g.id, member.id, m.sessionOf(g, member))
	out.then(func(err error) {
		if err != nil {
			s.fail(appendFailure(err))
			return
		}
		s.reply.send(&kmsg.SyncGroupResponse{
			ProtocolType: s.req.ProtocolType, ProtocolName: s.req.ProtocolName, Assignment: assigned,
		})
	})
	return nil
}

// awaitRejoin gives a classic member its rebalance timeout to join again.
func (m *Machine) awaitRejoin(g *consumerGroup, member *consumerMember) {
	key := timerKey{timerRejoin, g.id, member.id}
	if !m.timers.has(key) {
		m.timers.set(timer{key: key, at: m.after(member.rebalanceMs)})
	}
}

// heartbeatConsumer tells a classic member of a consumer group to rejoin if there is anything for it
// to give up or to get.
func (m *Machine) heartbeatConsumer(g *consumerGroup, req *kmsg.HeartbeatRequest) *failure {
	member, f := g.classicMemberOf(req.MemberId, req.GroupInstanceId)
	if f != nil {
		return f
	}
	if member.epoch != req.GenerationId {
		return fail(kerr.IllegalGeneration)
	}
	m.startMember(g.id, member.id, time.Duration(member.classic.sessionMs)*time.Millisecond)
	if member.epoch < g.targetEpoch || member.state == memberUnrevoked ||
		member.state == memberUnreleased && !g.blocked(member) {
		m.awaitRejoin(g, member)
		return fail(kerr.RebalanceInProgress)
	}
	return nil
}

// blocked reports whether a partition that the member waits for is still someone else's.
func (g *consumerGroup) blocked(member *consumerMember) bool {
	for t, ps := range g.target[member.id] {
		for _, p := range ps {
			_, mine := member.assigned.get(t, p)
			if _, taken := g.ownerEpoch(t, p); taken && !mine {
				return true
			}
		}
	}
	return false
}

// leaveConsumerGroup removes members by a LeaveGroup request: classic ones that go, or any that an
// administrator removes.
func (m *Machine) leaveConsumerGroup(g *consumerGroup, who []kmsg.LeaveGroupResponseMemberResponse, out *output) {
	var leaving []*consumerMember
	seen := map[string]bool{}
	for i := range who {
		member, f := g.leaver(who[i].MemberId, who[i].GroupInstanceId)
		if f != nil {
			who[i].ErrorCode = f.code()
		} else if !seen[member.id] {
			seen[member.id] = true
			leaving = append(leaving, member)
		}
	}
	m.removeMembers(g, leaving, out)
	m.guard(g.id, out)
}

func (g *consumerGroup) leaver(id string, instance *string) (*consumerMember, *failure) {
	member := g.members[id]
	if instance != nil {
		member = g.staticMember(instance)
	}
	if member == nil {
		return nil, fail(kerr.UnknownMemberID)
	}
	if instance != nil && id != "" && member.id != id {
		return nil, fail(kerr.FencedInstanceID)
	}
	return member, nil
}
