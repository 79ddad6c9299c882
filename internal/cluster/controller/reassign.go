package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// AlterPartitionReassignments moves partitions to other replicas. With one broker there is nowhere
// to move to: what is left of it is checking, and the order of replicas.
func (m *Machine) AlterPartitionReassignments(
	req *kmsg.AlterPartitionReassignmentsRequest,
) ([]kmsg.Record, *kmsg.AlterPartitionReassignmentsResponse) {
	resp := kmsg.NewAlterPartitionReassignmentsResponse()
	resp.ErrorMessage, resp.AllowReplicationFactorChange = nil, req.AllowReplicationFactorChange
	var all []kmsg.Record
	for i := range req.Topics {
		t := &req.Topics[i]
		result := kmsg.AlterPartitionReassignmentsResponseReassignableTopicResponse{Name: t.Name}
		for j := range t.Partitions {
			record, err := m.reassign(t.Name, &t.Partitions[j], req.AllowReplicationFactorChange)
			if record != nil {
				all = append(all, record)
			}
			pr := kmsg.AlterPartitionReassignmentsResponseReassignablePartitionResponse{
				PartitionIndex: t.Partitions[j].PartitionIndex,
			}
			if pr.ErrorCode, pr.ErrorMessage = Code(err); t.Partitions[j].Replicas == nil && pr.ErrorCode != 3 {
				pr.ErrorMessage = nil // to cancel where there is nothing to cancel needs no words
			}
			result.Partitions = append(result.Partitions, pr)
		}
		resp.Responses = append(resp.Responses, result)
	}
	return all, &resp
}

func (m *Machine) reassign(
	topic string, to *kmsg.AlterPartitionReassignmentsRequestReassignablePartition, otherFactor bool,
) (kmsg.Record, error) {
	t, p := m.partition(topic, to.PartitionIndex)
	switch {
	case t == nil:
		return nil, refuse(kerr.UnknownTopicOrPartition, "Unable to find a topic named %s.", topic)
	case p == nil:
		return nil, refuse(kerr.UnknownTopicOrPartition, "Unable to find partition %s:%d.", topic, to.PartitionIndex)
	case to.Replicas == nil:
		return nil, kerr.NoReassignmentInProgress
	}
	if err := m.checkAssignment(to.Replicas, -1); err != nil {
		return nil, err
	}
	if !otherFactor && len(to.Replicas) != len(p.Replicas) {
		return nil, refuse(kerr.InvalidReplicationFactor, "The replication factor is changed from %d to %d",
			len(p.Replicas), len(to.Replicas))
	}
	if slices.Equal(to.Replicas, p.Replicas) {
		return nil, nil
	}
	return nil, refuse(kerr.InvalidReplicaAssignment,
		"Partition %s:%d is on broker(s) %v: one node has no other replicas to move it to.",
		topic, to.PartitionIndex, p.Replicas)
}
