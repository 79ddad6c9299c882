package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/balance"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// AlterPartitionReassignments moves partitions to other replicas: those that are new are added, and
// when all of them are in sync those that are to go are dropped (partitionChange). Null replicas
// cancel. Where we differ from Kafka 4.3.1, it ends with other replicas than were asked for, or never:
//   - Of a partition that is named more than once the last counts. Kafka writes the records of all, each worked out from what is now.
//   - One that replaces another and adds nothing, or drops nothing, takes over nothing that it does not want. In Kafka the first's
//     replicas to add stay, also those that are to go now, for whose joining it then waits, and its replicas to drop go.
func (m *Machine) AlterPartitionReassignments(
	req *kmsg.AlterPartitionReassignmentsRequest,
) ([]kmsg.Record, *kmsg.AlterPartitionReassignmentsResponse) {
	resp := kmsg.NewAlterPartitionReassignmentsResponse()
	resp.ErrorMessage, resp.AllowReplicationFactorChange = nil, req.AllowReplicationFactorChange
	var all []kmsg.Record
	type name struct {
		topic string
		index int32
	}
	at := map[name]int{}
	for i := range req.Topics {
		t := &req.Topics[i]
		result := kmsg.AlterPartitionReassignmentsResponseReassignableTopicResponse{Name: t.Name}
		for j := range t.Partitions {
			record, err := m.reassign(t.Name, &t.Partitions[j], req.AllowReplicationFactorChange)
			n := name{t.Name, t.Partitions[j].PartitionIndex}
			if before, again := at[n]; again && err == nil {
				all[before] = nil
			}
			if record != nil {
				at[n] = len(all)
				all = append(all, record)
				m.movedByHand(t.Name, t.Partitions[j].PartitionIndex)
			}
			pr := kmsg.AlterPartitionReassignmentsResponseReassignablePartitionResponse{
				PartitionIndex: t.Partitions[j].PartitionIndex,
			}
			if pr.ErrorCode, pr.ErrorMessage = Code(err); err == error(kerr.NoReassignmentInProgress) {
				pr.ErrorMessage = nil // to cancel where there is nothing to cancel needs no words
			}
			result.Partitions = append(result.Partitions, pr)
		}
		resp.Responses = append(resp.Responses, result)
	}
	return slices.DeleteFunc(all, func(r kmsg.Record) bool { return r == nil }), &resp
}

// movedByHand tells that a partition is moved because somebody asked for it.
func (m *Machine) movedByHand(topic string, index int32) {
	if t := m.image().Topic(topic); t != nil && m.cfg.MovedByHand != nil {
		m.cfg.MovedByHand(balance.Key{Topic: t.ID, Partition: index})
	}
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
		return m.cancelReassignment(t, to.PartitionIndex)
	}
	if err := m.checkAssignment(to.Replicas, -1); err != nil {
		return nil, err
	}
	// The number that must stay is that of where a reassignment under way leads (KIP-860).
	if target := len(without(p.Replicas, p.Removing...)); !otherFactor && len(to.Replicas) != target {
		return nil, refuse(kerr.InvalidReplicationFactor, "The replication factor is changed from %d to %d",
			target, len(to.Replicas))
	}
	// Of one under way all replicas count as those of before: the new one does not wait for them, but where it adds none itself.
	c := m.change(t, to.PartitionIndex)
	c.adding, c.removing = without(to.Replicas, p.Replicas...), without(p.Replicas, to.Replicas...)
	if len(c.adding) == 0 {
		c.adding = without(p.Adding, c.removing...)
	}
	slices.Sort(c.adding)
	slices.Sort(c.removing)
	c.replicas = append(slices.Clone(to.Replicas), c.removing...)
	return recordOrNil(c)
}

func recordOrNil(c *partitionChange) (kmsg.Record, error) {
	if r := c.record(); r != nil {
		return r, nil
	}
	return nil, nil
}

// cancelReassignment takes back the replicas that were being added.
func (m *Machine) cancelReassignment(t *meta.Topic, index int32) (kmsg.Record, error) {
	p := t.Partitions[index]
	if !p.Moving() {
		return nil, kerr.NoReassignmentInProgress
	}
	c := m.change(t, index)
	c.replicas, c.isr, c.adding, c.removing = without(p.Replicas, p.Adding...), without(p.ISR, p.Adding...), nil, nil
	if len(c.isr) == 0 && !m.uncleanAllowed(t.Name) {
		return nil, refuse(kerr.InvalidReplicaAssignment, "Unable to revert partition assignment for %s:%d because it would "+
			"require an unclean leader election.", t.Name, index)
	}
	if m.uncleanAllowed(t.Name) {
		c.election = electOrUnclean
	}
	if id, _ := c.choose(); id == noLeader && len(c.isr) == 0 {
		// Kafka takes the only replica away that is there, and has it in the in-sync set for ever.
		return nil, refuse(kerr.InvalidReplicaAssignment, "The reassignment of %s:%d is not taken back: all that are in sync are new "+
			"replicas %v, and none of those before it, %v, is there to lead. Ask again when one is.", t.Name, index, p.ISR, c.replicas)
	}
	return recordOrNil(c)
}
