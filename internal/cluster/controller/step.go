package controller

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/raft"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Step does what Run would with what waits now, and returns: messages of the quorum, operations, what
// subscribers are to be told, and, where tick says so, what is due by the clock. It writes on the
// caller's goroutine. For who drives a controller by hand, as a simulation does; never beside Run.
func (c *Controller) Step(tick bool) error {
	if tick {
		if err := c.tick(); err != nil {
			return err
		}
	}
	for {
		if err := c.pump(true); err != nil {
			return err
		}
		c.published.drain()
		c.maybeSnapshot(true)
		if more, err := c.takeOne(); err != nil || !more {
			return err
		}
	}
}

// takeOne takes in one thing that waits, in an order that chance has no part in.
func (c *Controller) takeOne() (more bool, err error) {
	select {
	case list := <-c.inbox:
		return true, c.stepAll(list)
	default:
	}
	select {
	case node := <-c.gone:
		c.core.LeaderGone(node, c.opts.Clock.Now())
		return true, nil
	default:
	}
	if c.round != nil {
		return false, nil
	}
	if op := c.nextOp(0); op != nil {
		return true, c.carryOut(op)
	}
	return false, nil
}

// Quorum changes for who drives a controller by hand: done hears how it ended, if this controller goes on for so long.

// StartAdding is one attempt of AddVoter.
func (c *Controller) StartAdding(v raft.Voter, done func(error)) error { return c.startAdding(v, done) }

// StartRemoving is RemoveVoter.
func (c *Controller) StartRemoving(v raft.Voter, done func(error)) error {
	return c.startRemoving(v, done)
}

// StartUpdating is UpdateVoter.
func (c *Controller) StartUpdating(v raft.Voter, levels Feature, done func(error)) error {
	return c.startUpdating(v, levels, done)
}

// StartUpgrade takes kraft.version to 1 and waits as AwaitUpgrade does.
func (c *Controller) StartUpgrade(done func(error)) error {
	return c.Submit(func(*Machine, time.Time) Outcome {
		err := error(kerr.NotController)
		if c.core.Ruling() {
			if err = nil; !c.DynamicVoters() {
				err = c.upgradeVoters(false)
			}
		}
		if err != nil {
			done(err)
			return Outcome{}
		}
		c.whenUpgraded(done)
		return Outcome{}
	})
}

// StepBalance does what balancing would do now: what comes of it shows with the steps that follow. Until then it does nothing.
func (c *Controller) StepBalance() {
	if c.balancer.byHand {
		return
	}
	c.balancer.turn(func(op func(*Machine) []kmsg.Record, done func(error)) {
		c.balancer.byHand = true
		ended := func(err error) {
			c.balancer.byHand = false
			done(err)
		}
		if err := c.Submit(func(m *Machine, _ time.Time) Outcome { return Outcome{Records: op(m), Done: ended} }); err != nil {
			ended(err)
		}
	})
}
