package api

import (
	"time"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// BrokerHeartbeat (key 63), versions 0 to 2, on the controller's listeners.
//
// A broker says that it lives, how much of the metadata it has applied, and what it wants: to serve,
// to be fenced, or to stop.
//
//	v1  offline log directories (KIP-858)
//	v2  cordoned log directories (KIP-1066)
var _ = register(kmsg.KeyBrokerHeartbeat, (*Broker).brokerHeartbeat)

func (b *Broker) brokerHeartbeat(c *Call, req *kmsg.BrokerHeartbeatRequest) {
	decideNow(c, func(m *controller.Machine, now time.Time) ([]kmsg.Record, *kmsg.BrokerHeartbeatResponse) {
		return m.Heartbeat(now, req)
	}, func(e itemError) *kmsg.BrokerHeartbeatResponse {
		resp := kmsg.NewBrokerHeartbeatResponse()
		resp.ErrorCode = e.code
		return &resp
	}, func(*kmsg.BrokerHeartbeatResponse) {})
}
