package api

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// decide has the active controller carry out an operation and answers the call with its response,
// once the records of it are on stable storage and everybody here acts on them. Where the active
// controller is another node, that one serves the call. failed makes the response for a reason that
// concerns the request as a whole; it is also what the answer of another node is read into.
func decide[R kmsg.Response](c *Call, op func(*controller.Machine) ([]kmsg.Record, R), failed func(itemError) R) {
	decideThen(c, op, failed, func(R) {})
}

// decideThen is decide with a last touch on the response to an operation that was carried out.
func decideThen[R kmsg.Response](
	c *Call, op func(*controller.Machine) ([]kmsg.Record, R), failed func(itemError) R, then func(R),
) {
	decideNow(c, func(m *controller.Machine, _ time.Time) ([]kmsg.Record, R) { return op(m) }, failed, then)
}

// decideNow is decideThen for an operation that depends on the time, which is that of the controller.
func decideNow[R kmsg.Response](
	c *Call, op func(*controller.Machine, time.Time) ([]kmsg.Record, R), failed func(itemError) R, then func(R),
) {
	resp, err := ask(c, op)
	if errors.Is(err, kerr.NotController) {
		if c.notController() {
			return
		}
		if c.mayForward() {
			resp = failed(itemError{})
			err = c.forward(resp)
		}
	}
	if err != nil {
		c.Reply(failed(itemError{c.code(err), message(err)}))
		return
	}
	then(resp)
	c.Reply(resp)
}

// ask has this node's controller carry out an operation, and waits.
func ask[R kmsg.Response](
	c *Call, op func(*controller.Machine, time.Time) ([]kmsg.Record, R),
) (resp R, err error) {
	ctl := c.broker.Admin.Controller
	if ctl == nil {
		return resp, kerr.NotController
	}
	c.parked()
	type outcome struct {
		resp R
		err  error
	}
	done := make(chan outcome, 1)
	if err := ctl.Submit(func(m *controller.Machine, now time.Time) controller.Outcome {
		records, resp := op(m, now)
		return controller.Outcome{Records: records, Done: func(err error) { done <- outcome{resp, err} }}
	}); err != nil {
		return resp, err
	}
	o := <-done // the controller answers whatever was put to it, also when it stops
	if o.err == nil && !c.Conn.Controller {
		c.broker.awaitMetadata(ctl)
	}
	return o.resp, o.err
}

// decideFor has the active controller decide, here or on another node, and waits until this broker acts on it.
func decideFor[T any, Resp interface {
	*T
	kmsg.Response
}](b *Broker, of onBehalf, req kmsg.Request, decide func(*controller.Machine) ([]kmsg.Record, Resp)) (Resp, error) {
	ctx, cancel := context.WithTimeout(context.Background(), forwardTimeout)
	defer cancel()
	resp := Resp(new(T))
	var err error = kerr.NotController
	if ctl := b.Admin.Controller; ctl != nil {
		err = ctl.Await(ctx, func(m *controller.Machine) (records []kmsg.Record, _ error) {
			records, resp = decide(m)
			return records, nil
		})
		if err == nil {
			b.awaitMetadata(ctl)
		}
	}
	if errors.Is(err, kerr.NotController) && b.Forwarder != nil {
		resp = new(T) // a controller that is not the active one may have been asked all the same
		err = b.forwardRequest(ctx, of, req, resp)
	}
	return resp, err
}

// awaitMetadata waits until this broker acts on what its controller has just decided, or has fallen behind:
// the client finds out by asking again.
func (b *Broker) awaitMetadata(ctl *controller.Controller) {
	if b.AwaitMetadata == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), metadataTimeout)
	defer cancel()
	_ = b.AwaitMetadata(ctx, ctl.EndOffset())
}

const metadataTimeout = 5 * time.Second

// itemError is an error as the items of a response carry it.
type itemError struct {
	code int16
	text *string
}

// outOfTime is what Kafka's controller says to a request that leaves it no time at all.
var outOfTime = itemError{code: kerr.RequestTimedOut.Code}
