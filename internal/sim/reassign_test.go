package sim

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// mover has partitions moved to other brokers, to more and to fewer of them, and changes its mind.
type mover struct {
	w     *world
	asked int
	ends  map[tp][]destination // what a partition's replicas may be in the end
}

// destination is what was asked for; replicas are nil where that depends on what the controller found.
type destination struct {
	number   int
	replicas []int32
	replaces bool // another one that was under way
}

func newMover(w *world) *mover { return &mover{w: w, ends: map[tp][]destination{}} }

// ruler is a node that leads the quorum, or thinks so.
func (w *world) ruler() *node {
	for _, i := range w.rng.Perm(len(w.nodes)) {
		if n := w.nodes[i]; n.up && n.image != nil {
			if id, _ := n.ctl.Leader(); id == n.id {
				return n
			}
		}
	}
	return nil
}

// begin notes where the replicas are before anything was asked for.
func (m *mover) begin() {
	for _, k := range m.w.allKeys() {
		m.ends[k] = []destination{{replicas: m.w.newest().states[k].Replicas}}
	}
}

// move asks for a move of one partition, or takes back what was asked for.
func (m *mover) move() {
	w := m.w
	n := w.ruler()
	if n == nil {
		return
	}
	keys := w.allKeys()
	k := keys[w.rng.IntN(len(keys))]
	moving := slices.DeleteFunc(keys, func(k tp) bool { return !n.image.Topic(k.Topic).Partitions[k.Partition].Moving() })
	if len(moving) > 0 && w.chance(0.5) {
		m.ask(n, moving[w.rng.IntN(len(moving))], nil)
		return
	}
	m.ask(n, k, m.somewhere())
	if w.chance(0.5) {
		w.after(w.between(0, 400*time.Millisecond), func() { m.meddle(k) })
	}
}

// somewhere are brokers that a partition could be on.
func (m *mover) somewhere() (to []int32) {
	w := m.w
	factor := min([]int{1, 2, 2, 3, 3, 3, 3, 4}[w.rng.IntN(8)], len(w.nodes))
	for _, i := range w.rng.Perm(len(w.nodes))[:factor] {
		to = append(to, int32(i+1))
	}
	return to
}

// meddle does something else with a partition that is on its way.
func (m *mover) meddle(k tp) {
	w, n := m.w, m.w.ruler()
	if !w.faulty || n == nil || !n.image.Topic(k.Topic).Partitions[k.Partition].Moving() {
		return
	}
	p := n.image.Topic(k.Topic).Partitions[k.Partition]
	switch x := w.rng.IntN(10); {
	case x < 2: // it changes its mind, and changes it again
		m.ask(n, k, nil)
		w.after(w.between(0, 60*time.Millisecond), func() {
			if n := w.ruler(); n != nil {
				m.ask(n, k, without(p.Replicas, p.Removing))
			}
		})
	case x < 4:
		m.ask(n, k, m.somewhere())
	case x < 6:
		w.elect(electPreferred)
	case x < 8 && w.opts.unclean():
		w.note("all in sync of %s crash while it moves: %v", k, p.ISR)
		for _, id := range p.ISR {
			w.node(id).crash()
		}
		w.elect(electUnclean)
	default:
		of := slices.Concat(p.Adding, p.Removing, []int32{p.Leader})
		if id := of[w.rng.IntN(len(of))]; id > 0 {
			w.reached("a broker of a reassignment crashed in the middle of it")
			w.node(id).crash()
		}
	}
}

// flip takes a replica away and brings it back at once, here and there, when nothing else happens: whoever fetches it must not miss that.
func (m *mover) flip() {
	if m == nil {
		return
	}
	w := m.w
	for range 4 {
		if n := w.ruler(); n != nil && w.failed == nil {
			keys := w.allKeys()
			k := keys[w.rng.IntN(len(keys))]
			p := n.image.Topic(k.Topic).Partitions[k.Partition]
			if followers := without(p.Replicas, []int32{p.Leader}); !p.Moving() && p.Leader > 0 && len(followers) > 0 {
				m.ask(n, k, without(p.Replicas, followers[:1]))
				w.run(w.between(0, 40*time.Millisecond))
				if n := w.ruler(); n != nil {
					m.ask(n, k, p.Replicas)
				}
			}
		}
		w.run(w.between(0, 500*time.Millisecond))
	}
}

// ask has a partition moved, or with no brokers what is under way taken back.
func (m *mover) ask(n *node, k tp, to []int32) {
	w := m.w
	m.asked++
	d := destination{m.asked, to, to != nil && n.image.Topic(k.Topic).Partitions[k.Partition].Moving()}
	m.ends[k] = append(m.ends[k], d)
	w.note("%s is asked to move %s to %v", n, k, to)
	req := kmsg.NewAlterPartitionReassignmentsRequest()
	req.AllowReplicationFactorChange = true
	req.Topics = []kmsg.AlterPartitionReassignmentsRequestReassignableTopic{{Name: k.Topic,
		Partitions: []kmsg.AlterPartitionReassignmentsRequestReassignablePartition{{PartitionIndex: k.Partition, Replicas: to}}}}
	n.act(func() {
		n.submit(func(machine *controller.Machine, _ time.Time) controller.Outcome {
			records, resp := machine.AlterPartitionReassignments(&req)
			refused := kerr.ErrorForCode(resp.Responses[0].Partitions[0].ErrorCode)
			return controller.Outcome{Records: records, Done: func(err error) { m.answered(n, k, d, refused, err) }}
		})
	})
}

// answered takes in what became of a request. After an error it may be carried out yet, unless a later one was.
func (m *mover) answered(n *node, k tp, d destination, refused, err error) {
	switch {
	case err != nil:
		m.w.reached("reassignment: " + errName(err))
		return
	case refused != nil:
		m.w.reached("reassignment refused: " + errName(refused))
		m.ends[k] = slices.DeleteFunc(m.ends[k], func(o destination) bool { return o.number == d.number })
		return
	case d.replicas == nil:
		m.w.reached("a reassignment was cancelled")
		p := n.image.Topic(k.Topic).Partitions[k.Partition]
		d.replicas = without(p.Replicas, p.Removing)
	case d.replaces:
		m.w.reached("a reassignment was replaced while it was under way")
	default:
		m.w.reached("a reassignment was asked for")
	}
	later := slices.DeleteFunc(m.ends[k], func(o destination) bool { return o.number <= d.number })
	m.ends[k] = append(later, d)
}

// settled says whether every partition is where it was to be, and nothing is on its way.
func (m *mover) settled() bool {
	if m == nil {
		return true
	}
	im := m.w.newest().image
	if im == nil {
		return false
	}
	for _, k := range m.w.allKeys() {
		p := im.Topic(k.Topic).Partitions[k.Partition]
		if p.Moving() || !slices.ContainsFunc(m.ends[k], func(d destination) bool {
			return d.replicas == nil || slices.Equal(d.replicas, p.Replicas)
		}) {
			return false
		}
	}
	return true
}

// dropReplica lets go of a replica that was moved to other brokers, with its log; false says that the disk failed.
func (n *node) dropReplica(k tp, p *partition.Partition) bool {
	n.w.note("%s drops its replica of %s", n, k)
	n.w.reached("a replica was dropped with its log")
	n.unfollow(k)
	n.unloadShard(k)
	p.Close(kerr.NotLeaderForPartition)
	n.letGo(k)
	n.w.check.dropped(n, k)
	if err := n.store.Delete(k); err != nil {
		if !n.doomed && !n.sick {
			n.w.fail("%s: delete the log of %s: %v", n, k, err)
		}
		return !n.doomed && n.offline() == nil
	}
	return true
}

// dropStray removes the log of a replica that moved away while the node was down; false says that the disk failed.
func (n *node) dropStray(k tp, mp *meta.Partition) bool {
	log, ok := n.store.Log(k)
	if !ok {
		return true
	}
	if !partition.MovedAway(log, n.id, partition.State{Replicas: mp.Replicas, LeaderEpoch: mp.LeaderEpoch}) {
		n.w.fail("%s has a log of %s with a newer leader epoch than the metadata at %d, which has replicas %v", n, k, n.image.Offset, mp.Replicas)
		return true
	}
	n.w.note("%s removes the log of %s, which moved away while it was down", n, k)
	n.w.reached("a stray log was removed")
	n.w.check.dropped(n, k)
	if err := n.store.Delete(k); err != nil {
		if !n.doomed && !n.sick {
			n.w.fail("%s: delete the log of %s: %v", n, k, err)
		}
		return !n.doomed && n.offline() == nil
	}
	return true
}

// dropped forgets a replica.
func (c *checker) dropped(n *node, k tp) {
	delete(c.views, replicaKey{n.id, k})
	delete(c.ends, replicaKey{n.id, k})
}

// assignment looks at where the metadata has the replicas of a partition, and at what has become of them.
func (c *checker) assignment(im *meta.Image, k tp, p, was *meta.Partition) {
	if len(without(slices.Concat(p.ISR, p.Adding, p.Removing), p.Replicas)) > 0 {
		c.w.fail("metadata at %d: %s has replicas %v; not all of them are those in sync, %v, to be added, %v, or removed, %v", im.Offset, k,
			p.Replicas, p.ISR, p.Adding, p.Removing)
	}
	if was != nil && was.Moving() && was.Leader > 0 && p.Leader == p.Replicas[0] && p.Leader != was.Leader && slices.Equal(p.ISR, was.ISR) {
		c.w.reached("a preferred leader was elected while replicas were moved")
	}
	if was == nil || !was.Moving() || p.PartitionEpoch != was.PartitionEpoch+1 ||
		p.Moving() || !slices.Equal(p.Replicas, without(was.Replicas, was.Removing)) {
		return
	}
	c.w.reached("a reassignment came to its end")
	if late := without(was.Adding, p.ISR); len(late) > 0 {
		c.w.fail("metadata at %d: the reassignment of %s has ended before %v of its new replicas were in sync: %v are", im.Offset, k, late, p.ISR)
	}
	switch grown := len(p.Replicas) - (len(was.Replicas) - len(was.Adding)); {
	case grown > 0:
		c.w.reached("the replication factor grew")
	case grown < 0:
		c.w.reached("the replication factor shrank")
	}
	if !slices.Contains(p.Replicas, was.Leader) && was.Leader > 0 {
		c.w.reached("a leader was moved away")
	}
}

func without(ids, gone []int32) []int32 {
	return slices.DeleteFunc(slices.Clone(ids), func(id int32) bool { return slices.Contains(gone, id) })
}
