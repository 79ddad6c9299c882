package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// placeTopic chooses the replicas of a topic's partitions, or checks those that the client chose.
func (m *Machine) placeTopic(t *kmsg.CreateTopicsRequestCreatableTopic) ([][]int32, error) {
	if len(t.Assignments) > 0 {
		return m.placeByHand(t)
	}
	if t.ReplicationFactor < -1 || t.ReplicationFactor == 0 {
		return nil, refuse(kerr.InvalidReplicationFactor,
			"Replication factor must be larger than 0, or -1 to use the default value.")
	}
	if t.NumPartitions < -1 || t.NumPartitions == 0 {
		return nil, refuse(kerr.InvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	}
	partitions, factor := t.NumPartitions, int32(t.ReplicationFactor)
	if partitions == -1 {
		partitions = m.config().Int("num.partitions")
	}
	if factor == -1 {
		factor = m.config().Int("default.replication.factor")
	}
	return m.place(int(partitions), int(factor))
}

func (m *Machine) placeByHand(t *kmsg.CreateTopicsRequestCreatableTopic) ([][]int32, error) {
	if t.ReplicationFactor != -1 {
		return nil, refuse(kerr.InvalidRequest,
			"A manual partition assignment was specified, but replication factor was not set to -1.")
	}
	if t.NumPartitions != -1 {
		return nil, refuse(kerr.InvalidRequest,
			"A manual partition assignment was specified, but numPartitions was not set to -1.")
	}
	out := make([][]int32, len(t.Assignments))
	factor := -1
	for _, a := range t.Assignments {
		if a.PartitionIndex < 0 || int(a.PartitionIndex) >= len(out) {
			return nil, refuse(kerr.InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
		}
		if out[a.PartitionIndex] != nil {
			return nil, refuse(kerr.InvalidReplicaAssignment,
				"Found multiple manual partition assignments for partition %d", a.PartitionIndex)
		}
		if err := m.checkAssignment(a.BrokerIds, factor); err != nil {
			return nil, err
		}
		factor = len(a.BrokerIds)
		if !slices.ContainsFunc(a.BrokerIds, m.isActive) {
			return nil, refuse(kerr.InvalidReplicaAssignment, "All brokers specified in the manual partition assignment "+
				"for partition %d are fenced or in controlled shutdown.", a.PartitionIndex)
		}
		out[a.PartitionIndex] = slices.Clone(a.BrokerIds)
	}
	return out, nil
}

func (m *Machine) isActive(id int32) bool {
	b := m.image().Broker(id)
	return b != nil && !b.Fenced && !b.InControlledShutdown
}

// checkAssignment checks replicas that a client chose; factor is how many the other partitions
// have, -1 if that does not matter.
func (m *Machine) checkAssignment(replicas []int32, factor int) error {
	if len(replicas) == 0 {
		return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	for i, id := range replicas {
		if m.image().Broker(id) == nil {
			return refuse(kerr.InvalidReplicaAssignment,
				"The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
		if slices.Contains(replicas[:i], id) {
			return refuse(kerr.InvalidReplicaAssignment,
				"The manual partition assignment includes the broker %d more than once.", id)
		}
	}
	if factor >= 0 && len(replicas) != factor {
		return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes a partition with %d "+
			"replica(s), but this is not consistent with previous partitions, which have %d replica(s).",
			len(replicas), factor)
	}
	return nil
}

// newPartition is the record of a partition that begins with its active replicas in sync.
func (m *Machine) newPartition(topic base.TopicID, index int32, replicas []int32) *kmsg.PartitionRecord {
	p := kmsg.NewPartitionRecord()
	p.TopicId, p.PartitionId, p.Replicas = topic, index, replicas
	directories := m.image().Feature(MetadataVersion) >= levelDirectories
	for _, id := range replicas {
		if m.isActive(id) {
			p.Isr = append(p.Isr, id)
		}
		if directories {
			p.Directories = append(p.Directories, m.defaultDir(id))
		}
	}
	p.Leader, p.LeaderEpoch, p.PartitionEpoch = p.Isr[0], 0, 0
	return &p
}

// defaultDir is the directory of a broker that has only one.
func (m *Machine) defaultDir(id int32) base.TopicID {
	if b := m.image().Broker(id); b != nil && len(b.LogDirs) == 1 {
		return b.LogDirs[0]
	}
	return meta.DirUnassigned
}

// CreatePartitions adds partitions to topics.
func (m *Machine) CreatePartitions(
	r Request, req *kmsg.CreatePartitionsRequest,
) ([]kmsg.Record, *kmsg.CreatePartitionsResponse) {
	resp := kmsg.NewCreatePartitionsResponse()
	seen := map[string]int{}
	for i := range req.Topics {
		seen[req.Topics[i].Name]++
	}
	var all []kmsg.Record
	for i := range req.Topics {
		t := &req.Topics[i]
		n := seen[t.Name]
		if n == 0 {
			continue // a copy that was answered
		}
		var records []kmsg.Record
		err := refuse(kerr.InvalidRequest, "Duplicate topic name.")
		switch {
		case n == 1 && !may(r.Growable, t.Name):
			err = kerr.TopicAuthorizationFailed
		case n == 1:
			records, err = m.createPartitions(r, t, len(all))
		}
		seen[t.Name] = 0
		all = append(all, records...)
		result := kmsg.CreatePartitionsResponseCreatePartitionsTopicResult{Name: t.Name}
		if result.ErrorCode, result.ErrorMessage = Code(err); err == error(kerr.UnknownTopicOrPartition) || err == error(kerr.TopicAuthorizationFailed) {
			result.ErrorMessage = nil // the code says it all, as in Kafka
		}
		resp.Results = append(resp.Results, result)
	}
	if req.ValidateOnly {
		all = nil
	}
	return all, &resp
}

func (m *Machine) createPartitions(
	r Request, t *kmsg.CreatePartitionsRequestCreatePartitionsTopic, before int,
) ([]kmsg.Record, error) {
	topic := m.image().Topic(t.Name)
	if topic == nil {
		return nil, kerr.UnknownTopicOrPartition
	}
	has := int32(len(topic.Partitions))
	switch {
	case t.Count == has:
		return nil, refuse(kerr.InvalidPartitions, "Topic already has %d partition(s).", has)
	case t.Count < has:
		return nil, refuse(kerr.InvalidPartitions, "The topic %s currently has %d partition(s); %d would not be an increase.",
			t.Name, has, t.Count)
	}
	more := int(t.Count - has)
	if before+more > MaxRecordsPerOp {
		return nil, refuse(kerr.PolicyViolation,
			"Excessively large number of partitions per request: at most %d are allowed.", MaxRecordsPerOp)
	}
	if t.Assignments != nil && len(t.Assignments) != more {
		return nil, refuse(kerr.InvalidReplicaAssignment,
			"Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", more, len(t.Assignments))
	}
	if err := r.charge(more); err != nil {
		return nil, err
	}
	placed, err := m.placeMore(topic, t, more)
	if err != nil {
		return nil, err
	}
	var records []kmsg.Record
	for i, replicas := range placed {
		records = append(records, m.newPartition(topic.ID, has+int32(i), replicas))
	}
	return records, nil
}

func (m *Machine) placeMore(
	topic *meta.Topic, t *kmsg.CreatePartitionsRequestCreatePartitionsTopic, more int,
) ([][]int32, error) {
	factor := len(topic.Partitions[0].Replicas)
	if t.Assignments == nil {
		return m.place(more, factor)
	}
	var placed [][]int32
	for i, a := range t.Assignments {
		if err := m.checkAssignment(a.BrokerIds, factor); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(a.BrokerIds, m.isActive) {
			return nil, refuse(kerr.InvalidReplicaAssignment, "All brokers specified in the manual partition assignment "+
				"for partition %d are fenced or in controlled shutdown.", len(topic.Partitions)+i)
		}
		placed = append(placed, slices.Clone(a.BrokerIds))
	}
	return placed, nil
}
