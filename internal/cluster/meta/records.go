package meta

import (
	"maps"
	"slices"
	"strings"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// metadataVersion comes first among the features: it says how the records after it are to be read.
const metadataVersion = "metadata.version"

// Records yields records that give this image when they are applied to an empty one: the content
// of a snapshot, in an order that depends on the image alone. A record is valid until the next.
func (im *Image) Records(yield func(kmsg.Record) bool) {
	_ = im.featureRecords(yield) && im.brokerRecords(yield) && im.controllerRecords(yield) && im.topicRecords(yield) && im.configRecords(yield) &&
		im.quotaRecords(yield) && im.scramRecords(yield) && im.aclRecords(yield) && im.producerRecords(yield)
}

func (im *Image) featureRecords(yield func(kmsg.Record) bool) bool {
	names := slices.SortedFunc(maps.Keys(im.features), func(a, b string) int {
		if (a == metadataVersion) != (b == metadataVersion) {
			if a == metadataVersion {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	for _, name := range names {
		if !yield(&kmsg.FeatureLevelRecord{Name: name, FeatureLevel: im.features[name]}) {
			return false
		}
	}
	return true
}

func (im *Image) brokerRecords(yield func(kmsg.Record) bool) bool {
	for _, b := range im.Brokers() {
		r := kmsg.NewRegisterBrokerRecord()
		r.BrokerId, r.IncarnationId, r.BrokerEpoch, r.Rack = b.ID, b.Incarnation, b.Epoch, b.Rack
		r.Fenced, r.InControlledShutdown = b.Fenced, b.InControlledShutdown
		r.LogDirs, r.CordonedLogDirs = b.LogDirs, b.CordonedDirs
		for _, e := range b.Endpoints {
			r.EndPoints = append(r.EndPoints, kmsg.RegisterBrokerRecordBrokerEndpoint{
				Name: e.Listener, Host: e.Host, Port: uint16(e.Port), SecurityProtocol: e.Protocol,
			})
		}
		for _, f := range b.Features {
			r.Features = append(r.Features, kmsg.RegisterBrokerRecordBrokerFeature{
				Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max,
			})
		}
		if !yield(&r) {
			return false
		}
	}
	return true
}

func (im *Image) controllerRecords(yield func(kmsg.Record) bool) bool {
	for _, c := range im.Controllers() {
		r := &kmsg.RegisterControllerRecord{ControllerId: c.ID, IncarnationId: c.Incarnation}
		for _, e := range c.Endpoints {
			r.EndPoints = append(r.EndPoints, kmsg.RegisterControllerRecordControllerEndpoint{
				Name: e.Listener, Host: e.Host, Port: uint16(e.Port), SecurityProtocol: e.Protocol,
			})
		}
		for _, f := range c.Features {
			r.Features = append(r.Features, kmsg.RegisterControllerRecordControllerFeature{
				Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max,
			})
		}
		if !yield(r) {
			return false
		}
	}
	return true
}

func (im *Image) topicRecords(yield func(kmsg.Record) bool) bool {
	for _, name := range im.TopicNames() {
		t := im.topics.get(name)
		if !yield(&kmsg.TopicRecord{Name: t.Name, TopicId: t.ID}) {
			return false
		}
		for i, p := range t.Partitions {
			if !yield(p.record(t.ID, int32(i))) {
				return false
			}
		}
	}
	return true
}

func (p *Partition) record(topic base.TopicID, index int32) *kmsg.PartitionRecord {
	return &kmsg.PartitionRecord{
		PartitionId: index, TopicId: topic, Replicas: p.Replicas, Isr: p.ISR, RemovingReplicas: p.Removing,
		AddingReplicas: p.Adding, Leader: p.Leader, LeaderRecoveryState: p.RecoveryState,
		LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch, Directories: p.Directories,
		EligibleLeaderReplicas: p.ELR, LastKnownElr: p.LastELR,
	}
}

func (im *Image) configRecords(yield func(kmsg.Record) bool) bool {
	resources := slices.SortedFunc(im.configs.keys(), func(a, b Resource) int {
		if a.Type != b.Type {
			return int(a.Type) - int(b.Type)
		}
		return strings.Compare(a.Name, b.Name)
	})
	for _, res := range resources {
		configs := im.configs.get(res)
		for _, name := range slices.Sorted(maps.Keys(configs)) {
			value := configs[name]
			if !yield(&kmsg.ConfigRecord{
				ResourceType: int8(res.Type), ResourceName: res.Name, Name: name, Value: &value,
			}) {
				return false
			}
		}
	}
	return true
}

func (im *Image) quotaRecords(yield func(kmsg.Record) bool) bool {
	for _, key := range slices.Sorted(maps.Keys(im.quotas)) {
		q := im.quotas[key]
		for _, name := range slices.Sorted(maps.Keys(q.Values)) {
			r := &kmsg.ClientQuotaRecord{Key: name, Value: q.Values[name]}
			for _, part := range q.Entity {
				r.Entity = append(r.Entity, kmsg.ClientQuotaRecordEntityData{EntityType: part.Type, EntityName: part.Name})
			}
			if !yield(r) {
				return false
			}
		}
	}
	return true
}

func (im *Image) scramRecords(yield func(kmsg.Record) bool) bool {
	keys := slices.SortedFunc(maps.Keys(im.scram), func(a, b ScramKey) int {
		if a.User != b.User {
			return strings.Compare(a.User, b.User)
		}
		return int(a.Mechanism) - int(b.Mechanism)
	})
	for _, k := range keys {
		s := im.scram[k]
		if !yield(&kmsg.UserScramCredentialRecord{
			Name: k.User, Mechanism: k.Mechanism, Salt: s.Salt, StoredKey: s.StoredKey, ServerKey: s.ServerKey,
			Iterations: s.Iterations,
		}) {
			return false
		}
	}
	return true
}

func (im *Image) aclRecords(yield func(kmsg.Record) bool) bool {
	ids := slices.SortedFunc(maps.Keys(im.acls), func(a, b base.TopicID) int {
		return strings.Compare(string(a[:]), string(b[:]))
	})
	for _, id := range ids {
		a := im.acls[id]
		if !yield(&kmsg.AccessControlEntryRecord{
			Id: a.ID, ResourceType: int8(a.ResourceType), ResourceName: a.ResourceName, PatternType: int8(a.PatternType),
			Principal: a.Principal, Host: a.Host, Operation: int8(a.Operation), PermissionType: int8(a.PermissionType),
		}) {
			return false
		}
	}
	return true
}

// noBroker and noEpoch stand where it does not matter who took the last block of producer ids.
const (
	noBroker = -1
	noEpoch  = -1
)

func (im *Image) producerRecords(yield func(kmsg.Record) bool) bool {
	return im.nextProducerID == 0 ||
		yield(&kmsg.ProducerIdsRecord{BrokerId: noBroker, BrokerEpoch: noEpoch, NextProducerId: im.nextProducerID})
}
