package api

import (
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
		return &resp
	}
	if len(req.Topics) == 0 {
		c.Reply(new(kmsg.NewAlterPartitionReassignmentsResponse()))
		return
	}
	if req.TimeoutMs <= 0 {
		c.Reply(failed(outOfTime))
		return
	}
	decide(c, func(m *controller.Machine) ([]kmsg.Record, *kmsg.AlterPartitionReassignmentsResponse) {
		return m.AlterPartitionReassignments(req)
	}, failed)
}
