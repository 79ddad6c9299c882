package group

import (
	"bytes"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// newMemberSession is how long a new member may be silent before its first join phase has ended: it
// cannot heartbeat until then.
const newMemberSession = 5 * time.Minute

// Versions of JoinGroup that changed the rules.
const (
	joinOwnTimeoutVersion = 1 // the rebalance timeout is a field
	joinKnownIDVersion    = 4 // a dynamic member must come with an id (KIP-394)
	joinSkipVersion       = 9 // the leader is told to skip the assignment (KIP-814)
)

// joining is one JoinGroup request on its way.
type joining struct {
	ctx       Context
	req       *kmsg.JoinGroupRequest
	protocols []protocol
	reply     *reply[kmsg.JoinGroupResponse]
}

// fail answers with an error that carries the given member id.
func (j *joining) fail(member string, k *kerr.Error) {
	j.reply.send(&kmsg.JoinGroupResponse{MemberId: member, GenerationId: -1, ErrorCode: k.Code})
}

func (j *joining) why(what string) string {
	if j.req.Reason != nil && *j.req.Reason != "" {
		return what + "; client reason: " + *j.req.Reason
	}
	return what
}

// JoinGroup lets a member into a group, or a member that is in it into the next generation. The
// answer comes when the join phase ends.
func (m *Machine) JoinGroup(now time.Time, c Context, req *kmsg.JoinGroupRequest,
	answer func(*kmsg.JoinGroupResponse),
) coord.Result {
	m.begin(now)
	var out output
	j := &joining{ctx: c, req: req, protocols: readProtocols(req), reply: &reply[kmsg.JoinGroupResponse]{answer}}
	if c.Version < joinOwnTimeoutVersion {
		req.RebalanceTimeoutMs = req.SessionTimeoutMs
	}
	session := time.Duration(req.SessionTimeoutMs) * time.Millisecond
	switch {
	case req.GroupId == "":
		j.fail(req.MemberId, kerr.InvalidGroupID)
	case session < m.opts.Config.MinSessionTimeout || session > m.opts.Config.MaxSessionTimeout:
		j.fail(req.MemberId, kerr.InvalidSessionTimeout)
	default:
		m.join(j, &out)
	}
	return out.result()
}

func (m *Machine) join(j *joining, out *output) {
	if g := m.consumer(j.req.GroupId); g != nil && !g.empty() {
		if f := m.joinConsumerGroup(g, j, out); f != nil {
			*out = output{}
			j.fail("", f.kerr)
		}
		return
	}
	m.joinClassicGroup(j, out)
}

// readProtocols copies the offered protocols, the first of each name.
func readProtocols(req *kmsg.JoinGroupRequest) []protocol {
	ps := make([]protocol, 0, len(req.Protocols))
	for _, p := range req.Protocols {
		if !slices.ContainsFunc(ps, func(q protocol) bool { return q.name == p.Name }) {
			ps = append(ps, protocol{p.Name, bytes.Clone(p.Metadata)})
		}
	}
	return ps
}

// joinClassicGroup makes the group if a new member asks for it, and sees whether there is room.
func (m *Machine) joinClassicGroup(j *joining, out *output) {
	id, member := j.req.GroupId, j.req.MemberId
	if g := m.consumer(id); g != nil { // empty: it turns into a classic group
		g.tombstones(out)
		delete(m.groups, id)
	}
	g := m.classic(id)
	created := g == nil
	if created {
		if member != "" {
			j.fail(member, kerr.UnknownMemberID)
			return
		}
		g = newClassicGroup(id, m.nowMs())
		m.groups[id] = g
	}
	switch {
	case !m.hasRoom(g, member):
		g.remove(member)
		j.fail("", kerr.GroupMaxSizeReached)
	case member == "":
		m.joinNew(g, j, out)
	default:
		m.joinAgain(g, j, out)
	}
	if created {
		out.putEmptyClassic(g)
		out.then(func(err error) {
			if err != nil {
				j.fail("", appendFailure(err).kerr)
				m.forget(g, appendFailure(err))
			}
		})
	}
}

// forget drops a group that could not be stored.
func (m *Machine) forget(g *classicGroup, f *failure) {
	if m.classic(g.id) != g || g.saved != nil {
		return
	}
	g.failJoins(f)
	m.stopClassic(g)
	delete(m.groups, g.id)
}

// hasRoom applies group.max.size. While members rejoin it is a race: the first ones are in.
func (m *Machine) hasRoom(g *classicGroup, member string) bool {
	most := m.opts.Config.MaxSize
	switch g.state {
	case classicPreparing:
		known := g.member(member)
		return known != nil && known.join != nil || g.joined() < most
	case classicCompleting, classicStable:
		return g.member(member) != nil || len(g.members) < most
	}
	return true
}

// joinNew handles a member that has no id yet.
func (m *Machine) joinNew(g *classicGroup, j *joining, out *output) {
	if !g.supports(j.req.ProtocolType, j.protocols) {
		j.fail("", kerr.InconsistentGroupProtocol)
		return
	}
	if in := j.req.GroupInstanceId; in != nil {
		id := *in + "-" + m.opts.NewID()
		if old, ok := g.static[*in]; ok {
			m.rejoinStatic(g, j, g.member(old), id, out)
		} else {
			m.addMember(g, j, id, out)
		}
		return
	}
	id := j.ctx.ClientID + "-" + m.opts.NewID()
	if j.ctx.Version < joinKnownIDVersion {
		m.addMember(g, j, id, out)
		return
	}
	g.pending[id] = struct{}{}
	m.timers.set(timer{
		key: timerKey{timerSession, g.id, id},
		at:  m.after(j.req.SessionTimeoutMs),
	})
	j.fail(id, kerr.MemberIDRequired)
}

// joinAgain handles a member that comes with an id.
func (m *Machine) joinAgain(g *classicGroup, j *joining, out *output) {
	id := j.req.MemberId
	if !g.supports(j.req.ProtocolType, j.protocols) {
		j.fail(id, kerr.InconsistentGroupProtocol)
		return
	}
	if _, ok := g.pending[id]; ok && j.req.GroupInstanceId == nil {
		m.addMember(g, j, id, out)
		return
	}
	if f := g.checkMember(id, j.req.GroupInstanceId); f != nil {
		j.fail(id, f.kerr)
		return
	}
	member := g.member(id)
	changed := !member.offers(j.protocols)
	switch g.state {
	case classicPreparing:
		m.updateMember(g, j, member, "member "+id+" rejoins", out)
	case classicCompleting:
		if changed {
			m.updateMember(g, j, member, "member "+id+" changed its metadata", out)
		} else {
			j.reply.send(g.joinResponse(id))
		}
	case classicStable:
		switch {
		case g.leader == id:
			m.updateMember(g, j, member, "leader "+id+" rejoins", out)
		case changed:
			m.updateMember(g, j, member, "member "+id+" changed its metadata", out)
		default:
			resp := g.joinResponse(id)
			resp.Members = nil
			j.reply.send(resp)
		}
	default:
		j.fail(id, kerr.UnknownMemberID)
	}
}

// joinResponse is what a member gets that is in the current generation.
func (g *classicGroup) joinResponse(member string) *kmsg.JoinGroupResponse {
	resp := &kmsg.JoinGroupResponse{
		MemberId:     member,
		GenerationId: g.generation,
		ProtocolName: g.chosen,
		ProtocolType: g.typeOrNil(),
		Leader:       g.leader,
	}
	if g.leader == member {
		resp.Members = g.roster()
	}
	return resp
}

func (m *Machine) addMember(g *classicGroup, j *joining, id string, out *output) {
	if g.state == classicPreparing && g.prev == classicEmpty {
		g.newcomers = true
	}
	member := &classicMember{
		id:         id,
		instance:   j.req.GroupInstanceId,
		clientID:   j.ctx.ClientID,
		clientHost: j.ctx.ClientHost,
		join:       j.reply,
		isNew:      true,
	}
	member.update(j)
	g.add(member, j.req.ProtocolType)
	m.startSession(g, member, newMemberSession)
	m.rebalanceOrComplete(g, j.why("member "+id+" is new"), out)
}

func (m *classicMember) update(j *joining) {
	m.protocols = j.protocols
	m.rebalanceMs, m.sessionMs = j.req.RebalanceTimeoutMs, j.req.SessionTimeoutMs
}

func (m *Machine) updateMember(g *classicGroup, j *joining, member *classicMember, why string, out *output) {
	member.update(j)
	member.join = j.reply
	m.rebalanceOrComplete(g, j.why(why), out)
}

// rejoinStatic gives the slot of a static member to the process that has come back. In a stable group
// whose protocol stays the same nobody else notices.
func (m *Machine) rejoinStatic(g *classicGroup, j *joining, member *classicMember, id string, out *output) {
	leader, old := g.leader, *member
	g.replaceStatic(member, id)
	m.timers.cancel(timerKey{timerSession, g.id, old.id})
	m.startSession(g, member, session(member))
	member.update(j)
	member.join = j.reply
	switch g.state {
	case classicStable:
		if g.vote() != g.protocolName() {
			m.rebalanceOrComplete(g, j.why("static member "+id+" changes the group's protocol"), out)
			return
		}
		out.putClassic(g, (*classicMember).assigned)
		out.then(func(err error) { m.staticStored(g, j, member, &old, leader, err) })
	case classicCompleting:
		m.prepareRebalance(g, j.why("static member "+id+" came back"), out)
	default:
		m.maybeCompleteJoin(g, out)
	}
}

func (m *classicMember) assigned() []byte { return m.assignment }

// staticStored answers a static member that came back to a stable group. Before version 9 the leader
// is told that its old self leads, so that it does not assign again. If a join phase has begun in the
// meantime the member takes part in it and is answered at its end.
func (m *Machine) staticStored(g *classicGroup, j *joining, member, old *classicMember, leader string, err error) {
	current := m.classic(g.id) == g && g.state == classicStable && member.join == j.reply
	if err != nil {
		if current {
			m.restoreStatic(g, member, old)
		}
		j.reply.send(&kmsg.JoinGroupResponse{
			GenerationId: g.generation, ProtocolName: g.chosen, ProtocolType: g.typeOrNil(),
			Leader: leader, ErrorCode: appendFailure(err).code(),
		})
		return
	}
	if !current {
		return
	}
	resp := g.joinResponse(member.id)
	if j.ctx.Version >= joinSkipVersion {
		resp.SkipAssignment = g.leader == member.id
	} else {
		resp.Members, resp.Leader = nil, leader
	}
	member.answerJoin(resp)
}

// restoreStatic undoes rejoinStatic.
func (m *Machine) restoreStatic(g *classicGroup, member, old *classicMember) {
	if g.leader == member.id {
		g.leader = old.id
	}
	m.timers.cancel(timerKey{timerSession, g.id, member.id})
	member.join, member.id = nil, old.id
	member.protocols, member.sessionMs, member.rebalanceMs = old.protocols, old.sessionMs, old.rebalanceMs
	g.static[*member.instance] = old.id
	m.startSession(g, member, session(member))
}

func session(m *classicMember) time.Duration { return time.Duration(m.sessionMs) * time.Millisecond }

// startSession gives a member that long until its next sign of life.
func (m *Machine) startSession(g *classicGroup, member *classicMember, d time.Duration) {
	m.timers.set(timer{key: timerKey{timerSession, g.id, member.id}, at: m.now.Add(d)})
}

// rebalanceOrComplete starts a join phase, or sees whether the one that is going on can end.
func (m *Machine) rebalanceOrComplete(g *classicGroup, why string, out *output) {
	if g.canRebalance() {
		m.prepareRebalance(g, why, out)
	} else {
		m.maybeCompleteJoin(g, out)
	}
}

// prepareRebalance starts a join phase: every member has to join again. In a group that was empty it
// waits a little for others to arrive at the same time.
func (m *Machine) prepareRebalance(g *classicGroup, why string, out *output) {
	if g.state == classicCompleting {
		m.failAssignment(g, fail(kerr.RebalanceInProgress))
	}
	clear(g.pendingSync)
	m.timers.cancel(timerKey{timerSync, g.id, ""})
	initial := g.empty()
	g.enter(classicPreparing, m.nowMs())
	m.opts.Events.rebalance(g.id, why)
	if initial {
		delay := m.opts.Config.InitialRebalanceDelay
		longest := time.Duration(g.rebalanceMs()) * time.Millisecond
		m.timers.set(timer{
			key: timerKey{timerJoin, g.id, ""}, at: m.now.Add(delay),
			delay: delay, remaining: max(longest-delay, 0),
		})
		return
	}
	if g.allJoined() {
		m.completeJoin(g, out)
		return
	}
	m.timers.set(timer{key: timerKey{timerJoin, g.id, ""}, at: m.after(g.rebalanceMs())})
}

// joinEnds is the end of a join phase's time. The first one of a group is drawn out for as long as
// members keep arriving.
func (m *Machine) joinEnds(t *timer, out *output) {
	g := m.classic(t.key.group)
	if g == nil || g.state != classicPreparing {
		return
	}
	if !g.newcomers || t.remaining == 0 {
		m.completeJoin(g, out)
		return
	}
	g.newcomers = false
	delay := min(m.opts.Config.InitialRebalanceDelay, t.remaining)
	m.timers.set(timer{
		key: t.key, at: m.now.Add(delay), delay: delay, remaining: max(t.remaining-t.delay, 0),
	})
}

// maybeCompleteJoin ends the join phase if everyone has joined. The first one of a group always runs
// its full time.
func (m *Machine) maybeCompleteJoin(g *classicGroup, out *output) {
	if g.state == classicPreparing && g.prev != classicEmpty && g.allJoined() {
		m.completeJoin(g, out)
	}
}

// completeJoin ends the join phase: dynamic members that did not come are out, the others get the new
// generation and have to sync.
func (m *Machine) completeJoin(g *classicGroup, out *output) {
	m.timers.cancel(timerKey{timerJoin, g.id, ""})
	g.newcomers = false
	for _, member := range slices.Clone(g.members) {
		if member.join == nil && member.instance == nil {
			g.remove(member.id)
			m.timers.cancel(timerKey{timerSession, g.id, member.id})
			m.opts.Events.fenced(g.id, member.id, "did not rejoin within the rebalance timeout")
		}
	}
	if len(g.members) > 0 && !g.electLeader() {
		// Only static members are left and none has come: wait for another round.
		m.timers.set(timer{key: timerKey{timerJoin, g.id, ""}, at: m.after(g.rebalanceMs())})
		return
	}
	g.nextGeneration(m.nowMs())
	if g.empty() {
		out.putClassic(g, (*classicMember).assigned)
		return
	}
	for _, member := range g.members {
		member.isNew = false
		g.pendingSync[member.id] = struct{}{}
		resp := g.joinResponse(member.id)
		m.startSession(g, member, session(member))
		member.answerJoin(resp)
	}
	m.timers.set(timer{
		key: timerKey{timerSync, g.id, ""}, at: m.after(g.rebalanceMs()), epoch: g.generation,
	})
}
