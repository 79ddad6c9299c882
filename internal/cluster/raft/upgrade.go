package raft

import (
	"fmt"
	"slices"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// A static quorum becomes one of kraft.version 1 by one batch, with KRaftVersion and the voters with the directories
// that they have. For raft it is an entry like any other: nobody's id changes, so no majority does. What changes is whose
// messages count: from then on a founder's id belongs to its directory.

// upgradeBatch is the batch that makes a static quorum one of kraft.version 1.
func upgradeBatch(voters []Voter, ms int64) batch.Batch {
	w := kmsg.Writer{}
	(&kmsg.KRaftVersionRecord{KRaftVersion: 1}).Append(&w, 0)
	return controlBatch(ms, control{batch.KRaftVersion, w.Buf}, control{batch.KRaftVoters, appendVoters(nil, voters)})
}

// upgradeOf is the voters of an upgrade; ok is false for every other batch.
func upgradeOf(b batch.Batch) (voters []Voter, ok bool, err error) {
	if len(b) == 0 {
		return nil, false, nil
	}
	if kind, _, control := b.Control(); !control || kind != batch.KRaftVersion {
		return nil, false, nil
	}
	for rec, err := range b.Records(batch.Limits{}) {
		if err != nil {
			return nil, true, err
		}
		if kind, ok := rec.Control(); ok && kind == batch.KRaftVoters {
			voters, err = readVoters(rec.Value)
			return voters, true, err
		}
	}
	return nil, false, nil
}

// ProposeUpgrade has a static quorum become one of kraft.version 1; voters are its members with their directories.
func (c *Core) ProposeUpgrade(voters []Voter, now time.Time) error {
	if !c.IsLeader() {
		return ErrNotLeader
	}
	voters = slices.Clone(voters)
	sortVoters(voters)
	same := slices.EqualFunc(voters, c.voters, func(a, b Voter) bool { return a.ID == b.ID && !a.DirectoryID.IsZero() })
	if Dynamic(c.voters) || !same || c.Changing() {
		return fmt.Errorf("upgrade of voters %v to %v: want a static quorum of the same nodes, with their directories, and no change under way",
			c.voters, voters)
	}
	return c.Propose(upgradeBatch(voters, now.UnixMilli()))
}

// applyUpgrade takes in a committed batch, which most often is none.
func (c *Core) applyUpgrade(b batch.Batch) error {
	voters, ok, err := upgradeOf(b)
	if !ok || err != nil || Dynamic(c.voters) {
		return err
	}
	founders := make([]Voter, 0, len(voters))
	for _, v := range voters {
		founders = append(founders, Voter{ID: v.ID, DirectoryID: v.DirectoryID})
	}
	c.founders, c.upgradeEnd = founders, b.LastOffset()+1
	voters = withFounders(voters, founders)
	if len(c.conf.GetVoters()) == 0 {
		c.learnVoters(difference(nil, voters))
	}
	c.voters = voters
	return nil
}

// learnVoters takes in the voters on a node that did not know any.
func (c *Core) learnVoters(changes []*pb.ConfChangeSingle) {
	for _, one := range changes {
		c.conf = c.node.ApplyConfChange(&pb.ConfChangeV2{Changes: []*pb.ConfChangeSingle{one}})
	}
}

// ownID is the id that raft knows this node by. A node of a static quorum and a founder have the same one, so that an
// upgrade further on in the log changes nothing. One that was added never had it, though it may begin at a snapshot of a time
// when the quorum was static.
func (c *Core) ownID() uint64 {
	self := Voter{ID: c.opts.Self.ID, DirectoryID: c.opts.Self.DirectoryID}
	self.Founder = slices.ContainsFunc(c.founders, self.Is)
	if len(c.voters) > 0 && !Dynamic(c.voters) && !c.store.mu.state.joiner {
		self.Founder = true
	}
	return self.RaftID()
}

// Upgraded says that the quorum was a static one, and this node's log has the batch that ended that, committed or not.
func (c *Core) Upgraded() bool {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	return len(c.founders) > 0 || c.store.mu.upgrade.index > 0
}

// UpgradeStored says whether the upgrade is committed and every founder that is a voter has it, as this node, which leads,
// knows. Of one that a snapshot has taken in it is known that who has the snapshot's end has it.
func (c *Core) UpgradeStored() bool {
	if !c.IsLeader() || !Dynamic(c.voters) {
		return false
	}
	return !slices.ContainsFunc(c.Progress(), func(p Progress) bool { return p.Voter.Founder && p.EndOffset < c.upgradeEnd })
}
