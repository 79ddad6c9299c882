package api

import (
	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// ListPartitionReassignments (key 46), version 0.
//
// Lists the partitions whose replicas are being added or removed; null topics mean all. Unknown
// topics and partitions that stay where they are are left out.
var _ = register(kmsg.KeyListPartitionReassignments, (*Broker).listPartitionReassignments)

func (b *Broker) listPartitionReassignments(c *Call, req *kmsg.ListPartitionReassignmentsRequest) {
	resp := kmsg.NewListPartitionReassignmentsResponse()
	resp.ErrorMessage = nil
	if err := c.needCluster(auth.Describe); err != nil {
		resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err)
		for _, asked := range req.Topics {
			out := kmsg.ListPartitionReassignmentsResponseOngoingTopicReassignment{Name: asked.Name}
			for _, i := range asked.PartitionIndexes {
				out.Partitions = append(out.Partitions, kmsg.ListPartitionReassignmentsResponseOngoingPartitionReassignment{PartitionIndex: i})
			}
			resp.Topics = append(resp.Topics, out)
		}
		c.Reply(&resp)
		return
	}
	im := b.Image()
	add := func(t *meta.Topic, partitions []int32) {
		out := kmsg.ListPartitionReassignmentsResponseOngoingTopicReassignment{Name: t.Name}
		for _, i := range partitions {
			if p := partitionOf(t, i); p != nil && p.Moving() {
				out.Partitions = append(out.Partitions, kmsg.ListPartitionReassignmentsResponseOngoingPartitionReassignment{
					PartitionIndex: i, Replicas: p.Replicas, AddingReplicas: p.Adding, RemovingReplicas: p.Removing,
				})
			}
		}
		if len(out.Partitions) > 0 {
			resp.Topics = append(resp.Topics, out)
		}
	}
	if req.Topics == nil {
		for _, name := range im.TopicNames() {
			t := im.Topic(name)
			add(t, numbers(len(t.Partitions)))
		}
	}
	for _, asked := range req.Topics {
		if t := im.Topic(asked.Name); t != nil {
			add(t, asked.PartitionIndexes)
		}
	}
	c.Reply(&resp)
}

// partitionOf is a partition of a topic, or nil.
func partitionOf(t *meta.Topic, i int32) *meta.Partition {
	if t == nil || i < 0 || int(i) >= len(t.Partitions) {
		return nil
	}
	return t.Partitions[i]
}

func numbers(n int) []int32 {
	ns := make([]int32, n)
	for i := range ns {
		ns[i] = int32(i)
	}
	return ns
}
