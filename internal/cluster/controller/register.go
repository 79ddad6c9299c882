package controller

import (
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// producerIDBlock is the number of producer ids in a block, as in Kafka.
const producerIDBlock = 1000

// AllocateProducerIDs takes the next block of producer ids for this broker.
func (m *Machine) AllocateProducerIDs() (records []kmsg.Record, first int64, count int32, err error) {
	first = m.image().NextProducerID()
	if first > math.MaxInt64-producerIDBlock {
		return nil, 0, 0, refuse(kerr.UnknownServerError, "All producer ids are used: the next would be %d.", first)
	}
	epoch := int64(-1)
	if b := m.image().Broker(m.cfg.NodeID); b != nil {
		epoch = b.Epoch
	}
	return []kmsg.Record{&kmsg.ProducerIdsRecord{
		BrokerId: m.cfg.NodeID, BrokerEpoch: epoch, NextProducerId: first + producerIDBlock,
	}}, first, producerIDBlock, nil
}

// Registration is what a broker says of itself when it starts.
type Registration struct {
	Incarnation base.TopicID
	Endpoints   []meta.Endpoint
	Rack        string // empty for none
	LogDirs     []base.TopicID
	Cordoned    []base.TopicID
}

// Register enters this broker, unfenced, and makes it the leader of the partitions it is in sync
// with, each with a new leader epoch: what was written under the old one by a process that may have
// lost its page cache can be told apart. at is the offset of the first record.
func (m *Machine) Register(at int64, r Registration) ([]kmsg.Record, error) {
	for _, b := range m.image().Brokers() {
		if b.ID != m.cfg.NodeID {
			return nil, refuse(kerr.InvalidRegistration, "the metadata names broker %d beside this one (%d): this version "+
				"serves a cluster of one node, and would lose what only the other has", b.ID, m.cfg.NodeID)
		}
	}
	rec := kmsg.NewRegisterBrokerRecord()
	rec.BrokerId, rec.IncarnationId, rec.BrokerEpoch = m.cfg.NodeID, r.Incarnation, at
	rec.Fenced, rec.LogDirs = false, r.LogDirs
	if m.image().Feature(MetadataVersion) >= latestMetadata {
		rec.CordonedLogDirs = append([]base.TopicID{}, r.Cordoned...)
	}
	if rec.Rack = nil; r.Rack != "" {
		rec.Rack = &r.Rack
	}
	for _, e := range r.Endpoints {
		rec.EndPoints = append(rec.EndPoints, kmsg.RegisterBrokerRecordBrokerEndpoint{
			Name: e.Listener, Host: e.Host, Port: uint16(e.Port), SecurityProtocol: e.Protocol,
		})
	}
	for _, f := range Features() {
		rec.Features = append(rec.Features, kmsg.RegisterBrokerRecordBrokerFeature{
			Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max,
		})
	}
	return append([]kmsg.Record{&rec}, m.lead()...), nil
}

// lead makes this broker the leader, under a new epoch, wherever it is in sync.
func (m *Machine) lead() []kmsg.Record {
	var records []kmsg.Record
	for _, name := range m.image().TopicNames() {
		t := m.image().Topic(name)
		for i, p := range t.Partitions {
			if !slices.Contains(p.ISR, m.cfg.NodeID) && !slices.Contains(p.ELR, m.cfg.NodeID) {
				continue
			}
			change := kmsg.NewPartitionChangeRecord()
			change.TopicId, change.PartitionId, change.Leader = t.ID, int32(i), m.cfg.NodeID
			if !slices.Contains(p.ISR, m.cfg.NodeID) {
				change.Isr = []int32{m.cfg.NodeID} // it was the last to leave, so it misses nothing
				change.EligibleLeaderReplicas, change.LastKnownElr = []int32{}, []int32{}
			}
			records = append(records, &change)
		}
	}
	return records
}
