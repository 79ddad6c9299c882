package controller

import (
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// producerIDBlock is the number of producer ids in a block, as in Kafka.
const producerIDBlock = 1000

// AllocateProducerIDs takes the next block of producer ids for a broker.
func (m *Machine) AllocateProducerIDs(
	req *kmsg.AllocateProducerIdsRequest,
) ([]kmsg.Record, *kmsg.AllocateProducerIdsResponse) {
	resp := kmsg.NewAllocateProducerIdsResponse()
	err := m.checkEpoch(req.BrokerId, req.BrokerEpoch)
	var records []kmsg.Record
	if err == nil {
		records, resp.ProducerIdStart, resp.ProducerIdLen, err = m.allocateProducerIDs(req.BrokerId, req.BrokerEpoch)
	}
	resp.ErrorCode, _ = Code(err)
	return records, &resp
}

// allocateOwnProducerIDs takes a block for the broker of this process.
func (m *Machine) allocateOwnProducerIDs() (records []kmsg.Record, first int64, count int32, err error) {
	epoch := int64(-1)
	if b := m.image().Broker(m.cfg.NodeID); b != nil {
		epoch = b.Epoch
	}
	return m.allocateProducerIDs(m.cfg.NodeID, epoch)
}

func (m *Machine) allocateProducerIDs(id int32, epoch int64) (records []kmsg.Record, first int64, count int32, err error) {
	first = m.image().NextProducerID()
	if first > math.MaxInt64-producerIDBlock {
		return nil, 0, 0, refuse(kerr.UnknownServerError, "All producer ids are used: the next would be %d.", first)
	}
	return []kmsg.Record{&kmsg.ProducerIdsRecord{
		BrokerId: id, BrokerEpoch: epoch, NextProducerId: first + producerIDBlock,
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

// Register enters this broker without an uplink, unfenced, and makes it the leader of the partitions it is in sync
// with, each with a new leader epoch: what was written under the old one by a process that may have
// lost its page cache can be told apart. It lives as long as the process and sends no heartbeats.
func (m *Machine) Register(now time.Time, r Registration) ([]kmsg.Record, error) {
	for _, b := range m.image().Brokers() {
		if b.ID != m.cfg.NodeID {
			return nil, refuse(kerr.InvalidRegistration, "the metadata names broker %d beside this one (%d): this version "+
				"serves a cluster of one node, and would lose what only the other has", b.ID, m.cfg.NodeID)
		}
	}
	rec := kmsg.NewRegisterBrokerRecord()
	rec.BrokerId, rec.IncarnationId, rec.BrokerEpoch = m.cfg.NodeID, r.Incarnation, m.nextOffset()
	rec.Fenced = false
	level := m.image().Feature(MetadataVersion)
	if level >= levelDirectories {
		rec.LogDirs = r.LogDirs
	}
	if level >= levelCordoned {
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
	if m.sessions == nil {
		m.sessions = map[int32]*session{}
	}
	m.sessions[rec.BrokerId] = newSession(now, rec.BrokerEpoch)
	m.sessions[rec.BrokerId].local = true
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
