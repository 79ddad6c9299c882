package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Groups with members: consumers that join, read, commit, crash and leave, in the classic protocol or in the consumer
// protocol (KIP-848), with and without group.instance.id. What each may do is decided by the real machine.

const (
	sessionTimeout = 1500 * time.Millisecond
	memberBeat     = 200 * time.Millisecond
	rebalance      = 2 * time.Second // how long a request to join or to sync may take
)

// groupConfig is Kafka's default with times that fit in a run.
func groupConfig() group.Config {
	c := group.DefaultConfig()
	c.MinSessionTimeout, c.InitialRebalanceDelay = 500*time.Millisecond, 100*time.Millisecond
	c.ConsumerSessionTimeout, c.ConsumerHeartbeatInterval = sessionTimeout, memberBeat
	c.ConsumerAssignmentInterval = 100 * time.Millisecond
	return c
}

// consumers is a group, and what is known of it.
type consumers struct {
	w        *world
	id       string
	classic  bool
	rng      *rand.Rand
	members  []*member
	made     int
	owners   map[ownerKey]string // who was given a partition in a generation, or with a member epoch
	latest   map[tp]owner
	consumed map[tp]int64 // all below was given to a member
	acked    map[tp]atEpoch
}

type ownerKey struct {
	k     tp
	epoch int32
}

type owner struct {
	epoch       int32
	member, who string
	at          int32 // the leader epoch of the coordinator that said so
}

// member is one consumer. It gives a connection up before it asks again, as the committer does.
type member struct {
	g        *consumers
	name     string
	instance *string
	id       string
	epoch    int32 // the member's, or the generation
	at       int32 // the leader epoch of the newest coordinator that it has heard
	gone     bool
	leaving  bool
	owned    map[tp]*position
	attempt  int // of what has to do with membership
	asked    int // of what has to do with offsets
	busy     bool
}

// position is where a member reads; before it has asked for the committed offset it is not known.
type position struct {
	next, committed int64
	known           bool
}

func (w *world) join() {
	if !w.opts.coordinators || w.opts.members == 0 {
		return
	}
	g := &consumers{w: w, id: "members", classic: w.opts.classic, rng: rand.New(rand.NewPCG(w.opts.seed, 23)),
		owners: map[ownerKey]string{}, latest: map[tp]owner{}, consumed: map[tp]int64{}, acked: map[tp]atEpoch{}}
	w.group = g
	for i := range w.opts.members {
		var instance *string
		if g.rng.IntN(3) == 0 {
			name := fmt.Sprintf("static%d", i)
			instance = &name
		}
		g.add(instance)
	}
	g.disturb()
}

func (g *consumers) between(a, b time.Duration) time.Duration {
	return a + time.Duration(g.rng.Int64N(int64(b-a)+1))
}

// add has another consumer come.
func (g *consumers) add(instance *string) {
	g.made++
	m := &member{g: g, name: fmt.Sprintf("member %d", g.made), instance: instance, owned: map[tp]*position{}}
	if !g.classic {
		m.id = fmt.Sprintf("m%d", g.made)
	}
	g.members = append(g.members, m)
	m.enter()
	m.poll()
}

// disturb has a member crash or leave, and another one come in its place.
func (g *consumers) disturb() {
	g.w.after(g.between(500*time.Millisecond, 3*time.Second), func() {
		if !g.w.faulty {
			return
		}
		if len(g.members) == 0 {
			g.disturb()
			return
		}
		if m := g.members[g.rng.IntN(len(g.members))]; !m.gone && !m.leaving {
			if g.rng.IntN(2) == 0 {
				g.w.note("%s crashes", m.name)
				g.w.reached("a member crashed")
				m.end()
			} else {
				m.leave()
			}
		}
		g.disturb()
	})
}

// end is the end of a consumer. What it had may be committed by it later, and must not be.
func (m *member) end() {
	if m.gone {
		return
	}
	g := m.g
	m.gone = true
	m.attempt++
	m.asked++
	g.members = slices.DeleteFunc(g.members, func(o *member) bool { return o == m })
	for _, k := range g.w.keys() {
		if m.owned[k] != nil {
			m.haunt(k, m.id, m.epoch, 8)
		}
	}
	instance := m.instance
	g.w.after(g.between(10*time.Millisecond, 2*time.Second), func() { g.add(instance) })
}

// request asks the coordinator; what has not arrived when it is given up never does.
func (m *member) request(patience time.Duration, attempt *int, serve func(c *group.Machine, now time.Time, reply func(any)) coord.Result,
	answer func(v any, err error),
) {
	mine := *attempt + 1
	m.g.w.requestFor(patience, offsetsKey, attempt, func(n *node, reply func(any)) {
		if *attempt != mine {
			return
		}
		n.coords.groups.Submit(0, func(c *group.Machine, now time.Time) coord.Result {
			return serve(c, now, func(v any) { reply(said{v, n.epochOf(offsetsKey)}) })
		}, func(err error) { reply(answered{err}) })
	}, func(v any, err error) {
		if m.gone {
			return
		}
		s, ok := v.(said)
		switch {
		case err == nil && !ok:
			err = errorOf(v, true)
		case ok && s.epoch < m.at:
			m.g.w.reached("a deposed coordinator answered a member")
			err = kerr.NotCoordinator
		case ok:
			m.at = s.epoch
		}
		answer(s.v, err)
	})
}

// said is an answer of a coordinator that leads in an epoch.
type said struct {
	v     any
	epoch int32
}

func (m *member) later(fn func()) {
	m.g.w.after(m.g.between(20*time.Millisecond, 100*time.Millisecond), func() {
		if !m.gone {
			fn()
		}
	})
}

// enter joins, in the group's protocol.
func (m *member) enter() {
	if m.g.classic {
		m.joinClassic()
	} else {
		m.beat()
	}
}

// lose gives all partitions up.
func (m *member) lose() {
	for _, k := range m.g.w.keys() {
		if m.owned[k] != nil {
			m.haunt(k, m.id, m.epoch, 4)
		}
	}
	clear(m.owned)
	m.asked++
	m.busy = false
}

// who is what a group knows a member by: a static one takes the place of the one before it in the same generation (KIP-345).
func (m *member) who() string {
	if m.instance != nil {
		return *m.instance
	}
	return m.id
}

// given takes an assignment, and demands that nobody else has it in the same generation.
func (m *member) given(epoch int32, parts []tp) {
	g, before := m.g, m.epoch
	m.epoch = epoch
	for _, k := range g.w.keys() {
		if m.owned[k] != nil && !slices.Contains(parts, k) {
			delete(m.owned, k)
			m.haunt(k, m.id, before, 4)
			m.asked++ // a commit that is on its way would be of what it has no more
			m.busy = false
		}
	}
	for _, k := range parts {
		at := ownerKey{k, epoch}
		if was, ok := g.owners[at]; ok && was != m.who() {
			g.w.fail("group %s: %s is given to %s in epoch %d, and was given to %s in it", g.id, k, m.who(), epoch, was)
		}
		g.owners[at] = m.who()
		if l := g.latest[k]; epoch >= l.epoch {
			if l.member != "" && l.member != m.id {
				g.w.reached("a partition went to another member")
			}
			g.latest[k] = owner{epoch, m.id, m.who(), m.at}
		}
		if m.owned[k] == nil {
			m.owned[k] = &position{}
		}
	}
}

// poll reads what it has, and commits.
func (m *member) poll() {
	m.g.w.after(m.g.between(10*time.Millisecond, 60*time.Millisecond), func() {
		if m.gone {
			return
		}
		for _, k := range m.g.w.keys() {
			if p := m.owned[k]; p != nil && p.known {
				m.consume(k, p)
			}
		}
		if !m.busy && len(m.owned) > 0 {
			m.offsets()
		}
		m.poll()
	})
}

func (m *member) consume(k tp, pos *position) {
	g := m.g
	for _, n := range g.w.nodes {
		p := n.parts[k]
		if !n.up || p == nil || !p.IsLeader() || n.frozen.After(g.w.now()) {
			continue
		}
		res, err := p.Read(partition.ReadRequest{Offset: pos.next, MaxBytes: 2000, MinOne: true, LeaderEpoch: -1})
		if err != nil {
			continue
		}
		data, err := bytesOf(res.Range)
		for err == nil && len(data) > 0 {
			var b batch.Batch
			if b, data, err = batch.Next(data); err == nil && b.LastOffset() >= pos.next {
				if pos.next > g.consumed[k] {
					g.w.fail("group %s: %s reads %s from %d, its members have read up to %d", g.id, m.name, k, pos.next, g.consumed[k])
				}
				pos.next = b.LastOffset() + 1
				g.consumed[k] = max(g.consumed[k], pos.next)
			}
		}
		return
	}
}

// offsets asks for committed offsets where it has to, else it commits what it has read.
func (m *member) offsets() {
	for _, k := range m.g.w.keys() {
		if p := m.owned[k]; p != nil && !p.known {
			m.fetchCommitted(k, p)
			return
		}
	}
	for _, k := range m.g.w.keys() {
		if p := m.owned[k]; p != nil && p.next > p.committed && m.g.rng.IntN(3) == 0 {
			m.commit(k, p)
			return
		}
	}
}

func (m *member) fetchCommitted(k tp, p *position) {
	g, before := m.g, m.g.acked[k]
	req := kmsg.NewOffsetFetchRequestOffsetFetchRequestGroup()
	req.GroupId = g.id
	req.Topics = []kmsg.OffsetFetchRequestOffsetFetchRequestTopics{{Name: k.Topic, PartitionIndexes: []int32{k.Partition}}}
	m.busy = true
	m.request(patience, &m.asked, func(c *group.Machine, now time.Time, reply func(any)) coord.Result {
		return c.OffsetFetch(now, &req, true, func(r *group.FetchedGroup) { reply(r) })
	}, func(v any, err error) {
		m.busy = false
		r, _ := v.(*group.FetchedGroup)
		if err != nil || r.ErrorCode != 0 || r.Topics[0].Partitions[0].ErrorCode != 0 || m.owned[k] != p {
			return
		}
		offset := max(r.Topics[0].Partitions[0].CommittedOffset, 0)
		if m.at >= before.epoch && offset < before.offset {
			g.w.fail("group %s: %s finds offset %d of %s committed, %d was acknowledged before it asked", g.id, m.name, offset, k, before.offset)
		}
		p.next, p.committed, p.known = offset, offset, true
	})
}

func commitRequest(g *consumers, id string, instance *string, epoch int32, k tp, offset int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewOffsetCommitRequest()
	req.GroupId, req.MemberId, req.GroupInstanceId, req.GenerationIdOrMemberEpoch, req.RetentionTimeMs = g.id, id, instance, epoch, -1
	p := kmsg.NewOffsetCommitRequestOffsetCommitRequestPartition()
	p.PartitionIndex, p.CommittedOffset = k.Partition, offset
	req.Topics = []kmsg.OffsetCommitRequestOffsetCommitRequestTopic{{
		Name: k.Topic, Partitions: []kmsg.OffsetCommitRequestOffsetCommitRequestPartition{p},
	}}
	return &req
}

func (m *member) commit(k tp, p *position) {
	g, offset := m.g, p.next
	req := commitRequest(g, m.id, m.instance, m.epoch, k, offset)
	m.busy = true
	mine := m.asked + 1
	g.w.requestFor(patience, offsetsKey, &m.asked, func(n *node, reply func(any)) {
		if m.asked != mine {
			return
		}
		g.store(n, req, func(err error) {
			if at := n.epochOf(offsetsKey); err == nil && !n.doomed {
				g.committed(k, offset, at)
			}
			reply(answered{err})
		})
	}, func(v any, err error) {
		m.busy = false
		if err == nil {
			err = errorOf(v, true)
		}
		if err != nil {
			g.w.reached("a member's commit: " + errName(err))
			return
		}
		g.w.reached("a member committed")
		p.committed = max(p.committed, offset)
	})
}

// store is the OffsetCommit request.
func (g *consumers) store(n *node, req *kmsg.OffsetCommitRequest, done func(error)) {
	n.coords.groups.Submit(0, func(c *group.Machine, now time.Time) coord.Result {
		return c.OffsetCommit(now, group.Context{Version: 9}, req, func(r *kmsg.OffsetCommitResponse) {
			done(kerr.ErrorForCode(r.Topics[0].Partitions[0].ErrorCode))
		})
	}, done)
}

// committed notes what a coordinator has acknowledged: it never goes back.
func (g *consumers) committed(k tp, offset int64, epoch int32) {
	was := g.acked[k]
	if epoch >= was.epoch && offset < was.offset {
		g.w.fail("group %s: the committed offset of %s went back from %d to %d", g.id, k, was.offset, offset)
	}
	if offset >= was.offset {
		g.acked[k] = atEpoch{offset: offset, epoch: max(epoch, was.epoch)}
	}
}

// haunt is a commit of a consumer that is gone or had to let go, of a partition that another one has by now: it must change nothing.
func (m *member) haunt(k tp, id string, epoch int32, tries int) {
	g := m.g
	g.w.after(g.between(200*time.Millisecond, time.Second), func() {
		switch l := g.latest[k]; {
		case l.member != id && (l.epoch > epoch || m.gone && l.who == m.who()):
			m.commitLate(k, id, epoch)
		case tries > 0:
			m.haunt(k, id, epoch, tries-1)
		}
	})
}

func (m *member) commitLate(k tp, id string, epoch int32) {
	g := m.g
	req := commitRequest(g, id, m.instance, epoch, k, 0)
	if g.w.reached("a consumer that was gone committed"); !m.gone {
		g.w.reached("a consumer committed what it had let go")
	}
	g.w.requestFor(patience, offsetsKey, new(int), func(n *node, reply func(any)) {
		g.store(n, req, func(err error) { reply(answered{err}) })
	}, func(v any, err error) {
		if err == nil {
			err = errorOf(v, true)
		}
		if err == nil {
			g.w.fail("group %s: %s has committed %s with epoch %d; %s has it with epoch %d", g.id, id, k, epoch, g.latest[k].member, g.latest[k].epoch)
		}
		g.w.reached("a commit of one that was gone: " + errName(err))
	})
}

// unsettled says why a group has not come to rest: each partition has one member that has committed all of it.
func (g *consumers) unsettled() string {
	if g == nil {
		return ""
	}
	for _, k := range g.w.keys() {
		owners := 0
		for _, m := range g.members {
			if p := m.owned[k]; p != nil {
				owners++
				if end := int64(len(g.w.check.committed[k])); p.committed < end {
					return fmt.Sprintf("%s has committed %d of %d records of %s", m.name, p.committed, end, k)
				}
			}
		}
		if owners != 1 {
			return fmt.Sprintf("%s has %d members of group %s that read it", k, owners, g.id)
		}
	}
	return ""
}

func isOne(err error, list ...*kerr.Error) bool {
	return slices.ContainsFunc(list, func(e *kerr.Error) bool { return errors.Is(err, e) })
}
