package controller

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/cluster/raft"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/batch"
)

// Defaults of the quorum, and how many deliveries of messages may wait.
const (
	defaultElection  = time.Second
	defaultHeartbeat = 100 * time.Millisecond
	inboxSize        = 1024
	goneSize         = 16
)

// Quorum is the controllers that this one is of; the zero value is this node alone.
type Quorum struct {
	// Voters are those that a new log begins with. DirectoryID is of this node's metadata directory; the voters of a
	// static quorum have none.
	Voters []raft.Voter
	// Static says that the voters are always those, as long as kraft.version is 0.
	Static      bool
	DirectoryID base.TopicID
	Transport   raft.Transport // nil for a quorum of one
	// Election is controller.quorum.election.timeout.ms, Heartbeat at most a third of it.
	Election, Heartbeat time.Duration
	Rand                *rand.Rand
}

func (q *Quorum) setDefaults() {
	if q.Election == 0 {
		q.Election, q.Heartbeat = defaultElection, defaultHeartbeat
	}
	if q.Rand == nil {
		q.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
}

// round is operations that the machine has applied and the quorum has not committed.
type round struct {
	epoch     int32
	proposed  []batch.Batch
	committed []batch.Batch // of proposed, from its front
	done      []func(error) // of operations that wrote something
	same      []func(error) // of those that did not
}

func (r *round) all() []func(error) { return slices.Concat(r.same, r.done) }

// openCore joins the quorum, loads what is committed, and in a quorum of one leads.
func (c *Controller) openCore() error {
	o := &c.opts
	epoch, err := readQuorumEpoch(o.FS, c.dir)
	if err != nil {
		return err
	}
	now := o.Clock.Now()
	c.core, err = raft.Open(raft.Options{
		Self: raft.Voter{ID: o.Config.NodeID, DirectoryID: o.Quorum.DirectoryID}, Voters: o.Quorum.Voters,
		Log: c.log, FS: o.FS, Dir: c.dir, Election: o.Quorum.Election, Heartbeat: o.Quorum.Heartbeat,
		Rand: o.Quorum.Rand, Logger: o.Logger, MinEpoch: epoch,
	}, now)
	if err != nil {
		return fmt.Errorf("join the quorum of the metadata log in %s: %w", c.dir, err)
	}
	if err := c.checkVoters(); err != nil {
		return err
	}
	c.settleVoters()
	c.opts.Config.NextOffset, c.opts.Config.KRaftVersion = c.core.NextOffset, c.KRaftVersion
	c.opts.Config.Voters = func() []int32 { return ids(c.core.Voters()) }
	c.opts.Config.UpgradeVoters = c.upgradeVoters
	im, err := c.loadImage(c.core.AppliedEnd())
	if err != nil {
		return err
	}
	c.image.Store(im)
	c.end.Store(im.Offset + 1)
	c.lastEpoch = im.Epoch
	c.forget()
	if err := c.core.Tick(now); err != nil {
		return err
	}
	return c.pump(true)
}

// checkVoters holds what a static quorum is configured to be against what the log says: two halves of a
// cluster that count different voters could both have a majority.
func (c *Controller) checkVoters() error {
	q := &c.opts.Quorum
	now := c.core.Voters()
	same := slices.EqualFunc(q.Voters, now, func(a, b raft.Voter) bool { return a.ID == b.ID })
	if !q.Static || same || raft.Dynamic(now) || c.core.Upgraded() {
		return nil
	}
	return fmt.Errorf("controller.quorum.voters names nodes %v, and the metadata log in %s belongs to a quorum of nodes %v: "+
		"name these", ids(q.Voters), c.dir, ids(now))
}

func ids(voters []raft.Voter) (list []int32) {
	for _, v := range voters {
		list = append(list, v.ID)
	}
	return list
}

// forget has the machine go on from what is published.
func (c *Controller) forget() {
	c.machine = NewMachine(c.opts.Config, c.image.Load())
	c.replay = replayer{into: c.machine.Apply}
}

// pump does what the quorum asks for; inline says to write here instead of handing that to the writer.
func (c *Controller) pump(inline bool) error {
	for c.writing == nil {
		w, ok, err := c.core.Ready(c.opts.Clock.Now())
		if err != nil {
			return err
		}
		if !ok {
			more, err := c.settleRole()
			if err != nil || !more {
				return err
			}
			continue
		}
		c.send(w.Early)
		c.writing = w
		if !inline {
			c.toWrite <- w
			return nil
		}
		if err := c.finish(c.core.Write(w, c.opts.Clock.Now())); err != nil {
			return err
		}
	}
	return nil
}

func (c *Controller) send(list []*raft.Message) {
	if len(list) > 0 && c.opts.Quorum.Transport != nil {
		c.opts.Quorum.Transport.Send(list)
	}
}

// finish takes in that a write has ended, and applies what is committed.
func (c *Controller) finish(failed error) error {
	w := c.writing
	c.writing = nil
	if failed != nil {
		return errors.Join(failed, c.dropRound(kerr.KafkaStorageError))
	}
	c.send(w.Late)
	if err := c.core.Advance(w); err != nil {
		return err
	}
	if w.Snapshot > 0 {
		if err := c.installed(snapshotID{w.Snapshot, w.SnapshotEpoch}); err != nil {
			return err
		}
	}
	for _, e := range w.Committed {
		if err := c.committed(e.Batch); err != nil {
			return err
		}
	}
	c.settleSnapshot()
	c.settleVoters()
	if err := c.dropLostRound(); err != nil {
		return err
	}
	c.maybeEndRound()
	if c.round == nil && c.end.Load() < c.core.AppliedEnd() {
		c.publish(nil)
	}
	return nil
}

// committed takes in a batch that the quorum has agreed on.
func (c *Controller) committed(b batch.Batch) error {
	c.sinceSnapshot += int64(len(b))
	c.lastEpoch = b.LeaderEpoch()
	// What bears an epoch was written by its leader, in the order in which it was proposed.
	if r := c.round; r != nil && len(r.proposed) > 0 && b.LeaderEpoch() == r.epoch && !b.IsControl() {
		r.proposed, r.committed = r.proposed[1:], append(r.committed, b)
		return nil
	}
	if c.round != nil && !b.IsControl() {
		// Another's records: the machine is ahead with its own.
		if err := c.dropRound(kerr.NotController); err != nil {
			return err
		}
	}
	if b.LastOffset() < c.snapshotEnd {
		return nil // the snapshot that was loaded has it
	}
	return c.replay.batch(b)
}

// installed goes on from a snapshot that came from the active controller.
func (c *Controller) installed(id snapshotID) error {
	if err := c.dropRound(kerr.NotController); err != nil {
		return err
	}
	im, err := c.loadFrom(id)
	if err != nil {
		return err
	}
	old := c.image.Load()
	c.snapshotEnd, c.lastEpoch = id.end, id.epoch
	c.image.Store(im)
	c.end.Store(id.end)
	c.forget()
	c.news.tell()
	c.published.put(publication{old: old, now: im, delta: meta.Difference(old, im)})
	return nil
}

// maybeEndRound answers the round when all of it is committed. What others see of it comes first, but for
// operations that changed nothing: they do not wait for what subscribers do.
func (c *Controller) maybeEndRound() {
	r := c.round
	if r == nil || len(r.proposed) > 0 {
		return
	}
	c.round = nil
	tell(r.same, nil)
	if len(r.committed) > 0 {
		c.publish(r.done)
		return
	}
	tell(r.done, nil)
}

// dropLostRound ends a round whose leader is not the active controller any more.
func (c *Controller) dropLostRound() error {
	if c.round == nil {
		return nil
	}
	if _, epoch := c.core.Leader(); c.core.IsLeader() && epoch == c.round.epoch {
		return nil
	}
	return c.dropRound(kerr.NotController)
}

// dropRound forgets what the machine has applied and the quorum may not have: it goes on from what is
// published, and takes in again what was committed of the round.
func (c *Controller) dropRound(why error) error {
	r := c.round
	if r == nil {
		return nil
	}
	c.round = nil
	c.forget()
	for _, b := range r.committed {
		if err := c.replay.batch(b); err != nil {
			return err
		}
	}
	if len(r.committed) > 0 {
		c.publish(nil)
	}
	tell(r.all(), why)
	return nil
}

// publish makes what is committed the image, and has done told when subscribers know it.
func (c *Controller) publish(done []func(error)) {
	old := c.image.Load()
	end := c.core.AppliedEnd()
	im, delta := c.machine.Cut(end-1, c.lastEpoch)
	c.image.Store(im)
	c.end.Store(end)
	c.news.tell()
	c.published.put(publication{old: old, now: im, delta: delta, done: done})
}

// settleRole notes who leads, and begins this node's term. more says that there is something to do
// for the quorum again.
func (c *Controller) settleRole() (more bool, err error) {
	c.settleVoters()
	if err := c.dropLostRound(); err != nil {
		return false, err
	}
	id, epoch := c.core.Leader()
	if now := packLeader(id, epoch); c.leader.Load() != now {
		was, _ := unpackLeader(c.leader.Swap(now))
		c.news.tell()
		c.tellLeader(was, id, epoch)
	}
	if !c.core.Ruling() || c.began == epoch || c.round != nil {
		return false, nil
	}
	c.began = epoch
	c.observers.forget()
	c.told = nil
	if len(c.core.Voters()) == 1 { // Apache Kafka may start on the directory of a single node
		if err := writeQuorumState(c.opts.FS, c.dir, c.opts.Config.NodeID, epoch); err != nil {
			return false, err
		}
	}
	if err := checkLevel(c.machine.image()); err != nil {
		return false, err
	}
	op := c.begin()
	if c.machine.image().Feature(MetadataVersion) == 0 {
		first, err := c.firstRecords()
		if err != nil {
			return false, err
		}
		rest := op
		op = func(m *Machine, now time.Time) Outcome {
			return Outcome{Records: append(first, rest(m, now).Records...)}
		}
	}
	return true, c.runOps(op)
}

// tellLeader says in the log who is the active controller now, where it can be another.
func (c *Controller) tellLeader(was, id, epoch int32) {
	if id < 0 && was < 0 || len(c.core.Voters()) == 1 && c.IsVoter() {
		return
	}
	switch self := c.opts.Config.NodeID; id {
	case self:
		c.opts.Logger.Info("this node is the active controller", "epoch", epoch)
	case -1:
		c.opts.Logger.Info("no active controller is known", "epoch", epoch)
	default:
		c.opts.Logger.Info("another node is the active controller", "node_id", id, "epoch", epoch)
	}
}

// Receive takes in messages of other voters. They are dropped where there is no room: raft repeats
// what matters.
func (c *Controller) Receive(list []*raft.Message) {
	select {
	case c.inbox <- list:
	default:
	}
}

// Gone says that the process of another controller is gone: nothing listens where it was.
func (c *Controller) Gone(node int32) {
	select {
	case c.gone <- node:
	default:
	}
}

// QuorumState is what the active controller knows of the quorum.
type QuorumState struct {
	Epoch         int32
	HighWatermark int64
	Voters        []raft.Progress
	Observers     []Observed
}

// Quorum describes the quorum; only the active controller can, others say NOT_CONTROLLER.
func (c *Controller) Quorum() (*QuorumState, error) {
	type answer struct {
		state *QuorumState
		err   error
	}
	result := make(chan answer, 1)
	err := c.Submit(func(*Machine, time.Time) Outcome {
		_, epoch := c.core.Leader()
		st := &QuorumState{Epoch: epoch, HighWatermark: c.core.AppliedEnd(), Voters: c.core.Progress()}
		st.Observers = c.observers.list(c.opts.Clock.Now(), func(node raft.Voter) bool {
			return slices.ContainsFunc(st.Voters, func(v raft.Progress) bool { return v.Voter.Covers(node) })
		})
		return Outcome{Done: func(err error) { result <- answer{st, err} }}
	})
	if err != nil {
		return nil, err
	}
	a := <-result // whatever was submitted is answered
	return a.state, a.err
}

// Run carries out operations until ctx ends or the log fails.
func (c *Controller) Run(ctx context.Context) error {
	var balancing sync.WaitGroup // ends after the mailbox: it may be about to put something into it
	defer balancing.Wait()
	evening, stop := context.WithCancel(ctx)
	defer c.refuseRest()
	defer stop()
	defer func() {
		c.beside.Wait()
		c.settleSnapshot()
	}()
	publishing, published := context.WithCancel(context.Background())
	defer published()
	balancing.Go(func() { c.balancer.run(evening) })
	c.beside.Go(func() { c.published.run(publishing) })
	c.beside.Go(func() {
		for w := range c.toWrite {
			c.written <- c.core.Write(w, c.opts.Clock.Now())
		}
	})
	defer close(c.toWrite)
	tick := time.NewTicker(min(tickInterval, c.opts.Quorum.Heartbeat/2))
	defer tick.Stop()
	for {
		if err := c.turn(ctx, tick.C); err != nil || ctx.Err() != nil {
			if err != nil {
				err = errors.Join(fmt.Errorf("metadata log in %s: %w", c.dir, err), c.dropRound(kerr.KafkaStorageError))
			} else {
				err = c.dropRound(kerr.NotController)
			}
			return err
		}
		c.maybeSnapshot(false)
	}
}

// turn waits for something to happen and does what follows from it.
func (c *Controller) turn(ctx context.Context, tick <-chan time.Time) error {
	ops := c.ops
	if c.round != nil || c.published.full() {
		ops = nil // the next round begins when this one has ended
	}
	var err error
	select {
	case <-ctx.Done():
		return nil
	case op := <-ops:
		err = c.carryOut(op)
	case list := <-c.inbox:
		err = c.stepAll(list)
	case node := <-c.gone:
		c.core.LeaderGone(node, c.opts.Clock.Now())
	case failed := <-c.written:
		err = c.finish(failed)
	case failed := <-c.snapshotEnded():
		c.snapshotWritten(failed)
		c.settleSnapshot()
	case <-tick:
		err = c.tick()
	}
	if err != nil {
		return err
	}
	return c.pump(false)
}

// carryOut begins a round with an operation, where this node may decide.
func (c *Controller) carryOut(op operation) error {
	if !c.core.Ruling() || c.began != c.Epoch() {
		tell([]func(error){op(c.machine, c.opts.Clock.Now()).Done}, kerr.NotController)
		return nil
	}
	return c.runOps(op)
}

func (c *Controller) stepAll(list []*raft.Message) error {
	for _, m := range list {
		if err := c.core.Step(m, c.opts.Clock.Now()); err != nil {
			return err
		}
	}
	return nil
}

func (c *Controller) tick() error {
	err := c.core.Tick(c.opts.Clock.Now())
	if err == nil && c.round == nil && c.core.Ruling() && c.began == c.Epoch() {
		err = c.runTimer()
	}
	return err
}
