package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// AssignReplicasToDirs takes in where a broker has put its replicas (KIP-858). A replica that is in
// a directory which is offline leaves the in-sync set.
func (m *Machine) AssignReplicasToDirs(
	req *kmsg.AssignReplicasToDirsRequest,
) ([]kmsg.Record, *kmsg.AssignReplicasToDirsResponse) {
	resp := kmsg.NewAssignReplicasToDirsResponse()
	err := m.checkEpoch(req.BrokerId, req.BrokerEpoch)
	if err == nil && m.image().Feature(MetadataVersion) < levelDirectories {
		err = refuse(kerr.UnsupportedVersion, "Directory assignment is not supported yet.")
	}
	if err != nil {
		resp.ErrorCode, _ = Code(err)
		return nil, &resp
	}
	var all []kmsg.Record
	seen := map[partitionKey]bool{}
	for _, dir := range req.Directories {
		out := kmsg.AssignReplicasToDirsResponseDirectoryData{Id: dir.Id}
		for _, asked := range dir.Topics {
			topic := kmsg.AssignReplicasToDirsResponseTopicData{TopicId: asked.TopicId}
			t := m.image().TopicByID(asked.TopicId)
			for _, p := range asked.Partitions {
				key := partitionKey{asked.TopicId, p.PartitionIndex}
				record, err := m.assignDir(req.BrokerId, dir.Id, t, p.PartitionIndex)
				if record != nil && !seen[key] {
					all, seen[key] = append(all, record), true
				}
				answer := kmsg.AssignReplicasToDirsResponsePartitionData{PartitionIndex: p.PartitionIndex}
				answer.ErrorCode, _ = Code(err)
				topic.Partitions = append(topic.Partitions, answer)
			}
			out.Topics = append(out.Topics, topic)
		}
		resp.Directories = append(resp.Directories, out)
	}
	return all, &resp
}

func (m *Machine) assignDir(id int32, dir base.TopicID, t *meta.Topic, index int32) (kmsg.Record, error) {
	switch {
	case t == nil:
		return nil, kerr.UnknownTopicID
	case index < 0 || int(index) >= len(t.Partitions):
		return nil, kerr.UnknownTopicOrPartition
	case !slices.Contains(t.Partitions[index].Replicas, id):
		return nil, kerr.NotLeaderForPartition
	}
	p := t.Partitions[index]
	if m.lostTheLast(p, id) && !m.uncleanAllowed(t.Name) {
		return nil, refuse(kerr.KafkaStorageError, "Broker %d lost the directory of %s-%d, and it was the last one in sync: bring the "+
			"directory back, or elect another replica by an unclean election.", id, t.Name, index)
	}
	c := m.change(t, index)
	c.dirs = map[int32]base.TopicID{id: dir}
	if lostDir(p, id) && !m.online(p, id) {
		c.unclean = id // there it begins empty, and may not lead before it has caught up
	}
	if slices.Contains(m.image().Broker(id).LogDirs, dir) {
		c.acceptable = func(other int32) bool { return m.isActive(other) && (other == id || m.online(p, other)) }
	} else {
		c.isr = without(p.ISR, id)
		c.acceptable = func(other int32) bool { return other != id && m.canLead(p, other) }
	}
	if m.uncleanAllowed(t.Name) {
		c.election = electOrUnclean
	}
	return recordOrNil(c)
}

// lostDir says of a replica that it is known where it was.
func lostDir(p *meta.Partition, id int32) bool {
	i := slices.Index(p.Replicas, id)
	return i < len(p.Directories) && !unplaced(p, id)
}

// unplaced says of a replica that its broker has not said in which directory it is.
func unplaced(p *meta.Partition, id int32) bool {
	i := slices.Index(p.Replicas, id)
	return i >= 0 && (i >= len(p.Directories) || p.Directories[i] == meta.DirUnassigned || p.Directories[i] == meta.DirMigrating)
}

// lostTheLast says of a replica that its directory is none of its broker's any more, and that nobody else is known to be
// complete. In another directory it begins empty, and would lead and have the others cut what they hold. Of one that is lost
// (DirLost) its broker says a place only if it has found it there.
func (m *Machine) lostTheLast(p *meta.Partition, id int32) bool {
	i := slices.Index(p.Replicas, id)
	return i < len(p.Directories) && !meta.ReservedDir(p.Directories[i]) && !m.online(p, id) && p.OnlyComplete(id)
}
