// Package base holds the small value types that every floor of logstead shares: broker ids, topic
// ids, topic partitions and the sentinel offsets of the Kafka protocol.
//
// It knows nothing of requests, files or goroutines. Everything in it is a value, safe to copy and
// to use from any goroutine.
//
// Invariants:
//  1. A TopicID's text form is Kafka's: 22 characters of unpadded URL-safe base64.
//  2. The zero TopicID means "no id".
package base

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"
)

// BrokerID is the node.id of a broker. NoBroker stands for "none".
type BrokerID = int32

// NoBroker is the broker id that Kafka writes where there is no broker.
const NoBroker BrokerID = -1

// Sentinels for absent values, as the Kafka protocol writes them.
const (
	NoOffset        int64 = -1
	NoTimestamp     int64 = -1
	NoProducerID    int64 = -1
	NoProducerEpoch int16 = -1
	NoSequence      int32 = -1
	NoEpoch         int32 = -1
)

// TopicID is a topic's 128-bit id (a Kafka Uuid).
type TopicID [16]byte

// NewTopicID returns a random id whose text form does not begin with '-', as Kafka's never does.
func NewTopicID() TopicID {
	for {
		var id TopicID
		_, _ = rand.Read(id[:]) // never fails: the runtime aborts instead
		id[6] = id[6]&0x0f | 0x40
		id[8] = id[8]&0x3f | 0x80
		if id.String()[0] != '-' {
			return id
		}
	}
}

// IsZero reports whether id stands for "no id".
func (id TopicID) IsZero() bool { return id == TopicID{} }

// String is Kafka's text form: unpadded URL-safe base64.
func (id TopicID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// ParseTopicID reads Kafka's text form.
func ParseTopicID(s string) (TopicID, error) {
	var id TopicID
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("id %q: want 22 characters of URL-safe base64", s)
	}
	copy(id[:], b)
	return id, nil
}

// TopicPartition names one partition of one topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String is the partition's directory name, "topic-partition".
func (tp TopicPartition) String() string {
	return tp.Topic + "-" + strconv.FormatInt(int64(tp.Partition), 10)
}
