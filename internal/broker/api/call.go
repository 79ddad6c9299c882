package api

import (
	"sync/atomic"
	"time"

	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/proto/wire"
)

// Sink takes the answer of one call. The server's connection implements it with a slot in its
// ordered queue of answers, so calls may be answered in any order and from any goroutine.
type Sink interface {
	// Send hands over the encoded answer: room for the size prefix, response header and body.
	// w.Buf and w.Sections belong to the sink from then on.
	Send(w *kmsg.Writer)
	// Drop ends the call without an answer (acks=0).
	Drop()
	// Close ends the call by closing the connection.
	Close(reason string)
}

// Call is one request on its way through the broker. A handler ends it exactly once, by Reply,
// NoReply or Hangup, on its own goroutine or later on another.
type Call struct {
	Conn     *Conn
	Key      int16
	Version  int16
	Corr     int32
	ClientID string
	Start    time.Time

	// Body is the request's body. For Produce it lies in a pooled buffer and is valid only until
	// the handler returns; for every other API it may be kept.
	Body []byte

	broker     *Broker
	sink       Sink
	frameBytes int
	ended      atomic.Bool

	metered  bool          // some quota is set
	timed    bool          // the handler's time has been charged
	throttle time.Duration // how long the client has to wait
	worked   atomic.Int64  // nanoseconds that the handler took, once it is done or waits
}

// Reply answers the call. The response is encoded before Reply returns, so its buffers may be
// reused afterwards.
func (c *Call) Reply(resp kmsg.Response) {
	c.end()
	if c.metered {
		c.applyQuotas(resp)
	}
	w := wire.GetWriter()
	w.Int32(c.Corr)
	if kmsg.ResponseHeaderVersion(c.Key, c.Version) >= 1 {
		w.Uvarint(0)
	}
	resp.Append(w, c.Version)
	c.broker.metrics.answered(c, w)
	c.sink.Send(w)
}

// replyVersion answers with a body in another version than the call's, as ApiVersions does for a
// version it does not know.
func (c *Call) replyVersion(resp kmsg.Response, version int16) {
	c.Version = version
	c.Reply(resp)
}

// NoReply ends the call without an answer.
func (c *Call) NoReply() {
	c.end()
	c.broker.metrics.answered(c, nil)
	c.sink.Drop()
}

// Hangup ends the call by closing the connection, which is all that Kafka does where a protocol
// has no room for an error.
func (c *Call) Hangup(reason string) {
	c.end()
	c.broker.metrics.answered(c, nil)
	c.sink.Close(reason)
}

func (c *Call) end() {
	if c.ended.Swap(true) {
		panic("api: call answered twice: " + kmsg.ByKey(c.Key).Name)
	}
}
