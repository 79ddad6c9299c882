package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// commitEpochVersion is the first OffsetCommit version that members with the consumer protocol may
// use: earlier ones cannot carry its errors.
const commitEpochVersion = 9

// committing is who commits, in either kind of request.
type committing struct {
	group    string
	member   string
	instance *string
	epoch    int32 // generation or member epoch
	version  int16
	txn      bool
}

// partitionCheck says whether a member may commit a partition. Nil means any.
type partitionCheck func(id base.TopicID, tp base.TopicPartition) *failure

// OffsetCommit stores offsets. Topic ids are filled in and unknown topics left out by the caller.
func (m *Machine) OffsetCommit(now time.Time, c Context, req *kmsg.OffsetCommitRequest,
	answer func(*kmsg.OffsetCommitResponse),
) coord.Result {
	m.begin(now)
	var out output
	resp := &kmsg.OffsetCommitResponse{}
	f := m.commitOffsets(c, req, resp, &out)
	if f != nil {
		out = output{}
	}
	out.then(func(err error) {
		if err != nil {
			f = appendFailure(err)
		}
		if f != nil {
			resp = commitFailed(req, f)
		}
		answer(resp)
	})
	return out.result()
}

func (m *Machine) commitOffsets(c Context, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse,
	out *output,
) *failure {
	check, f := m.checkCommit(committing{
		group: req.GroupId, member: req.MemberId, instance: req.GroupInstanceId,
		epoch: req.GenerationIdOrMemberEpoch, version: c.Version,
	})
	if f != nil {
		return f
	}
	if g := m.classic(req.GroupId); g != nil && (g.state == classicStable || g.state == classicPreparing) {
		if member := g.member(req.MemberId); member != nil {
			m.startSession(g, member, session(member))
		}
	}
	expireAt := base.NoTimestamp
	if req.RetentionTimeMs != -1 {
		expireAt = m.nowMs() + req.RetentionTimeMs
	}
	for _, t := range req.Topics {
		tr := kmsg.OffsetCommitResponseOffsetCommitResponseTopic{Name: t.Name, TopicId: t.TopicId}
		for _, p := range t.Partitions {
			tp := base.TopicPartition{Topic: t.Name, Partition: p.PartitionIndex}
			code, f := m.commitOne(req.GroupId, tp, check, p.CommittedMetadata, &commit{
				offset: p.CommittedOffset, leaderEpoch: p.CommittedLeaderEpoch,
				at: m.nowMs(), expireAt: expireAt, topicID: t.TopicId,
			}, out)
			if f != nil {
				return f
			}
			tr.Partitions = append(tr.Partitions, kmsg.OffsetCommitResponseOffsetCommitResponsePartition{
				PartitionIndex: p.PartitionIndex, ErrorCode: code,
			})
		}
		resp.Topics = append(resp.Topics, tr)
	}
	return nil
}

// commitOne stores one offset. A failure is the whole request's, a code the partition's own.
func (m *Machine) commitOne(group string, tp base.TopicPartition, check partitionCheck, metadata *string, c *commit,
	out *output,
) (code int16, f *failure) {
	if metadata != nil {
		if javaLength(*metadata) > m.opts.Config.OffsetMetadataMaxBytes {
			return kerr.OffsetMetadataTooLarge.Code, nil
		}
		c.metadata = *metadata
	}
	if check != nil {
		if f := check(c.topicID, tp); f != nil {
			return 0, f
		}
	}
	out.putOffset(group, tp, c)
	return 0, nil
}

func commitFailed(req *kmsg.OffsetCommitRequest, f *failure) *kmsg.OffsetCommitResponse {
	resp := &kmsg.OffsetCommitResponse{}
	for _, t := range req.Topics {
		tr := kmsg.OffsetCommitResponseOffsetCommitResponseTopic{Name: t.Name, TopicId: t.TopicId}
		for _, p := range t.Partitions {
			tr.Partitions = append(tr.Partitions, kmsg.OffsetCommitResponseOffsetCommitResponsePartition{
				PartitionIndex: p.PartitionIndex, ErrorCode: f.code(),
			})
		}
		resp.Topics = append(resp.Topics, tr)
	}
	return resp
}

// TxnOffsetCommit stores offsets that become visible when the producer's transaction commits. The
// caller has made sure that the transaction is open and includes this shard's partition.
func (m *Machine) TxnOffsetCommit(now time.Time, c Context, req *kmsg.TxnOffsetCommitRequest,
	answer func(*kmsg.TxnOffsetCommitResponse),
) coord.Result {
	m.begin(now)
	var out output
	resp := &kmsg.TxnOffsetCommitResponse{}
	f := m.commitTxnOffsets(c, req, resp, &out)
	if f != nil {
		out = output{}
	}
	out.then(func(err error) {
		if err != nil {
			f = appendFailure(err)
		}
		if f != nil {
			resp = txnCommitFailed(req, f)
		}
		answer(resp)
	})
	r := out.result()
	if len(r.Records) > 0 {
		r.Txn = &coord.Txn{ProducerID: req.ProducerId, ProducerEpoch: req.ProducerEpoch}
	}
	return r
}

func (m *Machine) commitTxnOffsets(c Context, req *kmsg.TxnOffsetCommitRequest, resp *kmsg.TxnOffsetCommitResponse,
	out *output,
) *failure {
	if req.GroupId == "" {
		return fail(kerr.InvalidGroupID)
	}
	check, f := m.checkCommit(committing{
		group: req.GroupId, member: req.MemberId, instance: req.GroupInstanceId,
		epoch: req.GenerationId, version: c.Version, txn: true,
	})
	if f != nil {
		return asGeneration(f)
	}
	for _, t := range req.Topics {
		id := base.TopicID{}
		if topic, ok := m.topics.ByName(t.Name); ok {
			id = topic.ID
		} else if check != nil {
			return fail(kerr.IllegalGeneration)
		}
		tr := kmsg.TxnOffsetCommitResponseTxnOffsetCommitResponseTopic{Name: t.Name}
		for _, p := range t.Partitions {
			tp := base.TopicPartition{Topic: t.Name, Partition: p.PartitionIndex}
			code, f := m.commitOne(req.GroupId, tp, asTxnCheck(check, id), p.CommittedMetadata, &commit{
				offset: p.CommittedOffset, leaderEpoch: p.CommittedLeaderEpoch,
				at: m.nowMs(), expireAt: base.NoTimestamp,
			}, out)
			if f != nil {
				return asGeneration(f)
			}
			tr.Partitions = append(tr.Partitions, kmsg.TxnOffsetCommitResponseTxnOffsetCommitResponsePartition{
				PartitionIndex: p.PartitionIndex, ErrorCode: code,
			})
		}
		resp.Topics = append(resp.Topics, tr)
	}
	return nil
}

// asTxnCheck gives a check the topic id that transactional commits do not store.
func asTxnCheck(check partitionCheck, id base.TopicID) partitionCheck {
	if check == nil {
		return nil
	}
	return func(_ base.TopicID, tp base.TopicPartition) *failure { return check(id, tp) }
}

// asGeneration puts an error about member epochs into words that transactional producers know.
func asGeneration(f *failure) *failure {
	if f.kerr == kerr.StaleMemberEpoch {
		return fail(kerr.IllegalGeneration)
	}
	return f
}

func txnCommitFailed(req *kmsg.TxnOffsetCommitRequest, f *failure) *kmsg.TxnOffsetCommitResponse {
	resp := &kmsg.TxnOffsetCommitResponse{}
	for _, t := range req.Topics {
		tr := kmsg.TxnOffsetCommitResponseTxnOffsetCommitResponseTopic{Name: t.Name}
		for _, p := range t.Partitions {
			tr.Partitions = append(tr.Partitions, kmsg.TxnOffsetCommitResponseTxnOffsetCommitResponsePartition{
				PartitionIndex: p.PartitionIndex, ErrorCode: f.code(),
			})
		}
		resp.Topics = append(resp.Topics, tr)
	}
	return resp
}

// checkCommit is who may commit. Anyone may for a group that has no members, and makes it by that.
func (m *Machine) checkCommit(c committing) (partitionCheck, *failure) {
	switch g := m.groups[c.group].(type) {
	case *classicGroup:
		return nil, g.checkCommit(c)
	case *consumerGroup:
		return g.checkCommit(c)
	}
	switch {
	case c.epoch < 0:
		return nil, newClassicGroup(c.group, base.NoTimestamp).checkCommit(c)
	case c.version >= commitEpochVersion && !c.txn:
		return nil, fail(kerr.GroupIDNotFound)
	}
	return nil, fail(kerr.IllegalGeneration)
}

func (g *classicGroup) checkCommit(c committing) *failure {
	switch {
	case c.epoch < 0 && g.empty():
		return nil
	case c.epoch >= 0 || c.member != "" || c.instance != nil:
		if f := g.checkMember(c.member, c.instance); f != nil {
			return f
		}
		if c.epoch != g.generation {
			return fail(kerr.IllegalGeneration)
		}
	case !c.txn && !g.empty():
		return fail(kerr.UnknownMemberID)
	}
	if !c.txn && g.state == classicCompleting {
		// The member may not know its generation yet: it has to join first.
		return fail(kerr.RebalanceInProgress)
	}
	return nil
}

// checkCommit accepts the member's current epoch, and an older one for partitions that the member had
// then and has not lost since (KIP-1251).
func (g *consumerGroup) checkCommit(c committing) (partitionCheck, *failure) {
	if c.epoch < 0 && g.empty() {
		return nil, nil
	}
	if c.txn && c.epoch == -1 && c.member == "" && c.instance == nil { // a producer that does not say
		return nil, nil
	}
	member := g.members[c.member]
	if member == nil {
		return nil, failf(kerr.UnknownMemberID, "member %s is not in group %s", c.member, g.id)
	}
	if !c.txn && member.classic == nil && c.version < commitEpochVersion {
		return nil, fail(kerr.UnsupportedVersion)
	}
	stale := kerr.StaleMemberEpoch
	if member.classic != nil {
		stale = kerr.IllegalGeneration
	}
	switch {
	case c.epoch == member.epoch:
		return nil, nil
	case c.epoch > member.epoch:
		return nil, failf(stale, "member %s is at epoch %d, not %d", member.id, member.epoch, c.epoch)
	}
	return func(id base.TopicID, tp base.TopicPartition) *failure {
		since, ok := member.assigned.get(id, tp.Partition)
		if !ok {
			since, ok = member.revoking.get(id, tp.Partition)
		}
		if !ok || c.epoch < since {
			return failf(stale, "member %s did not have %s at epoch %d", member.id, tp, c.epoch)
		}
		return nil
	}, nil
}
