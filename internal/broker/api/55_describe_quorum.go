package api

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// DescribeQuorum (key 55), versions 0 to 2.
//
// The active controller knows how far every voter is; a broker passes the request on to it, another
// controller says that it does not lead.
//
// What the active controller knows of balancing comes the same way, as JSON in the message of two partitions
// of a topic that no quorum has: Kafka's answer to it is UNKNOWN_TOPIC_OR_PARTITION.
//
//	v1  times of the last fetch
//	v2  directory ids, the addresses of the nodes, errors with a text (KIP-853)
var _ = register(kmsg.KeyDescribeQuorum, (*Broker).describeQuorum)

// metadataTopic is the log that the quorum replicates.
const metadataTopic = "__cluster_metadata"

// balanceTopic and its partitions stand for what is known of balancing.
const (
	balanceTopic       = "__logstead_balance"
	balanceState int32 = 0 // controller.BalanceStatus
	balanceLoads int32 = 1 // controller.Controller.Loads
)

// balance is the JSON of a partition of balanceTopic.
func (b *Broker) balance(partition int32) *string {
	var v any = b.Admin.Controller.Loads()
	if partition == balanceState {
		v = b.Admin.Controller.Balance()
	}
	text, err := json.Marshal(v)
	if err != nil { // none of the types can fail
		panic(err)
	}
	return new(string(text))
}

func (b *Broker) describeQuorum(c *Call, req *kmsg.DescribeQuorumRequest) {
	resp := kmsg.NewDescribeQuorumResponse()
	st, err := b.quorumState()
	if errors.Is(err, kerr.NotController) {
		if c.notController() {
			return
		}
		if c.mayForward() {
			if err = c.forward(&resp); err == nil {
				c.Reply(&resp)
				return
			}
		} else {
			err = refuse(kerr.NotLeaderForPartition, "node %d is not the active controller", b.NodeID)
		}
	}
	if err == nil {
		err = c.needCluster(auth.Describe)
	}
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err)
		c.Reply(&resp)
		return
	}
	for _, t := range req.Topics {
		out := kmsg.DescribeQuorumResponseTopicData{TopicName: t.TopicName}
		for _, p := range t.Partitions {
			res := kmsg.NewDescribeQuorumResponsePartitionData()
			res.PartitionIndex = p.PartitionIndex
			if t.TopicName == balanceTopic && p.PartitionIndex <= balanceLoads && p.PartitionIndex >= 0 {
				res.ErrorMessage = b.balance(p.PartitionIndex)
			} else if t.TopicName != metadataTopic || p.PartitionIndex != 0 {
				err := refuse(kerr.UnknownTopicOrPartition, "%s-%d: the quorum has %s-0 only",
					t.TopicName, p.PartitionIndex, metadataTopic)
				res.ErrorCode, res.ErrorMessage = c.code(err), message(err)
			} else {
				b.fillQuorum(st, &res)
				resp.Nodes = b.quorumNodes(c)
			}
			out.Partitions = append(out.Partitions, res)
		}
		resp.Topics = append(resp.Topics, out)
	}
	c.Reply(&resp)
}

func (b *Broker) quorumState() (*controller.QuorumState, error) {
	if b.Admin.Controller == nil {
		return nil, kerr.NotController
	}
	return b.Admin.Controller.Quorum()
}

func (b *Broker) fillQuorum(st *controller.QuorumState, res *kmsg.DescribeQuorumResponsePartitionData) {
	res.LeaderId, res.LeaderEpoch, res.HighWatermark = b.NodeID, st.Epoch, st.HighWatermark
	for _, v := range st.Voters {
		res.CurrentVoters = append(res.CurrentVoters, kmsg.DescribeQuorumResponseReplicaState{
			ReplicaId: v.Voter.ID, ReplicaDirectoryId: v.Voter.DirectoryID, LogEndOffset: v.EndOffset,
			LastFetchTimestamp: millis(v.LastHeard), LastCaughtUpTimestamp: millis(v.LastCaughtUp),
		})
	}
	for _, o := range st.Observers {
		res.Observers = append(res.Observers, kmsg.DescribeQuorumResponseReplicaState{
			ReplicaId: o.ID, ReplicaDirectoryId: o.Directory, LogEndOffset: o.EndOffset,
			LastFetchTimestamp: millis(o.Fetched), LastCaughtUpTimestamp: millis(o.LastCaughtUp),
		})
	}
}

// millis is -1 for no time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return -1
	}
	return t.UnixMilli()
}

// quorumNodes tells where the voters are. One that has no listener of its own for the quorum is at the
// address by which the client came, under the name that the controllers' listener has.
func (b *Broker) quorumNodes(c *Call) (nodes []kmsg.DescribeQuorumResponseNode) {
	if b.Controllers != nil {
		for _, n := range b.Controllers() {
			nodes = append(nodes, quorumNode(n))
		}
	}
	if len(nodes) > 0 {
		return nodes
	}
	br := b.Image().Broker(b.NodeID)
	if br == nil {
		return nil
	}
	name := c.Conn.Listener
	if names := b.Admin.Conf().List("controller.listener.names"); len(names) > 0 {
		name = names[0]
	}
	n := b.nodeFor(c.Conn, br)
	return []kmsg.DescribeQuorumResponseNode{quorumNode(ControllerNode{n.ID, name, n.Host, n.Port})}
}

func quorumNode(n ControllerNode) kmsg.DescribeQuorumResponseNode {
	return kmsg.DescribeQuorumResponseNode{
		NodeId:    n.ID,
		Listeners: []kmsg.DescribeQuorumResponseListener{{Name: n.Listener, Host: n.Host, Port: uint16(n.Port)}},
	}
}
