package api

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// DescribeTopicPartitions (key 75), version 0 (KIP-966).
//
// Topics come in the order of their names, no more partitions than the client's and the broker's
// limit, and a cursor where to go on. A cursor must name one of the topics asked for. No topics mean
// all.
var _ = register(kmsg.KeyDescribeTopicPartitions, (*Broker).describeTopicPartitions)

func (b *Broker) describeTopicPartitions(c *Call, req *kmsg.DescribeTopicPartitionsRequest) {
	resp := kmsg.NewDescribeTopicPartitionsResponse()
	im := b.Image()
	names, err := describedTopics(im, req)
	if err != nil {
		for _, t := range req.Topics {
			out := kmsg.NewDescribeTopicPartitionsResponseDescribeTopicPartitionsResponseTopic()
			out.Name, out.ErrorCode = new(t.Name), c.code(err)
			resp.Topics = append(resp.Topics, out)
		}
		c.Reply(&resp)
		return
	}
	names, refused := splitAuthorized(names, func(name string) bool { return c.mayTopic(auth.Describe, name) })
	if len(req.Topics) == 0 {
		refused = nil // nobody asked for them
	}
	limit := b.Admin.Conf().Int("max.request.partition.size.limit")
	left := int(max(min(limit, req.ResponsePartitionLimit), 1))
	for _, name := range names {
		if left == 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseCursor{TopicName: name}
			break
		}
		from := int32(0)
		if req.Cursor != nil && req.Cursor.TopicName == name {
			from = req.Cursor.PartitionIndex
		}
		out, next := b.describePartitions(c, im, name, from, left)
		resp.Topics = append(resp.Topics, out)
		if next >= 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseCursor{TopicName: name, PartitionIndex: next}
			break
		}
		left -= len(out.Partitions)
	}
	for _, name := range refused {
		out := kmsg.NewDescribeTopicPartitionsResponseDescribeTopicPartitionsResponseTopic()
		out.Name, out.ErrorCode = &name, kerr.TopicAuthorizationFailed.Code
		resp.Topics = append(resp.Topics, out)
	}
	c.Reply(&resp)
}

// describedTopics are the topics asked for from the cursor on, sorted, each once.
func describedTopics(im *meta.Image, req *kmsg.DescribeTopicPartitionsRequest) ([]string, error) {
	var names []string
	if len(req.Topics) == 0 {
		names = im.TopicNames()
	}
	for _, t := range req.Topics {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if req.Cursor == nil {
		return names, nil
	}
	at, found := slices.BinarySearch(names, req.Cursor.TopicName)
	if !found && len(req.Topics) > 0 {
		return nil, refuse(kerr.InvalidRequest, "cursor topic %s is not among the topics asked for", req.Cursor.TopicName)
	}
	if req.Cursor.PartitionIndex < 0 {
		return nil, refuse(kerr.InvalidRequest, "cursor partition %d: want 0 or more", req.Cursor.PartitionIndex)
	}
	return names[at:], nil
}

// describePartitions describes at most limit partitions of a topic; next is the one to go on with, or
// -1.
func (b *Broker) describePartitions(c *Call, im *meta.Image, name string, from int32, limit int,
) (out kmsg.DescribeTopicPartitionsResponseDescribeTopicPartitionsResponseTopic, next int32) {
	out = kmsg.NewDescribeTopicPartitionsResponseDescribeTopicPartitionsResponseTopic()
	out.Name, out.IsInternal = &name, meta.IsInternal(name)
	out.TopicAuthorizedOperations = c.authorizedOperations(auth.Topic, name)
	t := im.Topic(name)
	if t == nil {
		out.ErrorCode = kerr.UnknownTopicOrPartition.Code
		if controller.CheckTopicName(name) != nil {
			out.ErrorCode = kerr.InvalidTopicException.Code
		}
		return out, -1
	}
	out.TopicId = t.ID
	end := min(int(from)+limit, len(t.Partitions))
	for i := int(from); i < end; i++ {
		out.Partitions = append(out.Partitions, b.describePartition(c, im, t, int32(i)))
	}
	if end < len(t.Partitions) {
		return out, int32(end)
	}
	return out, -1
}

func (b *Broker) describePartition(c *Call, im *meta.Image, t *meta.Topic, i int32,
) kmsg.DescribeTopicPartitionsResponseDescribeTopicPartitionsResponsePartition {
	p := t.Partitions[i]
	res := kmsg.NewDescribeTopicPartitionsResponseDescribeTopicPartitionsResponsePartition()
	res.PartitionIndex, res.LeaderId, res.LeaderEpoch = i, p.Leader, p.LeaderEpoch
	res.ReplicaNodes, res.IsrNodes = p.Replicas, p.ISR
	res.EligibleLeaderReplicas, res.LastKnownElr = orEmpty(p.ELR), orEmpty(p.LastELR)
	res.OfflineReplicas = b.offlineReplicas(c.Conn, t.Name, i, p)
	if p.Leader == base.NoBroker || len(res.OfflineReplicas) == len(p.Replicas) || p.Leader != b.NodeID &&
		!im.Broker(p.Leader).Reachable(c.Conn.Listener) {
		res.LeaderId = base.NoBroker // that is all; in Metadata it is an error
	}
	return res
}

func orEmpty(s []int32) []int32 {
	if s == nil {
		return []int32{}
	}
	return s
}
