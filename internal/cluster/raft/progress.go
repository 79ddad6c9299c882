package raft

import (
	"slices"
	"time"

	etcd "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

// contact is what a leader remembers of a follower's answers.
type contact struct {
	heard, caughtUp time.Time
	match           uint64
}

// followed is the last leader that this node followed, and when it was last heard of.
type followed struct {
	id uint64
	at time.Time
}

// TakeFollowed is the node that led before this one, and when this one last heard of it; false where that is not
// known. It is told once in a term.
func (c *Core) TakeFollowed() (node int32, at time.Time, ok bool) {
	f := c.followed
	c.followed = followed{}
	return NodeID(f.id), f.at, f.id != etcd.None
}

// note remembers an answer of a follower.
func (c *Core) note(m *pb.Message) {
	if m.GetType() != pb.MsgAppResp && m.GetType() != pb.MsgHeartbeatResp || !c.IsLeader() {
		return
	}
	if m.GetTerm() != c.ledTerm || !slices.Contains(c.conf.GetVoters(), m.GetFrom()) {
		return
	}
	f := c.followers[m.GetFrom()]
	if f == nil {
		f = &contact{}
		c.followers[m.GetFrom()] = f
	}
	f.heard = c.now
	if m.GetType() == pb.MsgAppResp && !m.GetReject() {
		f.match = max(f.match, m.GetIndex())
	}
	if f.match >= c.last {
		f.caughtUp = c.now
	}
}

// LeaderGone says that nothing listens any more where a node was. If it led, this one does not wait for
// the end of its patience; others that still hear of the leader refuse their votes, as always.
func (c *Core) LeaderGone(node int32, now time.Time) {
	st := c.status()
	if st.RaftState != etcd.StateFollower || st.Lead == etcd.None || NodeID(st.Lead) != node {
		return
	}
	c.now, c.lastHeard = now, now
	_ = c.node.ForgetLeader() // it cannot fail on a follower
	// Everybody gets the hint at about the same time: one after the other, they do not split the votes.
	rank := 0
	for _, v := range c.voters {
		if v.RaftID() == c.id {
			break
		}
		if v.RaftID() != st.Lead {
			rank++
		}
	}
	c.patience = time.Duration(2*rank)*c.opts.Heartbeat + time.Duration(c.opts.Rand.Int64N(int64(c.opts.Heartbeat)))
}

// Progress is what the leader knows of a voter.
type Progress struct {
	Voter     Voter
	EndOffset int64 // -1: below the log
	Active    bool  // heard of within the election time-out
	// LastHeard is when it answered last, LastCaughtUp when it last had all of the log; zero for not
	// since this node leads.
	LastHeard, LastCaughtUp time.Time
}

// Progress tells how far the voters are; nothing where this node does not lead.
func (c *Core) Progress() (list []Progress) {
	at := map[uint64]Progress{}
	c.node.WithProgress(func(id uint64, _ etcd.ProgressType, pr tracker.Progress) {
		c.store.mu.Lock()
		defer c.store.mu.Unlock()
		at[id] = Progress{EndOffset: c.store.endOf(min(pr.Match, c.store.lastIndex())), Active: pr.RecentActive || id == c.id}
	})
	if !c.IsLeader() {
		return nil
	}
	for _, v := range c.voters {
		p := at[v.RaftID()]
		p.Voter = v
		if f := c.followers[v.RaftID()]; f != nil {
			p.LastHeard, p.LastCaughtUp = f.heard, f.caughtUp
		}
		if v.RaftID() == c.id {
			p.LastHeard, p.LastCaughtUp = c.now, c.now
		}
		list = append(list, p)
	}
	return list
}
