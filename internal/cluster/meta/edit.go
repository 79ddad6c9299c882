package meta

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Delta says what an Edit changed, for those who act on it.
type Delta struct {
	Created  []*Topic   // as they are now
	Deleted  []*Topic   // as they were
	Changed  []*Topic   // more partitions, other leaders or epochs; as they are now
	Configs  []Resource // resources whose configs changed, topics that were deleted left out
	Features bool
	Quotas   bool
	Brokers  bool
	Scram    bool
	ACLs     bool

	Controllers bool
	Elections
}

// Elections are how many leaders were elected beside the in-sync set: Unclean, who may miss records, and FromELR, who
// had left it without missing any.
type Elections struct{ Unclean, FromELR int }

// Empty says that nothing changed.
func (d *Delta) Empty() bool {
	return len(d.Created)+len(d.Deleted)+len(d.Changed)+len(d.Configs) == 0 &&
		!d.Features && !d.Quotas && !d.Brokers && !d.Scram && !d.ACLs && !d.Controllers
}

// Edit collects records on top of an image. What they change is copied once, when the first record changes
// it; topics and configs share what does not change with the image before.
type Edit struct {
	im   Image
	base *Image

	ownFeatures, ownQuotas, ownBrokers, ownScram, ownACLs, ownControllers bool

	// The copies that im has of base's tables; nil until the first change.
	topicTable  *tableEdit[string, *Topic]
	idTable     *tableEdit[base.TopicID, *Topic]
	configTable *tableEdit[Resource, map[string]string]

	touched map[base.TopicID]*Topic // our copies of topics that this edit created or changed
	created map[base.TopicID]bool
	deleted []*Topic
	configs map[Resource]bool
	brokers bool

	elections Elections
}

// Edit begins a change of the image.
func (im *Image) Edit() *Edit {
	return &Edit{
		im: *im, base: im, touched: map[base.TopicID]*Topic{}, created: map[base.TopicID]bool{},
		configs: map[Resource]bool{},
	}
}

// Image is the result. The Edit must not be used afterwards.
func (e *Edit) Image(offset int64, epoch int32) (*Image, Delta) {
	e.im.Offset, e.im.Epoch = offset, epoch
	d := Delta{
		Deleted: e.deleted, Features: e.ownFeatures, Quotas: e.ownQuotas, Brokers: e.brokers, Scram: e.ownScram,
		ACLs: e.ownACLs, Controllers: e.ownControllers, Elections: e.elections,
	}
	for id, t := range e.touched {
		if e.created[id] {
			d.Created = append(d.Created, t)
		} else {
			d.Changed = append(d.Changed, t)
		}
	}
	byName := func(a, b *Topic) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(d.Created, byName)
	slices.SortFunc(d.Changed, byName)
	for r := range e.configs {
		if r.Type != ResourceTopic || e.im.topics.get(r.Name) != nil {
			d.Configs = append(d.Configs, r)
		}
	}
	im := e.im
	return &im, d
}

// Peek is the image as the records so far leave it, for reading only and only until the next Apply.
func (e *Edit) Peek() *Image { return &e.im }

// Apply takes in one record. Records of kinds that this build gives no meaning to are passed over;
// one that contradicts the image is an error.
func (e *Edit) Apply(rec kmsg.Message) error {
	switch r := rec.(type) {
	case *kmsg.TopicRecord:
		return e.topic(r)
	case *kmsg.PartitionRecord:
		return e.partition(r)
	case *kmsg.PartitionChangeRecord:
		return e.partitionChange(r)
	case *kmsg.RemoveTopicRecord:
		return e.removeTopic(r)
	case *kmsg.ClearElrRecord:
		e.clearELR(r.TopicName)
	case *kmsg.ConfigRecord:
		e.config(r)
	case *kmsg.FeatureLevelRecord:
		e.feature(r)
	case *kmsg.ClientQuotaRecord:
		e.quota(r)
	case *kmsg.ProducerIdsRecord:
		e.im.nextProducerID = r.NextProducerId
	case *kmsg.RegisterBrokerRecord:
		e.registerBroker(r)
	case *kmsg.UnregisterBrokerRecord:
		e.own(&e.ownBrokers, func() { e.im.brokers = maps.Clone(e.im.brokers) })
		delete(e.im.brokers, r.BrokerId)
		e.brokers = true
	case *kmsg.FenceBrokerRecord:
		return e.changeBroker(r.Id, func(b *Broker) { b.Fenced = true })
	case *kmsg.UnfenceBrokerRecord:
		return e.changeBroker(r.Id, func(b *Broker) { b.Fenced = false })
	case *kmsg.BrokerRegistrationChangeRecord:
		return e.registrationChange(r)
	case *kmsg.RegisterControllerRecord:
		e.registerController(r)
	case *kmsg.UserScramCredentialRecord:
		e.own(&e.ownScram, func() { e.im.scram = maps.Clone(e.im.scram) })
		e.im.scram[ScramKey{r.Name, r.Mechanism}] = &Scram{r.Salt, r.StoredKey, r.ServerKey, r.Iterations}
	case *kmsg.RemoveUserScramCredentialRecord:
		e.own(&e.ownScram, func() { e.im.scram = maps.Clone(e.im.scram) })
		delete(e.im.scram, ScramKey{r.Name, r.Mechanism})
	case *kmsg.AccessControlEntryRecord:
		e.own(&e.ownACLs, func() { e.im.acls = maps.Clone(e.im.acls) })
		e.im.acls[r.Id] = &ACL{
			r.Id, ACLResource(r.ResourceType), r.ResourceName, ACLPattern(r.PatternType), r.Principal, r.Host,
			ACLOperation(r.Operation), ACLPermission(r.PermissionType),
		}
	case *kmsg.RemoveAccessControlEntryRecord:
		e.own(&e.ownACLs, func() { e.im.acls = maps.Clone(e.im.acls) })
		delete(e.im.acls, r.Id)
	}
	return nil
}

func (e *Edit) own(flag *bool, clone func()) {
	if !*flag {
		clone()
		*flag = true
	}
}

func (e *Edit) ownTopicMaps() {
	if e.topicTable == nil {
		e.topicTable, e.idTable = e.im.topics.edit(), e.im.byID.edit()
		e.im.topics, e.im.byID = e.topicTable.table, e.idTable.table
	}
}

// topicForChange is our own copy of a topic.
func (e *Edit) topicForChange(id base.TopicID) *Topic {
	if t := e.touched[id]; t != nil {
		return t
	}
	t := e.im.byID.get(id)
	if t == nil {
		return nil
	}
	e.ownTopicMaps()
	t = &Topic{Name: t.Name, ID: t.ID, Partitions: slices.Clone(t.Partitions)}
	e.topicTable.put(t.Name, t)
	e.idTable.put(id, t)
	e.touched[id] = t
	return t
}

func (e *Edit) topic(r *kmsg.TopicRecord) error {
	if old := e.im.topics.get(r.Name); old != nil {
		return fmt.Errorf("topic record for %s (%s): the topic exists with id %s", r.Name, r.TopicId, old.ID)
	}
	e.ownTopicMaps()
	t := &Topic{Name: r.Name, ID: r.TopicId}
	e.topicTable.put(t.Name, t)
	e.idTable.put(t.ID, t)
	e.touched[t.ID], e.created[t.ID] = t, true
	return nil
}

func (e *Edit) partition(r *kmsg.PartitionRecord) error {
	t := e.topicForChange(r.TopicId)
	if t == nil {
		return fmt.Errorf("partition record %d: no topic has id %s", r.PartitionId, r.TopicId)
	}
	p := &Partition{
		Replicas: r.Replicas, ISR: r.Isr, Removing: r.RemovingReplicas, Adding: r.AddingReplicas,
		Directories: r.Directories, Leader: r.Leader, LeaderEpoch: r.LeaderEpoch,
		PartitionEpoch: r.PartitionEpoch, RecoveryState: r.LeaderRecoveryState,
		ELR: r.EligibleLeaderReplicas, LastELR: r.LastKnownElr,
	}
	switch n := int32(len(t.Partitions)); {
	case r.PartitionId == n:
		t.Partitions = append(t.Partitions, p)
		e.im.partCount++
	case r.PartitionId >= 0 && r.PartitionId < n:
		t.Partitions[r.PartitionId] = p
	default:
		return fmt.Errorf("partition record %s-%d: the topic has %d partitions", t.Name, r.PartitionId, n)
	}
	return nil
}

// recovering is the state of a partition whose leader may miss records that others had.
const recovering = 1

// noLeaderChange is what a PartitionChangeRecord says where the leader stays.
const noLeaderChange = -2

func (e *Edit) partitionChange(r *kmsg.PartitionChangeRecord) error {
	t := e.topicForChange(r.TopicId)
	if t == nil || r.PartitionId < 0 || int(r.PartitionId) >= len(t.Partitions) {
		return fmt.Errorf("partition change record for partition %d of topic id %s: no such partition",
			r.PartitionId, r.TopicId)
	}
	before := t.Partitions[r.PartitionId]
	p := Changed(*before, r)
	t.Partitions[r.PartitionId] = &p
	if r.LeaderRecoveryState == recovering {
		e.elections.Unclean++
	}
	if r.Leader >= 0 && slices.Contains(before.ELR, r.Leader) {
		e.elections.FromELR++
	}
	return nil
}

// Changed is a partition after a record of a change. The records of one partition are numbered by
// its partition epoch, those that name a leader, though it be the same, by its leader epoch.
func Changed(p Partition, r *kmsg.PartitionChangeRecord) Partition {
	set := func(field *[]int32, v []int32) {
		if v != nil {
			*field = v
		}
	}
	setELR := func(field *[]int32, v []int32) {
		if set(field, v); len(*field) == 0 {
			*field = nil // in a snapshot there is none
		}
	}
	set(&p.ISR, r.Isr)
	set(&p.Replicas, r.Replicas)
	set(&p.Removing, r.RemovingReplicas)
	set(&p.Adding, r.AddingReplicas)
	setELR(&p.ELR, r.EligibleLeaderReplicas)
	setELR(&p.LastELR, r.LastKnownElr)
	if r.Directories != nil {
		p.Directories = r.Directories
	}
	if r.LeaderRecoveryState >= 0 {
		p.RecoveryState = r.LeaderRecoveryState
	}
	if r.Leader != noLeaderChange {
		p.Leader = r.Leader
		p.LeaderEpoch++
	}
	p.PartitionEpoch++
	return p
}

// clearELR forgets who left the in-sync set without losing anything: of one topic, or of all where
// the name is empty (KIP-966).
func (e *Edit) clearELR(topic string) {
	for _, t := range e.im.topics.all() {
		if topic != "" && t.Name != topic {
			continue
		}
		for i, p := range t.Partitions {
			if len(p.ELR)+len(p.LastELR) > 0 {
				cleared := *p
				cleared.ELR, cleared.LastELR = nil, nil
				cleared.PartitionEpoch++ // Kafka counts it as a change
				e.topicForChange(t.ID).Partitions[i] = &cleared
			}
		}
	}
}

func (e *Edit) removeTopic(r *kmsg.RemoveTopicRecord) error {
	t := e.im.byID.get(r.TopicId)
	if t == nil {
		return fmt.Errorf("remove topic record: no topic has id %s", r.TopicId)
	}
	e.ownTopicMaps()
	e.topicTable.remove(t.Name)
	e.idTable.remove(t.ID)
	delete(e.touched, t.ID)
	e.im.partCount -= len(t.Partitions)
	if !e.created[t.ID] {
		e.deleted = append(e.deleted, t)
	}
	delete(e.created, t.ID)
	res := Resource{ResourceTopic, t.Name}
	if e.im.configs.get(res) != nil {
		e.ownConfigMap()
		e.configTable.remove(res)
	}
	return nil
}

func (e *Edit) ownConfigMap() {
	if e.configTable == nil {
		e.configTable = e.im.configs.edit()
		e.im.configs = e.configTable.table
	}
}

func (e *Edit) config(r *kmsg.ConfigRecord) {
	e.ownConfigMap()
	res := Resource{ResourceType(r.ResourceType), r.ResourceName}
	m := e.im.configs.get(res)
	if !e.configs[res] {
		if m = maps.Clone(m); m == nil {
			m = map[string]string{}
		}
		e.configs[res] = true
	} else if m == nil {
		m = map[string]string{}
	}
	if r.Value == nil {
		delete(m, r.Name)
	} else {
		m[r.Name] = *r.Value
	}
	if len(m) == 0 {
		e.configTable.remove(res) // a later record of this edit begins with a new map
		return
	}
	e.configTable.put(res, m)
}

func (e *Edit) feature(r *kmsg.FeatureLevelRecord) {
	e.own(&e.ownFeatures, func() { e.im.features = maps.Clone(e.im.features) })
	if r.FeatureLevel == 0 {
		delete(e.im.features, r.Name)
		return
	}
	e.im.features[r.Name] = r.FeatureLevel
}

// entityKey is an entity's parts in one order, as a map key.
func entityKey(entity []EntityPart) string {
	parts := slices.Clone(entity)
	slices.SortFunc(parts, func(a, b EntityPart) int { return strings.Compare(a.Type, b.Type) })
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Type)
		if p.Name != nil {
			fmt.Fprintf(&b, "=%q", *p.Name)
		}
		b.WriteByte(0)
	}
	return b.String()
}

func (e *Edit) quota(r *kmsg.ClientQuotaRecord) {
	e.own(&e.ownQuotas, func() { e.im.quotas = maps.Clone(e.im.quotas) })
	entity := make([]EntityPart, len(r.Entity))
	for i, p := range r.Entity {
		entity[i] = EntityPart{p.EntityType, p.EntityName}
	}
	slices.SortFunc(entity, func(a, b EntityPart) int { return strings.Compare(a.Type, b.Type) })
	key := entityKey(entity)
	q := &Quota{Entity: entity, Values: map[string]float64{}}
	if old := e.im.quotas[key]; old != nil {
		q.Values = maps.Clone(old.Values)
	}
	if r.Remove {
		delete(q.Values, r.Key)
	} else {
		q.Values[r.Key] = r.Value
	}
	if len(q.Values) == 0 {
		delete(e.im.quotas, key)
		return
	}
	e.im.quotas[key] = q
}

func (e *Edit) registerBroker(r *kmsg.RegisterBrokerRecord) {
	e.own(&e.ownBrokers, func() { e.im.brokers = maps.Clone(e.im.brokers) })
	e.brokers = true
	b := &Broker{
		ID: r.BrokerId, Epoch: r.BrokerEpoch, Incarnation: r.IncarnationId, Rack: r.Rack, Fenced: r.Fenced,
		InControlledShutdown: r.InControlledShutdown, LogDirs: r.LogDirs, CordonedDirs: r.CordonedLogDirs,
	}
	for _, ep := range r.EndPoints {
		b.Endpoints = append(b.Endpoints, Endpoint{ep.Name, ep.Host, int32(ep.Port), ep.SecurityProtocol})
	}
	for _, f := range r.Features {
		b.Features = append(b.Features, FeatureRange{f.Name, f.MinSupportedVersion, f.MaxSupportedVersion})
	}
	e.im.brokers[b.ID] = b
}

func (e *Edit) registerController(r *kmsg.RegisterControllerRecord) {
	e.own(&e.ownControllers, func() { e.im.controllers = maps.Clone(e.im.controllers) })
	c := &Controller{ID: r.ControllerId, Incarnation: r.IncarnationId}
	for _, ep := range r.EndPoints {
		c.Endpoints = append(c.Endpoints, Endpoint{ep.Name, ep.Host, int32(ep.Port), ep.SecurityProtocol})
	}
	for _, f := range r.Features {
		c.Features = append(c.Features, FeatureRange{f.Name, f.MinSupportedVersion, f.MaxSupportedVersion})
	}
	e.im.controllers[c.ID] = c
}

func (e *Edit) changeBroker(id int32, change func(*Broker)) error {
	old := e.im.brokers[id]
	if old == nil {
		return fmt.Errorf("broker record for node %d: it is not registered", id)
	}
	e.own(&e.ownBrokers, func() { e.im.brokers = maps.Clone(e.im.brokers) })
	e.brokers = true
	b := *old
	change(&b)
	e.im.brokers[id] = &b
	return nil
}

func (e *Edit) registrationChange(r *kmsg.BrokerRegistrationChangeRecord) error {
	return e.changeBroker(r.BrokerId, func(b *Broker) {
		if r.Fenced != 0 {
			b.Fenced = r.Fenced > 0
		}
		if r.InControlledShutdown != 0 {
			b.InControlledShutdown = r.InControlledShutdown > 0
		}
		if len(r.LogDirs) > 0 {
			b.LogDirs = r.LogDirs
		}
		if r.CordonedLogDirs != nil {
			b.CordonedDirs = r.CordonedLogDirs
		}
	})
}
