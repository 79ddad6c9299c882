package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
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
	failed := func(e itemError) *kmsg.ElectLeadersResponse { return failedElection(req, e) }
	decideAs(c, auth.Alter, func(m *controller.Machine) ([]kmsg.Record, *kmsg.ElectLeadersResponse) {
		switch {
		case c.Version >= 1 && req.ElectionType != 0 && req.ElectionType != 1:
			err := refuse(kerr.InvalidRequest, "election type %d: want 0 (preferred) or 1 (unclean)", req.ElectionType)
			return nil, failed(itemError{c.code(err), message(err)})
		case req.TopicPartitions != nil && len(req.TopicPartitions) == 0:
			return nil, new(kmsg.NewElectLeadersResponse())
		case req.TimeoutMs <= 0:
			return nil, failed(outOfTime)
		}
		return m.ElectLeaders(req)
	}, failed)
}

// failedElection says of the whole and of each partition why there was no election.
func failedElection(req *kmsg.ElectLeadersRequest, e itemError) *kmsg.ElectLeadersResponse {
	resp := kmsg.NewElectLeadersResponse()
	resp.ErrorCode = e.code
	if e.code == 0 {
		return &resp // what another node's answer is read into
	}
	for _, t := range req.TopicPartitions {
		res := kmsg.ElectLeadersResponseReplicaElectionResult{Topic: t.Topic}
		for _, p := range t.Partitions {
			res.PartitionResult = append(res.PartitionResult, kmsg.ElectLeadersResponsePartitionResult{
				PartitionId: p, ErrorCode: e.code, ErrorMessage: e.text,
			})
		}
		resp.ReplicaElectionResults = append(resp.ReplicaElectionResults, res)
	}
	return &resp
}
