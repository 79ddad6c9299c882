package controller

import (
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// minInSync decides whether a replica that leaves an in-sync set is eligible to lead. Every controller has to decide
// the same, so with eligible leader replicas (KIP-966) its default is in the metadata, and no broker has one of its own.
const minInSync = "min.insync.replicas"

// elrEnabled says whether partitions keep eligible leader replicas.
func (m *Machine) elrEnabled() bool { return m.image().Feature(elrVersion) > 0 }

// keepsELR says whether a change of a partition keeps them. Where the level went down and nobody is in sync, who was
// eligible, or led last, still is who may lead: with Kafka nobody could any more.
func (m *Machine) keepsELR(p *meta.Partition) bool { return m.elrEnabled() || len(p.ISR) == 0 }

// firstMinISR is the cluster's default where a new cluster begins with eligible leader replicas: what the configuration
// of its first active controller says.
func firstMinISR(first []kmsg.Record, static *conf.Static) []kmsg.Record {
	if !slices.ContainsFunc(first, func(rec kmsg.Record) bool {
		f, ok := rec.(*kmsg.FeatureLevelRecord)
		return ok && f.Name == elrVersion && f.FeatureLevel > 0
	}) {
		return nil
	}
	return []kmsg.Record{minISRRecord("", configured(static))}
}

func configured(static *conf.Static) *string {
	return new(strconv.Itoa(int(conf.NewLive(static, nil, nil).Int(minInSync))))
}

func minISRRecord(broker string, value *string) kmsg.Record {
	return &kmsg.ConfigRecord{ResourceType: int8(meta.ResourceBroker), ResourceName: broker, Name: minInSync, Value: value}
}

// settleMinISR makes the default of min.insync.replicas a part of the metadata and takes away what single brokers have,
// before a cluster keeps eligible leader replicas.
func (m *Machine) settleMinISR() (records []kmsg.Record) {
	if _, ok := m.image().Configs(meta.Resource{Type: meta.ResourceBroker})[minInSync]; !ok {
		records = append(records, minISRRecord("", configured(m.cfg.Static)))
	}
	var own []string
	for res := range m.image().ConfigResources() {
		if _, has := m.image().Configs(res)[minInSync]; has && res.Type == meta.ResourceBroker && res.Name != "" {
			own = append(own, res.Name)
		}
	}
	slices.Sort(own)
	for _, broker := range own {
		records = append(records, minISRRecord(broker, nil))
	}
	return records
}

// checkMinISR refuses to have the default differ between brokers, or depend on their configuration.
func (m *Machine) checkMinISR(res meta.Resource, changes []conf.Change) error {
	if res.Type != meta.ResourceBroker || !m.elrEnabled() {
		return nil
	}
	for _, c := range changes {
		switch {
		case c.Name != minInSync:
		case res.Name != "":
			return refuse(kerr.InvalidConfig, "Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
		case c.Value == nil:
			return refuse(kerr.InvalidConfig, "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")
		}
	}
	return nil
}

// clearELRs voids what is eligible by a min.insync.replicas that these records change. Where nobody is in sync nothing
// can have been acknowledged since, and it holds on: with Kafka such a partition has no leader again.
func (m *Machine) clearELRs(records []kmsg.Record) []kmsg.Record {
	if !m.elrEnabled() {
		return records
	}
	for _, rec := range slices.Clone(records) {
		r, ok := rec.(*kmsg.ConfigRecord)
		if !ok || r.Name != minInSync {
			continue
		}
		topic := ""
		if meta.ResourceType(r.ResourceType) == meta.ResourceTopic {
			topic = r.ResourceName
		}
		records = append(records, &kmsg.ClearElrRecord{TopicName: topic})
		for _, name := range m.image().TopicNames() {
			if topic == "" || topic == name {
				records = append(records, heldELRs(m.image().Topic(name))...)
			}
		}
	}
	return records
}

// heldELRs say of the partitions of a topic where nobody is in sync who is eligible.
func heldELRs(t *meta.Topic) (records []kmsg.Record) {
	for i, p := range t.Partitions {
		if len(p.ISR) == 0 && len(p.ELR)+len(p.LastELR) > 0 {
			r := kmsg.NewPartitionChangeRecord()
			r.TopicId, r.PartitionId, r.EligibleLeaderReplicas, r.LastKnownElr = t.ID, int32(i), list(p.ELR), list(p.LastELR)
			records = append(records, &r)
		}
	}
	return records
}

// minISR is how many replicas must be in sync for an acknowledgement of all; never more than there are.
func (m *Machine) minISR(t *meta.Topic) int {
	n := int(m.config().Int(minInSync))
	if v, ok := m.image().Configs(meta.Resource{Type: meta.ResourceTopic, Name: t.Name})[minInSync]; ok {
		if own, err := strconv.Atoi(strings.TrimSpace(v)); err == nil {
			n = own
		}
	}
	return min(n, len(t.Partitions[0].Replicas))
}
