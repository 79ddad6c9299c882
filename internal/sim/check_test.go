package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/batch"
)

// committed is a record that the high watermark of a leader has covered.
type committed struct {
	value string
	epoch int32
}

// place is where a batch stands.
type place struct {
	offset int64
	epoch  int32
}

type replicaKey struct {
	node int32
	k    tp
}

// view is what was seen of a replica since its node started.
type view struct {
	scanned  int64 // its log was compared with what others wrote, up to here
	verified int64 // and with what is committed
	joined   int32 // the newest leader epoch whose line its log is known to be on
	epoch    int32 // in which it led, and the high watermark then
	hw       int64
}

type incarnation struct {
	node int32
	boot int
}

// checker knows what has happened in a run, and says what must not have.
type checker struct {
	w         *world
	committed map[tp][]committed
	since     map[tp][]int32        // the leader epochs in which they were
	next      map[tp]map[string]int // by producer, the number of its next record
	written   map[tp]map[place]uint32
	views     map[replicaKey]*view
	ends      map[replicaKey]int64 // of logs, before a crash
	leaders   map[tp]map[int32]incarnation
	rulers    map[int32]int32
	images    map[int64]string
	newest    int64 // offset of the metadata that anyone has seen
	out       *node // stays away while the others have to make progress
	lines     map[tp]*lines
}

func newChecker(w *world) *checker {
	return &checker{
		w: w, committed: map[tp][]committed{}, since: map[tp][]int32{}, next: map[tp]map[string]int{}, written: map[tp]map[place]uint32{},
		views: map[replicaKey]*view{}, ends: map[replicaKey]int64{}, leaders: map[tp]map[int32]incarnation{},
		rulers: map[int32]int32{}, images: map[int64]string{}, lines: map[tp]*lines{},
	}
}

func (c *checker) excluded(n *node) bool { return c.out == n }

func (c *checker) view(n *node, k tp) *view {
	key := replicaKey{n.id, k}
	v := c.views[key]
	if v == nil {
		v = &view{epoch: -1}
		c.views[key] = v
	}
	return v
}

// crashed notes what a node had.
func (c *checker) crashed(n *node) {
	for k, p := range n.parts {
		delete(c.views, replicaKey{n.id, k})
		c.ends[replicaKey{n.id, k}] = p.Log().EndOffset()
	}
}

// booted looks at what a node has kept.
func (c *checker) booted(n *node) {
	for _, k := range c.w.allKeys() {
		if l, ok := n.store.Log(k); ok {
			if before := c.ends[replicaKey{n.id, k}]; l.EndOffset() < before {
				c.w.reached("a crash took unsynced records")
			}
		}
	}
}

// look checks a node after something has happened on it.
func (c *checker) look(n *node) {
	if id, epoch := n.ctl.Leader(); id == n.id {
		if was, ok := c.rulers[epoch]; ok && was != id {
			c.w.fail("epoch %d of the quorum has two leaders: %d and %d", epoch, was, id)
		} else if !ok {
			c.w.note("node %d leads the quorum in epoch %d", id, epoch)
			if len(c.rulers) > 0 {
				c.w.reached("the quorum changed its leader")
			}
		}
		c.rulers[epoch] = id
	}
	c.checkSeat(n)
	for _, k := range c.w.allKeys() {
		if p := n.parts[k]; p != nil {
			if start := p.Log().StartOffset(); start > 0 {
				c.w.fail("%s at %s: the log begins at %d, nothing below was deleted", k, n, start)
			}
			c.appended(n, k, p)
			c.absorb(n, k, p)
		}
	}
}

// appended compares what is new in a log with what others have at the same offset from the same leader epoch.
func (c *checker) appended(n *node, k tp, p *partition.Partition) {
	v := c.view(n, k)
	end := p.Log().EndOffset()
	if n.doomed || v.scanned >= end || p.Log().Offline() {
		return
	}
	if c.written[k] == nil {
		c.written[k] = map[place]uint32{}
	}
	c.scan(n, k, p, max(v.scanned-1, 0), end, func(b batch.Batch) {
		at := place{b.BaseOffset(), b.LeaderEpoch()}
		if crc, ok := c.written[k][at]; ok && crc != b.CRC() {
			c.w.fail("%s at %s: another batch at offset %d of leader epoch %d than elsewhere", k, n, at.offset, at.epoch)
		}
		c.written[k][at] = b.CRC()
	})
	v.scanned = end
}

// scan gives whole batches of a log, and demands that offsets are dense and leader epochs do not go back.
func (c *checker) scan(n *node, k tp, p *partition.Partition, from, to int64, fn func(batch.Batch)) {
	epoch := int32(-1)
	for at := from; at < to && c.w.failed == nil; {
		rng, err := p.Log().Read(at, 1<<20, to, true)
		if err == nil && rng == nil {
			err = fmt.Errorf("nothing there")
		}
		var data []byte
		if err == nil {
			data, err = bytesOf(rng)
		}
		for len(data) > 0 && err == nil {
			var b batch.Batch
			if b, data, err = batch.Next(data); err == nil {
				err = b.CheckCRC()
			}
			if err != nil {
				break
			}
			if b.BaseOffset() > at || b.LastOffset() < at {
				c.w.fail("%s at %s: a batch of offsets %d to %d where %d comes next", k, n, b.BaseOffset(), b.LastOffset(), at)
				return
			}
			if b.LeaderEpoch() < epoch {
				c.w.fail("%s at %s: a batch of leader epoch %d at offset %d, after one of %d", k, n, b.LeaderEpoch(), b.BaseOffset(), epoch)
				return
			}
			epoch = b.LeaderEpoch()
			fn(b)
			at = b.LastOffset() + 1
		}
		if err != nil && p.Log().Offline() {
			return // the node is about to end, or to go on without that directory
		}
		if err != nil {
			c.w.fail("%s at %s: offset %d of %d cannot be read: %v", k, n, at, to, err)
		}
	}
}

// absorb takes in what a high watermark has covered, and compares that with what was covered before.
func (c *checker) absorb(n *node, k tp, p *partition.Partition) {
	if n.doomed || c.w.failed != nil {
		return
	}
	if p.Log().Offline() {
		c.absorbElsewhere(k, p)
		return
	}
	if c.unsure(n, k, p) {
		return
	}
	v, hw := c.view(n, k), p.HighWatermark()
	if p.IsLeader() {
		if epoch := p.LeaderEpoch(); v.epoch == epoch && hw < v.hw {
			c.w.fail("%s at %s: the high watermark went back from %d to %d in leader epoch %d", k, n, v.hw, hw, epoch)
		} else {
			v.epoch, v.hw = epoch, hw
		}
	} else if have := int64(len(c.covered(k, p.LeaderEpoch()))); hw > have {
		if c.linesOf(k).began(p.LeaderEpoch()) > 0 {
			c.verify(n, k, p, have) // it remembers more of an earlier line, which its leader has and has not committed again
			return
		}
		c.w.fail("%s at %s: a follower's high watermark is %d, no leader's was above %d", k, n, hw, have)
	}
	c.verify(n, k, p, hw)
}

// verify compares a log below a bound with what is committed, and adds to that what a leader has more.
func (c *checker) verify(n *node, k tp, p *partition.Partition, to int64) {
	v, epoch := c.view(n, k), p.LeaderEpoch()
	if v.verified >= to {
		return
	}
	c.scan(n, k, p, v.verified, to, func(b batch.Batch) {
		for rec, err := range b.Records(batch.Limits{}) {
			if err != nil {
				c.w.fail("%s at %s: %v", k, n, err)
				return
			}
			got, at := committed{valueOf(b, &rec), b.LeaderEpoch()}, b.Offset(&rec)
			if at >= to {
				return
			}
			switch all := c.covered(k, epoch); {
			case at < int64(len(all)) && all[at] != got:
				c.w.fail("%s at %s: offset %d holds %q of leader epoch %d, committed was %q of leader epoch %d", k, n, at, got.value,
					got.epoch, all[at].value, all[at].epoch)
			case at == int64(len(all)):
				c.cover(k, epoch, got, k.Topic == topicName && !b.IsTransactional())
			}
		}
	})
	v.verified = to
	if p.IsLeader() && c.linesOf(k).of(epoch) == nil {
		c.inSync(k, p.State().ISR, to, n.String())
	}
}

// inSync demands of the members of an in-sync set that they have stored all below an offset. What one that is down has
// kept shows when it leads.
func (c *checker) inSync(k tp, isr []int32, all int64, says string) {
	for _, id := range isr {
		m := c.w.node(id)
		p := m.parts[k]
		if !m.up || m.doomed || p == nil {
			continue
		}
		if have := p.StoredOffset(); have < all {
			c.w.fail("%s: %s has %v in sync, and %s has stored %d records: %d are committed", k, says, isr, m, have, all)
		}
	}
}

// inOrder demands the next record of its producer, which is named before the last dash.
func (c *checker) inOrder(k tp, next map[string]int, value string) {
	i := strings.LastIndexByte(value, '-')
	var number int
	if _, err := fmt.Sscan(value[i+1:], &number); err != nil {
		c.w.fail("%s: record %q: %v", k, value, err)
		return
	}
	// A log that has lost all of a producer takes whatever it goes on with, as one does that has forgotten it.
	if want, known := next[value[:i]]; number != want && (known || !c.mayBeLost(k)) {
		c.w.fail("%s: record %q of a producer is committed where number %d comes next", k, value, want)
	}
	next[value[:i]] = number + 1
}

// truncated has a part of a log looked at again.
func (c *checker) truncated(n *node, k tp, end int64) {
	if n.doomed {
		return
	}
	v := c.view(n, k)
	v.scanned, v.verified = min(v.scanned, end), min(v.verified, end)
}

// leads checks what begins a leader epoch.
func (c *checker) leads(n *node, k tp, p *partition.Partition) {
	if n.doomed {
		return
	}
	epoch, me := p.LeaderEpoch(), incarnation{n.id, n.boot}
	if c.leaders[k] == nil {
		c.leaders[k] = map[int32]incarnation{}
	}
	if was, ok := c.leaders[k][epoch]; ok && was != me {
		c.w.fail("%s: leader epoch %d is led by %s, incarnation %d, and by node %d, incarnation %d", k, epoch, n, n.boot, was.node, was.boot)
		return
	}
	if len(c.leaders[k]) > 0 {
		c.w.reached("a partition changed its leader")
	}
	c.leaders[k][epoch] = me
	c.endLine(n, k, p)
	if c.unsure(n, k, p) {
		return
	}
	since := c.since[k]
	if old := c.linesOf(k).of(epoch); old != nil {
		since = old.since
	}
	have := int64(0) // what later leaders have committed, it may not have: it is late
	for _, e := range since {
		if e < epoch {
			have++
		}
	}
	if end := p.Log().EndOffset(); end < have {
		c.w.fail("%s: %s begins leader epoch %d with %d records, %d are committed", k, n, epoch, end, have)
		return
	}
	c.joins(n, k, epoch)
	c.view(n, k).verified = 0
	c.verify(n, k, p, have)
}

// acked checks what a producer was told by the leader of an epoch.
func (c *checker) acked(k tp, epoch int32, base int64, values []string) {
	for i, v := range values {
		at := base + int64(i)
		if all := c.covered(k, epoch); at >= int64(len(all)) || all[at].value != v {
			c.w.fail("%s: record %q was acknowledged at offset %d and is not committed there", k, v, at)
		}
	}
}

// image compares the metadata of nodes.
func (c *checker) image(n *node, im *meta.Image) {
	if n.doomed {
		return
	}
	if n.image != nil && im.Offset < n.image.Offset {
		c.w.fail("%s: the metadata went back from offset %d to %d", n, n.image.Offset, im.Offset)
	}
	var b strings.Builder
	for _, br := range im.Brokers() {
		fmt.Fprintf(&b, "%d:%d:%v ", br.ID, br.Epoch, br.Fenced)
	}
	for _, name := range c.w.topics() {
		t := im.Topic(name)
		if t == nil {
			continue
		}
		for i, p := range t.Partitions {
			fmt.Fprintf(&b, "%s-%d:%d/%d/%d%v of %v ", name, i, p.Leader, p.LeaderEpoch, p.PartitionEpoch, p.ISR, p.Replicas)
			if len(p.ELR)+len(p.LastELR) > 0 {
				fmt.Fprintf(&b, "eligible %v, last %v ", p.ELR, p.LastELR)
			}
			c.eligible(n, im, tp{Topic: name, Partition: int32(i)}, p, before(n.image, name, i))
			if p.Moving() {
				fmt.Fprintf(&b, "with %v without %v ", p.Adding, p.Removing)
			}
			c.assignment(im, tp{Topic: name, Partition: int32(i)}, p, before(n.image, name, i))
			if p.Leader >= 0 && !slices.Contains(p.ISR, p.Leader) {
				c.w.fail("metadata at %d: %s-%d is led by %d, in sync are %v", im.Offset, name, i, p.Leader, p.ISR)
			}
		}
	}
	if was, ok := c.images[im.Offset]; ok && was != b.String() {
		c.w.fail("%s: metadata at offset %d is %s, elsewhere %s", n, im.Offset, b.String(), was)
	} else if !ok {
		c.w.note("metadata at %d: %s", im.Offset, b.String())
		if im.Offset > c.newest { // what another knows already may have changed since
			c.newest = im.Offset
			c.uncleans(im)
			c.members(im)
			c.untaint(im)
		}
	}
	c.images[im.Offset] = b.String()
}

// before is a partition as an older image has it, nil where there is none.
func before(im *meta.Image, topic string, i int) *meta.Partition {
	if im == nil {
		return nil
	}
	if t := im.Topic(topic); t != nil {
		return t.Partitions[i]
	}
	return nil
}

// members looks at the in-sync sets of the newest metadata.
func (c *checker) members(im *meta.Image) {
	for _, name := range c.w.topics() {
		t := im.Topic(name)
		if t == nil {
			continue
		}
		for i, p := range t.Partitions {
			k := tp{Topic: name, Partition: int32(i)}
			if len(c.linesOf(k).pending) > 0 {
				continue // what is committed shows when its leader begins
			}
			isr := slices.DeleteFunc(slices.Clone(p.ISR), func(id int32) bool { return lostPlace(im, p, id) })
			c.inSync(k, isr, int64(len(c.committed[k])), fmt.Sprintf("metadata at %d", im.Offset))
			elr := slices.DeleteFunc(slices.Clone(p.ELR), func(id int32) bool { return lostPlace(im, p, id) })
			c.inSync(k, elr, int64(len(c.committed[k])), fmt.Sprintf("metadata at %d, as eligible,", im.Offset))
		}
	}
}

// same says whether the replicas of some nodes have come to the same, and all of it is committed.
func (c *checker) same(nodes []*node) bool {
	for _, k := range c.w.allKeys() {
		end := int64(len(c.committed[k]))
		for _, n := range nodes {
			if s := n.states[k]; s != nil && !slices.Contains(s.Replicas, n.id) {
				continue
			}
			p := n.parts[k]
			if p != nil && p.LastStableOffset() != p.HighWatermark() {
				return false // a transaction is open
			}
			if !n.up || p == nil || p.Log().EndOffset() != end || p.HighWatermark() != end || c.view(n, k).verified < end {
				return false
			}
			if s := n.states[k]; s == nil || s.Leader < 0 || !slices.Contains(s.ISR, n.id) {
				return false
			}
		}
	}
	return true
}
