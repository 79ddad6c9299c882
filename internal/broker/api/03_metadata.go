package api

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Metadata (key 3), versions 0 to 13.
//
// Null topics mean all of them (in version 0 an empty list does), an empty list none. A topic that
// does not exist is created if both auto.create.topics.enable and the request allow it. Addresses
// are those of the listener the client came by; where none is advertised, the address it reached us
// at.
//
//	v1   up to v0, replicas that are offline are left out, with REPLICA_NOT_AVAILABLE
//	v10  topic ids in the answer
//	v12  topics by id in the request
var _ = register(kmsg.KeyMetadata, (*Broker).metadata)

func (b *Broker) metadata(c *Call, req *kmsg.MetadataRequest) {
	resp := kmsg.NewMetadataResponse()
	if c.Version < metadataVersionByID && asksByID(req) {
		refuseMetadata(c, req, &resp)
		return
	}
	im := b.Image()
	clusterID := im.ClusterID
	resp.ClusterId, resp.ControllerId = &clusterID, b.activeController()
	resp.Brokers = []kmsg.MetadataResponseMetadataResponseBroker{}
	for _, n := range b.nodes(c.Conn) {
		resp.Brokers = append(resp.Brokers, kmsg.MetadataResponseMetadataResponseBroker{
			NodeId: n.ID, Host: n.Host, Port: n.Port, Rack: n.Rack,
		})
	}
	if c.Version >= 8 && c.Version <= 10 && req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = c.clusterOperations()
	}
	resp.Topics = b.metadataTopics(c, req, im)
	c.Reply(&resp)
}

// metadataVersionByID is the first version in which a topic may be asked for by its id.
const metadataVersionByID = 12

func asksByID(req *kmsg.MetadataRequest) bool {
	for _, t := range req.Topics {
		if t.Name == nil || !t.TopicId.IsZero() {
			return true
		}
	}
	return false
}

// refuseMetadata answers a request that is wrong as a whole: every topic with the error, and nothing
// else.
func refuseMetadata(c *Call, req *kmsg.MetadataRequest, resp *kmsg.MetadataResponse) {
	resp.Brokers = []kmsg.MetadataResponseMetadataResponseBroker{}
	resp.Topics = make([]kmsg.MetadataResponseMetadataResponseTopic, len(req.Topics))
	for i, t := range req.Topics {
		out := &resp.Topics[i]
		*out = kmsg.NewMetadataResponseMetadataResponseTopic()
		empty := ""
		out.ErrorCode, out.Name, out.TopicId = kerr.InvalidRequest.Code, &empty, t.TopicId
		if t.Name != nil {
			out.Name = t.Name
		}
		out.Partitions = []kmsg.MetadataResponseMetadataResponsePartition{}
	}
	c.Reply(resp)
}

func (b *Broker) metadataTopics(c *Call, req *kmsg.MetadataRequest, im *meta.Image,
) []kmsg.MetadataResponseMetadataResponseTopic {
	out := []kmsg.MetadataResponseMetadataResponseTopic{}
	if req.Topics == nil || c.Version == 0 && len(req.Topics) == 0 {
		for t := range im.Topics() {
			if c.sees(auth.Describe, auth.Topic, t.Name) {
				out = append(out, b.metadataTopic(c, t, req))
			}
		}
		slices.SortFunc(out, func(a, b kmsg.MetadataResponseMetadataResponseTopic) int {
			return cmp.Compare(*a.Name, *b.Name)
		})
		return out
	}
	asked := b.askedTopics(c, req, im)
	for _, a := range asked {
		if a.topic != nil {
			out = append(out, b.metadataTopic(c, a.topic, req))
			continue
		}
		t := kmsg.NewMetadataResponseMetadataResponseTopic()
		t.Name, t.TopicId, t.ErrorCode = a.name, a.id, c.code(a.err)
		t.Partitions = []kmsg.MetadataResponseMetadataResponsePartition{}
		if a.name != nil && !a.hidden {
			t.IsInternal = meta.IsInternal(*a.name)
			if req.IncludeTopicAuthorizedOperations && a.err != error(kerr.TopicAuthorizationFailed) {
				t.TopicAuthorizedOperations = c.authorizedOperations(auth.Topic, *a.name)
			}
		}
		out = append(out, t)
	}
	return out
}

// askedTopic is one entry of the request and what was found for it.
type askedTopic struct {
	name  *string
	id    base.TopicID
	topic *meta.Topic
	err   error
	// hidden is one that the client may not know of, whether it exists or not.
	hidden bool
}

func (b *Broker) askedTopics(c *Call, req *kmsg.MetadataRequest, im *meta.Image) []askedTopic {
	asked := make([]askedTopic, 0, len(req.Topics))
	seen := map[string]bool{}
	var missing []string
	for _, t := range req.Topics {
		// The Java client that asks by id sends an empty name beside it.
		if t.Name == nil || !t.TopicId.IsZero() {
			a := askedTopic{id: t.TopicId, topic: im.TopicByID(t.TopicId), err: kerr.UnknownTopicID}
			if t.TopicId.IsZero() {
				a.err = kerr.InvalidRequest
			}
			if a.topic != nil && !c.mayTopic(auth.Describe, a.topic.Name) {
				a.topic, a.err, a.hidden = nil, kerr.TopicAuthorizationFailed, true
			}
			asked = append(asked, a)
			continue
		}
		if seen[*t.Name] {
			continue
		}
		seen[*t.Name] = true
		a := askedTopic{name: t.Name, topic: im.Topic(*t.Name), err: kerr.UnknownTopicOrPartition}
		if !c.mayTopic(auth.Describe, *t.Name) {
			a.topic, a.err, a.hidden = nil, kerr.TopicAuthorizationFailed, true
		} else if a.topic == nil {
			missing = append(missing, *t.Name)
		}
		asked = append(asked, a)
	}
	if len(missing) == 0 {
		return asked
	}
	failed := map[string]error{}
	if (c.Version < 4 || req.AllowAutoTopicCreation) && b.Admin.Conf().Bool("auto.create.topics.enable") {
		c.parked()
		uncreatable := map[string]error{}
		if !c.seesCluster(auth.Create) {
			missing = slices.DeleteFunc(missing, func(name string) bool {
				refused := !c.mayTopic(auth.Create, name)
				if refused {
					uncreatable[name] = kerr.TopicAuthorizationFailed
				}
				return refused
			})
		}
		failed = b.autoCreate(c.mutations(0), c.behalf(), missing...)
		maps.Copy(failed, uncreatable)
		im = b.Image()
	}
	for i := range asked {
		a := &asked[i]
		if a.name == nil || a.topic != nil || a.hidden {
			continue
		}
		if a.topic = im.Topic(*a.name); a.topic != nil {
			continue
		}
		if err := failed[*a.name]; errors.Is(err, kerr.ThrottlingQuotaExceeded) {
			continue // it does not exist yet, and the client asks again when it may
		} else if err != nil {
			a.err = err
		} else if controller.CheckTopicName(*a.name) != nil {
			a.err = kerr.InvalidTopicException
		}
	}
	return asked
}

func (b *Broker) metadataTopic(
	c *Call, t *meta.Topic, req *kmsg.MetadataRequest,
) kmsg.MetadataResponseMetadataResponseTopic {
	out := kmsg.NewMetadataResponseMetadataResponseTopic()
	name := t.Name
	out.Name, out.TopicId, out.IsInternal = &name, t.ID, meta.IsInternal(t.Name)
	if req.IncludeTopicAuthorizedOperations {
		out.TopicAuthorizedOperations = c.authorizedOperations(auth.Topic, t.Name)
	}
	out.Partitions = make([]kmsg.MetadataResponseMetadataResponsePartition, len(t.Partitions))
	for i, p := range t.Partitions {
		res := &out.Partitions[i]
		res.PartitionIndex, res.LeaderId, res.LeaderEpoch = int32(i), p.Leader, p.LeaderEpoch
		res.ReplicaNodes, res.IsrNodes = p.Replicas, p.ISR
		res.OfflineReplicas = b.offlineReplicas(c.Conn, t.Name, int32(i), p)
		if err := b.leaderError(c, p, res.OfflineReplicas); err != nil {
			res.ErrorCode, res.LeaderId = err.Code, base.NoBroker
		}
		if c.Version == 0 && len(res.OfflineReplicas) > 0 {
			leaveOutOffline(res)
		}
	}
	return out
}

// leaveOutOffline names only replicas that are there to a client that knows no offline ones, and says so.
func leaveOutOffline(p *kmsg.MetadataResponseMetadataResponsePartition) {
	online := func(ids []int32) []int32 {
		return slices.DeleteFunc(slices.Clone(ids), func(id int32) bool { return slices.Contains(p.OfflineReplicas, id) })
	}
	p.ReplicaNodes, p.IsrNodes = online(p.ReplicaNodes), online(p.IsrNodes)
	if p.ErrorCode == 0 {
		p.ErrorCode = kerr.ReplicaNotAvailable.Code
	}
}

// listenerErrorsVersion is the first version that knows LISTENER_NOT_FOUND.
const listenerErrorsVersion = 6

// leaderError says why a partition cannot be reached through its leader; nil for it can.
func (b *Broker) leaderError(c *Call, p *meta.Partition, offline []int32) *kerr.Error {
	if p.Leader < 0 || len(offline) == len(p.Replicas) {
		return kerr.LeaderNotAvailable
	}
	br := b.Image().Broker(p.Leader)
	switch {
	case p.Leader == b.NodeID || br.Reachable(c.Conn.Listener):
		return nil
	case br != nil && c.Version >= listenerErrorsVersion:
		return kerr.ListenerNotFound
	default:
		return kerr.LeaderNotAvailable
	}
}

// offlineReplicas are the replicas on brokers that are down or that the client's listener does not
// reach, and those in log directories that failed.
func (b *Broker) offlineReplicas(conn *Conn, topic string, i int32, p *meta.Partition) []int32 {
	out := []int32{}
	for k, r := range p.Replicas {
		if r == b.NodeID {
			local, err := b.Parts.Topic(topic).Partition(i)
			if err == nil && local.Log().Offline() {
				out = append(out, r)
			}
			continue
		}
		br := b.Image().Broker(r)
		if br == nil || br.Fenced || !br.Reachable(conn.Listener) || k < len(p.Directories) && br.DirOffline(p.Directories[k]) {
			out = append(out, r)
		}
	}
	return out
}
