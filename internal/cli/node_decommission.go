package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// decommission drains a broker, waits until it is stopped, and unregisters it. Each step finds out for itself
// whether it has been done before.
func (c *conn) decommission(id int32, fl moveFlags, stop time.Duration) error {
	l, err := c.layout(true)
	if err != nil {
		return err
	}
	if l.broker(id) == nil && !l.holds(id) {
		return l.needBroker(id)
	}
	if q, err := c.quorum(); err == nil {
		if n := q.node(id); n != nil && n.Role != "observer" {
			c.app.warn("node %d is also a %s of the quorum; take it out there too: logstead quorum remove %d", id, n.Role, id)
		}
	}
	if err := c.drain([]int32{id}, fl, false); err != nil || fl.danger.dryRun {
		return err
	}
	if l, err = c.layout(false); err != nil {
		return err
	}
	if err := c.mayGo(l, id); err != nil {
		return err
	}
	if err := c.awaitStop(id, stop); err != nil {
		return err
	}
	if err := c.unregister(id); err != nil {
		return err
	}
	c.app.say("broker %d is unregistered", id)
	return nil
}

// mayGo makes sure that nothing depends on the broker.
func (c *conn) mayGo(l *layout, id int32) error {
	what := fmt.Sprintf("cannot unregister broker %d", id)
	again := fmt.Sprintf("logstead node decommission %d again, when it is so", id)
	for i := range l.parts {
		p := &l.parts[i]
		if slices.Contains(p.replicas, id) {
			return &Fault{What: what, Why: fmt.Sprintf("partition %s has a replica there, which came meanwhile", p.name()),
				Exit: exitConflict, Try: again}
		}
		if len(p.isr) == len(p.replicas) {
			continue
		}
		if need := min(c.minISR(p.topic), len(p.replicas)); len(p.isr) < need {
			return &Fault{What: what, Exit: exitConflict, Try: again + ": every replica in sync",
				Why: fmt.Sprintf("partition %s has %s in sync, and min.insync.replicas is %d", p.name(), joinInts(p.isr), need)}
		}
	}
	return nil
}

// awaitStop waits until the broker is no longer among those that serve.
func (c *conn) awaitStop(id int32, most time.Duration) error {
	deadline := c.app.Now().Add(most)
	for told := false; ; {
		l := &layout{}
		if err := c.layoutBrokers(l); err != nil {
			return err
		}
		if b := l.broker(id); b == nil || b.fenced {
			return nil
		}
		if !told {
			told = true
			c.app.say("broker %d holds nothing any more: stop it now", id)
		}
		if c.app.Now().After(deadline) {
			f := &Fault{What: fmt.Sprintf("broker %d is not unregistered", id), Exit: exitUnreachable,
				Why: "it still serves after " + humanDuration(most)}
			return f.try("stop it, then logstead node decommission %d again", id)
		}
		if !pause(c.base, movePoll) {
			return context.Cause(c.base)
		}
	}
}

func (c *conn) unregister(id int32) error {
	req := kmsg.NewPtrUnregisterBrokerRequest()
	req.BrokerID = id
	what := fmt.Sprintf("cannot unregister broker %d", id)
	resp, err := call(c, what, func(ctx context.Context) (*kmsg.UnregisterBrokerResponse, error) { return req.RequestWith(ctx, c.cl) })
	if err != nil {
		return err
	}
	switch err := kerr.ErrorForCode(resp.ErrorCode); {
	case isKafka(err, kerr.BrokerIDNotRegistered):
		return nil // an earlier run got this far
	case err != nil:
		return kafkaFault(what, err, deref(resp.ErrorMessage))
	}
	return nil
}
