package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// AlterPartition takes in what leaders say of their in-sync sets. A leader that is not the newest,
// or does not know the newest state, changes nothing (KIP-497); who is fenced, stops, or was
// restarted since, does not come in (KIP-841, 903).
func (m *Machine) AlterPartition(
	version int16, req *kmsg.AlterPartitionRequest,
) ([]kmsg.Record, *kmsg.AlterPartitionResponse) {
	resp := kmsg.NewAlterPartitionResponse()
	if err := m.checkEpoch(req.BrokerId, req.BrokerEpoch); err != nil {
		resp.ErrorCode, _ = Code(err)
		return nil, &resp
	}
	var all []kmsg.Record
	changed := map[partitionKey]bool{}
	for i := range req.Topics {
		asked := &req.Topics[i]
		out := kmsg.AlterPartitionResponseTopicData{TopicId: asked.TopicId}
		t := m.image().TopicByID(asked.TopicId)
		for j := range asked.Partitions {
			a := &asked.Partitions[j]
			if version < 3 {
				a.NewIsrWithEpochs = nil
				for _, id := range a.NewIsr {
					a.NewIsrWithEpochs = append(a.NewIsrWithEpochs, kmsg.AlterPartitionRequestBrokerState{BrokerId: id, BrokerEpoch: -1})
				}
			}
			key := partitionKey{asked.TopicId, a.PartitionIndex}
			record, answer := m.alterPartition(req.BrokerId, t, a, changed[key])
			if record != nil {
				all, changed[key] = append(all, record), true
			}
			out.Partitions = append(out.Partitions, answer)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return all, &resp
}

func (m *Machine) alterPartition(
	leader int32, t *meta.Topic, a *kmsg.AlterPartitionRequestPartitionData, again bool,
) (kmsg.Record, kmsg.AlterPartitionResponsePartitionData) {
	out := kmsg.AlterPartitionResponsePartitionData{PartitionIndex: a.PartitionIndex}
	err := m.checkAlterPartition(leader, t, a)
	if err == nil && again {
		err = kerr.InvalidUpdateVersion // the partition's epoch is another since its first mention
	}
	if err != nil {
		out.ErrorCode = err.Code
		return nil, out
	}
	c := m.change(t, a.PartitionIndex)
	c.isr, c.recovery = isrOf(a), a.LeaderRecoveryState
	if m.uncleanAllowed(t.Name) {
		c.election = electOrUnclean
	}
	p := *t.Partitions[a.PartitionIndex]
	record := c.record()
	if record != nil {
		p = meta.Changed(p, record)
		if record.Leader != noLeaderChange && record.Leader != leader {
			out.ErrorCode = kerr.NewLeaderElected.Code
			return record, out
		}
	}
	out.LeaderId, out.LeaderEpoch, out.Isr = p.Leader, p.LeaderEpoch, p.ISR
	out.LeaderRecoveryState, out.PartitionEpoch = p.RecoveryState, p.PartitionEpoch
	if record == nil {
		return nil, out
	}
	return record, out
}

func isrOf(a *kmsg.AlterPartitionRequestPartitionData) []int32 {
	out := make([]int32, len(a.NewIsrWithEpochs))
	for i, b := range a.NewIsrWithEpochs {
		out[i] = b.BrokerId
	}
	return out
}

func (m *Machine) checkAlterPartition(
	leader int32, t *meta.Topic, a *kmsg.AlterPartitionRequestPartitionData,
) *kerr.Error {
	if t == nil {
		return kerr.UnknownTopicID
	}
	if a.PartitionIndex < 0 || int(a.PartitionIndex) >= len(t.Partitions) {
		return kerr.UnknownTopicOrPartition
	}
	p := t.Partitions[a.PartitionIndex]
	isr := isrOf(a)
	switch {
	case a.LeaderEpoch > p.LeaderEpoch, a.PartitionEpoch > p.PartitionEpoch:
		return kerr.NotController // the leader knows more than we do
	case a.LeaderEpoch < p.LeaderEpoch:
		return kerr.FencedLeaderEpoch
	case leader != p.Leader:
		return kerr.InvalidRequest
	case a.PartitionEpoch < p.PartitionEpoch:
		return kerr.InvalidUpdateVersion
	case !validISR(p.Replicas, isr), !slices.Contains(isr, p.Leader):
		return kerr.InvalidRequest
	case a.LeaderRecoveryState != recovered && a.LeaderRecoveryState != recovering:
		return kerr.InvalidRequest
	case a.LeaderRecoveryState == recovering && (len(isr) > 1 || p.RecoveryState == recovered):
		return kerr.InvalidRequest
	}
	for _, s := range a.NewIsrWithEpochs {
		if !m.isActive(s.BrokerId) || s.BrokerEpoch != -1 && m.image().Broker(s.BrokerId).Epoch != s.BrokerEpoch {
			return kerr.IneligibleReplica
		}
	}
	return nil
}

// validISR says whether every member is a replica, and there once.
func validISR(replicas, isr []int32) bool {
	for i, id := range isr {
		if !slices.Contains(replicas, id) || slices.Contains(isr[:i], id) {
			return false
		}
	}
	return len(isr) > 0
}
