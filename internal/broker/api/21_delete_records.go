package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// DeleteRecords (key 21), versions 0 to 2.
//
// Moves the start of a partition up to an offset, -1 meaning the high watermark. An offset below the
// start changes nothing and is no error. Topics that only compact refuse it, and so do internal ones.
var _ = register(kmsg.KeyDeleteRecords, (*Broker).deleteRecords)

func (b *Broker) deleteRecords(c *Call, req *kmsg.DeleteRecordsRequest) {
	resp := kmsg.NewDeleteRecordsResponse()
	for i := range req.Topics {
		in := &req.Topics[i]
		if len(in.Partitions) == 0 {
			continue
		}
		out := kmsg.DeleteRecordsResponseDeleteRecordsTopicResult{Name: in.Name}
		topic := b.Parts.Topic(in.Name)
		for _, p := range in.Partitions {
			low, err := deleteBefore(topic, in.Name, p)
			out.Partitions = append(out.Partitions, kmsg.DeleteRecordsResponseDeleteRecordsPartitionResult{
				PartitionIndex: p.PartitionIndex, LowWatermark: low, ErrorCode: c.code(err),
			})
		}
		resp.Topics = append(resp.Topics, out)
	}
	c.Reply(&resp)
}

func deleteBefore(topic *partition.Topic, name string, in kmsg.DeleteRecordsRequestDeleteRecordsPartition,
) (low int64, err error) {
	if meta.IsInternal(name) {
		return -1, kerr.InvalidTopicException
	}
	p, err := topic.Partition(in.PartitionIndex)
	if err != nil {
		return -1, err
	}
	if cfg := p.Log().Config(); cfg.Compact && !cfg.Delete {
		return -1, kerr.PolicyViolation
	}
	return p.DeleteRecords(in.Offset)
}
