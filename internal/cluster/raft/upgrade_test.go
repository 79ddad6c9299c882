package raft

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// upgrade asks whoever leads for kraft.version 1, with the directories that the members have.
func (c *cluster) upgrade() bool {
	m := c.leader()
	if m == nil {
		return false
	}
	var voters []Voter
	for _, v := range m.core.Voters() {
		voters = append(voters, Voter{ID: v.ID, DirectoryID: m.core.HeardOn(v.ID)})
	}
	err := m.core.ProposeUpgrade(voters, c.clk.Now())
	c.pump(m)
	return err == nil
}

// wiped puts a node of an empty disk in a member's place, formatted as the member was.
func (c *cluster) wiped(m *member) *member {
	c.stop(m)
	again := &member{self: c.voter(m.self.ID), initial: m.initial, disk: vfs.NewMem()}
	c.members = append(c.members, again)
	c.start(again)
	return again
}

// upgraded wants every member of a list to know the list as its voters, under the ids of before.
func (c *cluster) upgraded(members []*member) {
	c.t.Helper()
	for _, m := range members {
		for i, v := range m.core.Voters() {
			if !v.Founder || v.RaftID() != uint64(i)+2 || !v.Is(members[i].self) || len(m.core.Voters()) != len(members) {
				c.t.Fatalf("node %d has the voters %+v", m.self.ID, m.core.Voters())
			}
		}
		if m.core.id != uint64(m.self.ID)+1 || !m.core.IsVoter() {
			c.t.Fatalf("node %d is known by %x", m.self.ID, m.core.id)
		}
	}
}

// TestUpgradeHistories raises kraft.version in the middle of lost messages, partitions and crashes in writes, then replaces
// the directory of a member, whose former id goes on being used by a node that was formatted as the first one was.
func TestUpgradeHistories(t *testing.T) {
	seen := map[string]int{}
	for seed := range (*seeds + 3) / 4 {
		n := []int{3, 5}[seed%2]
		c := newQuorum(t, uint64(seed)+500, n, true)
		c.run(3*time.Second, func() { c.propose() })
		c.loss, c.twice, c.crashes, c.delay = 0.05, 0.1, true, 100*time.Millisecond
		c.run(30*time.Second, func() {
			if c.rng.IntN(2) == 0 {
				c.propose()
			}
			m := c.members[c.rng.IntN(n)]
			switch c.rng.IntN(100) {
			case 0:
				c.crash(m)
			case 1, 2:
				c.snapshot(m)
			case 3:
				clear(c.cut)
				c.cut[m.core.id] = true
			case 4, 5, 6:
				clear(c.cut)
			case 7, 8:
				if c.upgrade() {
					c.seen["upgrade asked for"]++
				}
			}
			if m.core != nil && m.core.Upgraded() && !Dynamic(m.core.Voters()) {
				c.seen["upgrade in the log, not applied"]++
			}
		})
		c.settle()
		if !Dynamic(c.leader().core.Voters()) {
			c.upgrade()
			c.settle()
		}
		c.upgraded(c.members)
		c.replace(c.members[c.rng.IntN(n)])
		for k, v := range c.seen {
			seen[k] += v
		}
	}
	t.Log(seen)
	for _, k := range []string{"crash", "crash in a write", "snapshot installed", "upgrade asked for", "upgrade in the log, not applied"} {
		if seen[k] == 0 {
			t.Errorf("no history had: %s", k)
		}
	}
}

// replace takes a member out, whose place a wiped node claims meanwhile, and adds that one with its own directory.
func (c *cluster) replace(old *member) {
	ghost := c.wiped(old)
	c.loss, c.delay = 0.02, 20*time.Millisecond
	c.run(10*time.Second, func() { c.propose() })
	if ghost.core.IsLeader() || ghost.index > 0 {
		c.t.Fatalf("a wiped node is at index %d of the quorum that knows it by another directory", ghost.index)
	}
	c.change(func(voters []Voter) []Voter { return slices.DeleteFunc(voters, old.self.Is) })
	c.stop(ghost)
	added := &member{self: ghost.self, disk: vfs.NewMem()}
	c.members = append(c.members, added)
	c.start(added)
	c.change(func(voters []Voter) []Voter { return append(voters, added.self) })
	c.settle()
	if !added.core.IsVoter() || added.core.id>>32 == 0 {
		c.t.Fatalf("node %d, added anew, is known by %x among %+v", added.self.ID, added.core.id, added.core.Voters())
	}
}

// change has the voters changed, by whoever leads when it can.
func (c *cluster) change(to func([]Voter) []Voter) {
	c.t.Helper()
	var want []Voter
	c.run(20*time.Second, func() {
		m := c.leader()
		if m == nil || want != nil && len(m.core.Voters()) == len(want) {
			return
		}
		next := to(slices.Clone(m.core.Voters()))
		if !m.core.Changing() && m.core.ProposeVoters(next, c.clk.Now()) == nil {
			want = next
			c.pump(m)
		}
	})
	if m := c.leader(); m == nil || len(m.core.Voters()) != len(want) || m.core.Changing() {
		c.t.Fatalf("the voters did not become %+v", want)
	}
}

// TestUpgradeCrashes pulls the plug of the leader at each operation on its disk around the upgrade.
func TestUpgradeCrashes(t *testing.T) {
	crashed := 0
	for at := int64(1); ; at++ {
		c := newQuorum(t, 900+uint64(at), 3, true)
		c.run(4*time.Second, func() { c.propose() })
		m := c.leader()
		var left *vfs.Mem
		from, disk := m.fault.Ops(), m.disk
		m.fault.OnOp(func(op vfs.Op) {
			if op.N >= from+at && left == nil && op.Kind.Changes() {
				left = disk.CrashClone(vfs.CrashOptions{KeepUnsynced: float64(at%3) / 2, Seed: uint64(at)})
			}
		})
		if !c.upgrade() {
			t.Fatal("the upgrade is refused")
		}
		for range 4 {
			if left == nil {
				c.run(testTick, nil)
			}
		}
		m.fault.OnOp(nil)
		if left == nil {
			if at < 5 {
				t.Fatalf("the upgrade took %d operations", at)
			}
			break
		}
		crashed++
		c.crashTo(m, left)
		c.settle()
		if !Dynamic(c.leader().core.Voters()) {
			c.upgrade()
			c.settle()
		}
		c.upgraded(c.members)
		for _, m := range c.members {
			c.crash(m)
		}
		c.settle()
		c.upgraded(c.members)
	}
	t.Logf("%d crashes", crashed)
}

// TestSnapshotsAroundAnUpgrade has one node miss the upgrade, and get it by a snapshot.
func TestSnapshotsAroundAnUpgrade(t *testing.T) {
	c := newQuorum(t, 11, 3, true)
	c.run(3*time.Second, func() { c.propose() })
	for _, m := range c.members {
		c.snapshot(m) // which has the static voters
	}
	var away *member
	for _, m := range c.members {
		if m != c.leader() {
			away = m
		}
	}
	c.upgrade()
	c.cut[away.core.id] = true
	c.run(3*time.Second, func() { c.propose() })
	for _, m := range c.members {
		if m != away {
			c.snapshot(m)
			c.crash(m)
		}
	}
	if away.core.Upgraded() {
		t.Fatal("the node that was cut off has the upgrade")
	}
	c.run(5*time.Second, nil)
	if m := c.leader(); m == nil || m.core.UpgradeStored() {
		t.Fatal("nobody leads, or whoever does says that all have the upgrade: the node that was cut off does not")
	}
	c.crash(away)
	clear(c.cut)
	c.settle()
	c.upgraded(c.members)
	if !c.leader().core.UpgradeStored() {
		t.Error("it is not known that all have the upgrade")
	}
	if c.seen["snapshot installed"] == 0 {
		t.Fatal("no snapshot was installed")
	}
	for _, m := range c.members {
		c.crash(m)
	}
	c.settle()
	c.upgraded(c.members)
}

// TestJoinerFromASnapshotBefore adds a node that gets a snapshot of the time when the quorum was static, and stops there.
func TestJoinerFromASnapshotBefore(t *testing.T) {
	c := newQuorum(t, 61, 3, true)
	c.run(3*time.Second, func() { c.propose() })
	for _, m := range c.members {
		c.snapshot(m)
	}
	c.upgrade()
	c.run(time.Second, nil)
	old := c.members[0]
	if old == c.leader() {
		old = c.members[1]
	}
	c.stop(old)
	c.change(func(voters []Voter) []Voter { return slices.DeleteFunc(voters, old.self.Is) })
	added := c.join(c.voter(old.self.ID))
	for added.index == 0 { // until it has the snapshot
		c.run(testTick, nil)
		if c.clk.Now().After(epoch0.Add(time.Minute)) {
			t.Fatal("no snapshot was installed")
		}
	}
	for range 10 {
		c.crash(added)
		c.run(testTick, nil)
	}
	c.settle()
	if !added.core.IsVoter() || added.core.id>>32 == 0 {
		t.Fatalf("node %d is known by %x among %+v", added.self.ID, added.core.id, added.core.Voters())
	}
}

// TestWipedVoterOfStaticQuorum: ids of a static quorum belong to no directory, so a node that lost its own comes back
// under its id, to a leader that has counted what it lost.
func TestWipedVoterOfStaticQuorum(t *testing.T) {
	c := newQuorum(t, 21, 3, true)
	c.run(3*time.Second, func() { c.propose() })
	lead := c.leader()
	for _, m := range slices.Clone(c.members) {
		if m != lead {
			c.wiped(m)
			break
		}
	}
	c.run(10*time.Second, func() { c.propose() })
	c.settle()
}

// TestVoteOfAWipedNode: a node which has the upgrade in its log, without knowing that it is committed, and one that was
// wiped are no majority.
func TestVoteOfAWipedNode(t *testing.T) {
	c := newQuorum(t, 31, 3, true)
	c.run(3*time.Second, func() { c.propose() })
	lead := c.leader()
	c.upgrade()
	c.run(time.Second, nil)
	var others []*member
	for _, m := range c.members {
		if m != lead {
			others = append(others, m)
		}
	}
	terms := len(c.leaders)
	c.stop(lead)
	ghost := c.wiped(others[0])
	c.run(20*time.Second, nil)
	if len(c.leaders) != terms {
		t.Fatalf("node %d leads with the vote of a node without its directory", others[1].self.ID)
	}
	if ghost.index > 0 {
		t.Fatalf("the wiped node has taken in index %d", ghost.index)
	}
	c.start(lead)
	c.run(5*time.Second, nil)
	if c.leader() == nil {
		t.Fatal("the two that are left do not elect a leader")
	}
}

// TestStamps: what comes without the founder's stamp is no word of the founder's, before the upgrade everything is.
func TestStamps(t *testing.T) {
	c := newQuorum(t, 41, 3, true)
	c.run(3*time.Second, nil)
	lead := c.leader()
	beat := func(from Voter) *pb.Message {
		m := &pb.Message{
			Type: pb.MsgHeartbeatResp.Enum(), From: new(uint64(from.ID) + 1), To: new(lead.core.id), Term: new(lead.core.ledTerm),
		}
		if !from.DirectoryID.IsZero() {
			(&Core{
				opts: Options{Self: from}, store: &store{}, heardOn: lead.core.heardOn,
			}).stamp(m)
		}
		return m
	}
	other := c.members[0]
	if other == lead {
		other = c.members[1]
	}
	if !lead.core.admit(beat(Voter{ID: other.self.ID})) {
		t.Error("a message of a build without stamps does not count in a static quorum")
	}
	c.upgrade()
	c.run(time.Second, nil)
	for _, v := range []Voter{{ID: other.self.ID}, c.voter(other.self.ID)} {
		if lead.core.admit(beat(v)) {
			t.Errorf("a message from directory %v counts as one of the founder's", v.DirectoryID)
		}
	}
	if !lead.core.admit(beat(other.self)) {
		t.Error("the founder's message does not count")
	}
}

func TestUpgradeRefusals(t *testing.T) {
	c := newQuorum(t, 51, 3, true)
	c.run(3*time.Second, nil)
	lead := c.leader()
	list := []Voter{c.members[0].self, c.members[1].self, {ID: 3}}
	if err := lead.core.ProposeUpgrade(list, c.clk.Now()); err == nil || !strings.Contains(err.Error(), "with their directories") {
		t.Errorf("a voter without a directory: %v", err)
	}
	for _, m := range c.members {
		if m != lead {
			if err := m.core.ProposeUpgrade(list, c.clk.Now()); !errors.Is(err, ErrNotLeader) {
				t.Errorf("a follower: %v", err)
			}
		}
	}
	c.upgrade()
	c.run(time.Second, nil)
	if !lead.core.UpgradeStored() {
		t.Error("it is not known that all have the upgrade")
	}
	if c.upgrade() {
		t.Error("a second upgrade is taken")
	}
}
