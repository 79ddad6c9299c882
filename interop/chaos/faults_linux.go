package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/logstead/logstead/interop/local"
)

// fault is one way to break the cluster.
type fault struct {
	name string
	// bite breaks something and returns once that was seen to have an effect.
	bite func(ctx context.Context, x *injection) error
	// hold is how long it lasts.
	hold time.Duration
	// gap is the longest time without an acknowledgement of acks=all that is allowed: the hard limit; aim is what is
	// aimed at. Zero is none.
	aim, gap time.Duration
}

// injection is one occurrence of a fault.
type injection struct {
	c   *cluster
	rng *rand.Rand
	// heals are run in the reverse order.
	heals []func(ctx context.Context) error
	what  string
}

func (x *injection) onHeal(fn func(ctx context.Context) error) { x.heals = append(x.heals, fn) }

// heal undoes everything.
func (x *injection) heal(ctx context.Context) error {
	var errs []error
	for i := len(x.heals) - 1; i >= 0; i-- {
		errs = append(errs, x.heals[i](ctx))
	}
	x.heals = nil
	return errors.Join(errs...)
}

// Longer than the time after which a silent broker is fenced (broker.session.timeout.ms, 9 s).
const pastSession = 11 * time.Second

// faults are the rows of the fault matrix that live processes allow.
var faults = []fault{
	{"kill-leader", killOf(theLeader), 4 * time.Second, 2 * time.Second, 10 * time.Second},
	{"kill-follower", killOf(aFollower), 4 * time.Second, 1500 * time.Millisecond, 9 * time.Second},
	{"kill-controller", killOf(theController), 4 * time.Second, 2 * time.Second, 10 * time.Second},
	{"kill-all", killAll, time.Second, 0, 60 * time.Second},
	{"pause-leader", pauseOf(theLeader), pastSession, 11 * time.Second, 14 * time.Second},
	{"pause-controller", pauseOf(theController), pastSession, 11 * time.Second, 14 * time.Second},
	{"cut-leader", isolate(theLeader), pastSession, 11 * time.Second, 14 * time.Second},
	{"one-way", oneWay, 6 * time.Second, 11 * time.Second, 20 * time.Second},
	{"bridge", bridge, 6 * time.Second, 11 * time.Second, 20 * time.Second},
	{"cut-leader-controller", cutLeaderController, pastSession, 11 * time.Second, 20 * time.Second},
	{"slow-link", slowLinks(link{Delay: 50 * time.Millisecond, Jitter: 10 * time.Millisecond}), 5 * time.Second, 2 * time.Second, 9 * time.Second},
	{"lossy-link", slowLinks(link{Loss: 0.02, Dup: 0.01, Jitter: 20 * time.Millisecond}), 5 * time.Second, 2 * time.Second, 9 * time.Second},
	{"reset-storm", resetStorm, 3 * time.Second, time.Second, 9 * time.Second},
	{"disk-full", diskFull, 4 * time.Second, 5 * time.Second, 30 * time.Second},
	{"disk-fails", diskFails, 4 * time.Second, 5 * time.Second, 30 * time.Second},
	{"disk-hangs", diskHangs, 4 * time.Second, 11 * time.Second, 20 * time.Second},
	{"power-one", powerOne, time.Second, 2 * time.Second, 10 * time.Second},
	{"power-all", powerAll, time.Second, 0, 60 * time.Second},
	{"rolling-restart", rollingRestart, 0, 300 * time.Millisecond, 5 * time.Second},
	{"reassign-and-kill", reassignAndKill, 4 * time.Second, 2 * time.Second, 14 * time.Second},
}

// short are the faults of the form for every change.
var short = []string{
	"kill-leader", "kill-follower", "kill-controller", "kill-all", "pause-leader", "cut-leader", "one-way", "bridge",
	"slow-link", "lossy-link", "reset-storm", "disk-full", "disk-fails", "power-all", "rolling-restart", "reassign-and-kill",
}

type picker func(ctx context.Context, x *injection) (*node, error)

func theLeader(ctx context.Context, x *injection) (*node, error) {
	return x.c.leader(ctx, probeTopic, int32(x.rng.IntN(probes)))
}

func theController(ctx context.Context, x *injection) (*node, error) { return x.c.controller(ctx) }

func aFollower(ctx context.Context, x *injection) (*node, error) {
	lead, err := theLeader(ctx, x)
	if err != nil {
		return nil, err
	}
	return x.other(lead), nil
}

// other is some node that is none of those.
func (x *injection) other(not ...*node) *node {
	var rest []*node
next:
	for _, nd := range x.c.nodes {
		for _, n := range not {
			if n == nd {
				continue next
			}
		}
		rest = append(rest, nd)
	}
	return rest[x.rng.IntN(len(rest))]
}

// restart is a heal that starts a node again and waits until it answers.
func (x *injection) restart(nd *node) func(context.Context) error {
	return func(ctx context.Context) error {
		if nd.running() {
			return nil
		}
		if err := x.c.start(nd); err != nil {
			return err
		}
		return x.c.awaitPort(ctx, nd)
	}
}

func (x *injection) kill(nd *node) error {
	x.onHeal(x.restart(nd))
	if err := nd.kill(); err != nil {
		return err
	}
	if nd.running() {
		return fmt.Errorf("node %d still runs after SIGKILL", nd.id)
	}
	return nil
}

func killOf(pick picker) func(context.Context, *injection) error {
	return func(ctx context.Context, x *injection) error {
		nd, err := pick(ctx, x)
		if err != nil {
			return err
		}
		x.what = fmt.Sprintf("node %d", nd.id)
		return x.kill(nd)
	}
}

func killAll(_ context.Context, x *injection) error {
	for _, nd := range x.c.nodes {
		if err := x.kill(nd); err != nil {
			return err
		}
	}
	return nil
}

func pauseOf(pick picker) func(context.Context, *injection) error {
	return func(ctx context.Context, x *injection) error {
		nd, err := pick(ctx, x)
		if err != nil {
			return err
		}
		x.what = fmt.Sprintf("node %d", nd.id)
		x.onHeal(func(context.Context) error { return nd.signal(syscall.SIGCONT) })
		if err := nd.signal(syscall.SIGSTOP); err != nil {
			return err
		}
		for range 100 {
			if nd.state() == 'T' {
				return nil
			}
			time.Sleep(10 * time.Millisecond)
		}
		return fmt.Errorf("node %d is in state %c after SIGSTOP, not T", nd.id, nd.state())
	}
}

// network changes rules and waits until a packet has felt them.
func (x *injection) network(ctx context.Context, change func(r *rules)) error {
	r := x.c.fabric.rules
	r.heal()
	x.onHeal(func(context.Context) error { r.heal(); return nil })
	change(r)
	for range 300 {
		if r.bitten() > 0 {
			return nil
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return errors.New("no packet was touched by the rules within 3 s")
}

func isolate(pick picker) func(context.Context, *injection) error {
	return func(ctx context.Context, x *injection) error {
		nd, err := pick(ctx, x)
		if err != nil {
			return err
		}
		x.what = fmt.Sprintf("node %d from everybody", nd.id)
		return x.network(ctx, func(r *rules) {
			for _, h := range x.c.fabric.hosts {
				if h != nd.host {
					r.both(nd.host.id, h.id, link{Cut: true})
				}
			}
		})
	}
}

// oneWay lets a leader send to the other nodes, and hear nothing of them.
func oneWay(ctx context.Context, x *injection) error {
	nd, err := theLeader(ctx, x)
	if err != nil {
		return err
	}
	x.what = fmt.Sprintf("node %d hears no other node", nd.id)
	return x.network(ctx, func(r *rules) {
		for _, o := range x.c.nodes {
			if o != nd {
				r.set(o.host.id, nd.host.id, link{Cut: true})
			}
		}
	})
}

// bridge cuts two nodes from each other while a third reaches both.
func bridge(ctx context.Context, x *injection) error {
	a, err := theLeader(ctx, x)
	if err != nil {
		return err
	}
	b := x.other(a)
	x.what = fmt.Sprintf("nodes %d and %d", a.id, b.id)
	return x.network(ctx, func(r *rules) { r.both(a.host.id, b.host.id, link{Cut: true}) })
}

func cutLeaderController(ctx context.Context, x *injection) error {
	ctl, err := theController(ctx, x)
	if err != nil {
		return err
	}
	nd := x.other(ctl)
	for range 20 {
		if lead, err := theLeader(ctx, x); err == nil && lead != ctl {
			nd = lead
			break
		}
	}
	x.what = fmt.Sprintf("leader %d from controller %d", nd.id, ctl.id)
	return x.network(ctx, func(r *rules) { r.both(nd.host.id, ctl.host.id, link{Cut: true}) })
}

func slowLinks(l link) func(context.Context, *injection) error {
	return func(ctx context.Context, x *injection) error {
		return x.network(ctx, func(r *rules) {
			for _, a := range x.c.nodes {
				for _, b := range x.c.nodes {
					if a != b {
						r.set(a.host.id, b.host.id, l)
					}
				}
			}
		})
	}
}

// resetStorm breaks the connections between all nodes, again and again.
func resetStorm(ctx context.Context, x *injection) error {
	for range 10 {
		for _, a := range x.c.nodes {
			for _, b := range x.c.nodes {
				if a == b {
					continue
				}
				if err := x.c.fabric.reset(ctx, a.host, b.host); err != nil {
					return err
				}
			}
		}
		if err := wait(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// diskFull fills the volume of a leader.
func diskFull(ctx context.Context, x *injection) error {
	nd, err := theLeader(ctx, x)
	if err != nil {
		return err
	}
	x.what = fmt.Sprintf("volume of node %d", nd.id)
	name := filepath.Join(nd.vol.Mount, "filler")
	x.onHeal(x.restart(nd)) // it may have ended by itself: its directory is offline
	x.onHeal(func(context.Context) error {
		err := os.Remove(name)
		_ = nd.kill() // a directory that failed a write comes back with a restart
		return err
	})
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for {
		if _, err := f.Write(block); err != nil {
			if errors.Is(err, syscall.ENOSPC) {
				return nil
			}
			return err
		}
	}
}

// diskFails has every write and sync of a leader's volume fail.
func diskFails(ctx context.Context, x *injection) error {
	nd, err := theLeader(ctx, x)
	if err != nil {
		return err
	}
	x.what = fmt.Sprintf("volume of node %d", nd.id)
	x.onHeal(x.remount(nd))
	if err := nd.vol.Cut(); err != nil {
		return err
	}
	return mustFail(nd)
}

// mustFail checks that a volume takes no write any more.
func mustFail(nd *node) error {
	if err := os.WriteFile(filepath.Join(nd.vol.Mount, "probe"), []byte("x"), 0o644); err == nil {
		return fmt.Errorf("the volume of node %d still takes writes", nd.id)
	}
	return nil
}

// remount is a heal that ends a node, brings its volume back and starts it again.
func (x *injection) remount(nd *node) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := nd.kill(); err != nil {
			return err
		}
		if err := nd.vol.Down(); err != nil {
			return err
		}
		if err := nd.vol.Up(ctx); err != nil {
			return err
		}
		return x.restart(nd)(ctx)
	}
}

// diskHangs freezes the file system of a leader: every write waits.
func diskHangs(ctx context.Context, x *injection) error {
	nd, err := theLeader(ctx, x)
	if err != nil {
		return err
	}
	x.what = fmt.Sprintf("volume of node %d", nd.id)
	if err := local.Command(ctx, "fsfreeze", "--freeze", nd.vol.Mount); err != nil {
		return err
	}
	x.onHeal(func(context.Context) error {
		return local.Command(context.Background(), "fsfreeze", "--unfreeze", nd.vol.Mount)
	})
	return nil
}

func powerOne(ctx context.Context, x *injection) error {
	nd, err := theLeader(ctx, x)
	if err != nil {
		return err
	}
	x.what = fmt.Sprintf("node %d", nd.id)
	return x.power(nd)
}

// power loses what the nodes have not synced, and ends them.
func (x *injection) power(nodes ...*node) error {
	for _, nd := range nodes {
		x.onHeal(func(ctx context.Context) error { return x.c.awaitPort(ctx, nd) })
	}
	for _, nd := range nodes {
		x.onHeal(func(ctx context.Context) error {
			if err := nd.vol.Down(); err != nil {
				return err
			}
			if err := nd.vol.Up(ctx); err != nil {
				return err
			}
			return x.c.start(nd)
		})
	}
	for _, nd := range nodes {
		if err := nd.vol.Cut(); err != nil {
			return err
		}
	}
	for _, nd := range nodes {
		if err := errors.Join(mustFail(nd), nd.kill()); err != nil {
			return err
		}
	}
	return nil
}

func powerAll(_ context.Context, x *injection) error { return x.power(x.c.nodes...) }

// rollingRestart stops and starts each node in order; what clients see of it is the gap.
func rollingRestart(ctx context.Context, x *injection) error {
	for _, nd := range x.c.nodes {
		x.onHeal(x.restart(nd))
		if err := nd.stop(time.Minute); err != nil {
			return err
		}
		if err := x.restart(nd)(ctx); err != nil {
			return err
		}
		if err := x.c.awaitWhole(ctx, settleLimit, topics...); err != nil {
			return err
		}
	}
	return nil
}

// reassignAndKill moves the leader of a partition to the end of its replicas, and kills a node meanwhile.
func reassignAndKill(ctx context.Context, x *injection) error {
	var req kadm.AlterPartitionAssignmentsReq
	for p := range int32(partitions) {
		order := []int32{1, 2, 3}
		x.rng.Shuffle(3, func(i, j int) { order[i], order[j] = order[j], order[i] })
		if n := len(x.c.nodes); n > 3 {
			for i := range order {
				order[i] = int32((int(p)+i*2)%n + 1)
			}
		}
		req.Assign(plainTopic, p, order)
	}
	res, err := x.c.adm.AlterPartitionAssignments(ctx, req)
	if err == nil {
		err = res.Error()
	}
	if err != nil {
		return fmt.Errorf("reassign: %w", err)
	}
	return killOf(theLeader)(ctx, x)
}
