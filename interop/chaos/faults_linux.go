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
	"github.com/twmb/franz-go/pkg/kgo"

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
	rng *rand.Rand
	// heals are run in the reverse order.
	heals []func(ctx context.Context) error
	what  string
	// silent is a node that stands still or is cut off, and leads until it is fenced.
	silent *node
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

// What a fault needs of the machine.
type need uint8

const (
	network need = 1 << iota
	volumes
	five // nodes
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
	{"slow-link", slowLinks(link{Delay: 50 * time.Millisecond, Jitter: 10 * time.Millisecond}), 5 * time.Second, 2 * time.Second, 9 * time.Second, network},
	{"lossy-link", slowLinks(link{Loss: 0.02, Dup: 0.01, Jitter: 20 * time.Millisecond}), 5 * time.Second, 2 * time.Second, 9 * time.Second, network},
	{"reset-storm", resetStorm, 0, time.Second, 9 * time.Second, network},
	{"disk-full", diskFull, 4 * time.Second, 5 * time.Second, 30 * time.Second, volumes},
	{"disk-fails", diskFails, 4 * time.Second, 5 * time.Second, 30 * time.Second, volumes},
	{"disk-hangs", diskHangs, 4 * time.Second, 11 * time.Second, 20 * time.Second, volumes},
	{"power-one", powerOne, time.Second, 2 * time.Second, 10 * time.Second, volumes},
	{"power-all", powerAll, time.Second, 0, 60 * time.Second, volumes},
	{"wipe", wipe, time.Second, 2 * time.Second, 30 * time.Second, five},
	{"rolling-restart", rollingRestart, 0, 300 * time.Millisecond, 5 * time.Second, 0},
	{"reassign-and-kill", reassignAndKill, 3 * time.Second, 2 * time.Second, 14 * time.Second, 0},
	{"recreate-and-kill", recreateAndKill, 3 * time.Second, 2 * time.Second, 14 * time.Second, 0},
	{"kill-and-cut", two(killOf(theLeader), bridge), 4 * time.Second, 0, 60 * time.Second, network},
	{"pause-and-power", two(pauseOf(theController), powerOne), 3 * time.Second, 0, 60 * time.Second, volumes},
	{"slow-and-kill", two(slowLinks(link{Delay: 50 * time.Millisecond, Jitter: 20 * time.Millisecond}), killOf(theLeader)), 4 * time.Second, 0, 60 * time.Second, network},
}

// short are the faults of the form for every change.
var short = []string{
	"kill-leader", "kill-follower", "kill-controller", "kill-all", "pause-leader", "cut-leader", "one-way", "bridge",
	"cut-leader-controller", "lossy-link", "reset-storm", "disk-full", "disk-fails", "power-all", "reassign-and-kill",
}

// lacks says what a fault needs and this machine or cluster does not have.
func (c *cluster) lacks(f fault) string {
	switch {
	case f.needs&network != 0 && c.fabric.missing != nil:
		return "no network of its own for each node: " + c.fabric.missing.Error()
	case f.needs&volumes != 0 && c.noDisk != nil:
		return "no volume of its own for each node: " + c.noDisk.Error()
	case f.needs&five != 0 && len(c.nodes) < 5:
		return "it needs 5 nodes: -nodes 5"
	}
	return ""
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
		x.what, x.silent = fmt.Sprintf("node %d from everybody", nd.id), nd
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

// cutLeaderFollowers cuts what followers fetch over, and nothing of clients and controllers.
func cutLeaderFollowers(ctx context.Context, x *injection) error {
	nd, err := theLeader(ctx, x)
	if err != nil {
		return err
	}
	x.what = fmt.Sprintf("node %d", nd.id)
	return x.network(ctx, func(r *rules) {
		for _, o := range x.c.nodes {
			if o != nd {
				r.both(nd.host.id, o.host.id, link{Cut: true, Port: 9092})
			}
		}
	})
}

// cutClients cuts the clients from a leader; nodes reach each other.
func cutClients(ctx context.Context, x *injection) error {
	nd, err := theLeader(ctx, x)
	if err != nil {
		return err
	}
	x.what = fmt.Sprintf("clients from node %d", nd.id)
	return x.network(ctx, func(r *rules) { r.both(nd.host.id, x.c.fabric.hosts[0].id, link{Cut: true}) })
}

// majority cuts two nodes, one of them a leader, from the other nodes; clients reach all.
func majority(ctx context.Context, x *injection) error {
	a, err := theLeader(ctx, x)
	if err != nil {
		return err
	}
	b := x.other(a)
	x.what = fmt.Sprintf("nodes %d and %d from the others", a.id, b.id)
	return x.network(ctx, func(r *rules) {
		for _, o := range x.c.nodes {
			if o != a && o != b {
				r.both(a.host.id, o.host.id, link{Cut: true})
				r.both(b.host.id, o.host.id, link{Cut: true})
			}
		}
	})
}

// ring lets every node reach its two neighbours only: each sees a majority, and no two the same.
func ring(ctx context.Context, x *injection) error {
	n := len(x.c.nodes)
	return x.network(ctx, func(r *rules) {
		for i := range n {
			for j := range i {
				if d := i - j; d != 1 && d != n-1 {
					r.both(x.c.nodes[i].host.id, x.c.nodes[j].host.id, link{Cut: true})
				}
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
	// Only what goes to the controllers' port: fetching between the two goes on.
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
	return x.network(ctx, func(r *rules) { r.both(nd.host.id, ctl.host.id, link{Cut: true, Port: 9093}) })
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
	broken := 0
	for range 10 {
		for _, a := range x.c.nodes {
			for _, b := range x.c.nodes {
				if a == b {
					continue
				}
				n, err := x.c.fabric.reset(ctx, a.host, b.host)
				if err != nil {
					return err
				}
				broken += n
			}
		}
		if err := wait(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	if x.what = fmt.Sprintf("%d connections", broken); broken == 0 {
		return errors.New("no connection was broken")
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

// wipe kills a node that is only a broker, takes all it has and has it begin anew under its id.
func wipe(_ context.Context, x *injection) error {
	nd := x.c.nodes[maxVoters+x.rng.IntN(len(x.c.nodes)-maxVoters)]
	x.what = fmt.Sprintf("node %d", nd.id)
	x.onHeal(x.restart(nd))
	x.onHeal(func(ctx context.Context) error { return x.c.rival.format(ctx, nd.properties()) })
	if err := nd.kill(); err != nil {
		return err
	}
	return os.RemoveAll(nd.data())
}

// recreateAndKill deletes a topic with records and makes it anew, while a node is killed: of the old records none is in
// the new one.
func recreateAndKill(ctx context.Context, x *injection) error {
	const topic = "churn"
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for round := range 2 {
		if _, err := x.c.adm.CreateTopic(ctx, 1, 3, nil, topic); err != nil {
			return fmt.Errorf("create %s: %w", topic, err)
		}
		if err := x.c.awaitWhole(ctx, settleLimit, topic); err != nil {
			return err
		}
		if err := x.fill(ctx, topic, fmt.Sprintf("round %d", round)); err != nil {
			return err
		}
		if round == 0 {
			if _, err := x.c.adm.DeleteTopic(ctx, topic); err != nil {
				return fmt.Errorf("delete %s: %w", topic, err)
			}
		}
	}
	if err := killOf(theLeader)(ctx, x); err != nil {
		return err
	}
	x.onHeal(func(ctx context.Context) error {
		_, err := x.c.adm.DeleteTopic(ctx, topic)
		return err
	})
	return nil
}

// fill writes 20 records into an empty topic and reads them back: exactly these.
func (x *injection) fill(ctx context.Context, topic, value string) error {
	const n = 20
	cl, err := x.c.newClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return err
	}
	defer cl.Close()
	for range n {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr(); err != nil {
			return fmt.Errorf("write to %s: %w", topic, err)
		}
	}
	for got := 0; got < n; {
		fs := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%s: %d of %d records: %w", topic, got, n, err)
		}
		for _, r := range fs.Records() {
			if string(r.Value) != value || r.Offset != int64(got) {
				return fmt.Errorf("%s: at %d stands %q, want %q at %d", topic, r.Offset, r.Value, value, got)
			}
			got++
		}
	}
	return nil
}

// two is one fault while another lasts.
func two(a, b func(context.Context, *injection) error) func(context.Context, *injection) error {
	return func(ctx context.Context, x *injection) error {
		if err := a(ctx, x); err != nil {
			return err
		}
		first := x.what
		err := b(ctx, x)
		x.what = first + " and " + x.what
		return err
	}
}
