package cli

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/logstead/logstead/internal/cluster/balance"
)

func nodeDrainCmd(a *App) *cobra.Command {
	var fl moveFlags
	var noCordon bool
	c := &cobra.Command{
		Use:   "drain NODE...",
		Short: "Move every replica and leader off a broker",
		Long: `Move every replica and every leader off a broker, so that it can be stopped for good, or for long, while
nothing loses a copy. The replicas go where the racks stay spread, and there to the broker with the least. The
broker is cordoned first, where the cluster can do that, so that nothing new comes to it; it keeps running.

It refuses before it moves anything if some partition could not keep its replication factor on the brokers
that are left, or has no leader to copy from. If it is interrupted, what is under way goes on, and the same
command takes up the rest. A broker that is dead can be drained too: its replicas are made anew from others.

logstead node uncordon undoes it, and logstead cluster balance fills the broker again.`,
		Example: examples(
			"look first", "logstead node drain 3 --dry-run",
			"without taking the whole network", "logstead node drain 3 --throttle 50MiB --concurrent 4",
			"", "logstead node drain 3 -y"),
		Args:              minArgs("NODE"),
		ValidArgsFunction: a.completeBrokers,
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := parseNodes(args)
			if err != nil {
				return err
			}
			return a.withDrain(cmd, func(cn *conn) error { return cn.drain(ids, fl, noCordon) })
		},
	}
	c.Flags().BoolVar(&noCordon, "no-cordon", false, "do not cordon it: new topics may come to it meanwhile")
	fl.add(c.Flags())
	return c
}

func parseNodes(args []string) ([]int32, error) {
	var ids []int32
	for _, arg := range args {
		id, err := parseBroker(arg)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (a *App) withDrain(cmd *cobra.Command, fn func(*conn) error) error {
	cn, err := a.dialToWrite(cmd)
	if err != nil {
		return err
	}
	defer cn.close()
	return fn(cn)
}

// drain plans, asks, cordons and moves.
func (c *conn) drain(ids []int32, fl moveFlags, noCordon bool) error {
	l, err := c.layout(true)
	if err != nil {
		return err
	}
	moves, err := l.drainPlan(ids)
	if err != nil {
		return err
	}
	if !noCordon {
		fl.before = func() error { c.cordonAll(l, ids); return nil }
	}
	what := "Move everything off broker " + joinInts(ids) + "?"
	return c.carryOut(l, moves, fl, what, "Broker "+joinInts(ids)+" holds no replica.")
}

// cordonAll cordons the brokers that run. A cluster that cannot do that is drained without.
func (c *conn) cordonAll(l *layout, ids []int32) {
	for _, id := range ids {
		b := l.broker(id)
		if b == nil || b.fenced || b.cordoned == b.dirs && b.dirs > 0 {
			continue
		}
		if err := c.cordon(id, true); err != nil {
			c.app.warn("broker %d is not cordoned, new partitions may come to it: %v", id, err)
		}
	}
}

// drainPlan is what is to be moved off the brokers, and what is on its way already.
func (l *layout) drainPlan(ids []int32) ([]balance.Move, error) {
	for _, id := range ids {
		if l.broker(id) == nil && !l.holds(id) {
			return nil, l.needBroker(id)
		}
	}
	for i := range l.parts {
		p := &l.parts[i]
		if p.leader < 0 && slices.ContainsFunc(ids, func(id int32) bool { return slices.Contains(p.target(), id) }) {
			return nil, &Fault{
				What: "cannot drain broker " + joinInts(ids), Exit: exitConflict,
				Why: fmt.Sprintf("partition %s has no leader to copy from (replicas %s, in sync %s)", p.name(), joinInts(p.replicas), joinInts(p.isr)),
				Try: "start a broker that is in sync; logstead partition list --leaderless",
			}
		}
	}
	moves, err := balance.Drain(l.state(), ids...)
	if noRoom, ok := errors.AsType[*balance.NoRoomError](err); ok {
		return nil, &Fault{
			What: "cannot drain broker " + joinInts(ids), Why: noRoom.Error(), Exit: exitConflict,
			Try: "add a broker or uncordon one, or lower the replication factor of the topic: logstead partition move " +
				"TOPIC --replicas …",
		}
	}
	if err != nil {
		return nil, err
	}
	leaving := l.underWay(func(p *layoutPart) bool {
		return slices.ContainsFunc(ids, func(id int32) bool { return slices.Contains(p.removing, id) }) &&
			!slices.ContainsFunc(moves, func(m balance.Move) bool { return m.Topic == p.topic && m.Partition == p.partition })
	})
	return append(leaving, moves...), nil
}

// holds says whether some partition has, or will have, a replica on a broker.
func (l *layout) holds(id int32) bool {
	return slices.ContainsFunc(l.parts, func(p layoutPart) bool { return slices.Contains(p.replicas, id) })
}

func nodeDecommissionCmd(a *App) *cobra.Command {
	var fl moveFlags
	var stop time.Duration
	c := &cobra.Command{
		Use:   "decommission NODE",
		Short: "Take a broker out of the cluster for good",
		Long: `Take a broker out for good: drain it (see logstead node drain), wait until it is stopped, and unregister it.
Stop the broker when it is asked for; until then it would register again. Before that it makes sure that the
broker holds nothing any more, and that no partition is below min.insync.replicas.

A node that is also a voter of the metadata's quorum must be taken out there too: logstead quorum remove. The
same command goes on where it was interrupted.`,
		Example: examples(
			"", "logstead node decommission 3 --dry-run",
			"", "logstead node decommission 3 -y --stop-timeout 30m"),
		Args:              exactArgs("NODE"),
		ValidArgsFunction: a.completeBrokers,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseBroker(args[0])
			if err != nil {
				return err
			}
			if fl.noWait {
				return usagef("--no-wait: a broker can only be unregistered when it is empty").try("logstead node drain %d --no-wait", id)
			}
			return a.withDrain(cmd, func(cn *conn) error { return cn.decommission(id, fl, stop) })
		},
	}
	fl.add(c.Flags())
	c.Flags().DurationVar(&stop, "stop-timeout", 10*time.Minute, "how long to wait until the broker is stopped")
	return c
}
