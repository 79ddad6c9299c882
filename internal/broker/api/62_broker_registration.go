package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// BrokerRegistration (key 62), versions 0 to 4, on the controller's listeners.
//
// A broker that starts enters the cluster, fenced, and gets its epoch (KIP-631).
//
//	v2  log directories (KIP-858)
//	v3  the epoch that the broker had when it stopped cleanly (KIP-966)
//	v4  features with a minimum of 0
var _ = register(kmsg.KeyBrokerRegistration, (*Broker).brokerRegistration)

func (b *Broker) brokerRegistration(c *Call, req *kmsg.BrokerRegistrationRequest) {
	if !c.mayCluster(auth.ClusterAction) {
		resp := kmsg.NewBrokerRegistrationResponse()
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		c.Reply(&resp)
		return
	}
	var refused error
	decideNow(c, func(m *controller.Machine, now time.Time) (records []kmsg.Record, resp *kmsg.BrokerRegistrationResponse) {
		records, resp, refused = m.RegisterBroker(now, req)
		return records, resp
	}, func(e itemError) *kmsg.BrokerRegistrationResponse {
		resp := kmsg.NewBrokerRegistrationResponse()
		resp.ErrorCode = e.code
		return &resp
	}, func(*kmsg.BrokerRegistrationResponse) {
		if refused != nil { // the response has no room for the reason
			b.Logger.Warn("broker registration refused", "broker", req.BrokerId, "err", refused)
		}
	})
}
