package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// DescribeQuorum (key 55), versions 0 to 2.
//
// The quorum of one node is that node: it leads, is the only voter and has caught up with itself.
//
//	v1  times of the last fetch
//	v2  directory ids, the addresses of the nodes, errors with a text (KIP-853)
var _ = register(kmsg.KeyDescribeQuorum, (*Broker).describeQuorum)

// metadataTopic is the log that the quorum replicates.
const metadataTopic = "__cluster_metadata"

func (b *Broker) describeQuorum(c *Call, req *kmsg.DescribeQuorumRequest) {
	resp := kmsg.NewDescribeQuorumResponse()
	im := b.Image()
	for _, t := range req.Topics {
		out := kmsg.DescribeQuorumResponseTopicData{TopicName: t.TopicName}
		for _, p := range t.Partitions {
			res := kmsg.NewDescribeQuorumResponsePartitionData()
			res.PartitionIndex = p.PartitionIndex
			if t.TopicName != metadataTopic || p.PartitionIndex != 0 {
				err := refuse(kerr.UnknownTopicOrPartition, "%s-%d: the quorum has %s-0 only",
					t.TopicName, p.PartitionIndex, metadataTopic)
				res.ErrorCode, res.ErrorMessage = c.code(err), message(err)
			} else {
				b.fillQuorum(im, &res)
				resp.Nodes = b.quorumNodes(c, im)
			}
			out.Partitions = append(out.Partitions, res)
		}
		resp.Topics = append(resp.Topics, out)
	}
	c.Reply(&resp)
}

func (b *Broker) fillQuorum(im *meta.Image, res *kmsg.DescribeQuorumResponsePartitionData) {
	end, now := im.Offset+1, b.Clock.Now().UnixMilli()
	res.LeaderId, res.LeaderEpoch, res.HighWatermark = b.NodeID, im.Epoch, end
	res.CurrentVoters = []kmsg.DescribeQuorumResponseReplicaState{{
		ReplicaId: b.NodeID, LogEndOffset: end, LastFetchTimestamp: now, LastCaughtUpTimestamp: now,
	}}
}

// quorumNodes tells where the voter is. It has no listener of its own for the quorum, so that is
// the address by which the client came, under the name that the controllers' listener has.
func (b *Broker) quorumNodes(c *Call, im *meta.Image) []kmsg.DescribeQuorumResponseNode {
	br := im.Broker(b.NodeID)
	if br == nil {
		return nil
	}
	name := c.Conn.Listener
	if names := b.Admin.Conf().List("controller.listener.names"); len(names) > 0 {
		name = names[0]
	}
	n := b.nodeFor(c.Conn, br)
	return []kmsg.DescribeQuorumResponseNode{{
		NodeId:    n.ID,
		Listeners: []kmsg.DescribeQuorumResponseListener{{Name: name, Host: n.Host, Port: uint16(n.Port)}},
	}}
}
