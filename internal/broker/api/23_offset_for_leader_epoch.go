package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// OffsetForLeaderEpoch (key 23), versions 2 to 4.
//
// Tells where a leader epoch ended, so that a consumer finds out whether what it has read was
// truncated since (KIP-320). An epoch that this log does not know gives epoch and offset -1.
var _ = register(kmsg.KeyOffsetForLeaderEpoch, (*Broker).offsetForLeaderEpoch)

func (b *Broker) offsetForLeaderEpoch(c *Call, req *kmsg.OffsetForLeaderEpochRequest) {
	resp := kmsg.NewOffsetForLeaderEpochResponse()
	var refused []kmsg.OffsetForLeaderEpochResponseOffsetForLeaderTopicResult
	all := c.seesCluster(auth.ClusterAction)
	for i := range req.Topics {
		in := &req.Topics[i]
		out := kmsg.OffsetForLeaderEpochResponseOffsetForLeaderTopicResult{Topic: in.Topic}
		if !all && !c.mayTopic(auth.Describe, in.Topic) {
			for _, p := range in.Partitions {
				res := kmsg.NewOffsetForLeaderEpochResponseEpochEndOffset()
				res.Partition, res.ErrorCode = p.Partition, kerr.TopicAuthorizationFailed.Code
				out.Partitions = append(out.Partitions, res)
			}
			refused = append(refused, out)
			continue
		}
		topic := b.topic(in.Topic)
		for _, p := range in.Partitions {
			out.Partitions = append(out.Partitions, epochEnd(c, topic, p))
		}
		resp.Topics = append(resp.Topics, out)
	}
	resp.Topics = append(resp.Topics, refused...)
	c.Reply(&resp)
}

func epochEnd(c *Call, topic *partition.Topic, in kmsg.OffsetForLeaderEpochRequestOffsetForLeaderPartition,
) kmsg.OffsetForLeaderEpochResponseEpochEndOffset {
	res := kmsg.NewOffsetForLeaderEpochResponseEpochEndOffset()
	res.Partition = in.Partition
	p, err := c.broker.partition(topic, in.Partition)
	if err == nil {
		err = p.CheckLeader(in.CurrentLeaderEpoch)
	}
	if err != nil {
		res.ErrorCode = c.code(err)
		return res
	}
	res.LeaderEpoch, res.EndOffset = p.Log().EpochEnd(in.LeaderEpoch)
	return res
}
