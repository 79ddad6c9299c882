package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// simulate is one seed: a cluster comes up, is broken for a while, and has to go on once a majority is healed.
func simulate(o options) *world {
	w := newWorld(o)
	newNodes(w)
	w.create()
	if !w.runUntil(30*time.Second, w.serves) && w.failed == nil {
		w.fail("no cluster comes up without faults")
	}
	w.faulty = true
	if o.moves() && w.failed == nil {
		w.mover = newMover(w)
		w.mover.begin()
	}
	if o.feature == quorums && w.failed == nil {
		w.changer = &changer{w: w, upgraded: !o.static}
		w.changer.pursue()
	}
	w.produce()
	w.transact()
	w.read()
	w.join()
	w.net.loss, w.net.twice, w.net.late = o.loss, o.twice, o.late
	w.breakSomething()
	w.run(o.safety)
	w.recover()
	return w
}

// create has the topic created, by whoever leads the quorum.
func (w *world) create() {
	topics := w.topics()
	n := w.newest()
	w.levelOff(n.image)
	if n.image != nil && n.image.Topic(topics[len(topics)-1]) != nil {
		if !w.opts.elr && n.image.Feature(elrVersion) > 0 {
			w.after(300*time.Millisecond, w.create)
		}
		return
	}
	for _, n := range w.nodes {
		if id, _ := n.ctl.Leader(); n.up && id == n.id {
			req := kmsg.NewCreateTopicsRequest()
			for _, name := range topics {
				t := kmsg.NewCreateTopicsRequestCreatableTopic()
				t.Name, t.NumPartitions, t.ReplicationFactor = name, 1, 3
				if name == topicName {
					t.NumPartitions = w.opts.partitions
					if w.opts.unclean() {
						yes := "true"
						t.Configs = []kmsg.CreateTopicsRequestCreatableTopicConfig{{Name: uncleanAllowed, Value: &yes}}
					}
				}
				req.Topics = append(req.Topics, t)
			}
			n.act(func() {
				n.submit(func(m *controller.Machine, _ time.Time) controller.Outcome {
					records, _ := m.CreateTopics(controller.Request{}, &req)
					return controller.Outcome{Records: records}
				})
			})
		}
	}
	w.after(300*time.Millisecond, w.create)
}

// serves says whether every node has every partition, with a leader and all in sync.
func (w *world) serves() bool {
	for _, n := range w.nodes {
		if n.image == nil || (n.image.Feature(elrVersion) > 0) != w.opts.elr {
			return false
		}
		for _, k := range w.allKeys() {
			if s := n.states[k]; s == nil || s.Leader < 0 || len(s.ISR) < 3 {
				return false
			}
		}
	}
	return true
}

// breakSomething does one evil thing, and has the next done later.
func (w *world) breakSomething() {
	if !w.faulty {
		return
	}
	if d := w.apartUntil.Sub(w.now()); d > 0 {
		w.after(d, w.breakSomething) // what is apart goes on for so long
		return
	}
	if w.mover != nil && w.chance(0.6) {
		w.mover.move()
	}
	if w.opts.feature == disks && w.chance(0.6) {
		w.breakDisk()
	}
	if w.opts.elr {
		w.eligibility()
	}
	if w.changer != nil && w.chance(0.5) {
		w.changer.wipe()
	}
	if w.opts.unclean() && w.chance(0.7) {
		w.uncleanly()
	}
	if w.opts.fetchers > 1 && w.chance(0.3) {
		w.nodes[w.rng.IntN(len(w.nodes))].spreadAnew()
	}
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	switch x := w.rng.IntN(100); {
	case x < 20:
		n.crash()
	case x < 40:
		n.fuse = 1 + w.rng.IntN(30)
	case x < 47:
		w.reached("crash of all")
		for _, n := range w.nodes {
			n.crash()
		}
	case x < 57:
		w.note("%s is cut off", n)
		w.reached("a node cut off")
		for _, other := range w.nodes {
			w.cut(n.id, other.id)
			w.cut(other.id, n.id)
		}
	case x < 70:
		other := w.nodes[w.rng.IntN(len(w.nodes))]
		w.note("%s cannot reach %s", n, other)
		w.reached("a way cut in one direction")
		w.cut(n.id, other.id)
		if w.chance(0.5) {
			w.cut(other.id, n.id)
		}
	case x < 80:
		w.note("%s stands still", n)
		w.reached("a process stood still")
		n.frozen = w.now().Add(w.between(200*time.Millisecond, 3*time.Second))
	case x < 90:
		w.elect(electPreferred)
	default:
		n.sicken()
	}
	for _, n := range w.nodes {
		if !n.up {
			w.after(w.between(50*time.Millisecond, 3*time.Second), n.start)
		}
	}
	w.after(w.between(w.opts.faultEvery/2, 2*w.opts.faultEvery), w.breakSomething)
}

// cut closes a direction for a while.
func (w *world) cut(from, to int32) {
	w.cutFor(from, to, w.between(100*time.Millisecond, 3*time.Second))
}

func (w *world) cutFor(from, to int32, d time.Duration) {
	l := link{from, to}
	all := w.net.cut
	all[l] = true
	w.after(d, func() { delete(all, l) })
}

// The kinds of elections that an operator asks for.
const (
	electPreferred int8 = iota
	electUnclean
)

// elect asks for elections of all partitions.
func (w *world) elect(kind int8) {
	req := kmsg.NewElectLeadersRequest()
	req.ElectionType = kind
	w.decide(func(m *controller.Machine, _ time.Time) controller.Outcome {
		records, _ := m.ElectLeaders(&req)
		return controller.Outcome{Records: records}
	})
}

// recover heals a majority and demands progress there, then the rest, and that all comes to the same.
func (w *world) recover() {
	if w.failed != nil {
		return
	}
	w.note("the faults end")
	w.faulty = false
	w.net = network{cut: map[link]bool{}}
	w.mend()
	w.restoreMinISR()
	if !w.changer.finish() {
		return
	}
	w.leaveOut()
	for _, n := range w.nodes {
		if n.fuse = 0; n.up {
			n.fault.Clear()
		}
		if n.frozen.After(w.now()) {
			n.frozen = w.now().Add(w.between(0, time.Second))
		}
		if !n.up && !w.check.excluded(n) {
			w.after(w.between(0, time.Second), n.start)
		}
	}
	for _, p := range w.producers {
		clear(p.acks)
	}
	for _, t := range w.transactors {
		t.ends = 0
	}
	if w.committer != nil {
		w.committer.acks = 0
	}
	ok := w.runUntil(20*time.Second, w.progress)
	if !ok && w.failed == nil && w.waitsForWhoIsOut() {
		w.reached("only who was left out has all that is committed")
		w.bringBack()
		ok = w.runUntil(20*time.Second, w.progress)
	}
	if !ok && w.failed == nil && w.stuck() {
		w.reached("the only one in sync has lost its disk")
		return
	}
	if !ok && w.failed == nil {
		w.fail("no progress with a majority healed: without %v; %s", w.check.out, w.waitsFor())
	}
	w.stopped = true
	w.run(time.Second)
	if w.check.out != nil && w.failed == nil {
		w.reached("progress with a majority")
		w.bringBack()
	}
	if !w.runUntil(30*time.Second, func() bool { return w.group.unsettled() == "" }) && w.failed == nil {
		w.fail("a group does not come to rest: %s", w.group.unsettled())
	}
	w.mover.flip()
	if !w.runUntil(20*time.Second, func() bool { return w.check.same(w.nodes) && w.mover.settled() && w.balanced() }) && w.failed == nil {
		if w.stuck() { // a partition at rest, which nobody has waited for before
			w.reached("the only one in sync has lost its disk")
			return
		}
		w.fail("the replicas do not come to the same, or not to where they were to be (%v, balanced %v)", w.mover.settled(), w.balanced())
	}
	if w.failed == nil && !w.runUntil(10*time.Second, w.haveRead) && w.failed == nil {
		w.fail("consumers do not come to the end of what is committed")
	}
	w.check.transactions()
	w.check.offsets()
}

// leaveOut chooses a node without which the others must go on: one that no partition needs, for it is not the
// only one that is known to have all that is committed. One that lost power since it was in sync is not
// known to (KIP-966).
func (w *world) leaveOut() {
	newest := w.newest()
	if newest.image == nil {
		return
	}
	for _, i := range w.rng.Perm(len(w.nodes)) {
		n := w.nodes[i]
		needed := slices.ContainsFunc(w.partitions(newest.image), func(p *meta.Partition) bool {
			others := func(id int32) bool { return id != n.id && w.node(id).lives(newest.image) }
			stay := without(p.Replicas, p.Removing)
			return !slices.ContainsFunc(p.ISR, others) || !slices.ContainsFunc(stay, others) || len(without(stay, []int32{n.id})) < min(minISR, len(stay))
		})
		if needed {
			continue
		}
		w.note("%s is left out", n)
		w.check.out = n
		if w.chance(0.5) && n.mayCrash() {
			n.crash()
			return
		}
		for _, other := range append([]*node{{id: client}}, w.nodes...) {
			w.net.cut[link{n.id, other.id}], w.net.cut[link{other.id, n.id}] = true, true
		}
		return
	}
}

// partitions are all of the run, as the metadata has them.
func (w *world) partitions(im *meta.Image) (list []*meta.Partition) {
	for _, name := range w.topics() {
		list = append(list, im.Topic(name).Partitions...)
	}
	return list
}

func (w *world) bringBack() {
	n := w.check.out
	w.check.out, w.net.cut = nil, map[link]bool{}
	n.start()
}

// waitsForWhoIsOut says that a change which was on its way when the node was left out has made it the only one that may
// lead, or one that min.insync.replicas asks for: of an in-sync set, or of the replicas.
func (w *world) waitsForWhoIsOut() bool {
	n, im := w.check.out, w.newest().image
	return n != nil && slices.ContainsFunc(w.partitions(im), func(p *meta.Partition) bool {
		stay := without(p.Replicas, p.Removing)
		may := mayLead(p)
		return p.Leader < 0 && len(may) > 0 && len(without(may, []int32{n.id})) == 0 || len(without(stay, []int32{n.id})) < min(minISR, len(stay))
	})
}

// lives says whether this run of a broker is the one that the metadata knows.
func (n *node) lives(im *meta.Image) bool {
	b := im.Broker(n.id)
	return n.up && b != nil && b.Incarnation == n.incarnation
}

// progress says whether every producer had something acknowledged by every partition, and so on.
func (w *world) progress() bool { return w.waitsFor() == "" }

// waitsFor is what has not come about since the faults ended.
func (w *world) waitsFor() string {
	for _, p := range w.producers {
		for _, k := range w.written() {
			if p.acks[k] == 0 {
				return fmt.Sprintf("producer %d has nothing acknowledged by %s", p.id, k)
			}
		}
	}
	for _, t := range w.transactors {
		if t.ends == 0 {
			return t.id + " has ended no transaction"
		}
	}
	if w.committer != nil && w.committer.acks == 0 {
		return "no offset was committed"
	}
	return ""
}
