package raft

import (
	"bytes"
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"testing"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/storage"
)

var epoch0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const (
	testElection  = time.Second
	testHeartbeat = 100 * time.Millisecond
	testTick      = 50 * time.Millisecond
)

// member is one node of the test's cluster: a Core, its disk, and a state machine that is a digest
// of what was applied.
type member struct {
	self    Voter
	initial []Voter
	disk    *vfs.Mem
	fault   *vfs.Fault
	store   *storage.Store
	core    *Core
	digest  [32]byte
	index   uint64
	stalled time.Duration // how long the next write takes
	writing *Work
}

// packet is a message on its way, or a write that ends.
type packet struct {
	at  time.Time
	seq int
	m   *pb.Message
	fn  func()
}

type packets []packet

func (p packets) Len() int { return len(p) }
func (p packets) Less(i, j int) bool {
	return p[i].at.Before(p[j].at) || p[i].at.Equal(p[j].at) && p[i].seq < p[j].seq
}
func (p packets) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *packets) Push(x any)   { *p = append(*p, x.(packet)) }
func (p *packets) Pop() any {
	old := *p
	x := old[len(old)-1]
	*p = old[:len(old)-1]
	return x
}

// cluster drives members in one goroutine on a clock of its own.
type cluster struct {
	t       *testing.T
	rng     *rand.Rand
	clk     *clock.Manual
	members []*member
	queue   packets
	seq     int
	cut     map[uint64]bool // raft ids that no message reaches or leaves

	loss, twice float64
	delay       time.Duration
	crashes     bool // a disk operation may be the last before a crash

	leaders   map[uint64]uint64 // term to the leader's id with its directory
	committed map[uint64][32]byte
	digests   map[uint64][32]byte // of the state after an index
	seen      map[string]int      // events that a run should reach sometimes
	payload   int
}

func newCluster(t *testing.T, seed uint64, n int) *cluster {
	t.Helper()
	return newQuorum(t, seed, n, false)
}

// newQuorum is a cluster whose voters are static, which its members' directories are no part of, or not.
func newQuorum(t *testing.T, seed uint64, n int, static bool) *cluster {
	t.Helper()
	c := &cluster{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), clk: clock.NewManual(epoch0), cut: map[uint64]bool{},
		leaders: map[uint64]uint64{}, committed: map[uint64][32]byte{}, digests: map[uint64][32]byte{}, seen: map[string]int{},
		delay: 5 * time.Millisecond,
	}
	var voters []Voter
	for i := range n {
		voters = append(voters, c.voter(int32(i+1)))
	}
	initial := slices.Clone(voters)
	for i := range initial {
		if static {
			initial[i].DirectoryID = base.TopicID{}
		}
	}
	for _, v := range voters {
		c.members = append(c.members, &member{self: v, initial: initial, disk: vfs.NewMem()})
	}
	for _, m := range c.members {
		c.start(m)
	}
	t.Cleanup(func() {
		for _, m := range c.members {
			c.stop(m)
		}
	})
	return c
}

func (c *cluster) voter(id int32) Voter {
	v := Voter{ID: id}
	binary.BigEndian.PutUint64(v.DirectoryID[:], c.rng.Uint64())
	return v
}

var metadataPartition = base.TopicPartition{Topic: "__cluster_metadata"}

// boot opens a member on its disk. An error means that the disk failed while it did.
func (c *cluster) boot(m *member) error {
	m.fault = vfs.NewFault(m.disk)
	store, err := storage.Open(context.Background(), storage.Options{
		FS: m.fault, Clock: c.clk, Dirs: []string{"/data"}, NodeID: m.self.ID, Journal: storage.JournalOptions{Disabled: true},
	})
	if err != nil {
		return err
	}
	m.store = store
	log, ok := store.Log(metadataPartition)
	if !ok {
		cfg := storage.DefaultLogConfig()
		cfg.Delete, cfg.Compact = false, false
		if log, err = store.Create(metadataPartition, base.TopicID{15: 1}, cfg, "/data"); err != nil {
			return err
		}
	}
	if _, found, err := readState(m.fault, log.Path()); err == nil && !found && len(m.initial) == 0 {
		if err := FormatJoiner(m.fault, log.Path()); err != nil {
			return err
		}
	}
	m.core, err = Open(Options{
		Self: m.self, Voters: m.initial, Log: log, FS: m.fault, Dir: log.Path(), Election: testElection,
		Heartbeat: testHeartbeat, Rand: rand.New(rand.NewPCG(c.rng.Uint64(), 2)),
	}, c.clk.Now())
	if err != nil {
		return err
	}
	m.index, m.digest = 0, [32]byte{}
	if a := m.core.store.last(); a.index > 0 {
		c.restore(m, a.offset, int32(a.term), a.index)
	}
	return nil
}

func (c *cluster) start(m *member) {
	if err := c.boot(m); err != nil {
		c.t.Fatalf("node %d does not start: %v", m.self.ID, err)
	}
}

func (c *cluster) stop(m *member) {
	m.core, m.writing = nil, nil
	if m.store != nil {
		_ = m.store.Close() // the disk may have failed
		m.store = nil
	}
}

// crash cuts the power of a member and keeps some of what was not synced.
func (c *cluster) crash(m *member) {
	keep := []float64{0, 0.5, 1}[c.rng.IntN(3)]
	c.crashTo(m, m.disk.CrashClone(vfs.CrashOptions{KeepUnsynced: keep, Seed: c.rng.Uint64()}))
}

func (c *cluster) crashTo(m *member, left *vfs.Mem) {
	c.seen["crash"]++
	c.stop(m)
	m.disk = left
	c.start(m)
}

// snapshotPadding makes a snapshot several chunks long.
var snapshotPadding = bytes.Repeat([]byte("snapshot"), 70<<10)

func (c *cluster) snapshot(m *member) {
	if m.core == nil || m.core.busy || m.index == 0 {
		return
	}
	last := m.core.store.term(m.index)
	name := path.Join(m.core.store.dir, SnapshotName(m.core.AppliedEnd(), int32(last)))
	if err := vfs.WriteFile(m.fault, name, append(m.digest[:], snapshotPadding...)); err != nil {
		c.t.Fatal(err)
	}
	if err := m.core.Compact(m.core.AppliedEnd(), m.core.Voters()); err != nil && !errors.Is(err, ErrBusy) && m.index > m.core.store.last().index {
		c.t.Fatalf("node %d: compact: %v", m.self.ID, err)
	}
	c.seen["snapshot"]++
}

func (c *cluster) restore(m *member, offset int64, term int32, index uint64) {
	data, err := vfs.ReadFile(m.fault, path.Join(m.core.store.dir, SnapshotName(offset, term)), 1<<30)
	if err != nil {
		c.t.Fatalf("node %d has no snapshot at %d: %v", m.self.ID, offset, err)
	}
	copy(m.digest[:], data)
	if !bytes.Equal(data[32:], snapshotPadding) {
		c.t.Fatalf("node %d: the snapshot at %d is damaged", m.self.ID, offset)
	}
	m.index = index
	if want, ok := c.digests[index]; !ok || want != m.digest {
		c.t.Fatalf("node %d: the snapshot at index %d differs from what was applied", m.self.ID, index)
	}
}

func (c *cluster) post(after time.Duration, m *pb.Message, fn func()) {
	c.seq++
	heap.Push(&c.queue, packet{c.clk.Now().Add(after), c.seq, m, fn})
}

// send puts messages on their way as bytes, some of them lost, late or twice.
func (c *cluster) send(list []*pb.Message) {
	for _, m := range list {
		if c.cut[m.GetFrom()] || c.cut[m.GetTo()] {
			continue
		}
		raw, err := proto.Marshal(m)
		if err != nil {
			c.t.Fatal(err)
		}
		for range 2 {
			if c.rng.Float64() >= c.loss {
				var copied pb.Message
				if err := proto.Unmarshal(raw, &copied); err != nil {
					c.t.Fatal(err)
				}
				if m.GetType() == pb.MsgSnap {
					c.seen["snapshot chunk"]++
				}
				c.post(time.Duration(c.rng.Int64N(int64(c.delay)+1)), &copied, nil)
			}
			if c.rng.Float64() >= c.twice {
				break
			}
		}
	}
}

// pump does what a member has to do until there is no more, or a write takes time.
func (c *cluster) pump(m *member) {
	for m.core != nil && m.writing == nil {
		w, ok, err := m.core.Ready(c.clk.Now())
		if err != nil {
			c.t.Fatalf("node %d: %v", m.self.ID, err)
		}
		if !ok {
			return
		}
		c.send(w.Early)
		if m.stalled > 0 {
			core := m.core
			m.writing = w
			c.post(m.stalled, nil, func() {
				if m.core == core {
					m.writing = nil
					c.finish(m, w)
					c.pump(m)
				}
			})
			m.stalled = 0
			return
		}
		if !c.finish(m, w) {
			return
		}
	}
}

// finish writes, perhaps with the plug pulled in the middle, and applies.
func (c *cluster) finish(m *member, w *Work) bool {
	var left *vfs.Mem
	if c.crashes && c.rng.IntN(60) == 0 {
		at := m.fault.Ops() + 1 + c.rng.Int64N(12)
		keep, seed := []float64{0, 0.5, 1}[c.rng.IntN(3)], c.rng.Uint64()
		disk := m.disk
		m.fault.OnOp(func(op vfs.Op) {
			if op.N >= at && left == nil && op.Kind.Changes() {
				left = disk.CrashClone(vfs.CrashOptions{KeepUnsynced: keep, Seed: seed})
			}
		})
	}
	err := m.core.Write(w, c.clk.Now())
	if c.crashes {
		m.fault.OnOp(nil)
	}
	if err != nil {
		c.t.Fatalf("node %d: write: %v", m.self.ID, err)
	}
	if left != nil {
		c.seen["crash in a write"]++
		c.crashTo(m, left)
		return false
	}
	c.send(w.Late)
	if err := m.core.Advance(w); err != nil {
		c.t.Fatalf("node %d: %v", m.self.ID, err)
	}
	if w.Snapshot > 0 {
		c.seen["snapshot installed"]++
		c.restore(m, w.Snapshot, w.SnapshotEpoch, w.anchor.index)
	}
	for _, e := range w.Committed {
		c.apply(m, e)
	}
	c.check(m)
	return true
}

func (c *cluster) apply(m *member, e Committed) {
	if e.Index != m.index+1 {
		c.t.Fatalf("node %d applies index %d after %d", m.self.ID, e.Index, m.index)
	}
	sum := sha256.Sum256(e.Batch)
	if want, ok := c.committed[e.Index]; ok && want != sum {
		c.t.Fatalf("node %d: index %d, once committed, has another batch", m.self.ID, e.Index)
	}
	c.committed[e.Index] = sum
	m.index = e.Index
	m.digest = sha256.Sum256(append(m.digest[:], sum[:]...))
	if want, ok := c.digests[e.Index]; ok && want != m.digest {
		c.t.Fatalf("node %d: the state after index %d differs", m.self.ID, e.Index)
	}
	c.digests[e.Index] = m.digest
}

func (c *cluster) check(m *member) {
	if st := m.core.status(); m.core.IsLeader() {
		if other, ok := c.leaders[st.GetTerm()]; ok && other != m.self.RaftID() {
			c.t.Fatalf("term %d has two leaders", st.GetTerm())
		}
		c.leaders[st.GetTerm()] = m.self.RaftID()
	}
}

// run lets time pass.
func (c *cluster) run(d time.Duration, each func()) {
	for end := c.clk.Now().Add(d); c.clk.Now().Before(end); {
		next := c.clk.Now().Add(testTick)
		for len(c.queue) > 0 && !c.queue[0].at.After(next) {
			p := heap.Pop(&c.queue).(packet)
			if p.at.After(c.clk.Now()) {
				c.clk.Set(p.at)
			}
			if p.fn != nil {
				p.fn()
				continue
			}
			for _, m := range c.members {
				if m.core != nil && m.core.id == p.m.GetTo() && !c.cut[m.core.id] {
					if err := m.core.Step(p.m, c.clk.Now()); err != nil {
						c.t.Fatalf("node %d: %v", m.self.ID, err)
					}
					c.pump(m)
				}
			}
		}
		c.clk.Set(next)
		for _, m := range c.members {
			if m.core == nil {
				continue
			}
			if err := m.core.Tick(next); err != nil {
				c.t.Fatalf("node %d: %v", m.self.ID, err)
			}
			c.pump(m)
		}
		if each != nil {
			each()
		}
	}
}

func (c *cluster) leader() *member {
	for _, m := range c.members {
		if m.core != nil && m.core.Ruling() && !c.cut[m.core.id] {
			return m
		}
	}
	return nil
}

// propose gives whoever leads something to replicate.
func (c *cluster) propose() bool {
	m := c.leader()
	if m == nil {
		return false
	}
	b := batch.NewBuilder(batch.Options{})
	for range 1 + c.rng.IntN(3) {
		c.payload++
		b.Append(c.clk.Now().UnixMilli(), nil, fmt.Appendf(nil, "value %d", c.payload))
	}
	whole, err := b.Build()
	if err != nil {
		c.t.Fatal(err)
	}
	err = m.core.Propose(append(batch.Batch(nil), whole...))
	if err != nil && !errors.Is(err, ErrNotLeader) {
		c.t.Fatal(err)
	}
	c.pump(m)
	return err == nil
}

// settle heals everything and demands that all members come to the same.
func (c *cluster) settle() {
	c.t.Helper()
	c.loss, c.twice, c.crashes, c.delay = 0, 0, false, 5*time.Millisecond
	clear(c.cut)
	c.run(20*time.Second, nil)
	if !c.propose() {
		c.t.Fatal("nobody leads a healed cluster")
	}
	c.run(5*time.Second, nil)
	want := c.leader()
	if want == nil {
		c.t.Fatal("the leader is lost without a fault")
	}
	for _, m := range c.members {
		if m.core == nil {
			continue
		}
		if m.index != want.index || m.digest != want.digest {
			c.t.Fatalf("node %d is at index %d, the leader at %d", m.self.ID, m.index, want.index)
		}
		if m.core.store.log.EndOffset() != want.core.store.log.EndOffset() {
			c.t.Fatalf("node %d ends at offset %d, the leader at %d", m.self.ID, m.core.store.log.EndOffset(), want.core.store.log.EndOffset())
		}
	}
}

// join starts a member on an empty disk and has the leader propose it as a voter.
func (c *cluster) join(self Voter) *member {
	c.t.Helper()
	m := &member{self: self, disk: vfs.NewMem()}
	c.members = append(c.members, m)
	c.start(m)
	lead := c.leader()
	if err := lead.core.ProposeVoters(append(lead.core.Voters(), m.self), c.clk.Now()); err != nil {
		c.t.Fatal(err)
	}
	c.pump(lead)
	return m
}
