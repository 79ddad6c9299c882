package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// The request and the answer for one group of an OffsetFetch.
type (
	FetchGroup       = kmsg.OffsetFetchRequestOffsetFetchRequestGroup
	FetchedGroup     = kmsg.OffsetFetchResponseOffsetFetchResponseGroup
	fetchedTopic     = kmsg.OffsetFetchResponseOffsetFetchResponseTopics
	fetchedPartition = kmsg.OffsetFetchResponseOffsetFetchResponsePartitions
)

// OffsetFetch reads a group's offsets: those asked for, or all of them if Topics is nil. With stable
// set, a partition that an open transaction has committed answers UNSTABLE_OFFSET_COMMIT. On error the
// answer has the group's error code and no topics.
func (m *Machine) OffsetFetch(now time.Time, req *FetchGroup, stable bool, answer func(*FetchedGroup)) coord.Result {
	m.begin(now)
	resp := &FetchedGroup{GroupId: req.GroupId}
	f := m.fetchOffsets(req, stable, resp)
	return coord.Result{Done: []func(error){func(err error) {
		if err != nil {
			f = appendFailure(err)
		}
		if f != nil {
			resp = &FetchedGroup{GroupId: req.GroupId, ErrorCode: f.code()}
		}
		answer(resp)
	}}}
}

func (m *Machine) fetchOffsets(req *FetchGroup, stable bool, resp *FetchedGroup) *failure {
	var commits partitionCommits
	if g := m.groups[req.GroupId]; g != nil {
		if cg, ok := g.(*consumerGroup); ok {
			if f := cg.checkFetch(req.MemberId, req.MemberEpoch); f != nil {
				return f
			}
		}
		commits = m.offsets.groups[req.GroupId]
	}
	fetch := func(t *fetchedTopic, p int32, c *commit) {
		unstable := stable && m.groups[req.GroupId] != nil &&
			m.offsets.unstable(req.GroupId, base.TopicPartition{Topic: t.Name, Partition: p})
		t.Partitions = append(t.Partitions, fetched(p, c, unstable))
	}
	if req.Topics == nil {
		resp.Topics = []fetchedTopic{}
		for _, name := range sortedKeys(commits) {
			t := fetchedTopic{Name: name}
			for _, p := range sortedKeys(commits[name]) {
				fetch(&t, p, commits[name][p])
			}
			resp.Topics = append(resp.Topics, t)
		}
		return nil
	}
	for _, rt := range req.Topics {
		t := fetchedTopic{Name: rt.Name, TopicId: rt.TopicId}
		for _, p := range rt.PartitionIndexes {
			c := commits[rt.Name][p]
			if c != nil && !c.topicID.IsZero() && !rt.TopicId.IsZero() && c.topicID != rt.TopicId {
				c = nil // it belongs to a deleted topic of the same name
			}
			fetch(&t, p, c)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return nil
}

// fetched is what a client gets for a partition: offset -1 without an error if there is no commit.
func fetched(p int32, c *commit, unstable bool) fetchedPartition {
	none := ""
	out := fetchedPartition{PartitionIndex: p, CommittedOffset: -1, CommittedLeaderEpoch: -1, Metadata: &none}
	switch {
	case unstable:
		out.ErrorCode = kerr.UnstableOffsetCommit.Code
	case c != nil:
		out.CommittedOffset, out.CommittedLeaderEpoch, out.Metadata = c.offset, c.leaderEpoch, &c.metadata
	}
	return out
}

// checkFetch holds members to their epoch; administrators do not name a member.
func (g *consumerGroup) checkFetch(id *string, epoch int32) *failure {
	if id == nil && epoch < 0 {
		return nil
	}
	var member *consumerMember
	if id != nil {
		member = g.members[*id]
	}
	switch {
	case member == nil:
		return fail(kerr.UnknownMemberID)
	case member.epoch == epoch:
		return nil
	case member.classic != nil:
		return fail(kerr.IllegalGeneration)
	}
	return fail(kerr.StaleMemberEpoch)
}

// OffsetDelete removes offsets of topics that nobody in the group reads.
func (m *Machine) OffsetDelete(now time.Time, req *kmsg.OffsetDeleteRequest,
	answer func(*kmsg.OffsetDeleteResponse),
) coord.Result {
	m.begin(now)
	var out output
	resp := &kmsg.OffsetDeleteResponse{}
	f := m.deleteOffsets(req, resp, &out)
	out.then(func(err error) {
		if err != nil {
			f = appendFailure(err)
		}
		if f != nil {
			resp = &kmsg.OffsetDeleteResponse{ErrorCode: f.code()}
		}
		answer(resp)
	})
	return out.result()
}

func (m *Machine) deleteOffsets(req *kmsg.OffsetDeleteRequest, resp *kmsg.OffsetDeleteResponse, out *output) *failure {
	if req.GroupId == "" {
		return fail(kerr.InvalidGroupID)
	}
	g := m.groups[req.GroupId]
	if g == nil {
		return fail(kerr.GroupIDNotFound)
	}
	if f := g.checkOffsetDelete(); f != nil {
		return f
	}
	for _, t := range req.Topics {
		tr := kmsg.OffsetDeleteResponseOffsetDeleteResponseTopic{Name: t.Name}
		for _, p := range t.Partitions {
			pr := kmsg.OffsetDeleteResponseOffsetDeleteResponsePartition{PartitionIndex: p.PartitionIndex}
			tp := base.TopicPartition{Topic: t.Name, Partition: p.PartitionIndex}
			switch {
			case g.subscribed(t.Name):
				pr.ErrorCode = kerr.GroupSubscribedToTopic.Code
			case m.offsets.get(req.GroupId, tp) != nil || m.offsets.unstable(req.GroupId, tp):
				out.dropOffset(req.GroupId, tp)
			}
			tr.Partitions = append(tr.Partitions, pr)
		}
		resp.Topics = append(resp.Topics, tr)
	}
	return nil
}
