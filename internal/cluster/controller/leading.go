package controller

import (
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// leading counts the partitions that each broker leads: a broker that stops asks again and again, and a
// walk through every partition of a large cluster is too much for each answer.
type leading map[int32]int

func countLeading(im *meta.Image) leading {
	l := leading{}
	for t := range im.Topics() {
		l.topic(t, 1)
	}
	return l
}

func (l leading) topic(t *meta.Topic, by int) {
	for _, p := range t.Partitions {
		l.add(p.Leader, by)
	}
}

func (l leading) add(id int32, by int) {
	if l[id] += by; l[id] == 0 {
		delete(l, id)
	}
}

// follow takes in a record that is about to be applied to an image.
func (l leading) follow(im *meta.Image, rec kmsg.Record) {
	switch r := rec.(type) {
	case *kmsg.PartitionRecord:
		if t := im.TopicByID(r.TopicId); t != nil {
			l.replace(t, r.PartitionId)
			l.add(r.Leader, 1)
		}
	case *kmsg.PartitionChangeRecord:
		if t := im.TopicByID(r.TopicId); t != nil && r.Leader != noLeaderChange && l.replace(t, r.PartitionId) {
			l.add(r.Leader, 1)
		}
	case *kmsg.RemoveTopicRecord:
		if t := im.TopicByID(r.TopicId); t != nil {
			l.topic(t, -1)
		}
	}
}

// replace takes out a partition that is there.
func (l leading) replace(t *meta.Topic, index int32) bool {
	if index < 0 || int(index) >= len(t.Partitions) {
		return false
	}
	l.add(t.Partitions[index].Leader, -1)
	return true
}

// leads says whether a broker leads anything.
func (m *Machine) leads(id int32) bool { return m.leading[id] > 0 }
