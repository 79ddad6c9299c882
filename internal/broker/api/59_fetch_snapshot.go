package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// FetchSnapshot (key 59), versions 0 and 1, on the controllers' listener.
//
// A node that is behind the start of the metadata log reads a snapshot of it piece by piece (KIP-630).
//
//	v1  directory id of the reader
var _ = register(kmsg.KeyFetchSnapshot, (*Broker).fetchSnapshot)

func (b *Broker) fetchSnapshot(c *Call, req *kmsg.FetchSnapshotRequest) {
	resp := kmsg.NewFetchSnapshotResponse()
	resp.Topics = []kmsg.FetchSnapshotResponseTopicSnapshot{}
	if !c.mayCluster(auth.ClusterAction) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		c.Reply(&resp)
		return
	}
	if err := b.checkCluster(req.ClusterId); err != nil || b.Admin.Controller == nil {
		resp.ErrorCode = c.code(err)
		if err == nil {
			resp.ErrorCode = kerr.InvalidRequest.Code
		}
		c.Reply(&resp)
		return
	}
	for _, t := range req.Topics {
		out := kmsg.FetchSnapshotResponseTopicSnapshot{Name: t.Name}
		for i := range t.Partitions {
			out.Partitions = append(out.Partitions, b.readSnapshot(c, t.Name, &t.Partitions[i], req.MaxBytes))
		}
		resp.Topics = append(resp.Topics, out)
	}
	c.Reply(&resp)
}

func (b *Broker) readSnapshot(
	c *Call, topic string, in *kmsg.FetchSnapshotRequestPartitionSnapshot, maxBytes int32,
) kmsg.FetchSnapshotResponsePartitionSnapshot {
	out := kmsg.NewFetchSnapshotResponsePartitionSnapshot()
	out.Index, out.Position = in.Partition, in.Position
	out.SnapshotId = kmsg.FetchSnapshotResponseSnapshotId{EndOffset: in.SnapshotId.EndOffset, Epoch: in.SnapshotId.Epoch}
	out.CurrentLeader.LeaderId, out.CurrentLeader.LeaderEpoch = b.Admin.Controller.Leader()
	out.UnalignedRecords.Bytes = []byte{}
	if topic != metadataTopic || in.Partition != 0 {
		out.ErrorCode = kerr.UnknownTopicOrPartition.Code
		return out
	}
	part, size, err := b.Admin.Controller.ReadSnapshot(
		controller.SnapshotID{EndOffset: in.SnapshotId.EndOffset, Epoch: in.SnapshotId.Epoch}, in.Position, maxBytes)
	out.ErrorCode, out.Size = c.code(err), size
	if err == nil {
		out.UnalignedRecords.Bytes = part
	}
	return out
}
