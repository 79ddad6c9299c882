package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"time"

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
	needs    need
}

// injection is one occurrence of a fault.
type injection struct {
	c   *cluster
	l   *load
	rng *rand.Rand
	// heals are run in the reverse order.
	heals []func(ctx context.Context) error
	what  string
	// silent is a node that stands still or is cut off, and leads until it is fenced.
	silent *node
	// rated says that producers are to go on while it lasts: how much of their rate is kept is judged.
	rated bool
	// verdicts are what a fault finds right or wrong by itself, asked for after it was healed; measures are what depends on
	// time, which may have another go.
	verdicts []func(r *local.Report, name string)
	measures []func() local.Bound
}

// noBite is a fault that was not seen to have an effect in time: that is no fault yet.
type noBite struct{ error }

func (e *noBite) Unwrap() error { return e.error }

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

// What a fault needs of the machine.
type need uint16

const (
	network need = 1 << iota
	volumes
	five     // nodes
	dynamic  // a quorum whose voters change
	tracing  // of system calls
	throttle // of a disk
	skewing  // of the clock of one process
	secured  // everything
	watching // of the files of stores
)

// Long enough to see clients go on while a silent broker is still silent: it is fenced after
// broker.session.timeout.ms, 9 s.
const pastSession = 14 * time.Second

// faults are the rows of the fault matrix that live processes allow.
var faults = []fault{
	{"kill-leader", killOf(theLeader), 3 * time.Second, 2 * time.Second, 10 * time.Second, 0},
	{"kill-follower", killOf(aFollower), 3 * time.Second, 1500 * time.Millisecond, 9 * time.Second, 0},
	{"kill-controller", killOf(theController), 3 * time.Second, 2 * time.Second, 10 * time.Second, 0},
	{"kill-all", killAll, time.Second, 0, 60 * time.Second, 0},
	{"pause-leader", pauseOf(theLeader), pastSession, 11 * time.Second, 14 * time.Second, 0},
	{"pause-controller", pauseOf(theController), pastSession, 11 * time.Second, 14 * time.Second, 0},
	{"pause-short", pauseOf(theLeader), 2 * time.Second, 0, 5 * time.Second, 0},
	{"cut-leader", isolate(theLeader), pastSession, 11 * time.Second, 14 * time.Second, network},
	{"cut-controller", isolate(theController), pastSession, 11 * time.Second, 14 * time.Second, network},
	{"one-way", oneWay, 6 * time.Second, 11 * time.Second, 14 * time.Second, network},
	{"bridge", bridge, 6 * time.Second, 11 * time.Second, 14 * time.Second, network},
	{"cut-leader-controller", cutLeaderController, pastSession, 11 * time.Second, 14 * time.Second, network},
	{"cut-leader-followers", cutLeaderFollowers, 6 * time.Second, 11 * time.Second, 14 * time.Second, network},
	{"cut-clients-leader", cutClients, 4 * time.Second, 0, 9 * time.Second, network},
	{"majority", majority, 6 * time.Second, 11 * time.Second, 25 * time.Second, network | five},
	{"ring", ring, 6 * time.Second, 11 * time.Second, 25 * time.Second, network | five},
	{"voters", voters, 3 * time.Second, 2 * time.Second, 14 * time.Second, five | dynamic},
	{"slow-link", slowLinks(link{Delay: 50 * time.Millisecond, Jitter: 10 * time.Millisecond}), 5 * time.Second, 2 * time.Second, 9 * time.Second, network},
	{"lossy-link", slowLinks(link{Loss: 0.02, Dup: 0.01, Jitter: 20 * time.Millisecond}), 5 * time.Second, 2 * time.Second, 9 * time.Second, network},
	{"reset-storm", resetStorm, 0, time.Second, 9 * time.Second, network},
	{"disk-full", diskFull, 4 * time.Second, 5 * time.Second, 30 * time.Second, volumes},
	{"disk-fails", diskFails, 4 * time.Second, 5 * time.Second, 30 * time.Second, volumes},
	{"disk-hangs", diskHangs, 4 * time.Second, 11 * time.Second, 20 * time.Second, volumes},
	{"disk-slow", diskSlow, 6 * time.Second, 0, 20 * time.Second, volumes | throttle},
	{"sync-fails", syncFails, 4 * time.Second, 5 * time.Second, 30 * time.Second, volumes | tracing},
	{"clock-jump", clockJump, 5 * time.Second, 300 * time.Millisecond, 5 * time.Second, skewing},
	{"clock-skew", clockSkew, 5 * time.Second, 300 * time.Millisecond, 5 * time.Second, skewing},
	{"power-one", powerOne, time.Second, 2 * time.Second, 10 * time.Second, volumes},
	{"power-all", powerAll, time.Second, 0, 60 * time.Second, volumes},
	{"wipe", wipe, time.Second, 2 * time.Second, 30 * time.Second, five},
	{"rolling-restart", rollingRestart, 0, 300 * time.Millisecond, 5 * time.Second, 0},
	{"reassign-and-kill", reassignAndKill, 3 * time.Second, 2 * time.Second, 14 * time.Second, 0},
	{"recreate-and-kill", recreateAndKill, 3 * time.Second, 2 * time.Second, 14 * time.Second, 0},
	{"kill-and-cut", two(killOf(theLeader), bridge), 4 * time.Second, 0, 60 * time.Second, network},
	{"pause-and-power", two(pauseOf(theController), powerOne), 3 * time.Second, 0, 60 * time.Second, volumes},
	{"slow-and-kill", two(slowLinks(link{Delay: 50 * time.Millisecond, Jitter: 20 * time.Millisecond}), killOf(theLeader)), 4 * time.Second, 0, 60 * time.Second, network},
	{"deny", deny, 2 * time.Second, 300 * time.Millisecond, 5 * time.Second, secured},
	{"deny-and-kill", two(deny, killOf(theGuarded)), 3 * time.Second, 2 * time.Second, 10 * time.Second, secured},
	{"credential", credential, 2 * time.Second, time.Second, 9 * time.Second, secured | network},
	{"renew", renew, time.Second, 300 * time.Millisecond, 5 * time.Second, secured},
	{"renew-and-kill", two(renew, killOf(theLeader)), 3 * time.Second, 2 * time.Second, 10 * time.Second, secured},
	{"renew-files", renewFiles, 0, time.Second, 9 * time.Second, secured | network | watching},
	{"authority", authority, 0, time.Second, 9 * time.Second, secured | network | watching},
}

// short are the faults of the form for every change. A leader that is cut off after a controller was leaves those that have
// just found each other again.
var short = []string{
	"kill-leader", "kill-follower", "kill-controller", "kill-all", "pause-leader", "cut-controller", "cut-leader", "one-way",
	"bridge", "cut-leader-controller", "lossy-link", "reset-storm", "disk-full", "disk-fails", "power-all", "reassign-and-kill",
}

// shortSecure come besides where everything is secured.
var shortSecure = []string{"deny-and-kill", "credential", "renew-and-kill", "renew-files", "authority"}

// lacks says what a fault needs and this machine or cluster does not have.
func (c *cluster) lacks(f fault) string {
	switch {
	case f.needs&network != 0 && c.fabric.missing != nil:
		return "no network of its own for each node: " + c.fabric.missing.Error()
	case f.needs&volumes != 0 && c.noDisk != nil:
		return "no volume of its own for each node: " + c.noDisk.Error()
	case f.needs&five != 0 && len(c.nodes) < 5:
		return "it needs 5 nodes: -nodes 5"
	case f.needs&dynamic != 0 && !c.dynamic:
		return "the voters are in the configuration: -quorum dynamic"
	case f.needs&throttle != 0 && missing(throttleFile("bps")):
		return "no blkio controller that slows a disk: " + throttleFile("bps")
	case f.needs&skewing != 0 && clockMissing != "":
		return clockMissing
	case f.needs&secured != 0 && c.secured == nil:
		return "nothing is secured: -secure"
	case f.needs&watching != 0 && !c.rival.watches():
		return "it does not look at the files of its stores by itself"
	}
	if f.needs&tracing != 0 {
		if _, err := exec.LookPath("strace"); err != nil {
			return "it needs strace: " + err.Error()
		}
	}
	return ""
}

func missing(name string) bool {
	_, err := os.Stat(name)
	return err != nil
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

// killAll kills every node. All are started before one is waited for: Apache Kafka's answer once there is a quorum.
func killAll(_ context.Context, x *injection) error {
	for _, nd := range x.c.nodes {
		x.onHeal(func(ctx context.Context) error { return x.c.awaitPort(ctx, nd) })
	}
	for _, nd := range x.c.nodes {
		x.onHeal(func(context.Context) error { return x.c.start(nd) })
		if err := nd.kill(); err != nil {
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
		x.silent = nd
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
		return &noBite{fmt.Errorf("node %d is in state %c after SIGSTOP, not T", nd.id, nd.state())}
	}
}

// two is one fault while another lasts.
func two(a, b func(context.Context, *injection) error) func(context.Context, *injection) error {
	return func(ctx context.Context, x *injection) error {
		if err := a(ctx, x); err != nil {
			return err
		}
		first := x.what
		err := b(ctx, x)
		x.what, x.rated = first+" and "+x.what, false
		return err
	}
}
