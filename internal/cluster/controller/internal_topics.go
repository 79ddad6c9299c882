package controller

import (
	"strconv"

	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// The topics of the coordinators.
const (
	OffsetsTopic      = "__consumer_offsets"
	TransactionsTopic = "__transaction_state"
)

// AutoTopic is the request that creates a topic because somebody asked for it: a coordinator's with
// the configs that Kafka gives it, any other with the broker's defaults.
func AutoTopic(name string, b *conf.Broker) kmsg.CreateTopicsRequestCreatableTopic {
	t := kmsg.NewCreateTopicsRequestCreatableTopic()
	t.Name, t.NumPartitions, t.ReplicationFactor = name, -1, -1
	set := func(key, value string) {
		t.Configs = append(t.Configs, kmsg.CreateTopicsRequestCreatableTopicConfig{Name: key, Value: &value})
	}
	internal := func(topic conf.InternalTopic) {
		t.NumPartitions, t.ReplicationFactor = topic.Partitions, topic.ReplicationFactor
		set("cleanup.policy", "compact")
		set("segment.bytes", strconv.Itoa(int(topic.SegmentBytes)))
	}
	switch name {
	case OffsetsTopic:
		internal(b.OffsetsTopic)
		set("compression.type", "producer")
	case TransactionsTopic:
		internal(b.TransactionsTopic)
		set("compression.type", "uncompressed")
		set("min.insync.replicas", strconv.Itoa(int(b.TransactionsTopic.MinInsync)))
		set("unclean.leader.election.enable", "false")
	}
	return t
}
