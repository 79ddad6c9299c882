package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// AssignReplicasToDirs (key 73), version 0, on the controller's listeners.
//
// A broker says which log directory each of its replicas is in (KIP-858).
var _ = register(kmsg.KeyAssignReplicasToDirs, (*Broker).assignReplicasToDirs)

func (b *Broker) assignReplicasToDirs(c *Call, req *kmsg.AssignReplicasToDirsRequest) {
	if !c.mayCluster(auth.ClusterAction) {
		resp := kmsg.NewAssignReplicasToDirsResponse()
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		c.Reply(&resp)
		return
	}
	decide(c, func(m *controller.Machine) ([]kmsg.Record, *kmsg.AssignReplicasToDirsResponse) {
		return m.AssignReplicasToDirs(req)
	}, func(e itemError) *kmsg.AssignReplicasToDirsResponse {
		resp := kmsg.NewAssignReplicasToDirsResponse()
		resp.ErrorCode = e.code
		return &resp
	})
}
