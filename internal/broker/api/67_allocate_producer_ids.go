package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// AllocateProducerIds (key 67), version 0, on the controller's listeners.
//
// Reserves a block of producer ids for a broker (KIP-730).
var _ = register(kmsg.KeyAllocateProducerIds, (*Broker).allocateProducerIDs)

func (b *Broker) allocateProducerIDs(c *Call, req *kmsg.AllocateProducerIdsRequest) {
	if !c.mayCluster(auth.ClusterAction) {
		resp := kmsg.NewAllocateProducerIdsResponse()
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		c.Reply(&resp)
		return
	}
	decide(c, func(m *controller.Machine) ([]kmsg.Record, *kmsg.AllocateProducerIdsResponse) {
		return m.AllocateProducerIDs(req)
	}, func(e itemError) *kmsg.AllocateProducerIdsResponse {
		resp := kmsg.NewAllocateProducerIdsResponse()
		resp.ErrorCode = e.code
		return &resp
	})
}
