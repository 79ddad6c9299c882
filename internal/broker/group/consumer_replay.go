package group

import (
	"slices"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// persisted is the consumer group that a record is about. Records make the group; tombstones of a
// group that is gone, or has become a classic one, find nothing.
func (m *Machine) persisted(id string, tombstone bool) *consumerGroup {
	g := m.consumer(id)
	if g == nil && !tombstone {
		if old := m.classic(id); old != nil {
			m.stopClassic(old)
		}
		g = newConsumerGroup(id)
		m.groups[id] = g
	}
	return g
}

func (m *Machine) replayEpoch(k *kmsg.ConsumerGroupMetadataKey, v *kmsg.ConsumerGroupMetadataValue) {
	g := m.persisted(k.GroupId, v == nil)
	switch {
	case g == nil:
	case v == nil:
		m.timers.cancel(timerKey{timerRegex, k.GroupId, ""})
		delete(m.groups, k.GroupId)
	default:
		g.epoch, g.hash = v.Epoch, v.MetadataHash
	}
}

// replayTopics handles the record in which Kafka before 4.1 kept a group's topics. Its content is not
// needed any more; that it is there is, so that it can be removed.
func (m *Machine) replayTopics(k *kmsg.ConsumerGroupPartitionMetadataKey, v *kmsg.ConsumerGroupPartitionMetadataValue) {
	if g := m.persisted(k.GroupId, v == nil); g != nil {
		g.topicsRecorded = v != nil
	}
}

func (m *Machine) replayMember(k *kmsg.ConsumerGroupMemberMetadataKey, v *kmsg.ConsumerGroupMemberMetadataValue) {
	g := m.persisted(k.GroupId, v == nil)
	if g == nil {
		return
	}
	if v == nil {
		g.removeMember(k.MemberId)
		return
	}
	member := g.members[k.MemberId]
	if member == nil {
		member = newConsumerMember(k.MemberId)
	}
	g.setMember(member.with(func(c *consumerMember) {
		c.instance, c.rack = v.InstanceId, v.RackId
		c.clientID, c.clientHost = v.ClientId, v.ClientHost
		c.topics, c.regex = sortedSet(v.SubscribedTopicNames), ""
		if v.SubscribedTopicRegex != nil {
			c.regex = *v.SubscribedTopicRegex
		}
		c.rebalanceMs, c.assignor, c.classic = v.RebalanceTimeoutMs, v.ServerAssignor, nil
		if cm := v.ClassicMemberMetadata; cm != nil {
			c.classic = &classicMetadata{sessionMs: cm.SessionTimeoutMs}
			for _, p := range cm.SupportedProtocols {
				c.classic.protocols = append(c.classic.protocols, protocol{p.Name, p.Metadata})
			}
		}
	}))
}

func (m *Machine) replayTargets(k *kmsg.ConsumerGroupTargetAssignmentMetadataKey,
	v *kmsg.ConsumerGroupTargetAssignmentMetadataValue,
) {
	g := m.persisted(k.GroupId, v == nil)
	switch {
	case g == nil:
	case v == nil:
		g.targetEpoch, g.targetAt = -1, 0
	default:
		g.targetEpoch, g.targetAt = v.AssignmentEpoch, v.AssignmentTimestamp
	}
}

func (m *Machine) replayTarget(k *kmsg.ConsumerGroupTargetAssignmentMemberKey,
	v *kmsg.ConsumerGroupTargetAssignmentMemberValue,
) {
	g := m.persisted(k.GroupId, v == nil)
	switch {
	case g == nil:
	case v == nil:
		delete(g.target, k.MemberId)
	default:
		a := make(assignment, len(v.TopicPartitions))
		for _, tp := range v.TopicPartitions {
			if len(tp.Partitions) > 0 {
				a[tp.TopicId] = sortedPartitions(tp.Partitions)
			}
		}
		g.target[k.MemberId] = a
	}
}

func (m *Machine) replayCurrent(k *kmsg.ConsumerGroupCurrentMemberAssignmentKey,
	v *kmsg.ConsumerGroupCurrentMemberAssignmentValue,
) {
	g := m.persisted(k.GroupId, v == nil)
	if g == nil {
		return
	}
	member := g.members[k.MemberId]
	if v == nil {
		if member != nil {
			g.setMember(member.with(func(c *consumerMember) {
				c.epoch, c.prevEpoch, c.assigned, c.revoking = epochLeave, epochLeave, nil, nil
			}))
		}
		return
	}
	if member == nil {
		member = newConsumerMember(k.MemberId)
	}
	g.setMember(member.with(func(c *consumerMember) {
		c.epoch, c.prevEpoch, c.state = v.MemberEpoch, v.PreviousMemberEpoch, memberState(v.State)
		if c.state < memberStable || c.state > memberUnreleased {
			c.state = memberUnknown
		}
		c.assigned = epochsFromRecord(v.AssignedPartitions, v.MemberEpoch)
		c.revoking = epochsFromRecord(v.PartitionsPendingRevocation, v.MemberEpoch)
	}))
}

func (m *Machine) replayRegex(k *kmsg.ConsumerGroupRegularExpressionKey, v *kmsg.ConsumerGroupRegularExpressionValue) {
	g := m.persisted(k.GroupId, v == nil)
	if g == nil {
		return
	}
	g.countRegex(g.regexes[k.RegularExpression], -1)
	if v == nil {
		delete(g.regexes, k.RegularExpression)
		return
	}
	r := &resolvedRegex{topics: slices.Sorted(slices.Values(v.Topics)), version: v.Version, at: v.Timestamp}
	g.regexes[k.RegularExpression] = r
	g.countRegex(r, +1)
}
