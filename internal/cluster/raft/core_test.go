package raft

import (
	"flag"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/kit/vfs"
)

var seeds = flag.Int("raft.seeds", 12, "how many random histories to run")

func TestSoleVoterLeadsAtOnce(t *testing.T) {
	c := newCluster(t, 1, 1)
	c.run(testTick, nil)
	if c.leader() == nil {
		t.Fatal("a quorum of one does not lead after its first tick")
	}
	for range 20 {
		c.propose()
	}
	m := c.members[0]
	if m.index != 21 {
		t.Fatalf("index %d after a term's start and 20 proposals", m.index)
	}
	for range 5 {
		c.crash(m)
		c.run(testTick, nil)
		c.propose()
	}
	if m.index != 31 {
		t.Fatalf("index %d after five restarts", m.index)
	}
}

// TestRandomHistories runs clusters under lost, late, repeated and reordered messages, partitions,
// stalls and crashes in the middle of writes.
func TestRandomHistories(t *testing.T) {
	seen := map[string]int{}
	for seed := range *seeds {
		c := newCluster(t, uint64(seed)+100, []int{1, 3, 5}[seed%3])
		c.loss, c.twice, c.crashes, c.delay = 0.1, 0.1, true, 120*time.Millisecond
		c.run(60*time.Second, func() {
			if c.rng.IntN(2) == 0 {
				c.propose()
			}
			m := c.members[c.rng.IntN(len(c.members))]
			switch c.rng.IntN(150) {
			case 0:
				c.crash(m)
			case 1:
				c.snapshot(m)
			case 2:
				clear(c.cut)
				c.cut[m.core.id] = true
				c.seen["partition"]++
			case 3, 4, 5:
				clear(c.cut)
			case 6:
				m.stalled = time.Duration(c.rng.Int64N(int64(3 * time.Second)))
				c.seen["stall"]++
			}
		})
		c.settle()
		if len(c.leaders) > 1 {
			c.seen["fail-over"]++
		}
		for k, n := range c.seen {
			seen[k] += n
		}
	}
	t.Log(seen)
	for _, k := range []string{"crash", "crash in a write", "snapshot", "snapshot installed", "snapshot chunk", "partition", "stall", "fail-over"} {
		if seen[k] == 0 {
			t.Errorf("no history had a %s", k)
		}
	}
}

// TestSameSeedSameHistory holds the promise that a failing seed can be replayed.
func TestSameSeedSameHistory(t *testing.T) {
	once := func() ([32]byte, int) {
		c := newCluster(t, 7, 3)
		c.loss, c.twice, c.crashes, c.delay = 0.1, 0.1, true, 100*time.Millisecond
		c.run(20*time.Second, func() { c.propose() })
		c.settle()
		return c.leader().digest, len(c.leaders)
	}
	d1, n1 := once()
	d2, n2 := once()
	if d1 != d2 || n1 != n2 {
		t.Fatalf("%x with %d leaders, then %x with %d", d1[:4], n1, d2[:4], n2)
	}
}

func TestStalledDiskMakesTheLeaderStepDown(t *testing.T) {
	c := newCluster(t, 3, 3)
	c.run(5*time.Second, nil)
	old := c.leader()
	old.stalled = 30 * time.Second
	if !c.propose() {
		t.Fatal("nobody leads")
	}
	c.run(4*time.Second, nil)
	if old.core.IsLeader() {
		t.Error("the node leads on a disk that stands")
	}
	if now := c.leader(); now == nil || now == old {
		t.Fatal("no other node leads")
	}
	c.run(30*time.Second, nil)
	c.settle()
}

// TestLeaderGone hints that the leader's process is gone. Where it is, another leads before any patience
// ends; where it is not, it stays.
func TestLeaderGone(t *testing.T) {
	c := newCluster(t, 8, 3)
	c.run(5*time.Second, nil)
	old := c.leader()
	for _, m := range c.members {
		if m != old {
			m.core.LeaderGone(old.self.ID, c.clk.Now())
			break
		}
	}
	c.run(5*time.Second, nil)
	if now := c.leader(); now != old {
		t.Error("one false hint ended a leadership")
	}
	for _, p := range old.core.Progress() {
		if p.LastCaughtUp.Before(c.clk.Now().Add(-testElection)) || p.EndOffset != old.core.AppliedEnd() {
			t.Errorf("progress %+v at %v", p, c.clk.Now())
		}
	}
	c.stop(old)
	for _, m := range c.members {
		if m != old {
			m.core.LeaderGone(old.self.ID, c.clk.Now())
		}
	}
	c.run(testElection-2*testTick, nil)
	now := c.leader()
	if now == nil {
		t.Fatal("nobody leads")
	}
	since := c.clk.Now().Add(-2 * testElection)
	if node, at, ok := now.core.TakeFollowed(); !ok || node != old.self.ID || at.Before(since) || at.After(c.clk.Now()) {
		t.Errorf("the leader followed node %d, heard of at %v (%v); want %d, at %v or later", node, at, ok, old.self.ID, since)
	}
	if _, _, ok := now.core.TakeFollowed(); ok {
		t.Error("whom it followed is told again")
	}
	c.start(old)
	c.settle()
}

// TestStalledDiskOfASoleVoter: nobody could take over from the only voter, so it leads on while its disk stands, and what it was
// asked meanwhile is committed in its term.
func TestStalledDiskOfASoleVoter(t *testing.T) {
	c := newCluster(t, 3, 1)
	c.run(time.Second, nil)
	m := c.members[0]
	_, term := m.core.Leader()
	m.stalled = 5 * time.Second
	c.propose()
	before := m.core.AppliedEnd()
	for range 4 {
		c.run(time.Second, nil)
		if _, now := m.core.Leader(); !m.core.IsLeader() || now != term {
			t.Fatalf("the only voter leads: %v, in epoch %d after %d", m.core.IsLeader(), now, term)
		}
		if end := m.core.AppliedEnd(); end != before {
			t.Fatalf("applied up to %d on a disk that stands, was %d", end, before)
		}
	}
	c.run(2*time.Second, nil)
	if _, now := m.core.Leader(); now != term || m.core.AppliedEnd() <= before {
		t.Errorf("after the disk came back: epoch %d after %d, applied up to %d, was %d", now, term, m.core.AppliedEnd(), before)
	}
	c.settle()
}

func TestVotersChange(t *testing.T) {
	c := newCluster(t, 5, 1)
	c.run(time.Second, nil)
	for range 30 {
		c.propose()
	}
	c.snapshot(c.members[0])
	for id := int32(2); id <= 4; id++ {
		c.join(c.voter(id))
		c.run(5*time.Second, func() { c.propose() })
		if n := len(c.leader().core.Voters()); n != int(id) {
			t.Fatalf("%d voters, want %d", n, id)
		}
	}
	// Two at once are a joint change: node 1 leaves, and node 2 comes back with another directory.
	lead := c.leader()
	wiped := c.members[1]
	again := &member{self: c.voter(2), disk: vfs.NewMem()}
	c.members = append(c.members, again)
	c.start(again)
	if err := lead.core.ProposeVoters([]Voter{again.self, c.members[2].self, c.members[3].self}, c.clk.Now()); err != nil {
		t.Fatal(err)
	}
	c.pump(lead)
	c.run(20*time.Second, func() { c.propose() })
	for _, gone := range []*member{c.members[0], wiped} {
		c.stop(gone)
	}
	c.settle()
	if voters := c.leader().core.Voters(); len(voters) != 3 || voters[0].DirectoryID != again.self.DirectoryID {
		t.Fatalf("voters %+v", voters)
	}
}

// TestGrownQuorumRestarts crashes every node after a quorum of one has grown to three: the first one alone,
// which the beginning of its log says is all of the quorum, does not lead.
func TestGrownQuorumRestarts(t *testing.T) {
	c := newCluster(t, 6, 1)
	c.run(time.Second, nil)
	for id := int32(2); id <= 3; id++ {
		c.join(c.voter(id))
		c.run(2*time.Second, func() { c.propose() })
	}
	first := c.members[0]
	for _, m := range c.members {
		c.stop(m)
	}
	before := len(c.leaders)
	c.start(first)
	c.run(10*time.Second, nil)
	if len(c.leaders) != before || len(first.core.Voters()) != 3 {
		t.Fatalf("it led alone in one of the terms %v, voters %+v", c.leaders, first.core.Voters())
	}
	c.start(c.members[1])
	c.run(10*time.Second, nil)
	if c.leader() == nil {
		t.Fatal("two of three do not elect a leader")
	}
	c.start(c.members[2])
	c.settle()
}

func TestStateFile(t *testing.T) {
	s := state{term: 5, vote: 7, commit: 9, installing: true, anchors: []anchor{
		{index: 3, term: 2, offset: 40, voters: []Voter{{ID: 1}, {ID: 2, DirectoryID: [16]byte{1, 2}}}},
	}}
	b := s.encode()
	got, err := decodeState(b)
	if err != nil || got.term != 5 || got.vote != 7 || got.commit != 9 || !got.installing ||
		got.anchors[0].offset != 40 || len(got.anchors[0].voters) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range b {
		bad := append([]byte(nil), b...)
		bad[i] ^= 0x10
		if _, err := decodeState(bad); err == nil {
			t.Fatalf("a flipped bit in byte %d is not seen", i)
		}
	}
	for i := range b {
		if _, err := decodeState(b[:i]); err == nil {
			t.Fatalf("%d of %d bytes are taken for a state", i, len(b))
		}
	}
}
