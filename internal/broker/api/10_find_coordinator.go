package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// FindCoordinator (key 10), versions 0 to 6.
//
// Says which broker coordinates a group or a transactional id: the leader of the partition of the
// internal topic that the key hashes to. The first one to ask has the topic made.
//
//	v1  key types
//	v4  several keys
//	v6  share groups, which are not coordinated here
var _ = register(kmsg.KeyFindCoordinator, (*Broker).findCoordinator)

// transactionsTopic holds the transaction coordinator's shards.
const transactionsTopic = "__transaction_state"

// The types of keys that have a coordinator.
const (
	coordinatorOfGroup       = 0
	coordinatorOfTransaction = 1
	coordinatorOfShare       = 2
)

// findShareVersion is the first version that knows coordinators of share groups' state.
const findShareVersion = 6

// findKeysVersion is the first version with several keys.
const findKeysVersion = 4

func (b *Broker) findCoordinator(c *Call, req *kmsg.FindCoordinatorRequest) {
	resp := kmsg.NewFindCoordinatorResponse()
	if c.Version >= findKeysVersion {
		resp.Coordinators = make([]kmsg.FindCoordinatorResponseCoordinator, len(req.CoordinatorKeys))
		for i, key := range req.CoordinatorKeys {
			n, err := b.coordinatorOf(c, req.KeyType, key)
			resp.Coordinators[i] = kmsg.FindCoordinatorResponseCoordinator{
				Key: key, NodeId: n.ID, Host: n.Host, Port: n.Port, ErrorCode: c.code(err), ErrorMessage: new(string),
			}
			if err == error(kerr.InvalidRequest) {
				resp.Coordinators[i].ErrorMessage = &kerr.InvalidRequest.Description
			}
		}
		c.Reply(&resp)
		return
	}
	n, err := b.coordinatorOf(c, req.KeyType, req.CoordinatorKey)
	resp.NodeId, resp.Host, resp.Port = n.ID, n.Host, n.Port
	none := "NONE"
	resp.ErrorCode, resp.ErrorMessage = c.code(err), &none
	if ke := kafkaError(err); ke != nil {
		resp.ErrorMessage = &ke.Description
	}
	c.Reply(&resp)
}

// noNode is the answer where there is no coordinator.
var noNode = node{ID: -1, Port: -1}

func (b *Broker) coordinatorOf(c *Call, keyType int8, key string) (node, error) {
	var name string
	switch keyType {
	case coordinatorOfGroup:
		if name = offsetsTopic; !c.mayGroup(auth.Describe, key) {
			return noNode, kerr.GroupAuthorizationFailed
		}
	case coordinatorOfTransaction:
		if name = transactionsTopic; !c.mayTxn(auth.Describe, key) {
			return noNode, kerr.TransactionalIDAuthorizationFailed
		}
	case coordinatorOfShare:
		if c.Version >= findShareVersion && !c.mayCluster(auth.ClusterAction) {
			return noNode, kerr.ClusterAuthorizationFailed
		}
		return noNode, kerr.InvalidRequest
	default:
		return noNode, kerr.InvalidRequest
	}
	topic := b.Image().Topic(name)
	if topic == nil {
		b.autoCreate(controller.Request{}, itself, name)
		if topic = b.Image().Topic(name); topic == nil {
			return noNode, kerr.CoordinatorNotAvailable
		}
	}
	leader := topic.Partitions[coord.ShardFor(key, int32(len(topic.Partitions)))].Leader
	if br := b.Image().Broker(leader); br != nil && (!br.Fenced || br.ID == b.NodeID) {
		return b.nodeFor(c.Conn, br), nil
	}
	return noNode, kerr.CoordinatorNotAvailable
}
