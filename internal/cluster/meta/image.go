package meta

import (
	"encoding/binary"
	"iter"
	"maps"
	"slices"

	"github.com/logstead/logstead/internal/kit/base"
)

// Image is the cluster's metadata as of one offset of the metadata log.
type Image struct {
	// Offset and Epoch are of the last record applied; -1 before the first.
	Offset    int64
	Epoch     int32
	ClusterID string

	topics      *table[string, *Topic]
	byID        *table[base.TopicID, *Topic]
	configs     *table[Resource, map[string]string]
	features    map[string]int16
	quotas      map[string]*Quota
	brokers     map[int32]*Broker
	controllers map[int32]*Controller
	scram       map[ScramKey]*Scram
	acls        map[base.TopicID]*ACL
	partCount   int

	nextProducerID int64
}

// Empty is the image before the first record.
func Empty(clusterID string) *Image {
	return &Image{
		Offset: -1, Epoch: -1, ClusterID: clusterID,
		topics: newTable[string, *Topic](), byID: newTable[base.TopicID, *Topic](),
		configs: newTable[Resource, map[string]string](), features: map[string]int16{},
		quotas: map[string]*Quota{}, brokers: map[int32]*Broker{}, controllers: map[int32]*Controller{},
		scram: map[ScramKey]*Scram{}, acls: map[base.TopicID]*ACL{},
	}
}

// Topic is one topic. Partitions is indexed by partition.
type Topic struct {
	Name       string
	ID         base.TopicID
	Partitions []*Partition
}

// Partition is the state of one partition.
type Partition struct {
	Replicas, ISR    []int32
	Removing, Adding []int32
	Directories      []base.TopicID // by replica
	Leader           int32          // -1 for none
	LeaderEpoch      int32
	PartitionEpoch   int32
	RecoveryState    int8
	ELR, LastELR     []int32
}

// Moving says that a reassignment is under way.
func (p *Partition) Moving() bool { return len(p.Adding)+len(p.Removing) > 0 }

// OnlyComplete says that nobody but this replica is known to have all that was committed. A partition of one replica has
// nothing to lose by a replica that begins anew.
func (p *Partition) OnlyComplete(id int32) bool {
	if len(p.Replicas) == 1 {
		return false
	}
	if slices.Contains(p.LastELR, id) {
		return true // it leads again should those who are eligible turn out to have lost something
	}
	complete := slices.Concat(p.ISR, p.ELR)
	return len(complete) > 0 && !slices.ContainsFunc(complete, func(other int32) bool { return other != id })
}

// Unfound says of a replica that is in none of its broker's directories that it must not be made anew in one: it was in
// one that is gone, nobody knows which, and nobody else is known to be complete.
func (p *Partition) Unfound(id int32) bool {
	i := slices.Index(p.Replicas, id)
	return i >= 0 && i < len(p.Directories) && p.Directories[i] == DirLost && p.OnlyComplete(id)
}

// Broker is one registered broker.
type Broker struct {
	ID                    int32
	Epoch                 int64
	Incarnation           base.TopicID
	Endpoints             []Endpoint
	Features              []FeatureRange
	Rack                  *string
	Fenced                bool
	InControlledShutdown  bool
	LogDirs, CordonedDirs []base.TopicID
}

// Cordoned says that the broker gets no more replicas: none of its directories takes any (KIP-1066).
func (b *Broker) Cordoned() bool {
	for _, d := range b.LogDirs {
		if !slices.Contains(b.CordonedDirs, d) {
			return false
		}
	}
	return len(b.LogDirs) > 0
}

// Reachable says whether the broker has an address on a listener; b may be nil.
func (b *Broker) Reachable(listener string) bool {
	if b == nil {
		return false
	}
	_, _, ok := b.Endpoint(listener)
	return ok
}

// Endpoint is the broker's address on a listener.
func (b *Broker) Endpoint(listener string) (host string, port int32, ok bool) {
	for _, e := range b.Endpoints {
		if e.Listener == listener {
			return e.Host, e.Port, true
		}
	}
	return "", 0, false
}

// Ids that stand for no directory, those of Kafka's DirectoryId: a replica of a level that knew no directories, one that
// has not said where it is, and one in a directory that failed. The first hundred ids are kept for such.
var (
	DirMigrating  = base.TopicID{}
	DirUnassigned = base.TopicID{15: 1}
	DirLost       = base.TopicID{15: 2}
)

const reservedDirs = 100

// ReservedDir says whether an id stands for no directory.
func ReservedDir(id base.TopicID) bool {
	return binary.BigEndian.Uint64(id[:8]) == 0 && binary.BigEndian.Uint64(id[8:]) < reservedDirs
}

// DirOffline says whether a directory that the metadata names is none of the broker's that work.
func (b *Broker) DirOffline(id base.TopicID) bool {
	if ReservedDir(id) {
		return id == DirLost
	}
	return !slices.Contains(b.LogDirs, id)
}

// Endpoint is an address that a node advertises.
type Endpoint struct {
	Listener string
	Host     string
	Port     int32
	Protocol int16 // 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL
}

// securityProtocols are the names of the security protocols by their numbers.
var securityProtocols = [...]string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}

// SecurityProtocol is the number of a security protocol; an unknown name is that of PLAINTEXT.
func SecurityProtocol(name string) int16 {
	return int16(max(slices.Index(securityProtocols[:], name), 0))
}

// Controller is one registered controller (KIP-919). It stays registered when its process has ended.
type Controller struct {
	ID          int32
	Incarnation base.TopicID
	Endpoints   []Endpoint
	Features    []FeatureRange
}

// FeatureRange is the levels of a feature that a node supports.
type FeatureRange struct {
	Name     string
	Min, Max int16
}

// ResourceType is the kind of thing a config belongs to, as Kafka numbers it.
type ResourceType int8

// The resource types with configs.
const (
	ResourceTopic         ResourceType = 2
	ResourceBroker        ResourceType = 4
	ResourceBrokerLogger  ResourceType = 8
	ResourceClientMetrics ResourceType = 16
	ResourceGroup         ResourceType = 32
)

// Resource names what a config belongs to; the broker "" is the default of all brokers.
type Resource struct {
	Type ResourceType
	Name string
}

// Quota is the set of quotas of one client entity.
type Quota struct {
	Entity []EntityPart // sorted by type
	Values map[string]float64
}

// EntityPart is one part of a client entity: its type (user, client-id, ip) and its name, nil for
// the default of that type.
type EntityPart struct {
	Type string
	Name *string
}

// ScramKey names one SCRAM credential.
type ScramKey struct {
	User      string
	Mechanism int8
}

// Scram is one SCRAM credential.
type Scram struct {
	Salt, StoredKey, ServerKey []byte
	Iterations                 int32
}

// Topic finds a topic by name, or nil.
func (im *Image) Topic(name string) *Topic { return im.topics.get(name) }

// TopicByID finds a topic by id, or nil.
func (im *Image) TopicByID(id base.TopicID) *Topic { return im.byID.get(id) }

// Topics visits every topic, in no particular order.
func (im *Image) Topics() iter.Seq[*Topic] { return im.topics.values() }

// TopicNames lists the topics, sorted.
func (im *Image) TopicNames() []string { return slices.Sorted(im.topics.keys()) }

// TopicCount and PartitionCount are the totals.
func (im *Image) TopicCount() int { return im.topics.count }

// PartitionCount is the number of partitions of all topics.
func (im *Image) PartitionCount() int { return im.partCount }

// Configs are the dynamic configs of a resource, nil if it has none. The map must not be changed.
func (im *Image) Configs(r Resource) map[string]string { return im.configs.get(r) }

// ConfigResources visits every resource with dynamic configs, in no particular order.
func (im *Image) ConfigResources() iter.Seq[Resource] { return im.configs.keys() }

// Feature is the finalized level of a feature; 0 is not finalized.
func (im *Image) Feature(name string) int16 { return im.features[name] }

// Features are all finalized levels. The map must not be changed.
func (im *Image) Features() map[string]int16 { return im.features }

// Quotas visits the quotas of every client entity, in no particular order.
func (im *Image) Quotas() iter.Seq[*Quota] { return maps.Values(im.quotas) }

// Quota finds the quotas of exactly this entity, or nil.
func (im *Image) Quota(entity []EntityPart) *Quota { return im.quotas[entityKey(entity)] }

// Broker finds a registered broker, or nil.
func (im *Image) Broker(id int32) *Broker { return im.brokers[id] }

// Brokers lists the registered brokers by id.
func (im *Image) Brokers() []*Broker {
	all := slices.Collect(maps.Values(im.brokers))
	slices.SortFunc(all, func(a, b *Broker) int { return int(a.ID) - int(b.ID) })
	return all
}

// Controller finds a registered controller, or nil.
func (im *Image) Controller(id int32) *Controller { return im.controllers[id] }

// Controllers lists the registered controllers by id.
func (im *Image) Controllers() []*Controller {
	all := slices.Collect(maps.Values(im.controllers))
	slices.SortFunc(all, func(a, b *Controller) int { return int(a.ID) - int(b.ID) })
	return all
}

// Scram finds a credential, or nil.
func (im *Image) Scram(k ScramKey) *Scram { return im.scram[k] }

// Scrams visits every credential, in no particular order.
func (im *Image) Scrams() iter.Seq2[ScramKey, *Scram] { return maps.All(im.scram) }

// ACLs visits every access control entry, in no particular order.
func (im *Image) ACLs() iter.Seq[*ACL] { return maps.Values(im.acls) }

// NextProducerID is the first producer id that no block has been given out of.
func (im *Image) NextProducerID() int64 { return im.nextProducerID }

// internalTopics are the topics that belong to coordinators.
var internalTopics = map[string]bool{
	"__consumer_offsets": true, "__transaction_state": true, "__share_group_state": true,
}

// IsInternal says whether a topic belongs to a coordinator.
func IsInternal(topic string) bool { return internalTopics[topic] }
