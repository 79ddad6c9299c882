package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// OffsetDelete (key 47), version 0.
//
// Deletes offsets of partitions that exist, of topics that no member of the group reads.
var _ = register(kmsg.KeyOffsetDelete, (*Broker).offsetDelete)

type (
	deleteTopic           = kmsg.OffsetDeleteRequestOffsetDeleteRequestTopic
	deletePartition       = kmsg.OffsetDeleteRequestOffsetDeleteRequestPartition
	deleteTopicResult     = kmsg.OffsetDeleteResponseOffsetDeleteResponseTopic
	deletePartitionResult = kmsg.OffsetDeleteResponseOffsetDeleteResponsePartition
)

func (b *Broker) offsetDelete(c *Call, req *kmsg.OffsetDeleteRequest) {
	fail := func(err error) {
		resp := kmsg.NewOffsetDeleteResponse()
		resp.ErrorCode = c.code(err)
		c.Reply(&resp)
	}
	if !c.mayGroup(auth.Delete, req.GroupId) {
		fail(kerr.GroupAuthorizationFailed)
		return
	}
	known, unknown := b.splitDeletes(c, req.Topics)
	req.Topics = known
	if err := invalidGroupID(req.GroupId); err != nil {
		fail(err)
		return
	}
	b.onGroup(req.GroupId, func(m *group.Machine, now time.Time) coord.Result {
		return m.OffsetDelete(now, req, func(r *kmsg.OffsetDeleteResponse) {
			if r.ErrorCode == 0 {
				r.Topics = mergeDeletes(unknown, r.Topics)
			}
			c.Reply(r)
		})
	}, fail)
}

// splitDeletes answers for partitions that do not exist or are not the client's to read, and keeps the others.
func (b *Broker) splitDeletes(c *Call, topics []deleteTopic) (known []deleteTopic, unknown []deleteTopicResult) {
	for _, t := range topics {
		var have []deletePartition
		var missing []deletePartitionResult
		may := c.mayTopic(auth.Read, t.Name)
		for _, p := range t.Partitions {
			if !may {
				missing = append(missing, deletePartitionResult{
					PartitionIndex: p.PartitionIndex, ErrorCode: kerr.TopicAuthorizationFailed.Code,
				})
				continue
			}
			if b.partitionExists(base.TopicPartition{Topic: t.Name, Partition: p.PartitionIndex}) {
				have = append(have, p)
				continue
			}
			missing = append(missing, deletePartitionResult{
				PartitionIndex: p.PartitionIndex, ErrorCode: kerr.UnknownTopicOrPartition.Code,
			})
		}
		if len(have) > 0 {
			known = append(known, deleteTopic{Name: t.Name, Partitions: have})
		}
		if len(missing) > 0 {
			unknown = append(unknown, deleteTopicResult{Name: t.Name, Partitions: missing})
		}
	}
	return known, unknown
}

// mergeDeletes puts two lists together, each topic once.
func mergeDeletes(a, b []deleteTopicResult) []deleteTopicResult {
	at := map[string]int{}
	for i := range a {
		at[a[i].Name] = i
	}
	for _, t := range b {
		if i, ok := at[t.Name]; ok {
			a[i].Partitions = append(a[i].Partitions, t.Partitions...)
		} else {
			a = append(a, t)
		}
	}
	return a
}
