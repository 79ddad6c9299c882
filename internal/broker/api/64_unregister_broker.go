package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// UnregisterBroker (key 64), version 0.
//
// Takes a broker that is gone for ever out of the metadata. A cluster of one node has no such broker,
// and its own it keeps.
var _ = register(kmsg.KeyUnregisterBroker, (*Broker).unregisterBroker)

func (b *Broker) unregisterBroker(c *Call, req *kmsg.UnregisterBrokerRequest) {
	resp := kmsg.NewUnregisterBrokerResponse()
	err := refuse(kerr.BrokerIDNotRegistered, "broker %d is not registered", req.BrokerId)
	if req.BrokerId == b.NodeID {
		err = refuse(kerr.InvalidRequest, "broker %d is running: only a broker that is gone can be unregistered", req.BrokerId)
	}
	resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err)
	c.Reply(&resp)
}
