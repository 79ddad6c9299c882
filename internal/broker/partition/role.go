package partition

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// State is what the metadata says about the partition.
type State struct {
	Replicas, ISR               []int32
	Leader                      int32 // -1 for none
	LeaderEpoch, PartitionEpoch int32
	RecoveryState               int8
}

// IsLeader says whether this replica leads.
func (p *Partition) IsLeader() bool { return p.leads.Load() && !p.closed.Load() }

// SetCluster says what the partition may ask of the brokers around it; before the first role.
func (p *Partition) SetCluster(c *Cluster) { p.cluster.Store(c) }

// MakeLeader has this replica lead as the metadata says, or takes in a new in-sync set of the epoch in
// which it leads already. It reports whether a new leader epoch began.
func (p *Partition) MakeLeader(self int32, mp State, now time.Time) bool {
	p.follow.Lock()
	defer p.follow.Unlock()
	p.mu.Lock()
	r := &p.mu.repl
	if mp.LeaderEpoch < p.epoch.Load() || p.leads.Load() && mp.LeaderEpoch == p.epoch.Load() && mp.PartitionEpoch < r.state.PartitionEpoch {
		p.mu.Unlock()
		return false // older than what is known
	}
	began := !p.leads.Load() || mp.LeaderEpoch > p.epoch.Load()
	if !p.leads.Load() {
		r.since = mp.LeaderEpoch
	}
	if began {
		p.Log().Lead(mp.LeaderEpoch)
		r.begin = p.Log().EndOffset()
		r.remotes = nil
	}
	switch {
	case began:
		r.proposed = nil
	case mp.PartitionEpoch > r.state.PartitionEpoch:
		r.decided(mp.ISR, mp.PartitionEpoch)
	}
	r.self, r.state = self, mp
	r.state.ISR, r.state.Replicas = slices.Clone(mp.ISR), slices.Clone(mp.Replicas)
	r.setRemotes(now)
	p.remoted.Store(len(mp.Replicas) > 1 || len(mp.ISR) > 1)
	p.epoch.Store(mp.LeaderEpoch)
	p.leads.Store(true)
	p.mu.Unlock()
	p.advance()
	if began {
		p.fireTails()
	} else {
		p.marks.fire(decided)
		p.letWaitingJoin()
	}
	return began
}

// setRemotes keeps what is known of replicas that stay. A new one counts as caught up now, so that it
// has replica.lag.time.max.ms to show itself.
func (r *replication) setRemotes(now time.Time) {
	old := *r
	r.remotes = nil
	for _, id := range r.state.Replicas {
		switch m := old.remote(id); {
		case id == r.self:
		case m != nil:
			r.remotes = append(r.remotes, *m)
		default:
			r.remotes = append(r.remotes, remote{id: id, epoch: -1, end: -1, start: -1, caughtUp: now})
		}
	}
}

// MakeFollower has this replica follow mp.Leader (-1: nobody leads). Whoever waits for the high
// watermark of an earlier role is told that this one does not lead. It reports whether a new leader
// epoch began.
func (p *Partition) MakeFollower(self int32, mp State) bool {
	p.follow.Lock()
	defer p.follow.Unlock()
	p.mu.Lock()
	if mp.LeaderEpoch < p.epoch.Load() {
		p.mu.Unlock()
		return false
	}
	began := p.leads.Load() || mp.LeaderEpoch > p.epoch.Load()
	r := &p.mu.repl
	r.self, r.state, r.remotes, r.proposed = self, mp, nil, nil
	p.leads.Store(false)
	p.remoted.Store(true)
	p.epoch.Store(mp.LeaderEpoch)
	p.Log().Follow()
	p.mu.Unlock()
	if began {
		p.fireHW(1<<63-1, kerr.NotLeaderForPartition)
		p.fireTails()
	}
	return began
}

// State is what the metadata said last; the slices must not be changed.
func (p *Partition) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.repl.state
}

// CheckLeader is CheckEpoch for what only a leader may answer.
func (p *Partition) CheckLeader(client int32) error {
	if err := p.CheckEpoch(client); err != nil {
		return err
	}
	if !p.leads.Load() {
		return kerr.NotLeaderForPartition
	}
	return nil
}
