package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// DescribeProducers (key 61), version 0.
//
// Lists the producers that a replica of a partition remembers, idempotent and transactional. A coordinator epoch
// of -1 says that no marker was written for the producer yet.
var _ = register(kmsg.KeyDescribeProducers, (*Broker).describeProducers)

func (b *Broker) describeProducers(c *Call, req *kmsg.DescribeProducersRequest) {
	resp := kmsg.NewDescribeProducersResponse()
	for _, in := range req.Topics {
		out := kmsg.DescribeProducersResponseTopicResponse{Name: in.Name}
		topic := b.topic(in.Name)
		err := controller.CheckTopicName(in.Name)
		switch {
		case err != nil:
			err = refuse(kerr.InvalidTopicException, "%v", err)
		case !c.mayTopic(auth.Read, in.Name):
			topic, err = nil, unauthorized(auth.Topic)
		case topic == nil:
			err = refuse(kerr.UnknownTopicOrPartition, "topic %s does not exist", in.Name)
		}
		for _, i := range in.PartitionIndexes {
			res := producersOf(c, topic, i)
			if err != nil {
				res.ErrorCode, res.ErrorMessage = c.code(err), message(err)
			}
			out.Partitions = append(out.Partitions, res)
		}
		resp.Topics = append(resp.Topics, out)
	}
	c.Reply(&resp)
}

func producersOf(c *Call, topic *partition.Topic, i int32) kmsg.DescribeProducersResponsePartitionResponse {
	res := kmsg.NewDescribeProducersResponsePartitionResponse()
	res.PartitionIndex = i
	p, err := c.broker.partition(topic, i)
	if err == nil {
		err = p.CheckEpoch(-1) // a follower remembers them too
	}
	if err != nil {
		res.ErrorCode = c.code(err)
		return res
	}
	for _, s := range p.Log().Producers() {
		res.ActiveProducers = append(res.ActiveProducers, kmsg.DescribeProducersResponseProducerState{
			ProducerId: s.ProducerID, ProducerEpoch: int32(s.ProducerEpoch), LastSequence: s.LastSequence,
			LastTimestamp: s.LastTimestamp, CoordinatorEpoch: s.CoordinatorEpoch, CurrentTxnStartOffset: s.TxnStartOffset,
		})
	}
	return res
}
