package group

import (
	"cmp"
	"slices"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Versions of the values that Apache Kafka 4.3 writes.
const (
	offsetCommitVersion       = 4
	offsetCommitExpireVersion = 1 // the only one that holds an expire timestamp
	groupMetadataVersion      = 3
	consumerVersion           = 0 // every record of consumer groups
)

// output collects what a handler wants done.
type output struct {
	records []coord.Record
	done    []func(err error)
}

func (o *output) result() coord.Result {
	return coord.Result{Records: o.records, Done: o.done}
}

func (o *output) put(key kmsg.Record, version int16, value kmsg.Message) {
	o.records = append(o.records, coord.Record{
		Key:   kmsg.AppendKey(nil, key),
		Value: kmsg.AppendVersioned(nil, version, value),
	})
}

func (o *output) tombstone(key kmsg.Record) {
	o.records = append(o.records, coord.Record{Key: kmsg.AppendKey(nil, key)})
}

func (o *output) then(fn func(err error)) { o.done = append(o.done, fn) }

// Offsets.

func (o *output) putOffset(group string, tp base.TopicPartition, c *commit) {
	v := kmsg.OffsetCommitValue{
		Offset:          c.offset,
		LeaderEpoch:     c.leaderEpoch,
		Metadata:        c.metadata,
		CommitTimestamp: c.at,
		ExpireTimestamp: c.expireAt,
		TopicId:         c.topicID,
	}
	version := int16(offsetCommitVersion)
	if c.expireAt != base.NoTimestamp {
		version = offsetCommitExpireVersion
	}
	o.put(&kmsg.OffsetCommitKey{Group: group, Topic: tp.Topic, Partition: tp.Partition}, version, &v)
}

func (o *output) dropOffset(group string, tp base.TopicPartition) {
	o.tombstone(&kmsg.OffsetCommitKey{Group: group, Topic: tp.Topic, Partition: tp.Partition})
}

// Classic groups.

// putClassic stores the group's current generation with these assignments by member id.
func (o *output) putClassic(g *classicGroup, assigned func(m *classicMember) []byte) {
	v := kmsg.NewGroupMetadataValue()
	v.ProtocolType = g.protocolType
	v.Generation = g.generation
	v.Protocol = g.chosen
	v.CurrentStateTimestamp = g.since
	v.Leader = nil
	if g.leader != "" {
		v.Leader = &g.leader
	}
	for _, m := range g.members {
		mv := kmsg.NewGroupMetadataValueMemberMetadata()
		mv.MemberId, mv.GroupInstanceId = m.id, m.instance
		mv.ClientId, mv.ClientHost = m.clientID, m.clientHost
		mv.RebalanceTimeout, mv.SessionTimeout = m.rebalanceMs, m.sessionMs
		mv.Subscription, mv.Assignment = m.metadata(g.protocolName()), assigned(m)
		v.Members = append(v.Members, mv)
	}
	o.put(&kmsg.GroupMetadataKey{Group: g.id}, groupMetadataVersion, &v)
}

// putEmptyClassic stores that the group exists, before its first generation.
func (o *output) putEmptyClassic(g *classicGroup) {
	v := kmsg.GroupMetadataValue{CurrentStateTimestamp: g.since}
	o.put(&kmsg.GroupMetadataKey{Group: g.id}, groupMetadataVersion, &v)
}

func (o *output) dropClassic(id string) { o.tombstone(&kmsg.GroupMetadataKey{Group: id}) }

// Consumer groups.

func (o *output) putMember(group string, m *consumerMember) {
	var v kmsg.ConsumerGroupMemberMetadataValue // not its defaults: Kafka writes a null where there is nothing
	v.InstanceId, v.RackId = m.instance, m.rack
	v.ClientId, v.ClientHost = m.clientID, m.clientHost
	v.SubscribedTopicNames = m.topics
	v.SubscribedTopicRegex = &m.regex
	v.RebalanceTimeoutMs = m.rebalanceMs
	v.ServerAssignor = m.assignor
	if c := m.classic; c != nil {
		cv := &kmsg.ConsumerGroupMemberMetadataValueClassicMemberMetadata{SessionTimeoutMs: c.sessionMs}
		for _, p := range c.protocols {
			cv.SupportedProtocols = append(cv.SupportedProtocols,
				kmsg.ConsumerGroupMemberMetadataValueClassicProtocol{Name: p.name, Metadata: p.metadata})
		}
		v.ClassicMemberMetadata = cv
	}
	o.put(&kmsg.ConsumerGroupMemberMetadataKey{GroupId: group, MemberId: m.id}, consumerVersion, &v)
}

func (o *output) putEpoch(group string, epoch int32, hash int64) {
	o.put(&kmsg.ConsumerGroupMetadataKey{GroupId: group}, consumerVersion,
		&kmsg.ConsumerGroupMetadataValue{Epoch: epoch, MetadataHash: hash})
}

func (o *output) putTarget(group, member string, a assignment) {
	v := kmsg.NewConsumerGroupTargetAssignmentMemberValue()
	for _, t := range a.topics() {
		v.TopicPartitions = append(v.TopicPartitions,
			kmsg.ConsumerGroupTargetAssignmentMemberValueTopicPartition{TopicId: t, Partitions: a[t]})
	}
	o.put(&kmsg.ConsumerGroupTargetAssignmentMemberKey{GroupId: group, MemberId: member}, consumerVersion, &v)
}

func (o *output) putTargetEpoch(group string, epoch int32, at int64) {
	o.put(&kmsg.ConsumerGroupTargetAssignmentMetadataKey{GroupId: group}, consumerVersion,
		&kmsg.ConsumerGroupTargetAssignmentMetadataValue{AssignmentEpoch: epoch, AssignmentTimestamp: at})
}

func (o *output) putCurrent(group string, m *consumerMember) {
	o.put(&kmsg.ConsumerGroupCurrentMemberAssignmentKey{GroupId: group, MemberId: m.id}, consumerVersion,
		&kmsg.ConsumerGroupCurrentMemberAssignmentValue{
			MemberEpoch:                 m.epoch,
			PreviousMemberEpoch:         m.prevEpoch,
			State:                       int8(m.state),
			AssignedPartitions:          m.assigned.record(),
			PartitionsPendingRevocation: m.revoking.record(),
		})
}

func (o *output) putRegex(group, regex string, r *resolvedRegex) {
	o.put(&kmsg.ConsumerGroupRegularExpressionKey{GroupId: group, RegularExpression: regex}, consumerVersion,
		&kmsg.ConsumerGroupRegularExpressionValue{Topics: r.topics, Version: r.version, Timestamp: r.at})
}

func (o *output) dropRegex(group, regex string) {
	o.tombstone(&kmsg.ConsumerGroupRegularExpressionKey{GroupId: group, RegularExpression: regex})
}

// dropMember removes a member: what it has, what it should have, and then itself.
func (o *output) dropMember(group, member string) {
	o.tombstone(&kmsg.ConsumerGroupCurrentMemberAssignmentKey{GroupId: group, MemberId: member})
	o.tombstone(&kmsg.ConsumerGroupTargetAssignmentMemberKey{GroupId: group, MemberId: member})
	o.tombstone(&kmsg.ConsumerGroupMemberMetadataKey{GroupId: group, MemberId: member})
}

// dropConsumerGroup removes a consumer group with these members.
func (o *output) dropConsumerGroup(g *consumerGroup, members []string) {
	for _, id := range members {
		o.tombstone(&kmsg.ConsumerGroupCurrentMemberAssignmentKey{GroupId: g.id, MemberId: id})
	}
	for _, id := range members {
		o.tombstone(&kmsg.ConsumerGroupTargetAssignmentMemberKey{GroupId: g.id, MemberId: id})
	}
	o.tombstone(&kmsg.ConsumerGroupTargetAssignmentMetadataKey{GroupId: g.id})
	for _, id := range members {
		o.tombstone(&kmsg.ConsumerGroupMemberMetadataKey{GroupId: g.id, MemberId: id})
	}
	for _, regex := range sortedKeys(g.regexes) {
		o.dropRegex(g.id, regex)
	}
	o.tombstone(&kmsg.ConsumerGroupPartitionMetadataKey{GroupId: g.id})
	o.tombstone(&kmsg.ConsumerGroupMetadataKey{GroupId: g.id})
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
