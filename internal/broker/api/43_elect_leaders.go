package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// ElectLeaders (key 43), versions 0 to 2.
//
// A partition whose preferred replica leads, as always on one node, says ELECTION_NOT_NEEDED. Null
// topics mean all, of which only those that need an election are answered.
//
//	v1  an election may be unclean (KIP-460)
var _ = register(kmsg.KeyElectLeaders, (*Broker).electLeaders)

func (b *Broker) electLeaders(c *Call, req *kmsg.ElectLeadersRequest) {
	if c.Version >= 1 && req.ElectionType != 0 && req.ElectionType != 1 {
		c.Reply(unknownElection(c, req))
		return
	}
	decide(c, func(m *controller.Machine) ([]kmsg.Record, *kmsg.ElectLeadersResponse) {
		return m.ElectLeaders(req)
	}, func(e itemError) *kmsg.ElectLeadersResponse {
		resp := kmsg.NewElectLeadersResponse()
		resp.ErrorCode = e.code
		return &resp
	})
}

// unknownElection answers an election type that does not exist, for the whole and for each partition.
func unknownElection(c *Call, req *kmsg.ElectLeadersRequest) *kmsg.ElectLeadersResponse {
	err := refuse(kerr.InvalidRequest, "election type %d: want 0 (preferred) or 1 (unclean)", req.ElectionType)
	resp := kmsg.NewElectLeadersResponse()
	resp.ErrorCode = c.code(err)
	for _, t := range req.TopicPartitions {
		res := kmsg.ElectLeadersResponseReplicaElectionResult{Topic: t.Topic}
		for _, p := range t.Partitions {
			res.PartitionResult = append(res.PartitionResult, kmsg.ElectLeadersResponsePartitionResult{
				PartitionId: p, ErrorCode: c.code(err), ErrorMessage: message(err),
			})
		}
		resp.ReplicaElectionResults = append(resp.ReplicaElectionResults, res)
	}
	return &resp
}
