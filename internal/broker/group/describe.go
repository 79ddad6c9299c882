package group

import (
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Answers for one group each.
type (
	ListedGroup            = kmsg.ListGroupsResponseListedGroup
	DescribedGroup         = kmsg.DescribeGroupsResponseDescribedGroup
	DescribedConsumerGroup = kmsg.ConsumerGroupDescribeResponseDescribedGroup
	DeletedGroup           = kmsg.DeleteGroupsResponseDeletableGroupResult
	describedMember        = kmsg.DescribeGroupsResponseDescribedGroupMember
	describedConsumer      = kmsg.ConsumerGroupDescribeResponseMember
	describedPartitions    = kmsg.ConsumerGroupDescribeResponseTopicPartitions
)

// describeErrorVersion is the first DescribeGroups version that says that a group does not exist.
const describeErrorVersion = 6

// read answers with what was found, once everything it may rest on is committed.
func read[T any](found T, answer func(T, error)) coord.Result {
	return coord.Result{Done: []func(error){func(err error) {
		if err != nil {
			var none T
			answer(none, appendFailure(err).kerr)
			return
		}
		answer(found, nil)
	}}}
}

// ListGroups lists the shard's groups in these states and of these types; none given means any.
func (m *Machine) ListGroups(now time.Time, states, types []string, answer func([]ListedGroup, error)) coord.Result {
	m.begin(now)
	wants := func(filter []string, s string) bool {
		return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool {
			return strings.EqualFold(strings.TrimSpace(f), s)
		})
	}
	var found []ListedGroup
	for _, id := range sortedKeys(m.groups) {
		g := m.groups[id]
		if wants(states, g.stateName()) && wants(types, g.kind()) {
			found = append(found, ListedGroup{
				GroupId: id, ProtocolType: g.protocol(), GroupState: g.stateName(), GroupType: g.kind(),
			})
		}
	}
	return read(found, answer)
}

// DescribeGroups describes classic groups. Any other looks dead to this request.
func (m *Machine) DescribeGroups(now time.Time, c Context, ids []string,
	answer func([]DescribedGroup, error),
) coord.Result {
	m.begin(now)
	found := make([]DescribedGroup, len(ids))
	for i, id := range ids {
		found[i] = m.describeClassic(c, id)
	}
	return read(found, answer)
}

func (m *Machine) describeClassic(c Context, id string) DescribedGroup {
	d := kmsg.NewDescribeGroupsResponseDescribedGroup()
	d.GroupId = id
	g := m.classic(id)
	if g == nil {
		d.GroupState = stateDead
		if c.Version >= describeErrorVersion {
			f := failf(kerr.GroupIDNotFound, "group %s is not a classic group", id)
			if m.groups[id] == nil {
				f = failf(kerr.GroupIDNotFound, "group %s not found", id)
			}
			d.ErrorCode, d.ErrorMessage = f.code(), f.text()
		}
		return d
	}
	d.GroupState, d.ProtocolType = g.stateName(), g.protocolType
	if g.state == classicStable {
		d.ProtocolData = g.protocolName()
	}
	for _, member := range g.members {
		dm := describedMember{
			MemberId: member.id, GroupInstanceId: member.instance,
			ClientId: member.clientID, ClientHost: member.clientHost,
			MemberAssignment: member.assignment,
		}
		if g.state == classicStable {
			dm.MemberMetadata = member.metadata(g.protocolName())
		}
		d.Members = append(d.Members, dm)
	}
	return d
}

// ConsumerGroupDescribe describes consumer groups.
func (m *Machine) ConsumerGroupDescribe(now time.Time, ids []string,
	answer func([]DescribedConsumerGroup, error),
) coord.Result {
	m.begin(now)
	found := make([]DescribedConsumerGroup, len(ids))
	for i, id := range ids {
		found[i] = m.describeConsumer(id)
	}
	return read(found, answer)
}

func (m *Machine) describeConsumer(id string) DescribedConsumerGroup {
	d := kmsg.NewConsumerGroupDescribeResponseDescribedGroup()
	d.GroupId = id
	g := m.consumer(id)
	if g == nil {
		if id == "" {
			d.ErrorCode = kerr.InvalidGroupID.Code
			return d
		}
		f := failf(kerr.GroupIDNotFound, "group %s not found", id)
		if m.groups[id] != nil {
			f = failf(kerr.GroupIDNotFound, "group %s is not a consumer group", id)
		}
		d.ErrorCode, d.ErrorMessage = f.code(), f.text()
		return d
	}
	d.GroupState, d.GroupEpoch, d.AssignmentEpoch = g.stateName(), g.epoch, g.targetEpoch
	d.AssignorName = g.preferredAssignor(m.opts.Config.ConsumerAssignors[0])
	for _, id := range sortedKeys(g.members) {
		d.Members = append(d.Members, m.describeMember(g, g.members[id]))
	}
	return d
}

func (m *Machine) describeMember(g *consumerGroup, member *consumerMember) describedConsumer {
	has := epochs{} // what it is to give up, it still has
	for _, e := range []epochs{member.assigned, member.revoking} {
		for t, ps := range e {
			for p, epoch := range ps {
				put(has, t, p, epoch)
			}
		}
	}
	d := describedConsumer{
		MemberId: member.id, InstanceId: member.instance, RackId: member.rack, MemberEpoch: member.epoch,
		ClientId: member.clientID, ClientHost: member.clientHost,
		SubscribedTopicNames: member.topics, SubscribedTopicRegex: &member.regex,
		MemberType: 1,
	}
	d.Assignment.TopicPartitions = m.describePartitions(has.plain())
	d.TargetAssignment.TopicPartitions = m.describePartitions(g.target[member.id])
	if member.classic != nil {
		d.MemberType = 0
	}
	return d
}

// describePartitions names the topics of an assignment, without those that are gone.
func (m *Machine) describePartitions(a assignment) []describedPartitions {
	out := []describedPartitions{}
	for _, id := range a.topics() {
		if t, ok := m.topics.ByID(id); ok {
			out = append(out, describedPartitions{TopicId: id, TopicName: t.Name, Partitions: a[id]})
		}
	}
	return out
}

// DeleteGroups deletes groups without members, with everything they committed.
func (m *Machine) DeleteGroups(now time.Time, ids []string, answer func([]DeletedGroup, error)) coord.Result {
	m.begin(now)
	var out output
	results := make([]DeletedGroup, len(ids))
	for i, id := range ids {
		results[i].GroupId = id
		if f := m.deleteGroup(id, &out); f != nil {
			results[i].ErrorCode = f.code()
		}
	}
	r := read(results, answer)
	r.Records = out.records
	return r
}

func (m *Machine) deleteGroup(id string, out *output) *failure {
	g := m.groups[id]
	if g == nil {
		return fail(kerr.GroupIDNotFound)
	}
	if !g.empty() {
		return fail(kerr.NonEmptyGroup)
	}
	m.offsets.groups[id].all(func(tp base.TopicPartition, _ *commit) { out.dropOffset(id, tp) })
	pending := partitionCommits{}
	for tp := range m.offsets.open[id] {
		if m.offsets.get(id, tp) == nil {
			pending.put(tp, nil)
		}
	}
	pending.all(func(tp base.TopicPartition, _ *commit) { out.dropOffset(id, tp) })
	g.tombstones(out)
	return nil
}
