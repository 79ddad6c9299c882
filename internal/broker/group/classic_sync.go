package group

import (
	"bytes"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// syncProtocolVersion is the first SyncGroup version that must say what protocol it is for.
const syncProtocolVersion = 5

// syncing is one SyncGroup request on its way.
type syncing struct {
	ctx   Context
	req   *kmsg.SyncGroupRequest
	reply *reply[kmsg.SyncGroupResponse]
}

func (s *syncing) fail(f *failure) { s.reply.send(&kmsg.SyncGroupResponse{ErrorCode: f.code()}) }

// SyncGroup fetches a member's assignment; the leader brings everyone's. Members that come before the
// leader wait for it.
func (m *Machine) SyncGroup(now time.Time, c Context, req *kmsg.SyncGroupRequest,
	answer func(*kmsg.SyncGroupResponse),
) coord.Result {
	m.begin(now)
	var out output
	s := &syncing{ctx: c, req: req, reply: &reply[kmsg.SyncGroupResponse]{answer}}
	if f := m.sync(s, &out); f != nil {
		s.fail(f)
	}
	return out.result()
}

func (m *Machine) sync(s *syncing, out *output) *failure {
	if s.ctx.Version >= syncProtocolVersion && (s.req.ProtocolType == nil || s.req.ProtocolName == nil) {
		return fail(kerr.InconsistentGroupProtocol)
	}
	if s.req.GroupId == "" {
		return fail(kerr.InvalidGroupID)
	}
	g := m.groups[s.req.GroupId]
	if g == nil || g.empty() {
		return fail(kerr.UnknownMemberID)
	}
	switch g := g.(type) {
	case *classicGroup:
		return m.syncClassic(g, s, out)
	case *consumerGroup:
		return m.syncConsumer(g, s, out)
	}
	return fail(kerr.UnknownMemberID)
}

// checkSync is what a SyncGroup has to get right.
func (g *classicGroup) checkSync(req *kmsg.SyncGroupRequest) *failure {
	if f := g.checkMember(req.MemberId, req.GroupInstanceId); f != nil {
		return f
	}
	if req.GenerationId != g.generation {
		return fail(kerr.IllegalGeneration)
	}
	if differs(req.ProtocolType, g.typeOrNil()) || differs(req.ProtocolName, g.chosen) {
		return fail(kerr.InconsistentGroupProtocol)
	}
	return nil
}

func differs(a, b *string) bool { return a != nil && b != nil && *a != *b }

func (m *Machine) syncClassic(g *classicGroup, s *syncing, out *output) *failure {
	if f := g.checkSync(s.req); f != nil {
		return f
	}
	member := g.member(s.req.MemberId)
	switch g.state {
	case classicPreparing:
		return fail(kerr.RebalanceInProgress)
	case classicStable:
		m.synced(g, member)
		s.reply.send(g.syncResponse(member))
	case classicCompleting:
		if old := member.sync; old != nil { // the client gave up on its first try
			old.send(&kmsg.SyncGroupResponse{ErrorCode: kerr.RebalanceInProgress.Code})
		}
		member.sync = s.reply
		m.synced(g, member)
		if g.leader == member.id {
			m.storeAssignment(g, s, out)
		}
	}
	return nil
}

// synced notes that a member has asked for its assignment.
func (m *Machine) synced(g *classicGroup, member *classicMember) {
	delete(g.pendingSync, member.id)
	if len(g.pendingSync) == 0 {
		m.timers.cancel(timerKey{timerSync, g.id, ""})
	}
}

func (g *classicGroup) syncResponse(member *classicMember) *kmsg.SyncGroupResponse {
	return &kmsg.SyncGroupResponse{
		ProtocolType: g.typeOrNil(),
		ProtocolName: g.chosen,
		Assignment:   member.assignment,
	}
}

// storeAssignment writes the leader's assignment. Members that it left out get nothing.
func (m *Machine) storeAssignment(g *classicGroup, s *syncing, out *output) {
	assigned := make(map[string][]byte, len(s.req.Assignments))
	for _, a := range s.req.Assignments {
		assigned[a.MemberId] = bytes.Clone(a.Assignment)
	}
	generation := g.generation
	out.putClassic(g, func(member *classicMember) []byte { return assigned[member.id] })
	out.then(func(err error) {
		if m.classic(g.id) != g || g.state != classicCompleting || g.generation != generation {
			return // a new join phase has begun; whoever waited has been told
		}
		if err != nil {
			m.failAssignment(g, appendFailure(err))
			m.prepareRebalance(g, "the assignment could not be stored", &output{})
			return
		}
		g.enter(classicStable, m.nowMs())
		for _, member := range g.members {
			member.assignment = assigned[member.id]
			if member.answerSync(g.syncResponse(member)) {
				m.startSession(g, member, session(member))
			}
		}
	})
}

// failAssignment takes back what was assigned and tells those who wait. They were alive until now, so
// they get a full session.
func (m *Machine) failAssignment(g *classicGroup, f *failure) {
	for _, member := range g.members {
		member.assignment = nil
		if member.answerSync(&kmsg.SyncGroupResponse{ErrorCode: f.code()}) {
			m.startSession(g, member, session(member))
		}
	}
}

// syncExpired drops members that got a generation but did not come for their assignment.
func (m *Machine) syncExpired(t *timer, out *output) {
	g := m.classic(t.key.group)
	if g == nil || g.generation != t.epoch || len(g.pendingSync) == 0 {
		return
	}
	if g.state != classicCompleting && g.state != classicStable {
		return
	}
	for _, id := range sortedKeys(g.pendingSync) {
		g.remove(id)
		m.timers.cancel(timerKey{timerSession, g.id, id})
		m.opts.Events.fenced(g.id, id, "did not sync within the rebalance timeout")
	}
	m.prepareRebalance(g, "members did not sync in time", out)
}
