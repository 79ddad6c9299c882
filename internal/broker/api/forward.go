package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Forwarder has the active controller serve a request (KIP-590).
type Forwarder interface {
	// Forward sends a whole request, header and body, on behalf of a principal, as auth.Principal.Marshal
	// writes it, at host (4 or 16 bytes), and returns the whole answer, header and body, once this broker
	// knows the metadata that it speaks of. Without a principal the request is this broker's own. It looks
	// for the active controller until ctx ends.
	Forward(ctx context.Context, request, principal, host []byte) ([]byte, error)
}

// forwardTimeout bounds how long the active controller is looked for where the request itself does
// not say.
const forwardTimeout = 30 * time.Second

// mayForward says whether a call that needs the active controller, which is not here, goes to it.
// What came over the controllers' listener does not: whoever sent it looks for another one.
func (c *Call) mayForward() bool { return c.broker.Forwarder != nil && !c.Conn.Controller }

// forward has the active controller answer the call and reads the answer into resp.
func (c *Call) forward(resp kmsg.Response) error {
	c.parked()
	ctx, cancel := c.within(forwardTimeout)
	defer cancel()
	w := &kmsg.Writer{}
	appendHeader(w, c.Key, c.Version, c.Corr, c.ClientID)
	w.Buf = append(w.Buf, c.Body...)
	return c.broker.forwardFrame(ctx, w.Buf, c.Key, c.Version, c.behalf(), resp)
}

// onBehalf is for whom a request is passed on.
type onBehalf struct{ principal, host []byte }

// itself is this broker.
var itself = onBehalf{[]byte{}, []byte{127, 0, 0, 1}}

// behalf is for whom the call is made.
func (c *Call) behalf() onBehalf { return onBehalf{c.principal().Marshal(), c.Conn.host().AsSlice()} }

// forwardRequest sends a request to the active controller.
func (b *Broker) forwardRequest(ctx context.Context, of onBehalf, req kmsg.Request, resp kmsg.Response) error {
	version := kmsg.ByKey(req.Key()).Max
	w := &kmsg.Writer{}
	appendHeader(w, req.Key(), version, 0, "broker")
	req.Append(w, version)
	return b.forwardFrame(ctx, w.Buf, req.Key(), version, of, resp)
}

func (b *Broker) forwardFrame(ctx context.Context, frame []byte, key, version int16, of onBehalf, resp kmsg.Response) error {
	answer, err := b.Forwarder.Forward(ctx, frame, of.principal, of.host)
	if errors.Is(err, context.DeadlineExceeded) {
		return refuse(kerr.RequestTimedOut, "no active controller answered in time")
	}
	if ke := kafkaError(err); ke != nil {
		// It concerns the envelope and so this broker, not the client (as in Kafka's ForwardingManager).
		return fmt.Errorf("the controller does not take what this broker passes on: %v; principals of brokers need CLUSTER_ACTION on the "+
			"cluster, which super.users have", ke) //nolint:errorlint // the client is not to see this error
	}
	if err != nil {
		return err
	}
	r := kmsg.NewReader(answer)
	var h kmsg.ResponseHeader
	if err := h.Read(&r, kmsg.ResponseHeaderVersion(key, version)); err != nil {
		return err
	}
	r = kmsg.NewReader(r.Rest())
	return resp.Read(&r, version)
}

func appendHeader(w *kmsg.Writer, key, version int16, corr int32, clientID string) {
	h := kmsg.NewRequestHeader()
	h.RequestApiKey, h.RequestApiVersion, h.CorrelationId, h.ClientId = key, version, corr, &clientID
	h.Append(w, kmsg.RequestHeaderVersion(key, version))
}
