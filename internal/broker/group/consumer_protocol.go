package group

import (
	"encoding/binary"
	"fmt"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// maxConsumerProtocol is the newest version of the consumers' embedded protocol. Metadata of a later
// one reads as this one: versions only add fields at the end.
const maxConsumerProtocol = 3

// embeddedVersion reads the version in front of what consumers tell each other.
func embeddedVersion(b []byte) (int16, []byte, error) {
	if len(b) < 2 {
		return 0, nil, fmt.Errorf("read version of the consumer protocol from %d bytes: %w", len(b), kmsg.ErrShort)
	}
	v := int16(binary.BigEndian.Uint16(b))
	if v < 0 {
		return 0, nil, fmt.Errorf("read consumer protocol version %d: %w", v, kmsg.ErrVersion)
	}
	return min(v, maxConsumerProtocol), b[2:], nil
}

func readSubscription(b []byte) (*kmsg.ConsumerProtocolSubscription, error) {
	v, b, err := embeddedVersion(b)
	if err != nil {
		return nil, err
	}
	s := kmsg.NewConsumerProtocolSubscription()
	r := kmsg.NewReader(b)
	return &s, s.Read(&r, v)
}

// readSubscriptionTopics reads the part of a subscription that every version has.
func readSubscriptionTopics(b []byte) ([]string, error) {
	_, b, err := embeddedVersion(b)
	if err != nil {
		return nil, err
	}
	s := kmsg.NewConsumerProtocolSubscription()
	r := kmsg.NewReader(b)
	if err := s.Read(&r, 0); err != nil {
		return nil, err
	}
	return s.Topics, nil
}

func readAssignment(b []byte) (*kmsg.ConsumerProtocolAssignment, error) {
	v, b, err := embeddedVersion(b)
	if err != nil {
		return nil, err
	}
	a := kmsg.NewConsumerProtocolAssignment()
	r := kmsg.NewReader(b)
	return &a, a.Read(&r, v)
}

// writeAssignment is an assignment as a classic consumer reads it, in the version that it speaks.
// Topics that are gone are left out.
func writeAssignment(a assignment, topics Topics, subscription []byte) ([]byte, error) {
	version, _, err := embeddedVersion(subscription)
	if err != nil {
		return nil, err
	}
	out := kmsg.NewConsumerProtocolAssignment()
	for _, id := range a.topics() {
		if t, ok := topics.ByID(id); ok {
			out.AssignedPartitions = append(out.AssignedPartitions,
				kmsg.ConsumerProtocolAssignmentTopicPartition{Topic: t.Name, Partitions: a[id]})
		}
	}
	return kmsg.AppendVersioned(nil, version, &out), nil
}

// owned is a list of partitions that a member says it has.
type owned struct {
	partitions []kmsg.ConsumerGroupHeartbeatRequestTopicPartitions
	known      bool // false: the member did not say
}

// ownedBySubscription translates what a classic consumer says it owns.
func ownedBySubscription(s *kmsg.ConsumerProtocolSubscription, topics Topics) owned {
	o := owned{known: true}
	for _, tp := range s.OwnedPartitions {
		if t, ok := topics.ByName(tp.Topic); ok {
			o.partitions = append(o.partitions,
				kmsg.ConsumerGroupHeartbeatRequestTopicPartitions{TopicId: t.ID, Partitions: tp.Partitions})
		}
	}
	return o
}

// intersects reports whether the member owns one of these partitions. One that did not say may.
func (o owned) intersects(a epochs) bool {
	if !o.known {
		return true
	}
	for _, tp := range o.partitions {
		for _, p := range tp.Partitions {
			if _, ok := a.get(tp.TopicId, p); ok {
				return true
			}
		}
	}
	return false
}

// within reports whether the member owns nothing but these partitions. One that did not say does not.
func (o owned) within(a epochs) bool {
	if !o.known {
		return false
	}
	for _, tp := range o.partitions {
		if a[tp.TopicId] == nil {
			return false
		}
		for _, p := range tp.Partitions {
			if _, ok := a.get(tp.TopicId, p); !ok {
				return false
			}
		}
	}
	return true
}

// epochs are partitions with the member epoch at which each was assigned. They are shared between
// members and never changed in place.
type epochs map[base.TopicID]map[int32]int32

func (e epochs) get(t base.TopicID, p int32) (int32, bool) {
	epoch, ok := e[t][p]
	return epoch, ok
}
