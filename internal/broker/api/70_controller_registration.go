package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// ControllerRegistration (key 70), version 0, on the controller's listeners.
//
// A controller that starts tells where it listens and what it supports (KIP-919).
var _ = register(kmsg.KeyControllerRegistration, (*Broker).controllerRegistration)

func (b *Broker) controllerRegistration(c *Call, req *kmsg.ControllerRegistrationRequest) {
	if !c.mayCluster(auth.ClusterAction) {
		resp := kmsg.NewControllerRegistrationResponse()
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		c.Reply(&resp)
		return
	}
	decide(c, func(m *controller.Machine) ([]kmsg.Record, *kmsg.ControllerRegistrationResponse) {
		return m.RegisterController(req)
	}, func(e itemError) *kmsg.ControllerRegistrationResponse {
		resp := kmsg.NewControllerRegistrationResponse()
		resp.ErrorCode, resp.ErrorMessage = e.code, e.text
		return &resp
	})
}
