package group

import (
	"maps"
	"slices"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Member epochs with a meaning of their own.
const (
	epochJoin        int32 = 0
	epochLeave       int32 = -1
	epochLeaveStatic int32 = -2 // a static member goes away for a while
)

// memberState is where a member stands on its way from its old to its target assignment.
type memberState int8

const (
	memberStable     memberState = 0
	memberUnrevoked  memberState = 1   // must give up partitions first
	memberUnreleased memberState = 2   // waits for partitions that others still have
	memberUnknown    memberState = 127 // written by a newer coordinator
)

// classicMetadata is what a member of a consumer group brought that speaks the classic protocol.
type classicMetadata struct {
	sessionMs int32
	protocols []protocol
}

// consumerMember is a member of a consumer group. It is immutable: a change makes a copy.
type consumerMember struct {
	id          string
	epoch       int32
	prevEpoch   int32
	state       memberState
	instance    *string
	rack        *string
	rebalanceMs int32
	clientID    string
	clientHost  string
	topics      []string // sorted, without duplicates
	regex       string   // "" = none
	assignor    *string
	assigned    epochs
	revoking    epochs
	classic     *classicMetadata // nil: speaks the consumer protocol
}

func newConsumerMember(id string) *consumerMember {
	return &consumerMember{id: id, prevEpoch: -1, rebalanceMs: -1}
}

// with returns a changed copy.
func (m *consumerMember) with(change func(*consumerMember)) *consumerMember {
	c := *m
	change(&c)
	return &c
}

// moved returns a copy at another epoch that remembers the one before.
func (m *consumerMember) moved(epoch int32, state memberState, assigned, revoking epochs) *consumerMember {
	return m.with(func(c *consumerMember) {
		c.epoch, c.prevEpoch = epoch, m.epoch
		c.state, c.assigned, c.revoking = state, assigned, revoking
	})
}

func (m *consumerMember) reconciledTo(epoch int32) bool {
	return m.state == memberStable && m.epoch == epoch
}

func (m *consumerMember) sameMetadata(o *consumerMember) bool {
	return m.id == o.id && samePtr(m.instance, o.instance) && samePtr(m.rack, o.rack) &&
		m.rebalanceMs == o.rebalanceMs && m.clientID == o.clientID && m.clientHost == o.clientHost &&
		slices.Equal(m.topics, o.topics) && m.regex == o.regex && samePtr(m.assignor, o.assignor) &&
		m.classic.equal(o.classic)
}

func (m *consumerMember) sameAssignment(o *consumerMember) bool {
	return m.epoch == o.epoch && m.prevEpoch == o.prevEpoch && m.state == o.state &&
		m.assigned.equal(o.assigned) && m.revoking.equal(o.revoking)
}

func samePtr[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// protocolName is the first protocol of a member: within a consumer group it does not matter which.
func (c *classicMetadata) protocolName() *string {
	if len(c.protocols) == 0 { // written by a Kafka that did not know of classic members yet
		return nil
	}
	return &c.protocols[0].name
}

// subscription is what goes with it.
func (c *classicMetadata) subscription() []byte {
	if len(c.protocols) == 0 {
		return nil
	}
	return c.protocols[0].metadata
}

func (c *classicMetadata) equal(o *classicMetadata) bool {
	if c == nil || o == nil {
		return c == o
	}
	return c.sessionMs == o.sessionMs && (&classicMember{protocols: c.protocols}).offers(o.protocols)
}

func (e epochs) equal(o epochs) bool { return maps.EqualFunc(e, o, maps.Equal[map[int32]int32]) }

// plain is the same partitions without epochs.
func (e epochs) plain() assignment {
	a := make(assignment, len(e))
	for t, ps := range e {
		a[t] = sortedKeys(ps)
	}
	return a
}

// at gives every partition of a the same epoch.
func (a assignment) at(epoch int32) epochs {
	e := make(epochs, len(a))
	for t, ps := range a {
		e[t] = make(map[int32]int32, len(ps))
		for _, p := range ps {
			e[t][p] = epoch
		}
	}
	return e
}

func (e epochs) record() []kmsg.ConsumerGroupCurrentMemberAssignmentValueTopicPartitions {
	out := make([]kmsg.ConsumerGroupCurrentMemberAssignmentValueTopicPartitions, 0, len(e))
	for _, t := range slices.SortedFunc(maps.Keys(e), compareIDs) {
		tp := kmsg.ConsumerGroupCurrentMemberAssignmentValueTopicPartitions{TopicId: t, Partitions: sortedKeys(e[t])}
		tp.AssignmentEpochs = make([]int32, len(tp.Partitions))
		for i, p := range tp.Partitions {
			tp.AssignmentEpochs[i] = e[t][p]
		}
		out = append(out, tp)
	}
	return out
}

// epochsFromRecord reads the partitions of a record. Before 4.3 they had no epochs: the member's
// counts then.
func epochsFromRecord(tps []kmsg.ConsumerGroupCurrentMemberAssignmentValueTopicPartitions, epoch int32) epochs {
	out := make(epochs, len(tps))
	for _, tp := range tps {
		ps := make(map[int32]int32, len(tp.Partitions))
		for i, p := range tp.Partitions {
			ps[p] = max(epoch, 0)
			if len(tp.AssignmentEpochs) == len(tp.Partitions) {
				ps[p] = tp.AssignmentEpochs[i]
			}
		}
		out[tp.TopicId] = ps
	}
	return out
}

// resolvedRegex is what a regular expression stood for when it was last looked up.
type resolvedRegex struct {
	topics  []string // sorted
	version int64    // of the topics that were looked at
	at      int64    // milliseconds
}

// subscribers counts who wants a topic: members by name, and resolved regular expressions.
type subscribers struct{ names, regexes int }

// consumerGroup is a group whose partitions the coordinator shares out (KIP-848). All of it but the
// last block follows from records.
type consumerGroup struct {
	id             string
	epoch          int32 // rises with every change of what members, subscriptions or topics are
	hash           int64 // of the subscribed topics at that epoch
	targetEpoch    int32 // epoch that the target assignment was computed for, -1 = none
	targetAt       int64 // when that was, milliseconds, 0 = never
	members        map[string]*consumerMember
	static         map[string]string // instance id → member id
	target         map[string]assignment
	regexes        map[string]*resolvedRegex
	topicsRecorded bool // there is a record of the type that Kafka before 4.1 kept topics in

	owners    epochs                 // epoch of each partition's owner
	wanted    map[string]subscribers // by topic name
	regexSubs map[string]int         // members by regular expression
	assignors map[string]int         // members by preferred assignor
	classics  int                    // members that speak the classic protocol
	offered   map[string]int         // classic members by protocol

	checked      bool  // hash was compared with the topics of checkedAt, and no epoch was lost since
	checkedAt    int64 // Topics.Version
	checkedEpoch int32
}

func newConsumerGroup(id string) *consumerGroup {
	return &consumerGroup{
		id:          id,
		epoch:       1,
		targetEpoch: -1,
		members:     map[string]*consumerMember{},
		static:      map[string]string{},
		target:      map[string]assignment{},
		regexes:     map[string]*resolvedRegex{},
		owners:      epochs{},
		wanted:      map[string]subscribers{},
		regexSubs:   map[string]int{},
		assignors:   map[string]int{},
		offered:     map[string]int{},
	}
}

func (g *consumerGroup) groupID() string  { return g.id }
func (g *consumerGroup) kind() string     { return "consumer" }
func (g *consumerGroup) protocol() string { return consumerProtocolType }
func (g *consumerGroup) size() int        { return len(g.members) }
func (g *consumerGroup) empty() bool      { return len(g.members) == 0 }

func (g *consumerGroup) stateName() string {
	switch {
	case g.empty():
		return "Empty"
	case g.epoch > g.targetEpoch:
		return "Assigning"
	}
	for _, m := range g.members {
		if !m.reconciledTo(g.targetEpoch) {
			return "Reconciling"
		}
	}
	return "Stable"
}

func (g *consumerGroup) subscribed(topic string) bool {
	_, ok := g.wanted[topic]
	return ok
}

func (g *consumerGroup) expiresFrom(c *commit) (int64, bool) { return c.at, true }

func (g *consumerGroup) checkOffsetDelete() *failure { return nil }

func (g *consumerGroup) tombstones(out *output) { out.dropConsumerGroup(g, sortedKeys(g.members)) }

// staticMember is the member with an instance id, nil if there is none.
func (g *consumerGroup) staticMember(instance *string) *consumerMember {
	if instance == nil {
		return nil
	}
	return g.members[g.static[*instance]]
}

// targetOf is the target of a member, or of the one whose static slot it takes.
func (g *consumerGroup) targetOf(m *consumerMember) assignment {
	if m.instance == nil {
		return g.target[m.id]
	}
	return g.target[g.static[*m.instance]]
}

func (g *consumerGroup) ownerEpoch(t base.TopicID, p int32) (int32, bool) { return g.owners.get(t, p) }

// count adds a member's subscription, assignor and protocols to the group's sums, or takes them out.
func (g *consumerGroup) count(m *consumerMember, by int) {
	if m == nil {
		return
	}
	for _, t := range m.topics {
		g.want(t, by, 0)
	}
	if m.regex != "" {
		bump(g.regexSubs, m.regex, by)
	}
	if m.assignor != nil {
		bump(g.assignors, *m.assignor, by)
	}
	if m.classic != nil {
		g.classics += by
		for _, p := range m.classic.protocols {
			bump(g.offered, p.name, by)
		}
	}
}

func (g *consumerGroup) want(topic string, names, regexes int) {
	s := g.wanted[topic]
	s.names, s.regexes = s.names+names, s.regexes+regexes
	if s == (subscribers{}) {
		delete(g.wanted, topic)
	} else {
		g.wanted[topic] = s
	}
}

func (g *consumerGroup) countRegex(r *resolvedRegex, by int) {
	if r == nil {
		return
	}
	for _, t := range r.topics {
		g.want(t, 0, by)
	}
}

func bump(counts map[string]int, key string, by int) {
	if counts[key] += by; counts[key] == 0 {
		delete(counts, key)
	}
}

// disown forgets a member's partitions, unless someone else has taken them over at another epoch.
func (g *consumerGroup) disown(m *consumerMember) {
	if m == nil {
		return
	}
	for _, e := range []epochs{m.assigned, m.revoking} {
		for t, ps := range e {
			for p := range ps {
				if owner, ok := g.owners.get(t, p); ok && owner == m.epoch {
					delete(g.owners[t], p)
				}
			}
			if len(g.owners[t]) == 0 {
				delete(g.owners, t)
			}
		}
	}
}

// own notes a member's partitions. An older owner is overwritten: its own record is yet to come.
func (g *consumerGroup) own(m *consumerMember) {
	for _, e := range []epochs{m.assigned, m.revoking} {
		for t, ps := range e {
			if g.owners[t] == nil {
				g.owners[t] = map[int32]int32{}
			}
			for p := range ps {
				g.owners[t][p] = m.epoch
			}
		}
	}
}

// setMember puts a member in place of the one with the same id.
func (g *consumerGroup) setMember(m *consumerMember) {
	old := g.members[m.id]
	g.count(old, -1)
	g.disown(old)
	g.members[m.id] = m
	g.count(m, +1)
	g.own(m)
	if m.instance != nil {
		g.static[*m.instance] = m.id
	}
}

func (g *consumerGroup) removeMember(id string) {
	m := g.members[id]
	if m == nil {
		return
	}
	g.count(m, -1)
	g.disown(m)
	delete(g.members, id)
	if m.instance != nil && g.static[*m.instance] == id {
		delete(g.static, *m.instance)
	}
}

// swap does what f does to a group in which members have been exchanged, and then undoes the exchange.
// It is for looking ahead: f must not change the group.
func (g *consumerGroup) swap(out []*consumerMember, in *consumerMember, f func()) {
	var gone []*resolvedRegex
	for _, m := range out {
		g.count(m, -1)
	}
	g.count(in, +1)
	for _, m := range out {
		if r := g.regexes[m.regex]; r != nil && g.regexSubs[m.regex] == 0 && !slices.Contains(gone, r) {
			gone = append(gone, r)
			g.countRegex(r, -1)
		}
	}
	f()
	for _, r := range gone {
		g.countRegex(r, +1)
	}
	g.count(in, -1)
	for _, m := range out {
		g.count(m, +1)
	}
}

// uniformSubscription reports whether all of n members subscribe to the same topics.
func (g *consumerGroup) uniformSubscription(n int) bool {
	if len(g.regexSubs) == 0 {
		for _, s := range g.wanted {
			if s.names != n {
				return false
			}
		}
		return true
	}
	for _, subs := range g.regexSubs {
		if subs != n {
			return false
		}
	}
	for _, s := range g.wanted {
		if s.regexes != 1 || s.names > 0 {
			return false
		}
	}
	return true
}

// topicNames are the names of the subscribed topics, in order.
func (g *consumerGroup) topicNames() []string { return sortedKeys(g.wanted) }

// preferredAssignor is the assignor that most members ask for, or the default.
func (g *consumerGroup) preferredAssignor(byDefault string) string {
	best := byDefault
	for _, name := range sortedKeys(g.assignors) {
		if g.assignors[best] < g.assignors[name] {
			best = name
		}
	}
	return best
}
