package group

import (
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// replayClassic keeps what the log says of a classic group. While the machine is live the group in
// memory is ahead of it and stays as it is, unless there is none: then it has just been converted.
func (m *Machine) replayClassic(k *kmsg.GroupMetadataKey, v *kmsg.GroupMetadataValue) {
	g := m.classic(k.Group)
	switch {
	case v == nil:
		if g != nil {
			m.stopClassic(g)
			delete(m.groups, k.Group)
		}
	case !m.loaded:
		m.groups[k.Group] = classicFromRecord(k.Group, v)
	case g != nil:
		g.saved = v
	default:
		g = m.converted[k.Group]
		if g == nil {
			g = classicFromRecord(k.Group, v)
		}
		delete(m.converted, k.Group)
		g.saved = v
		m.groups[k.Group] = g
		for _, member := range g.members {
			m.startSession(g, member, session(member))
		}
		if g.unsettled {
			g.unsettled = false
			// It writes nothing: nobody has joined yet.
			m.prepareRebalance(g, "the last member with the consumer protocol left", &output{})
		}
	}
}

// classicFromRecord is the group that a record describes: stable if it has members. Of what members
// offered only the chosen protocol is known.
func classicFromRecord(id string, v *kmsg.GroupMetadataValue) *classicGroup {
	g := newClassicGroup(id, v.CurrentStateTimestamp)
	g.generation = v.Generation
	g.chosen = v.Protocol
	g.saved = v
	for i := range v.Members {
		mv := &v.Members[i]
		member := &classicMember{
			id:          mv.MemberId,
			instance:    mv.GroupInstanceId,
			clientID:    mv.ClientId,
			clientHost:  mv.ClientHost,
			rebalanceMs: mv.RebalanceTimeout,
			sessionMs:   mv.SessionTimeout,
			protocols:   []protocol{{g.protocolName(), mv.Subscription}},
			assignment:  mv.Assignment,
		}
		if member.rebalanceMs < 0 { // version 0 did not have it
			member.rebalanceMs = member.sessionMs
		}
		g.add(member, v.ProtocolType)
	}
	g.protocolType = v.ProtocolType
	if v.Leader != nil {
		g.leader = *v.Leader
	}
	if len(g.members) > 0 {
		g.state = classicStable
	}
	g.topics = g.subscriptions()
	return g
}

// startClassic starts the sessions of a group that was loaded.
func (m *Machine) startClassic(g *classicGroup, out *output) {
	for _, member := range g.members {
		m.startSession(g, member, session(member))
	}
	if len(g.members) > m.opts.Config.MaxSize {
		m.prepareRebalance(g, "the group is larger than group.max.size", out)
	}
}

// stopClassic forgets what was to happen to a group that goes away.
func (m *Machine) stopClassic(g *classicGroup) {
	for _, member := range g.members {
		m.timers.cancel(timerKey{timerSession, g.id, member.id})
	}
	for id := range g.pending {
		m.timers.cancel(timerKey{timerSession, g.id, id})
	}
	m.timers.cancel(timerKey{timerJoin, g.id, ""})
	m.timers.cancel(timerKey{timerSync, g.id, ""})
}
