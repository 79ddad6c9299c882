package api

import (
	"encoding/binary"
	"fmt"
	"runtime/debug"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// PeekKey reads the API key of a frame, or -1 when the frame is too short for a request header.
func PeekKey(frame []byte) int16 {
	if len(frame) < minHeaderBytes {
		return -1
	}
	return int16(binary.BigEndian.Uint16(frame))
}

// minHeaderBytes is key, version, correlation id and the length of a null client id.
const minHeaderBytes = 2 + 2 + 4 + 2

// Dispatch serves one request frame (without its size prefix). It runs the handler on the caller's
// goroutine; the answer goes to sink, perhaps later. An error means that the bytes were no request
// this broker serves, which Kafka answers by closing the connection.
func (b *Broker) Dispatch(conn *Conn, frame []byte, c *Call, sink Sink) (err error) {
	defer func() {
		if p := recover(); p != nil {
			b.Logger.Error("request handler failed", "api", apiName(c.Key), "version", c.Version,
				"client_id", c.ClientID, "correlation_id", c.Corr, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("%s: internal error", apiName(c.Key))
		}
	}()
	if s := conn.sasl; s != nil && s.step == saslBare {
		return b.bareToken(c, conn, frame, sink)
	}
	if err := c.open(b, conn, frame, sink); err != nil {
		if conn.LoggingIn() != nil {
			return b.loginFailed(c, nil, err)
		}
		return err
	}
	if conn.sasl != nil {
		if served, err := b.login(c); served {
			return err
		}
	}
	if private := b.Private[c.Key]; private != nil && conn.Controller {
		may := b.Authorizer == nil || b.Authorizer.Authorize(c.privateSubject(), auth.ClusterAction, auth.Cluster, auth.ClusterName)
		c.NoReply()
		if !may {
			return fmt.Errorf("api key %d: %s may not act for the cluster (CLUSTER_ACTION on it)", c.Key, c.principal())
		}
		return private(c.Body)
	}
	e := table[c.Key]
	switch {
	case e == nil || !e.api.Listeners.Has(conn.kind()):
		return fmt.Errorf("api key %d: not served on this listener", c.Key)
	case c.Version < e.api.Min || c.Version > e.api.Max:
		if c.Key == kmsg.KeyApiVersions {
			b.unknownApiVersions(c)
			return nil
		}
		return fmt.Errorf("%s version %d: served are %d to %d", e.api.Name, c.Version, e.api.Min, e.api.Max)
	}
	if err := e.serve(b, c); err != nil {
		return fmt.Errorf("%s version %d: %w", e.api.Name, c.Version, err)
	}
	c.parked()
	return nil
}

// open fills c from the frame's request header.
func (c *Call) open(b *Broker, conn *Conn, frame []byte, sink Sink) error {
	c.broker, c.Conn, c.sink, c.frameBytes = b, conn, sink, len(frame)
	if len(frame) < minHeaderBytes {
		return fmt.Errorf("request of %d bytes: a header has at least %d", len(frame), minHeaderBytes)
	}
	c.ended.Store(false)
	c.worked.Store(0)
	c.Start = b.Clock.Now()
	c.Key = int16(binary.BigEndian.Uint16(frame))
	c.metered, c.timed, c.throttle = b.Quotas.Any() && !ofNodes(c.Key), false, 0
	c.Version = int16(binary.BigEndian.Uint16(frame[2:]))
	c.Corr = int32(binary.BigEndian.Uint32(frame[4:]))
	n := int(int16(binary.BigEndian.Uint16(frame[8:])))
	rest := frame[minHeaderBytes:]
	if n > len(rest) || n < -1 {
		return fmt.Errorf("client id of %d bytes in a frame with %d left", n, len(rest))
	}
	if n < 0 {
		n = 0
	}
	c.ClientID = conn.internClientID(rest[:n])
	rest = rest[n:]
	c.Body = rest
	if kmsg.RequestHeaderVersion(c.Key, c.Version) < 2 {
		return nil
	}
	if len(rest) > 0 && rest[0] == 0 { // no tagged fields, as nearly always
		c.Body = rest[1:]
		return nil
	}
	var h kmsg.RequestHeader
	r := kmsg.NewReader(frame)
	err := h.Read(&r, 2)
	c.Body = r.Rest()
	return err
}
