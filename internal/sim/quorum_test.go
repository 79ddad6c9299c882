package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"path"
	"slices"
	"time"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/raft"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// A controller loses the directory of its metadata, comes back with another one, and is added again after the former one
// was removed (KIP-853). A quorum that begins static is taken to kraft.version 1 first, in the middle of faults.

// seat is what a node is in the quorum.
type seat struct {
	directory base.TopicID // of the metadata
	joiner    bool         // formatted to be added
	ghost     bool         // it came back without its directory as what it was at first
	told      [2]int32     // the active controller, and its epoch, that know the directory
}

// quorum is what a node's configuration says.
func (n *node) quorum(random *rand.Rand) controller.Quorum {
	q := controller.Quorum{
		DirectoryID: n.seat.directory, Transport: wires{n, n.boot}, Election: election, Heartbeat: heartbeat, Rand: random,
	}
	if n.seat.joiner {
		return q // its directory says that it waits, or which quorum it is of
	}
	q.Voters = slices.Clone(n.voters)
	if q.Static = n.w.opts.static; q.Static {
		for i := range q.Voters {
			q.Voters[i].DirectoryID = base.TopicID{}
		}
	}
	return q
}

// tellDirectory has the active controller of a static quorum know this one's directory.
func (n *node) tellDirectory() {
	id, epoch := n.ctl.Leader()
	if now := [2]int32{id, epoch}; !n.w.opts.static || n.ctl.DynamicVoters() || id < 1 || now == n.seat.told || n.w.chance(0.5) {
		return
	}
	v := raft.Voter{ID: n.id, DirectoryID: n.seat.directory, Endpoints: []kmsg.VotersRecordEndpoint{{Name: "C", Host: "c", Port: 1}}}
	n.call(id, time.Second, func(t *node, reply func(any)) {
		err := t.ctl.StartUpdating(v, controller.Feature{Name: controller.KRaftVersion, Max: 1}, func(err error) { reply(err) })
		if err != nil {
			reply(err)
		}
	}, func(answer any, ok bool) {
		if ok && answer == nil {
			n.seat.told = [2]int32{id, epoch}
		}
	})
}

// changer replaces directories of controllers, one at a time.
type changer struct {
	w        *world
	upgraded bool  // every voter is known to have kraft.version 1
	node     *node // whose directory is being replaced; nil for none
	former   raft.Voter
}

// wipe takes a controller's directory. Before kraft.version is 1 that would take what it has acknowledged.
func (q *changer) wipe() {
	w := q.w
	if q.node != nil || !q.upgraded {
		return
	}
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	n.crash()
	q.node, q.former = n, raft.Voter{ID: n.id, DirectoryID: n.seat.directory}
	w.reached("a controller lost its directory")
	if w.opts.static && w.chance(0.5) {
		w.reached("a wiped controller came back as it was formatted first")
		n.reformat(seat{ghost: true})
		w.after(w.between(300*time.Millisecond, 2*time.Second), func() {
			n.crash()
			n.reformat(seat{joiner: true})
		})
		return
	}
	n.reformat(seat{joiner: true})
}

// reformat gives a node that is down an empty directory for its metadata.
func (n *node) reformat(s seat) {
	s.directory = n.newID()
	n.seat = s
	n.w.note("%s has a new directory, %s", n, s.directory)
	if err := n.disk.RemoveAll(metaDir); err != nil {
		panic(err)
	}
	format(n.disk, metaDir, n.id, s.directory)
	if dir := path.Join(metaDir, controller.MetadataTopic+"-0"); s.joiner {
		if err := errors.Join(n.disk.MkdirAll(dir), raft.FormatJoiner(n.disk, dir), n.disk.SyncDir(metaDir)); err != nil {
			panic(err)
		}
	}
	n.w.after(n.w.between(20*time.Millisecond, 400*time.Millisecond), n.start)
}

// pursue does what an operator would do next, and again a little later.
func (q *changer) pursue() {
	w := q.w
	w.after(w.between(50*time.Millisecond, 250*time.Millisecond), q.pursue)
	lead := w.ruler()
	if lead == nil {
		return
	}
	if !q.upgraded {
		lead.act(func() { q.note("upgrade", lead.ctl.StartUpgrade(q.upgradeEnded)) })
		return
	}
	n := q.node
	if n == nil {
		return
	}
	self := raft.Voter{ID: n.id, DirectoryID: n.seat.directory}
	voters := lead.ctl.Voters()
	switch {
	case slices.ContainsFunc(voters, self.Is) && !q.known(self, voters):
	case slices.ContainsFunc(voters, self.Is):
		w.note("%s is one of the voters again", n)
		w.reached("a wiped controller was added anew")
		q.node = nil
	case slices.ContainsFunc(voters, q.former.Is):
		lead.act(func() {
			q.note("remove", lead.ctl.StartRemoving(q.former, func(err error) {
				q.note("remove", err)
				if err == nil {
					w.reached("a controller was removed")
				}
			}))
		})
	case n.up && n.seat.joiner:
		n.observe(lead.id)
		lead.act(func() { q.note("add", lead.ctl.StartAdding(self, func(err error) { q.note("add", err) })) })
	}
}

// known says whether a majority of the voters has heard that a node is one of them. Until then those of them that have not
// ask the voters of before for their votes, as etcd's raft does, and the next directory must not go.
func (q *changer) known(self raft.Voter, voters []raft.Voter) bool {
	count := 0
	for _, v := range voters {
		if n := q.w.node(v.ID); n.up && slices.ContainsFunc(n.ctl.Voters(), self.Is) {
			count++
		}
	}
	return count > len(voters)/2
}

func (q *changer) note(what string, err error) {
	if err != nil {
		q.w.reached(what + " of a voter: " + errName(err))
	}
}

func (q *changer) upgradeEnded(err error) {
	q.note("upgrade", err)
	if err == nil && !q.upgraded {
		for _, n := range q.w.nodes { // it is in every log, if not known to be committed everywhere
			if n.up && !n.ctl.Upgraded() {
				q.w.fail("kraft.version is 1 everywhere, it was said, and the log of %s does not have it", n)
			}
		}
		q.upgraded = true
		q.w.note("kraft.version is 1 everywhere")
		q.w.reached("kraft.version went from 0 to 1 amid faults")
	}
}

// observe is the fetch of a node outside the quorum that has all of the metadata.
func (n *node) observe(lead int32) {
	v := raft.Voter{ID: n.id, DirectoryID: n.seat.directory}
	n.call(lead, time.Second, func(t *node, reply func(any)) {
		at, now := context.WithCancel(context.Background())
		now()
		tail, err := t.ctl.Tail(at, controller.TailRequest{
			Replica: v.ID, Directory: v.DirectoryID, Offset: t.ctl.EndOffset(), LastEpoch: -1, MaxBytes: 1,
		})
		if tail.Range != nil {
			tail.Range.Release()
		}
		reply(err)
	}, func(any, bool) {})
}

// finish heals all and wants that what was begun comes to its end.
func (q *changer) finish() bool {
	if q == nil {
		return true
	}
	w := q.w
	for _, n := range w.nodes {
		n.fuse, n.frozen = 0, time.Time{}
		if n.up {
			n.fault.Clear()
		} else {
			w.after(w.between(0, time.Second), n.start)
		}
	}
	if !w.runUntil(30*time.Second, func() bool { return q.upgraded && q.node == nil && w.ruler() != nil }) && w.failed == nil {
		w.fail("the quorum does not come to its end: kraft.version 1 everywhere %v, replaced %v", q.upgraded, q.node)
	}
	static := func(n *node) bool { return n.up && !n.ctl.DynamicVoters() } // it has yet to hear that what it has is committed
	if !w.runUntil(10*time.Second, func() bool { return !slices.ContainsFunc(w.nodes, static) }) && w.failed == nil {
		w.fail("%s stays at kraft.version 0", w.nodes[slices.IndexFunc(w.nodes, static)])
	}
	return w.failed == nil
}

// checkSeat: a node that has lost its directory rules nobody under its former id, and hears nothing that is for it.
func (c *checker) checkSeat(n *node) {
	if !n.seat.ghost {
		return
	}
	if id, _ := n.ctl.Leader(); id == n.id || n.ctl.EndOffset() > 0 {
		c.w.fail("%s, without its directory, is of the quorum again: it leads %v, and has metadata up to %d", n, id == n.id, n.ctl.EndOffset())
	}
}
