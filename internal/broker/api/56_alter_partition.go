package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// AlterPartition (key 56), versions 2 and 3, on the controller's listeners.
//
// A leader tells who is in sync (KIP-497). Each partition is answered alone.
//
//	v3  the in-sync set has the brokers' epochs, so that one that was restarted since is refused (KIP-903)
var _ = register(kmsg.KeyAlterPartition, (*Broker).alterPartition)

func (b *Broker) alterPartition(c *Call, req *kmsg.AlterPartitionRequest) {
	if !c.mayCluster(auth.ClusterAction) {
		resp := kmsg.NewAlterPartitionResponse()
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		c.Reply(&resp)
		return
	}
	decide(c, func(m *controller.Machine) ([]kmsg.Record, *kmsg.AlterPartitionResponse) {
		return m.AlterPartition(c.Version, req)
	}, func(e itemError) *kmsg.AlterPartitionResponse {
		resp := kmsg.NewAlterPartitionResponse()
		resp.ErrorCode = e.code
		return &resp
	})
}
