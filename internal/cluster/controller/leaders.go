package controller

import (
	"slices"
	"strings"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Levels of metadata.version from which on something is known to every broker.
const (
	levelMigration   int16 = 8
	levelControllers int16 = 15 // KIP-919
	levelDirectories int16 = 17
	levelELR         int16 = 23
	levelCordoned    int16 = 30
)

// uncleanAllowed says whether a topic prefers a leader that misses records to none.
func (m *Machine) uncleanAllowed(topic string) bool {
	const key = "unclean.leader.election.enable"
	if v, ok := m.image().Configs(meta.Resource{Type: meta.ResourceTopic, Name: topic})[key]; ok {
		return strings.EqualFold(v, "true")
	}
	return m.config().Bool(key)
}

// canLead says whether a broker is active and its directory of the partition is online.
func (m *Machine) canLead(p *meta.Partition, id int32) bool {
	return m.isActive(id) && m.online(p, id)
}

func (m *Machine) online(p *meta.Partition, id int32) bool {
	b, i := m.image().Broker(id), slices.Index(p.Replicas, id)
	if b == nil || i < 0 {
		return false
	}
	if i >= len(p.Directories) || len(b.LogDirs) == 0 {
		return true // of a level that knew no directories
	}
	switch dir := p.Directories[i]; dir {
	case meta.DirLost:
		return false
	case meta.DirUnassigned, meta.DirMigrating:
		return true
	default:
		return slices.Contains(b.LogDirs, dir)
	}
}

// update is what happens to one broker, and so to the partitions it has to do with. noBroker where
// nothing of the kind happens.
type update struct {
	remove  int32 // leaves every in-sync set and leads nothing
	add     int32 // may lead although the image has it fenced still
	unclean int32 // as remove, and may have lost records
	// dirGone says of who is removed that one of its directories is gone: a replica that is not known to be in another one
	// counts as lost with it, until its broker says that it has found it. With Kafka it counts as being there, and one that
	// was the last in sync leads with an empty log and has the others cut theirs to it (ADR 0011).
	dirGone bool
}

var noUpdate = update{remove: noBroker, add: noBroker, unclean: noBroker}

// updatePartitions is how the partitions that want it change, in the order of their names.
func (m *Machine) updatePartitions(u update, want func(*meta.Partition) bool) []kmsg.Record {
	var topics []*meta.Topic
	for t := range m.image().Topics() {
		if slices.ContainsFunc(t.Partitions, want) {
			topics = append(topics, t)
		}
	}
	slices.SortFunc(topics, func(a, b *meta.Topic) int { return strings.Compare(a.Name, b.Name) })
	var records []kmsg.Record
	for _, t := range topics {
		unclean := m.uncleanAllowed(t.Name)
		for i, p := range t.Partitions {
			if want(p) {
				if r := m.updatePartition(u, t, int32(i), unclean); r != nil {
					records = append(records, r)
				}
			}
		}
	}
	return records
}

func (m *Machine) updatePartition(u update, t *meta.Topic, index int32, unclean bool) kmsg.Record {
	c := m.change(t, index)
	p := t.Partitions[index]
	c.acceptable = func(id int32) bool {
		return id != u.remove && id != u.unclean && (id == u.add || m.isActive(id)) && m.online(p, id)
	}
	if unclean {
		c.election = electOrUnclean
	}
	c.unclean = u.unclean
	c.isr = without(p.ISR, u.remove, u.unclean)
	if id := max(u.remove, u.unclean); u.dirGone && unplaced(p, id) {
		c.dirs = map[int32]base.TopicID{id: meta.DirLost}
	}
	if r := c.record(); r != nil {
		return r
	}
	return nil
}

func inISR(id int32) func(*meta.Partition) bool {
	return func(p *meta.Partition) bool { return slices.Contains(p.ISR, id) || p.Leader == id }
}

func leaderless(p *meta.Partition) bool { return p.Leader == noLeader }

// partitionKey names a partition by its topic's id.
type partitionKey struct {
	topic base.TopicID
	index int32
}
