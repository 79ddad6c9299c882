package api

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// metadataTopicID is the id that Kafka gives the metadata topic.
var metadataTopicID = base.TopicID{15: 1}

// fetchMetadata serves Fetch on the controllers' listener: the metadata log and nothing else. Nodes
// outside the quorum read what is committed of it (KIP-595); where they are behind its start they are
// told of a snapshot (KIP-630).
func (b *Broker) fetchMetadata(c *Call, req *kmsg.FetchRequest) {
	resp := kmsg.NewFetchResponse()
	resp.Responses = []kmsg.FetchResponseFetchableTopicResponse{}
	switch err := b.checkMetadataFetch(c, req); {
	case !c.mayCluster(auth.ClusterAction):
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
	case err != nil:
		resp.ErrorCode = c.code(err)
	default:
		t, in := &req.Topics[0], &req.Topics[0].Partitions[0]
		out := kmsg.FetchResponseFetchableTopicResponse{Topic: metadataTopic, TopicId: t.TopicId}
		out.Partitions = []kmsg.FetchResponsePartitionData{b.readMetadata(c, req, in)}
		resp.Responses = append(resp.Responses, out)
		if c.Version >= 16 {
			b.tellLeader(&resp, out.Partitions[0].CurrentLeader.LeaderId)
		}
	}
	c.Reply(&resp)
}

// tellLeader says where the active controller is: who was added to the quorum need not stand in the configuration of
// others (KIP-853).
func (b *Broker) tellLeader(resp *kmsg.FetchResponse, leader int32) {
	if b.Controllers == nil {
		return
	}
	for _, n := range b.Controllers() {
		if n.ID == leader {
			resp.NodeEndpoints = append(resp.NodeEndpoints, kmsg.FetchResponseNodeEndpoint{NodeId: n.ID, Host: n.Host, Port: n.Port})
		}
	}
}

func (b *Broker) checkMetadataFetch(c *Call, req *kmsg.FetchRequest) error {
	if err := b.checkCluster(req.ClusterId); err != nil {
		return err
	}
	if b.Admin.Controller == nil || len(req.Topics) != 1 || len(req.Topics[0].Partitions) != 1 || req.Topics[0].Partitions[0].Partition != 0 {
		return kerr.InvalidRequest
	}
	if t := &req.Topics[0]; c.Version < fetchVersionTopicIDs && t.Topic != metadataTopic {
		return kerr.InvalidRequest
	} else if c.Version >= fetchVersionTopicIDs && t.TopicId != metadataTopicID {
		return kerr.UnknownTopicID
	}
	return nil
}

func (b *Broker) readMetadata(c *Call, req *kmsg.FetchRequest, in *kmsg.FetchRequestFetchPartition) kmsg.FetchResponsePartitionData {
	ctx, cancel := c.within(time.Duration(req.MaxWaitMs) * time.Millisecond)
	defer cancel()
	replica := req.ReplicaId
	if c.Version >= 15 {
		replica = req.ReplicaState.ReplicaId
	}
	c.parked()
	t, err := b.Admin.Controller.Tail(ctx, controller.TailRequest{
		Replica: replica, Directory: in.ReplicaDirectoryId, Offset: in.FetchOffset, LastEpoch: in.LastFetchedEpoch,
		MaxBytes: min(in.PartitionMaxBytes, req.MaxBytes),
	})
	out := kmsg.NewFetchResponsePartitionData()
	out.ErrorCode, out.Records.Bytes = c.code(err), []byte{}
	out.HighWatermark, out.LastStableOffset, out.LogStartOffset = t.EndOffset, t.EndOffset, t.LogStart
	out.CurrentLeader = kmsg.FetchResponseLeaderIdAndEpoch{LeaderId: t.Leader, LeaderEpoch: t.Epoch}
	if t.Snapshot != nil {
		out.SnapshotId = kmsg.FetchResponseSnapshotId{EndOffset: t.Snapshot.EndOffset, Epoch: t.Snapshot.Epoch}
	}
	if t.DivergesAt >= 0 {
		out.DivergingEpoch = kmsg.FetchResponseEpochEndOffset{Epoch: t.DivergesEpoch, EndOffset: t.DivergesAt}
	}
	if t.Range != nil {
		out.Records = kmsg.Records{Ext: t.Range} // the connection releases it once it is sent
	}
	return out
}

// within is a context that ends after d, or when the connection does.
func (c *Call) within(d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	closing := c.Conn.Closing()
	if closing == nil {
		return ctx, cancel
	}
	go func() { // ends with the call
		select {
		case <-closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
