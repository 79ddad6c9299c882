package sim

import (
	"slices"
	"time"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/batch"
)

// Unclean elections (unclean.leader.election.enable): where all in sync are gone another replica leads, and what it has not is lost. From
// the leader epoch on in which it begins to, what is committed is what it has of that: a line ends and another one goes on. A leader
// of an epoch before, and its followers, may go on with the line that has ended until they hear of it. On each line all that
// is demanded elsewhere holds; no line is gone back to, and in the end all replicas are on the last one.

const uncleanAllowed = "unclean.leader.election.enable"

// line is what was committed before an unclean election took the place of its end.
type line struct {
	void, until int32 // who leads an epoch from void on never heard of it in time; until begins the next line
	committed   []committed
	since       []int32
	next        map[string]int
}

// lines are those of a partition that have ended, and what is not known to have begun one.
type lines struct {
	ended   []*line
	pending []int32         // leader epochs that an unclean election has begun, and that nobody has led yet
	last    *meta.Partition // in the newest metadata that anyone has seen
}

func (c *checker) linesOf(k tp) *lines {
	if c.lines[k] == nil {
		c.lines[k] = &lines{}
	}
	return c.lines[k]
}

// began is the leader epoch that the line of a leader epoch began with.
func (l *lines) began(epoch int32) (began int32) {
	for _, old := range l.ended {
		if epoch >= old.until {
			began = old.until
		}
	}
	return began
}

// of is the line that a leader epoch goes on with; nil for the newest.
func (l *lines) of(epoch int32) *line {
	for _, old := range l.ended {
		if epoch < old.until {
			return old
		}
	}
	return nil
}

// covered is what is committed on the line of a leader epoch.
func (c *checker) covered(k tp, epoch int32) []committed {
	if old := c.linesOf(k).of(epoch); old != nil {
		return old.committed
	}
	return c.committed[k]
}

// cover adds to it.
func (c *checker) cover(k tp, epoch int32, got committed, ordered bool) {
	if old := c.linesOf(k).of(epoch); old != nil {
		c.w.reached("a leader that had not heard of an unclean election went on")
		old.committed, old.since = append(old.committed, got), append(old.since, epoch)
		if ordered {
			c.inOrder(k, old.next, got.value)
		}
		return
	}
	c.committed[k], c.since[k] = append(c.committed[k], got), append(c.since[k], epoch)
	if ordered {
		if c.next[k] == nil {
			c.next[k] = map[string]int{}
		}
		c.inOrder(k, c.next[k], got.value)
	}
}

// unsure says of a replica that its log need not be that of its leader epoch yet: it follows on another line than before, and its
// leader has not compared their logs, or it leads an epoch that was over before it began.
func (c *checker) unsure(n *node, k tp, p *partition.Partition) bool {
	l, epoch := c.linesOf(k), p.LeaderEpoch()
	if p.IsLeader() {
		old := l.of(epoch)
		return old != nil && epoch >= old.void
	}
	return c.view(n, k).joined < l.began(epoch)
}

// joins notes that the log of a replica is that of a leader epoch.
func (c *checker) joins(n *node, k tp, epoch int32) {
	v := c.view(n, k)
	if v.joined < c.linesOf(k).began(epoch) {
		v.verified = 0
	}
	v.joined = epoch
}

// uncleans looks for unclean elections in the newest metadata.
func (c *checker) uncleans(im *meta.Image) {
	for _, k := range c.w.keys() {
		l, was := c.linesOf(k), (*meta.Partition)(nil)
		t := im.Topic(k.Topic)
		if t == nil {
			continue
		}
		p := t.Partitions[k.Partition]
		was, l.last = l.last, p
		if was == nil || p.Leader < 0 || p.LeaderEpoch == was.LeaderEpoch || slices.Contains(was.ISR, p.Leader) || slices.Contains(was.ELR, p.Leader) ||
			len(was.ISR) == 0 && slices.Equal(was.LastELR, []int32{p.Leader}) {
			continue
		}
		if !c.w.opts.unclean() {
			if p.RecoveryState == 0 {
				continue // one that has just been added may lead with the same change
			}
			c.w.fail("metadata at %d: %s is led by %d, which was neither in sync nor eligible: %v and %v were, %v last", im.Offset, k, p.Leader,
				was.ISR, was.ELR, was.LastELR)
			return
		}
		c.w.reached("an unclean election")
		if len(was.Adding)+len(was.Removing) > 0 {
			c.w.reached("an unclean election while replicas were moved")
		}
		c.w.note("metadata at %d: %s is led by %d after an unclean election", im.Offset, k, p.Leader)
		l.pending = append(l.pending, p.LeaderEpoch)
	}
}

// endLine begins another line where a leader is the first since an unclean election.
func (c *checker) endLine(n *node, k tp, p *partition.Partition) {
	l, epoch := c.linesOf(k), p.LeaderEpoch()
	if len(l.pending) == 0 || l.pending[0] > epoch {
		return
	}
	all, kept, end := c.committed[k], int64(0), p.Log().EndOffset()
	c.scan(n, k, p, 0, end, func(b batch.Batch) {
		for rec, err := range b.Records(batch.Limits{}) {
			at := b.Offset(&rec)
			if err == nil && at == kept && at < int64(len(all)) && all[at] == (committed{valueOf(b, &rec), b.LeaderEpoch()}) {
				kept++
			}
		}
	})
	if lost := int64(len(all)) - kept; lost > 0 {
		c.w.reached("an unclean election lost what was committed")
		c.w.note("%s leads %s with %d of %d that were committed", n, k, kept, len(all))
	}
	next := c.next[k]
	if next == nil {
		next = map[string]int{}
	}
	l.ended = append(l.ended, &line{l.pending[0], epoch, all, c.since[k], next})
	l.pending = slices.DeleteFunc(l.pending, func(e int32) bool { return e <= epoch })
	c.committed[k], c.since[k], c.next[k] = slices.Clone(all[:kept]), slices.Clone(c.since[k][:kept]), map[string]int{}
	for _, r := range all[:kept] {
		c.inOrder(k, c.next[k], r.value)
	}
	c.joins(n, k, epoch)
}

// mayBeLost says that records of a partition may be lost: there was an unclean election.
func (c *checker) mayBeLost(k tp) bool {
	l := c.linesOf(k)
	return len(l.ended)+len(l.pending) > 0
}

// apart cuts those in sync off from all others, and not from each other or from clients, for longer than their sessions.
func (w *world) apart(k tp, isr []int32) {
	w.note("those in sync of %s are apart: %v", k, isr)
	until := w.between(3*time.Second, 5*time.Second)
	w.apartUntil = w.now().Add(until)
	for _, id := range isr {
		for _, n := range w.nodes {
			if !slices.Contains(isr, n.id) {
				w.cutFor(id, n.id, until)
				w.cutFor(n.id, id, until)
			}
		}
	}
}

// shrink keeps a follower from its leader until it is no longer in sync, and those that are then apart.
func (w *world) shrink(k tp, p *meta.Partition) {
	out := without(p.ISR, []int32{p.Leader})[w.rng.IntN(2)]
	w.cutFor(out, p.Leader, 4*time.Second)
	w.after(w.between(2*lagMax, 3*lagMax), func() {
		if im := w.newest().image; w.faulty && im != nil {
			if p := im.Topic(k.Topic).Partitions[k.Partition]; len(p.ISR) == 2 {
				w.apart(k, p.ISR)
			}
		}
	})
}

// uncleanly does what has an unclean election follow: all in sync crash or are apart, and somebody asks for one.
func (w *world) uncleanly() {
	im, keys := w.newest().image, w.keys()
	if im == nil {
		return
	}
	k := keys[w.rng.IntN(len(keys))]
	switch p := im.Topic(k.Topic).Partitions[k.Partition]; {
	case len(w.nodes) == 5 && len(p.ISR) == 3 && p.Leader > 0 && w.chance(0.7):
		w.shrink(k, p)
	case len(p.ISR) >= len(p.Replicas) || w.chance(0.3):
	case 2*len(p.ISR) < len(w.nodes) && w.chance(0.5):
		w.apart(k, p.ISR)
	default:
		w.note("all in sync of %s crash: %v", k, p.ISR)
		for _, id := range p.ISR {
			w.node(id).crash()
		}
	}
	w.elect(electUnclean)
}
