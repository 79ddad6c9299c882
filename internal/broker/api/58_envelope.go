package api

import (
	"net/netip"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/peer"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/proto/wire"
)

// Envelope (key 58), version 0.
//
// A request that a broker passes on for its client (KIP-590). The controller serves it as if the
// client had come itself, with the principal and from the host that the broker names, and puts the answer
// into an envelope. A controller that is not the active one says so on the envelope, and the broker looks
// for another. A request without a principal is the broker's own.
var _ = register(kmsg.KeyEnvelope, (*Broker).envelope)

func (b *Broker) envelope(c *Call, req *kmsg.EnvelopeRequest) {
	s := &envelopeSink{c: c}
	if !c.mayCluster(auth.ClusterAction) {
		s.end(nil, kerr.ClusterAuthorizationFailed.Code)
		return
	}
	who := c.Conn.Principal
	if len(req.RequestPrincipal) > 0 {
		var err error
		if who, err = auth.UnmarshalPrincipal(req.RequestPrincipal); err != nil {
			b.Logger.Warn("request in an envelope refused", "client", c.Conn.Remote.String(), "err", err)
			s.end(nil, kerr.PrincipalDeserializationFailure.Code)
			return
		}
	}
	key := PeekKey(req.RequestData)
	e := table[key]
	host, ok := netip.AddrFromSlice(req.ClientHostAddress)
	if e == nil || !e.api.Listeners.Has(kmsg.ListenerController) || key == kmsg.KeyEnvelope || !ok {
		s.end(nil, kerr.InvalidRequest.Code)
		return
	}
	inner := NewConn(c.Conn.ID, c.Conn.Listener, c.Conn.Local, netip.AddrPortFrom(host, 0), c.Conn.Closing(), func() {})
	inner.Controller, inner.Principal = true, who
	if err := b.Dispatch(inner, req.RequestData, &Call{}, s); err != nil {
		b.Logger.Warn("request in an envelope refused", "client", c.Conn.Remote.String(), "err", err)
		s.end(nil, kerr.InvalidRequest.Code)
	}
}

// envelopeSink puts the answer to the request in an envelope into one.
type envelopeSink struct {
	c    *Call
	done bool
}

func (s *envelopeSink) end(data []byte, code int16) {
	if s.done {
		return
	}
	s.done = true
	resp := &peer.EnvelopeResponse{EndOffset: -1}
	resp.ResponseData, resp.ErrorCode = data, code
	if ctl := s.c.broker.Admin.Controller; ctl != nil && code == 0 {
		resp.EndOffset = ctl.EndOffset()
	}
	s.c.Reply(resp)
}

// Send implements Sink.
func (s *envelopeSink) Send(w *kmsg.Writer) {
	s.end(w.Buf[wire.SizeBytes:], 0)
	wire.PutWriter(w)
}

// Drop implements Sink.
func (s *envelopeSink) Drop() { s.end(nil, kerr.InvalidRequest.Code) }

// Close implements Sink.
func (s *envelopeSink) Close(string) { s.end(nil, kerr.InvalidRequest.Code) }

// notController says on the envelope, if the call came in one, that another controller is to be asked.
func (c *Call) notController() bool {
	s, ok := c.sink.(*envelopeSink)
	if ok {
		c.end()
		s.end(nil, kerr.NotController.Code)
	}
	return ok
}
