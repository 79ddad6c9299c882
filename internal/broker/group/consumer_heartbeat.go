package group

import (
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// clientIDVersion is the first ConsumerGroupHeartbeat version whose clients make their own member id.
const clientIDVersion = 1

// ConsumerGroupHeartbeat joins a member, moves it on, or lets it leave, by its epoch.
func (m *Machine) ConsumerGroupHeartbeat(now time.Time, c Context, req *kmsg.ConsumerGroupHeartbeatRequest,
	answer func(*kmsg.ConsumerGroupHeartbeatResponse),
) coord.Result {
	m.begin(now)
	var out output
	resp, f := m.consumerHeartbeat(c, req, &out)
	if f != nil {
		m.undo(req.GroupId, &out)
	}
	m.guard(req.GroupId, &out)
	out.then(func(err error) {
		if err != nil {
			f = appendFailure(err)
		}
		if f != nil {
			resp = &kmsg.ConsumerGroupHeartbeatResponse{ErrorCode: f.code(), ErrorMessage: f.text()}
		}
		answer(resp)
	})
	return out.result()
}

// guard undoes a change if its records cannot be stored.
func (m *Machine) guard(id string, out *output) {
	if len(out.records) == 0 {
		return
	}
	out.then(func(err error) {
		if err != nil && m.loaded {
			m.undo(id, &output{})
		}
	})
}

// undo drops what a handler was about to write. It may have stopped the sessions of members that are
// then still there.
func (m *Machine) undo(id string, out *output) {
	*out = output{}
	delete(m.converted, id)
	g := m.consumer(id)
	if g == nil {
		return
	}
	for _, member := range sortedKeys(g.members) {
		if !m.timers.has(timerKey{timerMember, id, member}) {
			m.startMember(id, member, m.sessionOf(g, g.members[member]))
		}
	}
}

func (m *Machine) consumerHeartbeat(c Context, req *kmsg.ConsumerGroupHeartbeatRequest, out *output) (
	*kmsg.ConsumerGroupHeartbeatResponse, *failure,
) {
	if f := m.checkHeartbeat(c, req); f != nil {
		return nil, f
	}
	if req.MemberEpoch == epochLeave || req.MemberEpoch == epochLeaveStatic {
		return m.leaveConsumer(req, out)
	}
	return m.heartbeatMember(c, req, out)
}

// checkHeartbeat is what can be said of a request without looking at the group.
func (m *Machine) checkHeartbeat(c Context, req *kmsg.ConsumerGroupHeartbeatRequest) *failure {
	needsID := c.Version >= clientIDVersion || req.MemberEpoch > 0 || req.MemberEpoch == epochLeave
	blank := func(s *string) bool { return s != nil && strings.TrimSpace(*s) == "" }
	invalid := func(what string) *failure { return failf(kerr.InvalidRequest, "%s", what) }
	switch {
	case needsID && blank(&req.MemberId):
		return invalid("member id is empty; the client makes one before it joins")
	case blank(&req.GroupId):
		return invalid("group id is empty")
	case blank(req.InstanceId):
		return invalid("instance id is empty; leave it out or set group.instance.id")
	case blank(req.RackId):
		return invalid("rack id is empty; leave it out or set client.rack")
	case req.MemberEpoch < epochLeaveStatic:
		return invalid("member epoch is below -2")
	case req.MemberEpoch == epochLeaveStatic && req.InstanceId == nil:
		return invalid("member epoch -2 is for static members: instance id is missing")
	}
	if req.MemberEpoch == epochJoin {
		switch {
		case req.RebalanceTimeoutMs == -1:
			return invalid("rebalance timeout is missing in the request that joins")
		case req.TopicPartitions == nil || len(req.TopicPartitions) > 0:
			return invalid("topic partitions must be given and empty in a request that joins")
		case req.SubscribedTopicNames == nil && req.SubscribedTopicRegex == nil:
			return invalid("a request that joins must subscribe to topic names or to a regular expression")
		}
	}
	if a := req.ServerAssignor; a != nil && !slices.Contains(m.opts.Config.ConsumerAssignors, *a) {
		return failf(kerr.UnsupportedAssignor, "assignor %q is not one of this broker's: %s",
			*a, strings.Join(m.opts.Config.ConsumerAssignors, ", "))
	}
	return nil
}

// heartbeatMember handles a member that joins or is there.
func (m *Machine) heartbeatMember(c Context, req *kmsg.ConsumerGroupHeartbeatRequest, out *output) (
	*kmsg.ConsumerGroupHeartbeatResponse, *failure,
) {
	joins := req.MemberEpoch == epochJoin
	g, upgraded, f := m.groupToHeartbeat(req.GroupId, joins, out)
	if f != nil {
		return nil, f
	}
	if f := m.checkSize(g, req.MemberId); f != nil {
		return nil, f
	}
	id := req.MemberId
	if id == "" {
		id = m.newMemberID()
	}
	o := owned{req.TopicPartitions, req.TopicPartitions != nil}
	member, f := m.findMember(g, subscribing{
		id: id, instance: req.InstanceId, create: joins, epoch: req.MemberEpoch, owned: o,
	}, out)
	if f != nil {
		return nil, f
	}
	updated := member.with(func(u *consumerMember) { u.update(c, req) })
	ch := change{ctx: c, group: g, old: member, member: updated, owned: o}
	if f := m.apply(&ch, out); f != nil {
		return nil, f
	}
	if upgraded != nil {
		upgraded()
	}
	m.startMember(g.id, id, m.sessionTimeout(g.id))
	m.timers.cancel(timerKey{timerRejoin, g.id, id})
	m.timers.cancel(timerKey{timerResync, g.id, id})
	return m.heartbeatResponse(req, &ch), nil
}

// newMemberID makes an id for a member of a consumer group: a UUID in Kafka's short form, which does
// not begin with a dash.
func (m *Machine) newMemberID() string {
	for {
		id := m.opts.NewID()
		b, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
		if err != nil || len(b) != len(base.TopicID{}) {
			return id // not a UUID: tests have their own
		}
		if id = base.TopicID(b).String(); id[0] != '-' {
			return id
		}
	}
}

func (m *Machine) heartbeatResponse(req *kmsg.ConsumerGroupHeartbeatRequest, ch *change,
) *kmsg.ConsumerGroupHeartbeatResponse {
	resp := &kmsg.ConsumerGroupHeartbeatResponse{
		MemberId:            &ch.member.id,
		MemberEpoch:         ch.member.epoch,
		HeartbeatIntervalMs: int32(m.heartbeatInterval(ch.group.id).Milliseconds()),
	}
	full := req.RebalanceTimeoutMs != -1 && req.TopicPartitions != nil &&
		(req.SubscribedTopicNames != nil || req.SubscribedTopicRegex != nil)
	if req.MemberEpoch == epochJoin || full || !ch.old.assigned.equal(ch.member.assigned) {
		resp.Assignment = &kmsg.ConsumerGroupHeartbeatResponseAssignment{
			TopicPartitions: []kmsg.ConsumerGroupHeartbeatResponseTopicPartitions{},
		}
		a := ch.member.assigned.plain()
		for _, t := range a.topics() {
			resp.Assignment.TopicPartitions = append(resp.Assignment.TopicPartitions,
				kmsg.ConsumerGroupHeartbeatResponseTopicPartitions{TopicId: t, Partitions: a[t]})
		}
	}
	return resp
}

// update takes over what a request says; what it leaves out stays.
func (m *consumerMember) update(c Context, req *kmsg.ConsumerGroupHeartbeatRequest) {
	m.clientID, m.clientHost, m.classic = c.ClientID, c.ClientHost, nil
	if req.InstanceId != nil {
		m.instance = req.InstanceId
	}
	if req.RackId != nil {
		m.rack = req.RackId
	}
	if req.RebalanceTimeoutMs != -1 {
		m.rebalanceMs = req.RebalanceTimeoutMs
	}
	if req.ServerAssignor != nil {
		m.assignor = req.ServerAssignor
	}
	if req.SubscribedTopicNames != nil {
		m.topics = sortedSet(req.SubscribedTopicNames)
	}
	if req.SubscribedTopicRegex != nil {
		m.regex = *req.SubscribedTopicRegex
	}
}

func sortedSet(s []string) []string {
	out := slices.Clone(s)
	slices.Sort(out)
	return slices.Compact(out)
}

// groupToHeartbeat finds the group. A member that joins makes it, or turns a classic group into it;
// upgraded then has to be called when the request has succeeded.
func (m *Machine) groupToHeartbeat(id string, joins bool, out *output) (
	g *consumerGroup, upgraded func(), f *failure,
) {
	switch old := m.groups[id].(type) {
	case nil:
		if joins {
			return newConsumerGroup(id), nil, nil
		}
	case *consumerGroup:
		return old, nil, nil
	case *classicGroup:
		switch {
		case joins && old.empty():
			old.tombstones(out)
			return newConsumerGroup(id), nil, nil
		case joins:
			return m.upgrade(old, out)
		}
	}
	return nil, nil, failf(kerr.GroupIDNotFound, "group %s is not a consumer group", id)
}

func (m *Machine) checkSize(g *consumerGroup, member string) *failure {
	most := m.opts.Config.ConsumerMaxSize
	if len(g.members) >= most && g.members[member] == nil {
		return failf(kerr.GroupMaxSizeReached, "group %s has its maximum of %d members", g.id, most)
	}
	return nil
}

// subscribing is who a request says that it comes from.
type subscribing struct {
	id       string
	instance *string
	create   bool
	classic  bool // comes with the classic protocol, whose generation is checked elsewhere
	epoch    int32
	owned    owned
}

// findMember returns the member that a request is from, a new one if it joins. A static member that
// comes back takes over the slot of its former self.
func (m *Machine) findMember(g *consumerGroup, s subscribing, out *output) (*consumerMember, *failure) {
	if s.instance == nil {
		member := g.members[s.id]
		if member == nil {
			if !s.create {
				return nil, failf(kerr.UnknownMemberID, "member %s is not in group %s", s.id, g.id)
			}
			member = newConsumerMember(s.id)
		}
		return member, s.checkEpoch(member)
	}
	current := g.staticMember(s.instance)
	switch {
	case s.create && current == nil:
		if member := g.members[s.id]; member != nil {
			return member, nil
		}
		return newConsumerMember(s.id), nil
	case s.create:
		if !s.classic && current.classic == nil && current.epoch != epochLeaveStatic {
			return nil, failf(kerr.UnreleasedInstanceID,
				"instance id %s is in use by member %s; stop it first or use another id", *s.instance, current.id)
		}
		return m.takeOver(g, current, s.id, out), nil
	case current == nil:
		return nil, failf(kerr.UnknownMemberID, "no member of group %s has instance id %s", g.id, *s.instance)
	case current.id != s.id:
		return nil, failf(kerr.FencedInstanceID, "instance id %s now belongs to member %s", *s.instance, current.id)
	}
	return current, s.checkEpoch(current)
}

// checkEpoch lets a member pass that knows its epoch. One that missed the answer with its newest
// epoch is known by owning nothing that was not its own.
func (s *subscribing) checkEpoch(m *consumerMember) *failure {
	switch {
	case s.classic || s.epoch == epochJoin || s.epoch == m.epoch:
		return nil
	case s.epoch < m.epoch && s.epoch == m.prevEpoch && s.owned.within(m.assigned):
		return nil
	}
	return failf(kerr.FencedMemberEpoch, "member %s is at epoch %d, not %d; give up all partitions and rejoin",
		m.id, m.epoch, s.epoch)
}

// takeOver puts a new member into the place of a static one: same target, same partitions.
func (m *Machine) takeOver(g *consumerGroup, old *consumerMember, id string, out *output) *consumerMember {
	member := old.with(func(c *consumerMember) { c.id, c.epoch, c.prevEpoch = id, 0, 0 })
	m.stopMember(g.id, old.id)
	out.dropMember(g.id, old.id)
	out.putMember(g.id, member)
	out.putTarget(g.id, id, g.target[old.id])
	out.putCurrent(g.id, member)
	return member
}

// change is one member's step through a group.
type change struct {
	ctx    Context
	group  *consumerGroup
	old    *consumerMember // as the group knows it; new members are blank
	member *consumerMember // as it is to be
	owned  owned

	epoch        int32 // of the group after the step
	uniform      bool
	resubscribed bool
	resolved     bool // the regular expression's topics are known
}

// apply carries out a change: it notes what the member says, raises the group's epoch if that or the
// topics changed, computes a new target, and moves the member towards it.
func (m *Machine) apply(ch *change, out *output) *failure {
	if f := m.subscribe(ch, out); f != nil {
		return f
	}
	target, epoch := m.retarget(ch, out)
	return m.reconcile(ch, target, epoch, out)
}

// subscribe records the member's subscription and the group's new epoch.
func (m *Machine) subscribe(ch *change, out *output) *failure {
	g := ch.group
	ch.epoch = g.epoch
	ch.uniform = g.uniformSubscription(len(g.members))
	if !ch.member.sameMetadata(ch.old) {
		out.putMember(g.id, ch.member)
	}
	renamed := !slices.Equal(ch.member.topics, ch.old.topics)
	regex, f := m.updateRegex(ch, out)
	if f != nil {
		return f
	}
	ch.resubscribed = renamed || regex
	bumped := renamed || regex && ch.resolved
	if ch.member.classic != nil {
		bumped = ch.resubscribed
	}
	if bumped || m.stale(g) {
		m.refresh(ch, bumped, out)
	}
	return nil
}

// stale reports whether the topics may have changed since the group's hash was computed.
func (m *Machine) stale(g *consumerGroup) bool {
	return !g.checked || g.checkedAt != m.topics.Version() || g.epoch < g.checkedEpoch
}

// refresh compares the subscribed topics with what they were and raises the epoch if they differ.
func (m *Machine) refresh(ch *change, bump bool, out *output) {
	g := ch.group
	n := len(g.members)
	if g.members[ch.member.id] == nil && g.staticMember(ch.member.instance) == nil {
		n++
	}
	var hash int64
	g.swap([]*consumerMember{ch.old}, ch.member, func() {
		ch.uniform = g.uniformSubscription(n)
		hash = metadataHash(g.topicNames(), m.topics)
	})
	if bump || hash != g.hash {
		ch.epoch++
		out.putEpoch(g.id, ch.epoch, hash)
		m.opts.Events.rebalance(g.id, "members, subscriptions or topics changed")
	}
	g.checked, g.checkedAt, g.checkedEpoch = true, m.topics.Version(), ch.epoch
	if g.topicsRecorded {
		out.tombstone(&kmsg.ConsumerGroupPartitionMetadataKey{GroupId: g.id})
	}
}

// retarget computes who should get what if the group's epoch has risen, at most once in an assignment
// interval. It returns the member's target and the epoch it is for.
func (m *Machine) retarget(ch *change, out *output) (assignment, int32) {
	g := ch.group
	interval := m.assignmentInterval(g.id).Milliseconds()
	if g.targetEpoch >= ch.epoch || g.targetAt != 0 && interval != 0 && m.nowMs() < g.targetAt+interval {
		return g.targetOf(ch.member), g.targetEpoch
	}
	spec := m.assignSpec(ch)
	name := ""
	g.swap([]*consumerMember{ch.old}, ch.member, func() {
		name = g.preferredAssignor(m.opts.Config.ConsumerAssignors[0])
	})
	assign := assignors[name]
	if assign == nil { // a custom one, of another broker
		assign = assignUniform
	}
	targets := assign(spec)
	for _, am := range spec.members {
		if last, ok := g.target[am.id]; !ok || !last.equal(targets[am.id]) {
			out.putTarget(g.id, am.id, targets[am.id])
		}
	}
	out.putTargetEpoch(g.id, ch.epoch, m.nowMs())
	return targets[ch.member.id], ch.epoch
}

// assignSpec is the group with the changed member in it, as assignors see it.
func (m *Machine) assignSpec(ch *change) assignSpec {
	g := ch.group
	spec := assignSpec{same: ch.uniform, count: map[base.TopicID]int32{}}
	ids := sortedKeys(g.members)
	if i, ok := slices.BinarySearch(ids, ch.member.id); !ok {
		ids = slices.Insert(ids, i, ch.member.id)
	}
	predecessor := g.staticMember(ch.member.instance)
	for _, id := range ids {
		member, target := g.members[id], g.target[id]
		switch {
		case id == ch.member.id:
			member, target = ch.member, g.target[id]
			if predecessor != nil {
				target = g.target[predecessor.id]
			}
		case predecessor != nil && id == predecessor.id:
			continue
		}
		am := assignMember{id: id, owned: target}
		if member.instance != nil {
			am.instance = *member.instance
		}
		for t := range m.subscribedIDs(g, member, spec.count) {
			am.topics = append(am.topics, t)
		}
		slices.SortFunc(am.topics, compareIDs)
		spec.members = append(spec.members, am)
	}
	return spec
}

// subscribedIDs are the topics that a member wants and that exist, by name and by what its regular
// expression stood for. Their partition counts go into count, if it is not nil.
func (m *Machine) subscribedIDs(g *consumerGroup, member *consumerMember, count map[base.TopicID]int32,
) map[base.TopicID]struct{} {
	names := member.topics
	if r := g.regexes[member.regex]; r != nil {
		names = slices.Concat(names, r.topics)
	}
	ids := make(map[base.TopicID]struct{}, len(names))
	for _, name := range names {
		if t, ok := m.topics.ByName(name); ok {
			ids[t.ID] = struct{}{}
			if count != nil {
				count[t.ID] = t.Partitions
			}
		}
	}
	return ids
}

// reconcile moves the member towards its target and records where it stands.
func (m *Machine) reconcile(ch *change, target assignment, epoch int32, out *output) *failure {
	g, member := ch.group, ch.member
	if !ch.resubscribed && member.reconciledTo(epoch) {
		return nil
	}
	r := reconciling{
		group: g, member: member, targetEpoch: epoch, target: target,
		topics:      m.subscribedIDs(g, member, nil),
		resubscribe: ch.resubscribed,
		owned:       ch.owned,
	}
	next, f := r.next()
	if f != nil {
		return f
	}
	ch.member = next
	if next.sameAssignment(member) {
		return nil
	}
	out.putCurrent(g.id, next)
	if next.classic != nil {
		return nil
	}
	key := timerKey{timerRevoke, g.id, next.id}
	if next.state == memberUnrevoked {
		m.timers.set(timer{key: key, at: m.after(next.rebalanceMs), epoch: next.epoch})
	} else {
		m.timers.cancel(key)
	}
	return nil
}
