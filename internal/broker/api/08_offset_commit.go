package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// OffsetCommit (key 8), versions 2 to 10.
//
// Stores a group's offsets. Partitions that do not exist are answered here; the others go to the
// group's shard together, which accepts or refuses them by the member's generation.
//
//	v5   the retention time is gone
//	v9   member epochs of consumer groups (KIP-848)
//	v10  topic ids instead of names
var _ = register(kmsg.KeyOffsetCommit, (*Broker).offsetCommit)

type (
	commitTopic           = kmsg.OffsetCommitRequestOffsetCommitRequestTopic
	commitPartition       = kmsg.OffsetCommitRequestOffsetCommitRequestPartition
	commitTopicResult     = kmsg.OffsetCommitResponseOffsetCommitResponseTopic
	commitPartitionResult = kmsg.OffsetCommitResponseOffsetCommitResponsePartition
)

// commitIDVersion is the first version whose topics are ids.
const commitIDVersion = 10

// commitAnswer is the answer under way.
type commitAnswer struct {
	call *Call
	resp kmsg.OffsetCommitResponse
}

func (b *Broker) offsetCommit(c *Call, req *kmsg.OffsetCommitRequest) {
	a := &commitAnswer{call: c, resp: kmsg.NewOffsetCommitResponse()}
	a.resp.Topics = []commitTopicResult{}
	if !c.mayGroup(auth.Read, req.GroupId) {
		a.fail(req.Topics, kerr.GroupAuthorizationFailed)
		return
	}
	im := b.Image()
	known := make([]commitTopic, 0, len(req.Topics))
	for _, t := range req.Topics {
		if found := a.resolve(im, t); len(found.Partitions) > 0 {
			known = append(known, found)
		}
	}
	if len(known) == 0 {
		c.Reply(&a.resp)
		return
	}
	req.Topics = known
	b.onGroup(req.GroupId, func(m *group.Machine, now time.Time) coord.Result {
		return m.OffsetCommit(now, c.groupContext(), req, func(r *kmsg.OffsetCommitResponse) { a.finish(r.Topics) })
	}, func(err error) { a.fail(known, err) })
}

// resolve finds the topic and splits off partitions that do not exist. What is left may be committed.
func (a *commitAnswer) resolve(im *meta.Image, t commitTopic) commitTopic {
	var topic *meta.Topic
	missing := kerr.UnknownTopicOrPartition
	if a.call.Version >= commitIDVersion {
		topic, missing = im.TopicByID(t.TopicId), kerr.UnknownTopicID
	} else {
		topic = im.Topic(t.Name)
	}
	name := t.Name
	if topic != nil {
		name = topic.Name
	}
	if (topic != nil || a.call.Version < commitIDVersion) && !a.call.mayTopic(auth.Read, name) {
		a.add(t, t.Partitions, kerr.TopicAuthorizationFailed)
		return commitTopic{}
	}
	if topic == nil {
		a.add(t, t.Partitions, missing)
		return commitTopic{}
	}
	t.Name, t.TopicId = topic.Name, topic.ID
	var have, not []commitPartition
	for _, p := range t.Partitions {
		if p.PartitionIndex >= 0 && int(p.PartitionIndex) < len(topic.Partitions) {
			have = append(have, p)
		} else {
			not = append(not, p)
		}
	}
	if len(not) > 0 {
		a.add(t, not, kerr.UnknownTopicOrPartition)
	}
	t.Partitions = have
	return t
}

func (a *commitAnswer) add(t commitTopic, partitions []commitPartition, err error) {
	r := commitTopicResult{Name: t.Name, TopicId: t.TopicId}
	for _, p := range partitions {
		r.Partitions = append(r.Partitions, commitPartitionResult{
			PartitionIndex: p.PartitionIndex, ErrorCode: a.call.code(err),
		})
	}
	a.resp.Topics = append(a.resp.Topics, r)
}

func (a *commitAnswer) fail(topics []commitTopic, err error) {
	n := len(a.resp.Topics)
	for _, t := range topics {
		a.add(t, t.Partitions, err)
	}
	failed := a.resp.Topics[n:]
	a.resp.Topics = a.resp.Topics[:n:n]
	a.finish(failed)
}

// finish puts the shard's answer next to ours: each topic once.
func (a *commitAnswer) finish(topics []commitTopicResult) {
	key := func(t *commitTopicResult) string {
		if a.call.Version >= commitIDVersion {
			return t.TopicId.String()
		}
		return t.Name
	}
	at := map[string]int{}
	for i := range a.resp.Topics {
		at[key(&a.resp.Topics[i])] = i
	}
	for _, t := range topics {
		if i, ok := at[key(&t)]; ok {
			a.resp.Topics[i].Partitions = append(a.resp.Topics[i].Partitions, t.Partitions...)
		} else {
			a.resp.Topics = append(a.resp.Topics, t)
		}
	}
	a.call.Reply(&a.resp)
}
