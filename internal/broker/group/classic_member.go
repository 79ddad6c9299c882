package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Heartbeat is a member's sign of life. It learns here that it has to rejoin.
func (m *Machine) Heartbeat(now time.Time, _ Context, req *kmsg.HeartbeatRequest,
	answer func(*kmsg.HeartbeatResponse),
) coord.Result {
	m.begin(now)
	resp := kmsg.HeartbeatResponse{}
	if f := m.heartbeat(req); f != nil {
		resp.ErrorCode = f.code()
	}
	return coord.Result{Done: []func(error){func(err error) {
		if err != nil {
			resp.ErrorCode = appendFailure(err).code()
		}
		answer(&resp)
	}}}
}

func (m *Machine) heartbeat(req *kmsg.HeartbeatRequest) *failure {
	if req.GroupId == "" {
		return fail(kerr.InvalidGroupID)
	}
	switch g := m.groups[req.GroupId].(type) {
	case *classicGroup:
		return m.heartbeatClassic(g, req)
	case *consumerGroup:
		return m.heartbeatConsumer(g, req)
	}
	return fail(kerr.UnknownMemberID)
}

func (m *Machine) heartbeatClassic(g *classicGroup, req *kmsg.HeartbeatRequest) *failure {
	if f := g.checkMember(req.MemberId, req.GroupInstanceId); f != nil {
		return f
	}
	if req.GenerationId != g.generation {
		return fail(kerr.IllegalGeneration)
	}
	member := g.member(req.MemberId)
	m.startSession(g, member, session(member))
	if g.state == classicPreparing {
		return fail(kerr.RebalanceInProgress)
	}
	return nil
}

// sessionExpired drops a member that has been silent, or an id that was never used. A member that
// waits for an answer is alive; its session starts when it gets one.
func (m *Machine) sessionExpired(t *timer, out *output) {
	g := m.classic(t.key.group)
	if g == nil {
		return
	}
	id := t.key.member
	if _, ok := g.pending[id]; ok {
		g.remove(id)
		m.maybeEndJoin(g, out)
		return
	}
	member := g.member(id)
	if member == nil || member.waiting() {
		return
	}
	m.opts.Events.fenced(g.id, id, "the session timed out")
	member.answerJoin(&kmsg.JoinGroupResponse{GenerationId: -1, ErrorCode: kerr.UnknownMemberID.Code})
	g.remove(id)
	if g.state == classicStable || g.state == classicCompleting {
		m.prepareRebalance(g, "member "+id+" timed out", out)
	} else {
		m.maybeEndJoin(g, out)
	}
}

// maybeEndJoin ends a join phase in which only members are missing that have just left.
func (m *Machine) maybeEndJoin(g *classicGroup, out *output) {
	if g.state == classicPreparing && g.allJoined() {
		m.completeJoin(g, out)
	}
}

// LeaveGroup removes members. Each has its own answer.
func (m *Machine) LeaveGroup(now time.Time, _ Context, req *kmsg.LeaveGroupRequest,
	answer func(*kmsg.LeaveGroupResponse),
) coord.Result {
	m.begin(now)
	var out output
	resp := &kmsg.LeaveGroupResponse{}
	var f *failure
	if req.GroupId == "" {
		f = fail(kerr.InvalidGroupID)
	} else {
		resp.Members = m.leave(req, &out)
	}
	out.then(func(err error) {
		if err != nil {
			f = appendFailure(err)
		}
		if f != nil {
			resp = &kmsg.LeaveGroupResponse{ErrorCode: f.code()}
		}
		answer(resp)
	})
	return out.result()
}

func (m *Machine) leave(req *kmsg.LeaveGroupRequest, out *output) []kmsg.LeaveGroupResponseMemberResponse {
	resp := make([]kmsg.LeaveGroupResponseMemberResponse, len(req.Members))
	for i, who := range req.Members {
		resp[i] = kmsg.LeaveGroupResponseMemberResponse{MemberId: who.MemberId, GroupInstanceId: who.GroupInstanceId}
	}
	switch g := m.groups[req.GroupId].(type) {
	case *classicGroup:
		m.leaveClassic(g, resp, out)
	case *consumerGroup:
		m.leaveConsumerGroup(g, resp, out)
	default:
		for i := range resp {
			resp[i].ErrorCode = kerr.UnknownMemberID.Code
		}
	}
	return resp
}

func (m *Machine) leaveClassic(g *classicGroup, who []kmsg.LeaveGroupResponseMemberResponse, out *output) {
	left := false
	for i := range who {
		if f := m.leaveOne(g, who[i].MemberId, who[i].GroupInstanceId); f != nil {
			who[i].ErrorCode = f.code()
		} else {
			left = true
		}
	}
	if !left {
		return
	}
	switch g.state {
	case classicStable, classicCompleting:
		m.prepareRebalance(g, "members left", out)
	case classicPreparing:
		m.maybeCompleteJoin(g, out)
	}
}

// leaveOne removes a member by its id, or by its instance id alone as an administrator does.
func (m *Machine) leaveOne(g *classicGroup, id string, instance *string) *failure {
	if id == "" {
		if instance == nil || g.static[*instance] == "" {
			return fail(kerr.UnknownMemberID)
		}
		id = g.static[*instance]
	} else if _, ok := g.pending[id]; !ok {
		if f := g.checkMember(id, instance); f != nil {
			return f
		}
	}
	m.timers.cancel(timerKey{timerSession, g.id, id})
	if member := g.member(id); member != nil {
		member.answerJoin(&kmsg.JoinGroupResponse{GenerationId: -1, ErrorCode: kerr.UnknownMemberID.Code})
		member.answerSync(&kmsg.SyncGroupResponse{ErrorCode: kerr.UnknownMemberID.Code})
	}
	g.remove(id)
	return nil
}
