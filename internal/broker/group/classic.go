package group

import (
	"bytes"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// consumerProtocolType is the protocol type of consumers; others (connect, sr) carry metadata that
// only their own members understand.
const consumerProtocolType = "consumer"

// classicState is where a classic group stands. A dead group is one that is no longer in the map.
type classicState uint8

const (
	classicEmpty classicState = iota
	classicPreparing
	classicCompleting
	classicStable
)

const stateDead = "Dead"

func (s classicState) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}[s]
}

// protocol is an assignment strategy that a member offers, with its subscription for it.
type protocol struct {
	name     string
	metadata []byte
}

// reply is an answer that is owed. It is given once; whoever comes second is too late.
type reply[T any] struct{ fn func(*T) }

func (r *reply[T]) send(v *T) {
	if fn := r.fn; fn != nil {
		r.fn = nil
		fn(v)
	}
}

// classicMember is a member of a classic group.
type classicMember struct {
	id          string
	instance    *string
	clientID    string
	clientHost  string
	rebalanceMs int32
	sessionMs   int32
	protocols   []protocol
	assignment  []byte

	join  *reply[kmsg.JoinGroupResponse] // parked JoinGroup
	sync  *reply[kmsg.SyncGroupResponse] // parked SyncGroup
	isNew bool                           // has not been through a join phase yet
}

// metadata is the member's subscription for a protocol.
func (m *classicMember) metadata(name string) []byte {
	for _, p := range m.protocols {
		if p.name == name {
			return p.metadata
		}
	}
	return nil
}

func (m *classicMember) offers(ps []protocol) bool {
	return slices.EqualFunc(m.protocols, ps, func(a, b protocol) bool {
		return a.name == b.name && bytes.Equal(a.metadata, b.metadata)
	})
}

// waiting reports whether the member is alive because the broker owes it an answer.
func (m *classicMember) waiting() bool { return !m.isNew && (m.join != nil || m.sync != nil) }

// classicGroup is a group whose members agree among themselves: the coordinator only picks the
// protocol and carries the leader's assignment to the others.
type classicGroup struct {
	id           string
	state        classicState
	prev         classicState
	since        int64 // when state was entered, -1 if unknown
	generation   int32
	protocolType string  // "" = none yet
	chosen       *string // chosen protocol of this generation
	leader       string  // "" = none
	members      []*classicMember
	static       map[string]string   // instance id → member id
	pending      map[string]struct{} // ids given out, not yet used (KIP-394)
	pendingSync  map[string]struct{} // members that have not synced in this generation
	topics       map[string]struct{} // what consumers subscribe to; nil = not known
	newcomers    bool                // a member was added during the initial delay
	unsettled    bool                // it was a consumer group whose target is out of date

	saved *kmsg.GroupMetadataValue // what the log says; nil = nothing
}

func newClassicGroup(id string, nowMs int64) *classicGroup {
	return &classicGroup{
		id:          id,
		since:       nowMs,
		static:      map[string]string{},
		pending:     map[string]struct{}{},
		pendingSync: map[string]struct{}{},
	}
}

func (g *classicGroup) groupID() string   { return g.id }
func (g *classicGroup) kind() string      { return "classic" }
func (g *classicGroup) protocol() string  { return g.protocolType }
func (g *classicGroup) stateName() string { return g.state.String() }
func (g *classicGroup) size() int         { return len(g.members) }
func (g *classicGroup) empty() bool       { return g.state == classicEmpty }

func (g *classicGroup) tombstones(out *output) { out.dropClassic(g.id) }

func (g *classicGroup) ofConsumers() bool { return g.protocolType == consumerProtocolType }

func (g *classicGroup) subscribed(topic string) bool {
	if g.topics == nil {
		return g.ofConsumers()
	}
	_, ok := g.topics[topic]
	return ok
}

func (g *classicGroup) expiresFrom(c *commit) (int64, bool) {
	switch {
	case g.protocolType == "":
		return c.at, true
	case g.empty():
		if g.since >= 0 {
			return g.since, true
		}
		return c.at, true
	case g.ofConsumers() && g.topics != nil && g.state == classicStable:
		return c.at, true
	}
	return 0, false
}

func (g *classicGroup) checkOffsetDelete() *failure {
	if !g.empty() && !g.ofConsumers() {
		return fail(kerr.NonEmptyGroup)
	}
	return nil
}

func (g *classicGroup) protocolName() string {
	if g.chosen == nil {
		return ""
	}
	return *g.chosen
}

// typeOrNil is the protocol type as responses hold it.
func (g *classicGroup) typeOrNil() *string {
	if g.protocolType == "" {
		return nil
	}
	return &g.protocolType
}

func (g *classicGroup) enter(s classicState, nowMs int64) {
	g.prev, g.state, g.since = g.state, s, nowMs
}

func (g *classicGroup) member(id string) *classicMember {
	for _, m := range g.members {
		if m.id == id {
			return m
		}
	}
	return nil
}

// add puts a member into the group. The first one sets the protocol type and leads.
func (g *classicGroup) add(m *classicMember, protocolType string) {
	if len(g.members) == 0 {
		g.protocolType = protocolType
	}
	if m.instance != nil {
		g.static[*m.instance] = m.id
	}
	if g.leader == "" {
		g.leader = m.id
	}
	g.members = append(g.members, m)
	delete(g.pending, m.id)
}

// remove takes a member, or an id given out, out of the group. The oldest of the others leads then.
func (g *classicGroup) remove(id string) {
	if i := slices.IndexFunc(g.members, func(m *classicMember) bool { return m.id == id }); i >= 0 {
		if in := g.members[i].instance; in != nil {
			delete(g.static, *in)
		}
		g.members = slices.Delete(g.members, i, i+1)
	}
	if g.leader == id {
		g.leader = ""
		if len(g.members) > 0 {
			g.leader = g.members[0].id
		}
	}
	delete(g.pending, id)
	delete(g.pendingSync, id)
}

// replaceStatic gives a static member's slot to a new member id and fences the old one.
func (g *classicGroup) replaceStatic(m *classicMember, id string) {
	old := m.id
	m.answerJoin(&kmsg.JoinGroupResponse{
		MemberId: old, GenerationId: -1, ErrorCode: kerr.FencedInstanceID.Code,
	})
	m.answerSync(&kmsg.SyncGroupResponse{ErrorCode: kerr.FencedInstanceID.Code})
	m.id, m.isNew = id, false
	g.static[*m.instance] = id
	if g.leader == old {
		g.leader = id
	}
	if _, ok := g.pendingSync[old]; ok {
		delete(g.pendingSync, old)
		g.pendingSync[id] = struct{}{}
	}
}

// checkMember is the rule for every request that names a member.
func (g *classicGroup) checkMember(id string, instance *string) *failure {
	if instance != nil {
		current, ok := g.static[*instance]
		if !ok {
			return fail(kerr.UnknownMemberID)
		}
		if current != id {
			return fail(kerr.FencedInstanceID)
		}
	}
	if g.member(id) == nil {
		return fail(kerr.UnknownMemberID)
	}
	return nil
}

func (g *classicGroup) joined() int {
	n := 0
	for _, m := range g.members {
		if m.join != nil {
			n++
		}
	}
	return n
}

func (g *classicGroup) allJoined() bool {
	return g.joined() == len(g.members) && len(g.pending) == 0
}

func (g *classicGroup) canRebalance() bool { return g.state != classicPreparing }

// rebalanceMs is the longest rebalance timeout of a member.
func (g *classicGroup) rebalanceMs() int32 {
	var ms int32
	for _, m := range g.members {
		ms = max(ms, m.rebalanceMs)
	}
	return ms
}

// candidates are the protocols that every member offers.
func (g *classicGroup) candidates() map[string]struct{} {
	count := map[string]int{}
	for _, m := range g.members {
		for _, p := range m.protocols {
			count[p.name]++
		}
	}
	out := map[string]struct{}{}
	for name, n := range count {
		if n == len(g.members) {
			out[name] = struct{}{}
		}
	}
	return out
}

// supports reports whether a member with this type and these protocols may join.
func (g *classicGroup) supports(protocolType string, ps []protocol) bool {
	if g.empty() {
		return protocolType != "" && len(ps) > 0
	}
	if g.protocolType == "" || g.protocolType != protocolType {
		return false
	}
	candidates := g.candidates()
	return slices.ContainsFunc(ps, func(p protocol) bool {
		_, ok := candidates[p.name]
		return ok || len(g.members) == 0
	})
}

// vote picks the protocol for the next generation: each member votes for the first candidate on its
// list. Among equals the one that was voted for first wins.
func (g *classicGroup) vote() string {
	candidates := g.candidates()
	votes := map[string]int{}
	var order []string
	for _, m := range g.members {
		i := slices.IndexFunc(m.protocols, func(p protocol) bool {
			_, ok := candidates[p.name]
			return ok
		})
		if i < 0 {
			continue
		}
		name := m.protocols[i].name
		if votes[name] == 0 {
			order = append(order, name)
		}
		votes[name]++
	}
	best := ""
	for _, name := range order {
		if best == "" || votes[name] > votes[best] {
			best = name
		}
	}
	return best
}

// nextGeneration ends the join phase.
func (g *classicGroup) nextGeneration(nowMs int64) {
	g.generation++
	if len(g.members) == 0 {
		g.chosen = nil
		g.enter(classicEmpty, nowMs)
	} else {
		name := g.vote()
		g.chosen = &name
		g.enter(classicCompleting, nowMs)
	}
	g.topics = g.subscriptions()
	clear(g.pendingSync)
}

// subscriptions reads the topics out of the members' metadata. Nil means that it cannot be known.
func (g *classicGroup) subscriptions() map[string]struct{} {
	if !g.ofConsumers() {
		return nil
	}
	topics := map[string]struct{}{}
	if len(g.members) == 0 {
		return topics
	}
	if g.chosen == nil {
		return nil
	}
	for _, m := range g.members {
		s, err := readSubscriptionTopics(m.metadata(*g.chosen))
		if err != nil {
			return nil
		}
		for _, t := range s {
			topics[t] = struct{}{}
		}
	}
	return topics
}

// electLeader makes sure that the leader is a member that has joined.
func (g *classicGroup) electLeader() bool {
	leader := g.member(g.leader)
	if leader == nil {
		return false
	}
	if leader.join != nil {
		return true
	}
	for _, m := range g.members {
		if m.join != nil {
			g.leader = m.id
			return true
		}
	}
	return false
}

// roster is the list of members that a leader gets.
func (g *classicGroup) roster() []kmsg.JoinGroupResponseJoinGroupResponseMember {
	out := make([]kmsg.JoinGroupResponseJoinGroupResponseMember, len(g.members))
	for i, m := range g.members {
		out[i] = kmsg.JoinGroupResponseJoinGroupResponseMember{
			MemberId:        m.id,
			GroupInstanceId: m.instance,
			Metadata:        m.metadata(g.protocolName()),
		}
	}
	return out
}

func (m *classicMember) answerJoin(resp *kmsg.JoinGroupResponse) {
	if r := m.join; r != nil {
		m.join = nil
		r.send(resp)
	}
}

func (m *classicMember) answerSync(resp *kmsg.SyncGroupResponse) (answered bool) {
	r := m.sync
	if r == nil {
		return false
	}
	m.sync = nil
	r.send(resp)
	return true
}

func (g *classicGroup) failJoins(f *failure) {
	for _, m := range g.members {
		m.answerJoin(&kmsg.JoinGroupResponse{MemberId: m.id, GenerationId: -1, ErrorCode: f.code()})
	}
}

func (g *classicGroup) failSyncs(f *failure) {
	for _, m := range g.members {
		m.answerSync(&kmsg.SyncGroupResponse{ErrorCode: f.code()})
	}
}
