package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// upgrade turns a classic group with members into a consumer group, in which they stay on with the
// classic protocol. The group comes back as it will be when its records are replayed; done has to be
// called when the request that caused this has succeeded.
func (m *Machine) upgrade(old *classicGroup, out *output) (g *consumerGroup, done func(), f *failure) {
	refuse := func(why string) (*consumerGroup, func(), *failure) {
		return nil, nil, failf(kerr.GroupIDNotFound, "group %s cannot become a consumer group: %s", old.id, why)
	}
	switch {
	case !m.opts.Config.ConsumerMigration.up():
		return refuse("group.consumer.migration.policy does not allow it")
	case !old.ofConsumers():
		return refuse("its members are not consumers but of type " + old.protocolType)
	case len(old.members) > m.opts.Config.ConsumerMaxSize:
		return refuse("it has more members than group.consumer.max.size")
	}
	g = newConsumerGroup(old.id)
	g.epoch, g.targetEpoch = old.generation, old.generation
	for _, cm := range old.members {
		member, why := m.upgradeMember(old, cm)
		if why != "" {
			return refuse(why)
		}
		g.target[cm.id] = member.assigned.plain()
		g.setMember(member)
	}
	g.hash = metadataHash(g.topicNames(), m.topics)
	old.tombstones(out)
	m.putGroup(g, out)
	return g, func() {
		old.failJoins(fail(kerr.RebalanceInProgress))
		old.failSyncs(fail(kerr.RebalanceInProgress))
		for _, cm := range old.members {
			m.startMember(g.id, cm.id, session(cm))
		}
	}, nil
}

func (m *Machine) upgradeMember(g *classicGroup, cm *classicMember) (member *consumerMember, why string) {
	assigned := assignment{}
	if len(cm.assignment) > 0 {
		a, err := readAssignment(cm.assignment)
		if err != nil {
			return nil, "the assignment of member " + cm.id + " is malformed"
		}
		if len(a.UserData) > 0 {
			return nil, "its assignor keeps data of its own in assignments, which would be lost; " +
				"switch to one of Kafka's assignors first"
		}
		for _, tp := range a.AssignedPartitions {
			if t, ok := m.topics.ByName(tp.Topic); ok && len(tp.Partitions) > 0 {
				assigned[t.ID] = sortedPartitions(tp.Partitions)
			}
		}
	}
	s, err := readSubscription(cm.metadata(g.protocolName()))
	if err != nil {
		return nil, "the subscription of member " + cm.id + " is malformed"
	}
	member = newConsumerMember(cm.id)
	member.epoch, member.prevEpoch = g.generation, g.generation
	member.instance, member.rack = cm.instance, nonEmpty(s.RackId)
	member.rebalanceMs = cm.rebalanceMs
	member.clientID, member.clientHost = cm.clientID, cm.clientHost
	member.topics = sortedSet(s.Topics)
	member.assigned = assigned.at(g.generation)
	member.classic = &classicMetadata{sessionMs: cm.sessionMs, protocols: cm.protocols}
	return member, ""
}

func sortedPartitions(ps []int32) []int32 {
	out := slices.Clone(ps)
	slices.Sort(out)
	return slices.Compact(out)
}

func nonEmpty(s *string) *string {
	if s == nil || *s == "" {
		return nil
	}
	return s
}

// putGroup writes a whole consumer group.
func (m *Machine) putGroup(g *consumerGroup, out *output) {
	ids := sortedKeys(g.members)
	for _, id := range ids {
		out.putMember(g.id, g.members[id])
	}
	out.putEpoch(g.id, g.epoch, g.hash)
	for _, id := range ids {
		out.putTarget(g.id, id, g.target[id])
	}
	out.putTargetEpoch(g.id, g.targetEpoch, g.targetAt)
	for _, id := range ids {
		out.putCurrent(g.id, g.members[id])
	}
}

// canDowngrade reports whether a consumer group is to become a classic one when these members leave.
func (m *Machine) canDowngrade(g *consumerGroup, leaving []*consumerMember) bool {
	classics := g.classics
	for _, member := range leaving {
		if member.classic != nil {
			classics--
		}
	}
	left := len(g.members) - len(leaving)
	return classics == left && left > 0 && left <= m.opts.Config.MaxSize && m.opts.Config.ConsumerMigration.down()
}

// canDowngradeFor is canDowngrade for a classic member that takes the place of a static one.
func (m *Machine) canDowngradeFor(g *consumerGroup, replaced *consumerMember) bool {
	return replaced != nil && replaced.classic == nil && g.classics == len(g.members)-1 &&
		len(g.members) <= m.opts.Config.MaxSize && m.opts.Config.ConsumerMigration.down()
}

// downgrade turns a consumer group into a classic one without the leaving members, and with a joining
// one that takes over the slot of a static member. Its records have just been written under the
// joining member's id. Unsettled means that the members have to join anew at once: what they were
// assigned was for other members.
func (m *Machine) downgrade(g *consumerGroup, leaving []*consumerMember, joining *consumerMember, unsettled bool,
	out *output,
) *failure {
	replaced := (*consumerMember)(nil)
	if joining != nil {
		replaced = g.staticMember(joining.instance)
	}
	old := newClassicGroup(g.id, m.nowMs())
	old.generation, old.state, old.unsettled = g.epoch, classicStable, unsettled
	targets := map[string]assignment{}
	var ids []string
	for _, id := range sortedKeys(g.members) {
		member, target := g.members[id], g.target[id]
		if replaced != nil && id == replaced.id {
			member = joining
		}
		ids = append(ids, member.id)
		if !slices.Contains(leaving, member) {
			targets[member.id] = target
			old.add(downgradeMember(member), consumerProtocolType)
		}
	}
	name := old.vote()
	old.chosen = &name
	old.topics = old.subscriptions()
	for _, cm := range old.members {
		a, err := writeAssignment(targets[cm.id], m.topics, cm.metadata(name))
		if err != nil {
			return failf(kerr.GroupIDNotFound,
				"group %s cannot become a classic group: the subscription of member %s is malformed", g.id, cm.id)
		}
		cm.assignment = a
	}
	for id := range g.members {
		m.stopMember(g.id, id)
	}
	out.dropConsumerGroup(g, ids)
	out.putClassic(old, (*classicMember).assigned)
	m.converted[g.id] = old
	return nil
}

func downgradeMember(m *consumerMember) *classicMember {
	return &classicMember{
		id:          m.id,
		instance:    m.instance,
		clientID:    m.clientID,
		clientHost:  m.clientHost,
		rebalanceMs: m.rebalanceMs,
		sessionMs:   m.classic.sessionMs,
		protocols:   m.classic.protocols,
	}
}
