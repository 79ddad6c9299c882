package controller

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// The election types of ElectLeaders.
const (
	electPreferred int8 = 0
	electUnclean   int8 = 1
)

// recovering marks a partition whose leader may miss records that others had.
const recovering int8 = 1

// ElectLeaders gives partitions the leader asked for: the first replica, or any that is alive.
func (m *Machine) ElectLeaders(req *kmsg.ElectLeadersRequest) ([]kmsg.Record, *kmsg.ElectLeadersResponse) {
	resp := kmsg.NewElectLeadersResponse()
	if req.ElectionType != electPreferred && req.ElectionType != electUnclean {
		resp.ErrorCode = kerr.InvalidRequest.Code
		return nil, &resp
	}
	everything := req.TopicPartitions == nil
	asked := req.TopicPartitions
	if everything {
		asked = m.allPartitions()
	}
	var all []kmsg.Record
	for _, t := range asked {
		result := kmsg.ElectLeadersResponseReplicaElectionResult{Topic: t.Topic}
		for _, p := range t.Partitions {
			record, err := m.electLeader(t.Topic, p, req.ElectionType)
			if everything && err == kerr.ElectionNotNeeded {
				continue // of all partitions, only those with news are answered
			}
			if record != nil {
				all = append(all, record)
			}
			pr := kmsg.ElectLeadersResponsePartitionResult{PartitionId: p}
			pr.ErrorCode, pr.ErrorMessage = Code(err)
			result.PartitionResult = append(result.PartitionResult, pr)
		}
		resp.ReplicaElectionResults = append(resp.ReplicaElectionResults, result)
	}
	return all, &resp
}

func (m *Machine) allPartitions() []kmsg.ElectLeadersRequestTopicPartitions {
	var out []kmsg.ElectLeadersRequestTopicPartitions
	for _, name := range m.image().TopicNames() {
		t := kmsg.ElectLeadersRequestTopicPartitions{Topic: name}
		for i := range m.image().Topic(name).Partitions {
			t.Partitions = append(t.Partitions, int32(i))
		}
		out = append(out, t)
	}
	return out
}

// partition finds a partition, or nil.
func (m *Machine) partition(topic string, index int32) (*meta.Topic, *meta.Partition) {
	t := m.image().Topic(topic)
	if t == nil || index < 0 || int(index) >= len(t.Partitions) {
		return t, nil
	}
	return t, t.Partitions[index]
}

func (m *Machine) electLeader(topic string, index int32, kind int8) (kmsg.Record, error) {
	t, p := m.partition(topic, index)
	switch {
	case t == nil:
		return nil, refuse(kerr.UnknownTopicOrPartition, "No such topic as %s", topic)
	case p == nil:
		return nil, refuse(kerr.UnknownTopicOrPartition, "No such partition as %s-%d", topic, index)
	case kind == electPreferred && p.Leader == p.Replicas[0], kind == electUnclean && p.Leader >= 0:
		return nil, kerr.ElectionNotNeeded
	}
	c := m.change(t, index)
	none := kerr.PreferredLeaderNotAvailable
	if c.election = electFirst; kind == electUnclean {
		c.election, none = electOrUnclean, kerr.EligibleLeadersNotAvailable
	}
	if r := c.record(); r != nil {
		return r, nil
	}
	return nil, none
}
