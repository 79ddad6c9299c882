package api

import (
	"time"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// UnregisterBroker (key 64), version 0.
//
// Takes a broker that is gone for ever out of the metadata. One that runs is refused.
var _ = register(kmsg.KeyUnregisterBroker, (*Broker).unregisterBroker)

func (b *Broker) unregisterBroker(c *Call, req *kmsg.UnregisterBrokerRequest) {
	decideNow(c, func(m *controller.Machine, now time.Time) ([]kmsg.Record, *kmsg.UnregisterBrokerResponse) {
		resp := kmsg.NewUnregisterBrokerResponse()
		if err := c.needCluster(auth.Alter); err != nil {
			resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err)
			return nil, &resp
		}
		records, err := m.UnregisterBroker(now, req.BrokerId)
		resp.ErrorCode, resp.ErrorMessage = controller.Code(err)
		return records, &resp
	}, func(e itemError) *kmsg.UnregisterBrokerResponse {
		resp := kmsg.NewUnregisterBrokerResponse()
		resp.ErrorCode, resp.ErrorMessage = e.code, e.text
		return &resp
	}, func(*kmsg.UnregisterBrokerResponse) {})
}
