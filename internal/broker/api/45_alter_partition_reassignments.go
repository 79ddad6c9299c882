package api

import (
	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// AlterPartitionReassignments (key 45), versions 0 and 1.
//
// Null replicas cancel a reassignment. To where the replicas already are is done at once.
//
//	v1  a reassignment that changes the number of replicas may be refused (KIP-860)
var _ = register(kmsg.KeyAlterPartitionReassignments, (*Broker).alterPartitionReassignments)

func (b *Broker) alterPartitionReassignments(c *Call, req *kmsg.AlterPartitionReassignmentsRequest) {
	failed := func(e itemError) *kmsg.AlterPartitionReassignmentsResponse {
		resp := kmsg.NewAlterPartitionReassignmentsResponse()
		resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
		resp.ErrorCode, resp.ErrorMessage = e.code, e.text
		if e.code == 0 {
			return &resp // what another node's answer is read into
		}
		for i := range req.Topics {
			t := kmsg.AlterPartitionReassignmentsResponseReassignableTopicResponse{Name: req.Topics[i].Name}
			for _, p := range req.Topics[i].Partitions {
				t.Partitions = append(t.Partitions, kmsg.AlterPartitionReassignmentsResponseReassignablePartitionResponse{
					PartitionIndex: p.PartitionIndex, ErrorCode: e.code, ErrorMessage: e.text,
				})
			}
			resp.Responses = append(resp.Responses, t)
		}
		return &resp
	}
	decideAs(c, auth.Alter, func(m *controller.Machine) ([]kmsg.Record, *kmsg.AlterPartitionReassignmentsResponse) {
		switch {
		case len(req.Topics) == 0:
			return nil, new(kmsg.NewAlterPartitionReassignmentsResponse())
		case req.TimeoutMs <= 0:
			return nil, failed(outOfTime)
		}
		return m.AlterPartitionReassignments(req)
	}, failed)
}
