package sim

import (
	"time"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// fetchSession is what a leader keeps of a follower: the partitions that it has named, and which of them a fetch looks at. It does
// what package api does with partition.Marks, whose promise is tried here: that no change is missed. Half of the runs look at all partitions
// so rarely that what is missed stays missed.
type fetchSession struct {
	id, epoch int32
	broker    int64
	first     bool // no answer has been given yet
	dropped   bool // another one has taken its place
	marks     partition.Marks
	parts     map[tp]*sessionPart
	order     []*sessionPart
	look      []*sessionPart
	swept     time.Time
}

type sessionPart struct {
	k       tp
	topicID base.TopicID
	in      kmsg.FetchRequestFetchPartition
	mark    partition.Mark
	told    int64
	looked  bool // it is in look
	inSync  bool // as of this fetch
	settled bool // to look again, while nothing changes, finds nothing
}

// session finds the session that a fetch goes on with, or begins one; nil where there is none. It has what the fetch looks at.
func (t *node) session(r *kmsg.FetchRequest) *fetchSession {
	from := r.ReplicaState.ReplicaId
	s := t.sessions[from]
	switch {
	case r.SessionEpoch == 0:
		if s != nil {
			s.drop()
		}
		t.lastSession++
		s = &fetchSession{id: t.lastSession, first: true, parts: map[tp]*sessionPart{}}
		t.sessions[from] = s
	case s == nil || s.id != r.SessionId || s.epoch != r.SessionEpoch:
		return nil
	}
	s.epoch = max(s.epoch+1, 1)
	for _, topic := range r.ForgottenTopicsData {
		s.forget(topic.TopicId, topic.Partitions)
	}
	for i := range r.Topics {
		for _, in := range r.Topics[i].Partitions {
			s.take(&r.Topics[i], in)
		}
	}
	s.drain()
	if now := t.w.now(); now.Sub(s.swept) >= t.w.sweep || s.broker != r.ReplicaState.ReplicaEpoch {
		s.swept, s.broker = now, r.ReplicaState.ReplicaEpoch
		for _, d := range s.order {
			s.note(d)
		}
	}
	return s
}

// take takes in where the follower is.
func (s *fetchSession) take(topic *kmsg.FetchRequestFetchTopic, in kmsg.FetchRequestFetchPartition) {
	k := tp{Topic: topic.Topic, Partition: in.Partition}
	d := s.parts[k]
	if d == nil {
		d = &sessionPart{k: k, topicID: topic.TopicId, told: -1}
		d.mark.Owner = d
		s.parts[k] = d
		s.order = append(s.order, d)
	}
	d.in = in
	s.note(d)
}

func (s *fetchSession) forget(id base.TopicID, parts []int32) {
	for _, i := range parts {
		keep := func(list []*sessionPart) (kept []*sessionPart) {
			for _, d := range list {
				if d.topicID != id || d.k.Partition != i {
					kept = append(kept, d)
				}
			}
			return kept
		}
		for _, d := range s.order {
			if d.topicID == id && d.k.Partition == i {
				d.mark.Unwatch()
				delete(s.parts, d.k)
			}
		}
		s.order, s.look = keep(s.order), keep(s.look)
	}
}

func (s *fetchSession) drop() {
	s.dropped = true
	for _, d := range s.order {
		d.mark.Unwatch()
	}
}

func (s *fetchSession) note(d *sessionPart) {
	if !d.looked {
		d.looked = true
		s.look = append(s.look, d)
	}
}

// drain notes what was marked. What comes to a fetch that waits has not been noted of its follower: it stays for the next one.
func (s *fetchSession) drain() {
	for _, m := range s.marks.Take(nil) {
		if d, _ := m.Owner.(*sessionPart); s.parts[d.k] == d && !d.looked {
			d.inSync = false
			s.note(d)
		}
	}
}

// end leaves for the next fetch what has more to say.
func (s *fetchSession) end() {
	var left []*sessionPart
	for _, d := range s.look {
		if d.settled {
			d.looked = false
			continue
		}
		left = append(left, d)
	}
	s.look, s.first = left, false
}
