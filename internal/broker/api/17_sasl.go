package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// SaslHandshake (key 17), versions 0 and 1, and SaslAuthenticate (key 36), versions 0 to 2.
//
// A connection on a listener without SASL is authenticated from the start, so both come at the wrong
// time: ILLEGAL_SASL_STATE, and the connection stays.
var (
	_ = register(kmsg.KeySaslHandshake, (*Broker).saslHandshake)
	_ = register(kmsg.KeySaslAuthenticate, (*Broker).saslAuthenticate)
)

func (b *Broker) saslHandshake(c *Call, _ *kmsg.SaslHandshakeRequest) {
	resp := kmsg.NewSaslHandshakeResponse()
	resp.ErrorCode = kerr.IllegalSaslState.Code
	c.Reply(&resp)
}

func (b *Broker) saslAuthenticate(c *Call, _ *kmsg.SaslAuthenticateRequest) {
	resp := kmsg.NewSaslAuthenticateResponse()
	resp.ErrorCode = kerr.IllegalSaslState.Code
	resp.ErrorMessage = new("this listener has no SASL: SaslAuthenticate must follow a successful SaslHandshake")
	c.Reply(&resp)
}
