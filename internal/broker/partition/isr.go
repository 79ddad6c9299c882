package partition

import (
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Cluster is what a leader must know of the brokers around it, and how it reaches the controller.
// Neither function may block or call the partition back before it returns.
type Cluster struct {
	// Eligible says whether a broker with this epoch may join an in-sync set: it is registered under the
	// epoch, not fenced and not shutting down. Epoch -1 is a fetch that names none.
	Eligible func(broker int32, epoch int64) bool
	// Propose carries a change of the in-sync set to the controller, which answers by ISRAnswered.
	Propose func(p *Partition, c ISRChange)
}

// ISRChange is what a leader asks the controller for (AlterPartition).
type ISRChange struct {
	LeaderEpoch, PartitionEpoch int32
	ISR                         []ISRMember
	RecoveryState               int8

	number int64 // tells it from others of the same epochs
}

// ISRMember is one replica of a proposed in-sync set with the broker epoch that it was seen under.
type ISRMember struct {
	ID    int32
	Epoch int64 // -1: not known
}

// ISRState is an in-sync set that the controller has decided.
type ISRState struct {
	Leader, LeaderEpoch, PartitionEpoch int32
	ISR                                 []int32
	RecoveryState                       int8
}

// replication is what a leader knows of its replicas. Partition.mu guards it.
type replication struct {
	self     int32
	state    State    // as the controller decided last
	begin    int64    // where the leader epoch began
	since    int32    // the leader epoch since which this replica leads, without having followed between
	remotes  []remote // the other replicas
	proposed []int32  // the set that the controller was asked for; nil if nothing is under way
	asked    int64    // how often it was asked, which is the number of the newest proposal
	looked   int64    // asked as of the last look for missing replicas
	shrinks  int64
	expands  int64
}

// remote is another replica as its fetches show it.
type remote struct {
	id         int32
	epoch      int64 // broker epoch of the last fetch
	end        int64 // what it has stored; -1 until it fetched in this leader epoch
	start      int64
	caughtUp   time.Time // when it last had all that the leader had
	fetched    time.Time
	endAtFetch int64 // the leader's end at its last fetch
	waits      bool  // it could have joined the in-sync set at its last fetch, had another change not been under way
}

func (r *replication) remote(id int32) *remote {
	for i := range r.remotes {
		if r.remotes[i].id == id {
			return &r.remotes[i]
		}
	}
	return nil
}

// counts says whether the high watermark waits for a replica: it is in the set, or will be if the
// controller agrees.
func (r *replication) counts(id int32) bool {
	return slices.Contains(r.state.ISR, id) || slices.Contains(r.proposed, id)
}

// minISRLocked is min.insync.replicas, which cannot ask for more replicas than there are.
func (p *Partition) minISRLocked() int {
	return min(p.settings.Load().MinInSync, max(len(p.mu.repl.state.Replicas), 1))
}

// committedLocked is the end of what every in-sync replica has stored, own being what this one has.
// Below min.insync.replicas nothing more is committed (KIP-966).
func (p *Partition) committedLocked(own, before int64) int64 {
	r := &p.mu.repl
	if len(r.state.ISR) < p.minISRLocked() {
		return before
	}
	hw := own
	for i := range r.remotes {
		if m := &r.remotes[i]; r.counts(m.id) {
			hw = min(hw, m.end)
		}
	}
	return max(hw, before)
}

// CaughtUp says whether the high watermark has come to where this leader epoch began: until then it may be
// behind what the last leader had told.
func (p *Partition) CaughtUp() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Log().HighWatermark() >= p.mu.repl.begin
}

// CheckMinInSync refuses what asks for all in-sync replicas while there are too few of them.
func (p *Partition) CheckMinInSync() error {
	if !p.remoted.Load() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.mu.repl.state.ISR) < p.minISRLocked() {
		return kerr.NotEnoughReplicas
	}
	return nil
}

// FollowerFetch is what a follower's fetch says of it.
type FollowerFetch struct {
	ID          int32
	BrokerEpoch int64
	Offset      int64 // it has stored all below
	LogStart    int64
	LeaderEpoch int32 // in which it was checked against the leader's log
	Now         time.Time
}

// CheckFollower says whether a broker may fetch as a follower.
func (p *Partition) CheckFollower(id int32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.leads.Load() || p.closed.Load() || p.mu.repl.remote(id) == nil {
		return kerr.NotLeaderForPartition
	}
	return nil
}

// InSync says whether a replica is in the in-sync set that the controller has decided.
func (p *Partition) InSync(id int32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.mu.repl.state.ISR, id)
}

// FollowerFetched takes in how far a follower has come. It may raise the high watermark, and asks the
// controller to let a follower that has caught up into the in-sync set. settled says that the follower is in that set, so that
// to tell the same again changes nothing but when it was seen last.
func (p *Partition) FollowerFetched(f FollowerFetch) (settled bool) {
	p.mu.Lock()
	r := &p.mu.repl
	m := r.remote(f.ID)
	if m == nil || !p.leads.Load() || f.LeaderEpoch != r.state.LeaderEpoch || f.BrokerEpoch >= 0 && f.BrokerEpoch < m.epoch {
		// Nothing that counts here, or a late fetch of a broker that has restarted since (KIP-903).
		p.mu.Unlock()
		return false
	}
	end := p.Log().EndOffset()
	switch {
	case f.Offset >= end:
		m.caughtUp = f.Now
	case f.Offset >= m.endAtFetch && m.end >= 0:
		m.caughtUp = later(m.caughtUp, m.fetched)
	}
	moved, deleted := m.end != f.Offset, m.start != f.LogStart
	m.end, m.start, m.epoch, m.fetched, m.endAtFetch = f.Offset, f.LogStart, f.BrokerEpoch, f.Now, end
	settled = slices.Contains(r.state.ISR, m.id)
	change, ok := p.expandLocked(m)
	p.mu.Unlock()
	if moved { // else nothing is committed that was not before
		p.advance()
	}
	if deleted {
		p.lows.fire()
	}
	if ok {
		p.propose(change)
	}
	return settled
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// mayJoinLocked says whether a follower that is not in sync has all that is committed and all that came before this leader epoch.
func (p *Partition) mayJoinLocked(m *remote) bool {
	r := &p.mu.repl
	c := p.cluster.Load()
	return c != nil && !slices.Contains(r.state.ISR, m.id) && m.end >= p.Log().HighWatermark() && m.end >= r.begin && c.Eligible(m.id, m.epoch)
}

// expandLocked asks for a follower to join that may, or notes that it waits for another change.
func (p *Partition) expandLocked(m *remote) (ISRChange, bool) {
	r := &p.mu.repl
	may := p.mayJoinLocked(m)
	m.waits = may && r.proposed != nil
	if !may || m.waits {
		return ISRChange{}, false
	}
	return p.proposalLocked(append(slices.Clone(r.state.ISR), m.id)), true
}

// letWaitingJoin asks, once a change is decided, for those to join that came while it was under way: their next fetch may be as far
// off as a fetch may wait.
func (p *Partition) letWaitingJoin() {
	p.mu.Lock()
	r := &p.mu.repl
	var change ISRChange
	if isr := slices.Clone(r.state.ISR); p.leads.Load() && r.proposed == nil {
		for i := range r.remotes {
			if m := &r.remotes[i]; m.waits && p.mayJoinLocked(m) {
				isr, m.waits = append(isr, m.id), false
			}
		}
		if len(isr) > len(r.state.ISR) {
			change = p.proposalLocked(isr)
		}
	}
	p.mu.Unlock()
	if change.ISR != nil {
		p.propose(change)
	}
}

// Tick asks for replicas to leave the in-sync set that have not had all of the log for longer than
// maxLag (replica.lag.time.max.ms).
func (p *Partition) Tick(now time.Time, maxLag time.Duration) {
	if !p.remoted.Load() {
		return
	}
	p.mu.Lock()
	r := &p.mu.repl
	if !p.leads.Load() || r.proposed != nil || p.cluster.Load() == nil {
		p.mu.Unlock()
		return
	}
	end := p.Log().EndOffset()
	keep := slices.DeleteFunc(slices.Clone(r.state.ISR), func(id int32) bool {
		m := r.remote(id)
		return m != nil && m.end != end && now.Sub(m.caughtUp) > maxLag
	})
	if len(keep) == len(r.state.ISR) {
		p.mu.Unlock()
		return
	}
	change := p.proposalLocked(keep)
	p.mu.Unlock()
	p.propose(change)
}

func (p *Partition) proposalLocked(isr []int32) ISRChange {
	r := &p.mu.repl
	r.proposed = isr
	r.asked++
	c := ISRChange{LeaderEpoch: r.state.LeaderEpoch, PartitionEpoch: r.state.PartitionEpoch, number: r.asked}
	for _, id := range isr {
		member := ISRMember{id, -1}
		if m := r.remote(id); m != nil && m.end >= 0 {
			member.Epoch = m.epoch
		}
		c.ISR = append(c.ISR, member)
	}
	return c
}

func (p *Partition) propose(c ISRChange) { p.cluster.Load().Propose(p, c) }

// ISRAnswered takes in the controller's answer to a change. Only a refusal that says that nothing was
// done ends the proposal. After any other error the controller may have taken it: the high watermark
// goes on waiting for both sets until the answer to another try, or the metadata, tells which it is.
// Whoever carries the change tries again after such an error.
//
// A set that somebody has left is taken from the metadata alone. The controller judged by min.insync.replicas whether who left is
// eligible to lead (KIP-966), and it may have been raised since this leader heard of it: what the others then committed below it, the
// eligible one would not have. The metadata that has the smaller set has what it was judged by too. Kafka 4.3.1 takes the answer.
func (p *Partition) ISRAnswered(c ISRChange, s ISRState, err error) {
	p.mu.Lock()
	r := &p.mu.repl
	if !p.leads.Load() || r.state.LeaderEpoch != c.LeaderEpoch || r.state.PartitionEpoch != c.PartitionEpoch || r.proposed == nil {
		p.mu.Unlock()
		return // an answer to what is no longer asked
	}
	switch {
	case errors.Is(err, kerr.OperationNotAttempted), errors.Is(err, kerr.IneligibleReplica):
		if c.number == r.asked {
			r.proposed = nil
		}
	case err == nil && s.LeaderEpoch == c.LeaderEpoch && s.PartitionEpoch >= c.PartitionEpoch && containsAll(s.ISR, r.state.ISR):
		r.decided(s.ISR, s.PartitionEpoch)
		r.state.RecoveryState = s.RecoveryState
	}
	p.mu.Unlock()
	p.advance()
	p.marks.fire(decided)
	if err == nil {
		p.letWaitingJoin()
	}
}

func containsAll(ids, of []int32) bool {
	return !slices.ContainsFunc(of, func(id int32) bool { return !slices.Contains(ids, id) })
}

// Proposes says whether a change that was proposed still waits for what the controller makes of it. One that was refused, after
// which another was proposed, does not: the high watermark does not wait for its replicas.
func (p *Partition) Proposes(c ISRChange) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &p.mu.repl
	return !p.closed.Load() && p.leads.Load() && r.proposed != nil && c.number == r.asked &&
		r.state.LeaderEpoch == c.LeaderEpoch && r.state.PartitionEpoch == c.PartitionEpoch
}

// decided takes in the set that the controller has settled on.
func (r *replication) decided(isr []int32, partitionEpoch int32) {
	switch {
	case len(isr) < len(r.state.ISR):
		r.shrinks++
	case len(isr) > len(r.state.ISR):
		r.expands++
	}
	r.state.ISR, r.state.PartitionEpoch, r.proposed = slices.Clone(isr), partitionEpoch, nil
}

// Replication is a leader's view of its replicas, for metrics and descriptions.
type Replication struct {
	ISR, Replicas    []int32
	UnderReplicated  bool
	UnderMinISR      bool
	AtMinISR         bool
	MaxLag           int64 // of the replicas in the set
	Shrinks, Expands int64
	PartitionEpoch   int32
}

// Replication is the leader's view; ok is false where this replica does not lead.
func (p *Partition) Replication() (v Replication, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.leads.Load() {
		return v, false
	}
	r := &p.mu.repl
	v = Replication{ISR: slices.Clone(r.state.ISR), Replicas: slices.Clone(r.state.Replicas),
		Shrinks: r.shrinks, Expands: r.expands, PartitionEpoch: r.state.PartitionEpoch}
	if !p.remoted.Load() {
		return v, true
	}
	v.UnderReplicated = len(v.ISR) < len(v.Replicas)
	v.UnderMinISR, v.AtMinISR = len(v.ISR) < p.minISRLocked(), len(v.ISR) == p.minISRLocked()
	for i := range r.remotes {
		v.MaxLag = max(v.MaxLag, p.Log().EndOffset()-max(r.remotes[i].end, 0))
	}
	return v, true
}
