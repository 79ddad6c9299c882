package raft

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	etcd "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/storage"
)

// Bounds of replication.
const (
	maxMessageBytes     = 1 << 20   // of entries in a message, but for one entry larger than that
	maxInflightMessages = 64        // to a follower
	maxInflightBytes    = 32 << 20  // to a follower
	maxUncommittedBytes = 256 << 20 // of a leader
	maxCommittedBytes   = 4 << 20   // handed out to be applied at a time
)

// Message is what voters send each other.
type Message = pb.Message

// Transport carries messages to other voters. It may lose, delay, repeat and reorder them, and must
// not block. The messages must not be changed.
type Transport interface {
	Send(msgs []*pb.Message)
}

// Options are what Open needs.
type Options struct {
	Self Voter
	// Voters are those that a log without any begins with; none for a node that is to be added.
	Voters []Voter
	Log    *storage.Log
	FS     vfs.FS
	Dir    string // of the log
	// Election is how long a follower waits for its leader (controller.quorum.election.timeout.ms),
	// and at most twice as long. Heartbeat is at most a third of it.
	Election, Heartbeat time.Duration
	Rand                *rand.Rand // the jitter of elections
	MinEpoch            int32      // the highest epoch that is known from elsewhere
	Logger              *slog.Logger
}

// ErrNotLeader is what a proposal comes to on a node that does not lead.
var ErrNotLeader = kerr.NotController

// Core is one member of the quorum.
type Core struct {
	opts  Options
	id    uint64
	store *store
	node  *etcd.RawNode

	now      time.Time
	conf     *pb.ConfState
	voters   []Voter // as of what is applied
	applied  uint64
	end      int64 // the offset after what is applied
	ledTerm  uint64
	leadFrom uint64            // the index that began the term that this node leads
	changing uint64            // the index of the newest change of the voters that was handed out
	last     uint64            // the newest index that was handed out
	formEnd  int64             // the offset after the newest entry that was handed out
	unformed int64             // records proposed since
	formed   map[uint64][]byte // the batches of entries for which raft has another content

	lastHeard time.Time // of the leader, or the vote given
	followed  followed
	patience  time.Duration
	nextBeat  time.Time
	busy      bool // between Ready and Advance
	busySince time.Time

	founders   []Voter                 // see anchor
	upgradeEnd int64                   // whose log ends here, or further on, has the upgrade; 0 where there was none
	heardOn    map[uint64]base.TopicID // the directory that each node last spoke from, by raft id
	warned     bool                    // that this node's directory is another than the quorum's

	out   map[uint64]*outgoing
	in    *incoming
	extra []*pb.Message

	followers map[uint64]*contact // of a leader
}

// Committed is a batch that all agree on.
type Committed struct {
	Index uint64
	Batch batch.Batch // must not be changed
}

// Work is what a Ready asks for, in this order: send Early, Write, send Late, apply what is committed.
type Work struct {
	Early, Late []*pb.Message
	// Snapshot, if not 0, is the end offset of the snapshot that takes the place of everything
	// applied so far; SnapshotEpoch is its epoch.
	Snapshot      int64
	SnapshotEpoch int32
	Committed     []Committed

	ready   etcd.Ready
	entries []*pb.Entry
	anchor  anchor
}

// Open finds what the last run left. A quorum of one leads after the first Ready.
func Open(o Options, now time.Time) (*Core, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Heartbeat <= 0 || o.Election < 3*o.Heartbeat {
		return nil, fmt.Errorf("election time-out %v and heartbeat %v: want at least three heartbeats", o.Election, o.Heartbeat)
	}
	sortVoters(o.Voters)
	c := &Core{
		opts: o, now: now, lastHeard: now, nextBeat: now,
		formed: map[uint64][]byte{}, out: map[uint64]*outgoing{}, heardOn: map[uint64]base.TopicID{},
	}
	alone := len(o.Voters) == 1 && o.Voters[0].Covers(o.Self)
	var err error
	if c.store, err = openStore(o.Log, o.FS, o.Dir, o.Voters, alone); err != nil {
		return nil, err
	}
	if st := &c.store.mu.state; st.term < uint64(max(o.MinEpoch, 0)) {
		st.term, st.vote = uint64(o.MinEpoch), 0
	}
	a := c.store.last()
	c.beginAt(a)
	c.id = c.ownID()
	c.last, c.formEnd = c.store.lastIndex(), o.Log.EndOffset()
	c.node, err = etcd.NewRawNode(&etcd.Config{
		ID: c.id, ElectionTick: int(o.Election / o.Heartbeat), HeartbeatTick: 1, Storage: c.store, Applied: a.index,
		MaxSizePerMsg: maxMessageBytes, MaxCommittedSizePerReady: maxCommittedBytes,
		MaxUncommittedEntriesSize: maxUncommittedBytes, MaxInflightMsgs: maxInflightMessages,
		MaxInflightBytes: maxInflightBytes, CheckQuorum: true, PreVote: true, DisableProposalForwarding: true,
		StepDownOnRemoval: true, Logger: raftLogger{o.Logger},
	})
	if err != nil {
		return nil, err
	}
	c.drawPatience()
	if c.sole() {
		c.patience = 0
	}
	return c, nil
}

// beginAt takes in what a snapshot says.
func (c *Core) beginAt(a *anchor) {
	c.applied, c.voters, c.founders, c.conf, c.end = a.index, a.voters, a.founders, a.confState(), a.offset
	if c.upgradeEnd = 0; len(a.founders) > 0 {
		c.upgradeEnd = a.offset // it is somewhere below
	}
}

// sole reports whether this node is all of the quorum. Nobody could take over from it then, and what it was asked while its disk
// stood would fail for nothing: Kafka's LeaderState does not have the only voter resign either.
func (c *Core) sole() bool {
	voters := c.conf.GetVoters()
	return len(voters) == 1 && voters[0] == c.id && len(c.conf.GetVotersOutgoing()) == 0
}

func (c *Core) drawPatience() {
	c.patience = c.opts.Election + time.Duration(c.opts.Rand.Int64N(int64(c.opts.Election)))
}

func (c *Core) status() etcd.BasicStatus { return c.node.BasicStatus() }

// IsLeader reports whether this node leads.
func (c *Core) IsLeader() bool { return c.status().RaftState == etcd.StateLeader }

// Leader is the node that leads, -1 for none, and the epoch.
func (c *Core) Leader() (id, epoch int32) {
	st := c.status()
	if st.Lead == etcd.None {
		return -1, int32(st.GetTerm())
	}
	return NodeID(st.Lead), int32(st.GetTerm())
}

// Ruling reports whether this node leads and has applied all that was written before its term.
func (c *Core) Ruling() bool { return c.IsLeader() && c.leadFrom > 0 && c.applied >= c.leadFrom }

// Voters are the voters as of what is applied.
func (c *Core) Voters() []Voter { return c.voters }

// NextOffset is the offset that the next record proposed here gets, as far as this node can tell: what
// raft adds by itself, at the end of a joint change of the voters, comes before it.
func (c *Core) NextOffset() int64 { return c.formEnd + c.unformed }

// AppliedEnd is the offset after the last committed batch that was handed out.
func (c *Core) AppliedEnd() int64 { return c.end }

// LastIndex is the newest index that a Ready has handed out to be written.
func (c *Core) LastIndex() uint64 { return c.last }

// AppliedIndex is the newest index that was handed out to be applied.
func (c *Core) AppliedIndex() uint64 { return c.applied }

// observe notes what a step of raft has changed.
func (c *Core) observe() {
	if st := c.status(); st.RaftState == etcd.StateLeader && c.ledTerm != st.GetTerm() {
		c.ledTerm, c.leadFrom, c.nextBeat = st.GetTerm(), 0, c.now
		c.followers = map[uint64]*contact{}
	}
}

// Step takes in a message from another voter. An error is of this node's disk.
func (c *Core) Step(m *pb.Message, now time.Time) error {
	c.now = now
	if m.GetTo() != c.id || !c.admit(m) {
		return nil // for whoever had this id, or this address, before, or from such a one
	}
	switch m.GetType() {
	case pb.MsgSnap:
		return c.onChunk(m)
	case pb.MsgSnapStatus:
		return c.onChunkAck(m)
	case pb.MsgApp:
		if !wellFormed(m.GetEntries()) {
			return nil
		}
	case pb.MsgAppResp, pb.MsgHeartbeat, pb.MsgHeartbeatResp, pb.MsgVote, pb.MsgVoteResp, pb.MsgPreVote, pb.MsgPreVoteResp,
		pb.MsgTimeoutNow:
	default:
		return nil // nothing that comes from others
	}
	return c.stepRaw(m)
}

func (c *Core) stepRaw(m *pb.Message) error {
	err := c.node.Step(m)
	c.observe()
	c.note(m)
	if st := c.status(); st.Lead == m.GetFrom() && st.Lead != etcd.None && st.RaftState == etcd.StateFollower {
		c.lastHeard = c.now
		c.followed = followed{st.Lead, c.now}
	}
	if err != nil && !errors.Is(err, etcd.ErrStepPeerNotFound) && !errors.Is(err, etcd.ErrProposalDropped) {
		return fmt.Errorf("raft: %w", err)
	}
	return nil
}

// wellFormed checks entries that came over the network.
func wellFormed(entries []*pb.Entry) bool {
	for _, e := range entries {
		b, rest, err := batch.Next(e.GetData())
		if err != nil || len(rest) > 0 || b.CheckCRC() != nil || uint64(b.LeaderEpoch()) != e.GetTerm() {
			return false
		}
		_, voters, err := votersOf(b)
		if err != nil || voters != (e.GetType() == pb.EntryConfChangeV2) {
			return false
		}
	}
	return true
}

// Tick lets time pass. It should come several times in a heartbeat.
func (c *Core) Tick(now time.Time) error {
	c.now = now
	if c.IsLeader() {
		if c.busy && now.Sub(c.busySince) >= c.opts.Election && !c.sole() {
			c.StepDown()
			return nil
		}
		if !now.Before(c.nextBeat) {
			c.nextBeat = now.Add(c.opts.Heartbeat)
			c.node.Tick()
			if !c.IsLeader() { // it has not heard of a majority
				c.lastHeard = now
				c.drawPatience()
			}
		}
		return c.tickTransfers()
	}
	clear(c.out)
	quiet := now.Sub(c.lastHeard)
	if quiet >= c.opts.Election && c.status().Lead != etcd.None {
		_ = c.node.ForgetLeader() // it cannot fail on a follower, and others do nothing
	}
	if quiet >= c.patience && !c.busy && c.IsVoter() {
		c.lastHeard = now
		c.drawPatience()
		err := c.node.Campaign()
		c.observe()
		if err != nil {
			return fmt.Errorf("raft: %w", err)
		}
	}
	return nil
}

// StepDown ends this node's leadership with its term.
func (c *Core) StepDown() {
	if !c.IsLeader() {
		return
	}
	term := c.status().GetTerm() + 1
	_ = c.node.Step(&pb.Message{Type: pb.MsgAppResp.Enum(), From: new(c.id), To: new(c.id), Term: new(term)})
	c.lastHeard = c.now
	c.drawPatience()
}

// Propose has a batch replicated. Base offset and epoch are set in b, which belongs to the Core from
// now on.
func (c *Core) Propose(b batch.Batch) error {
	if !c.IsLeader() {
		return ErrNotLeader
	}
	if err := c.proposed(c.node.Propose(b)); err != nil {
		return err
	}
	c.unformed += int64(b.LastOffset()-b.BaseOffset()) + 1
	return nil
}

// ProposeVoters has the set of voters replaced.
func (c *Core) ProposeVoters(voters []Voter, now time.Time) error {
	if !c.IsLeader() {
		return ErrNotLeader
	}
	voters = withFounders(voters, c.founders)
	sortVoters(voters)
	changes := difference(c.voters, voters)
	if len(changes) == 0 { // addresses
		changes = []*pb.ConfChangeSingle{{Type: pb.ConfChangeUpdateNode.Enum(), NodeId: new(c.id)}}
	}
	return c.proposed(c.node.ProposeConfChange(&pb.ConfChangeV2{Changes: changes, Context: votersBatch(voters, now.UnixMilli())}))
}

func (c *Core) proposed(err error) error {
	if errors.Is(err, etcd.ErrProposalDropped) {
		return ErrNotLeader
	}
	return err
}

// Ready is what there is to do, ok is false for nothing. Nothing more is handed out before Advance.
func (c *Core) Ready(now time.Time) (w *Work, ok bool, err error) {
	c.now = now
	if c.busy {
		return nil, false, nil
	}
	if !c.node.HasReady() {
		if len(c.extra) == 0 {
			return nil, false, nil
		}
		w = &Work{Early: c.extra}
		c.extra = nil
		return w, true, nil
	}
	rd := c.node.Ready()
	c.busy, c.busySince = true, now
	w = &Work{ready: rd, Early: c.extra}
	c.extra = nil
	if w.entries, err = c.form(rd.Entries, now); err != nil {
		return nil, false, err
	}
	if !etcd.IsEmptySnap(rd.Snapshot) {
		f := fields{b: rd.Snapshot.GetData()}
		if w.anchor, err = f.anchor(); err != nil {
			return nil, false, err
		}
		w.Snapshot, w.SnapshotEpoch = w.anchor.offset, int32(w.anchor.term)
		c.last, c.formEnd, c.unformed = w.anchor.index, w.anchor.offset, 0
	}
	if n := len(w.entries); n > 0 {
		c.last = w.entries[n-1].GetIndex()
	}
	return w, true, c.sort(w)
}

// sort prepares the messages and says which may go out before the write: what a leader replicates
// under a term that is on its disk.
func (c *Core) sort(w *Work) error {
	early := c.IsLeader() && (w.ready.HardState == nil || !w.ready.MustSync || len(w.ready.Entries) > 0 && c.hardSaved(w.ready.HardState))
	for _, m := range w.ready.Messages {
		switch m.GetType() {
		case pb.MsgSnap:
			if err := c.beginTransfer(m); err != nil {
				return err
			}
			continue
		case pb.MsgApp:
			m = c.withBatches(m)
		case pb.MsgVoteResp:
			if !m.GetReject() {
				c.lastHeard = c.now
			}
		default:
		}
		c.stamp(m)
		if early && (m.GetType() == pb.MsgApp || m.GetType() == pb.MsgHeartbeat) {
			w.Early = append(w.Early, m)
		} else {
			w.Late = append(w.Late, m)
		}
	}
	w.Late = append(w.Late, c.extra...)
	c.extra = nil
	return nil
}

func (c *Core) hardSaved(hs *pb.HardState) bool {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	return hs.GetTerm() == c.store.mu.state.term && hs.GetVote() == c.store.mu.state.vote
}

// form gives the entries of this node's own term their batches, offsets and epoch.
func (c *Core) form(entries []*pb.Entry, now time.Time) ([]*pb.Entry, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	c.store.mu.Lock()
	next := c.store.endOf(entries[0].GetIndex() - 1)
	c.store.mu.Unlock()
	list := make([]*pb.Entry, 0, len(entries))
	for _, e := range entries {
		b := batch.Batch(e.GetData())
		if e.GetTerm() == c.ledTerm {
			var err error
			if b, err = c.ownBatch(e, now); err != nil {
				return nil, err
			}
			b.SetBaseOffset(next)
			b.SetLeaderEpoch(int32(e.GetTerm()))
			if c.leadFrom == 0 {
				c.leadFrom = e.GetIndex()
			}
			c.formed[e.GetIndex()] = b
		}
		if _, upgrades, _ := upgradeOf(b); upgrades || e.GetType() == pb.EntryConfChangeV2 {
			c.changing = e.GetIndex()
		}
		next = b.LastOffset() + 1
		list = append(list, &pb.Entry{Term: e.Term, Index: e.Index, Type: e.Type, Data: b})
	}
	c.formEnd, c.unformed = next, 0
	return list, nil
}

// ownBatch is the batch of an entry that this node has proposed, or raft for it.
func (c *Core) ownBatch(e *pb.Entry, now time.Time) (batch.Batch, error) {
	switch {
	case e.GetType() == pb.EntryConfChangeV2 && len(e.GetData()) == 0: // a joint configuration ends
		return votersBatch(c.voters, now.UnixMilli()), nil
	case e.GetType() == pb.EntryConfChangeV2:
		var cc pb.ConfChangeV2
		if err := unmarshal(e.GetData(), &cc); err != nil {
			return nil, fmt.Errorf("own change of voters: %w", err)
		}
		return cc.GetContext(), nil
	case len(e.GetData()) == 0:
		return leaderBatch(c.opts.Self.ID, c.voters, now.UnixMilli()), nil
	}
	return e.GetData(), nil
}

// withBatches is a message with the batches as they are in the log.
func (c *Core) withBatches(m *pb.Message) *pb.Message {
	var entries []*pb.Entry
	for i, e := range m.GetEntries() {
		b, ok := c.formed[e.GetIndex()]
		if !ok || e.GetTerm() != c.ledTerm {
			continue
		}
		if entries == nil {
			entries = slices.Clone(m.GetEntries())
		}
		entries[i] = &pb.Entry{Term: e.Term, Index: e.Index, Type: e.Type, Data: b}
	}
	if entries == nil {
		return m
	}
	return &pb.Message{
		Type: m.Type, To: m.To, From: m.From, Term: m.Term, LogTerm: m.LogTerm, Index: m.Index, Commit: m.Commit, Entries: entries,
	}
}

// Write makes durable what must be. It may run on another goroutine. After an error the node is done.
func (c *Core) Write(w *Work, now time.Time) error {
	first := ^uint64(0)
	if len(w.entries) > 0 {
		first = w.entries[0].GetIndex()
	}
	if hs := w.ready.HardState; hs != nil {
		if err := c.store.saveHard(hs, first); err != nil {
			return fmt.Errorf("write term and vote: %w", err)
		}
	}
	if w.Snapshot > 0 {
		if err := c.store.install(w.anchor); err != nil {
			return fmt.Errorf("install a snapshot: %w", err)
		}
	}
	if len(w.entries) > 0 {
		if err := c.store.write(w.entries, now); err != nil {
			return fmt.Errorf("write to the metadata log: %w", err)
		}
		if err := c.store.log.Sync(); err != nil {
			return err
		}
		if err := c.store.setMark(w.entries[len(w.entries)-1].GetIndex()); err != nil {
			return err
		}
	}
	for _, e := range slices.Backward(w.ready.CommittedEntries) {
		_, upgrades, _ := upgradeOf(e.GetData())
		if !upgrades && e.GetType() != pb.EntryConfChangeV2 {
			continue
		}
		// Nobody may act on a change of the voters that a restart would not know of: among those of
		// before, it could find a majority that is none.
		if err := c.store.saveCommit(e.GetIndex(), upgrades); err != nil {
			return fmt.Errorf("write that the voters changed: %w", err)
		}
		break
	}
	return nil
}

// Advance ends the work of a Ready after its Write and fills in what it has committed.
func (c *Core) Advance(w *Work) error {
	if !c.busy {
		return nil
	}
	if w.Snapshot > 0 {
		c.beginAt(&w.anchor)
	}
	for _, e := range w.ready.CommittedEntries {
		b, err := c.committed(e)
		if err != nil {
			return err
		}
		w.Committed = append(w.Committed, Committed{e.GetIndex(), b})
		c.applied, c.end = e.GetIndex(), b.LastOffset()+1
		delete(c.formed, e.GetIndex())
	}
	c.store.log.SetHighWatermark(c.end)
	c.busy = false
	c.node.Advance(w.ready)
	c.observe()
	maps.DeleteFunc(c.formed, func(i uint64, _ []byte) bool { return i <= c.applied })
	return nil
}

// committed is the batch of a committed entry; a change of the voters takes effect.
func (c *Core) committed(e *pb.Entry) (batch.Batch, error) {
	b := batch.Batch(e.GetData())
	if own, ok := c.formed[e.GetIndex()]; ok && e.GetTerm() == c.ledTerm {
		b = own
	}
	if e.GetType() != pb.EntryConfChangeV2 {
		return b, c.applyUpgrade(b)
	}
	voters, _, err := votersOf(b)
	if err != nil {
		return nil, err
	}
	voters = withFounders(voters, c.founders)
	joint := len(c.conf.GetVotersOutgoing()) > 0
	switch changes := difference(c.voters, voters); {
	case joint:
		c.conf = c.node.ApplyConfChange(&pb.ConfChangeV2{})
	case len(c.conf.GetVoters()) == 0: // it does not know who was there before it
		c.learnVoters(changes)
	case len(changes) > 0:
		c.conf = c.node.ApplyConfChange(&pb.ConfChangeV2{Changes: changes})
	}
	c.voters = voters
	return b, nil
}

// ErrBusy says that a snapshot cannot take the place of the log now.
var ErrBusy = errors.New("the quorum is writing or changing its voters")

// Compact lets the log begin at offset, of which a snapshot is in place: where what is applied ends, or
// ended before. voters are those as of then, when no change of them was under way.
func (c *Core) Compact(offset int64, voters []Voter) error {
	if c.busy || len(c.conf.GetVotersOutgoing()) > 0 || offset > c.end {
		return ErrBusy
	}
	return c.store.compact(offset, voters, c.founders)
}

func sortedKeys[V any](m map[uint64]V) []uint64 { return slices.Sorted(maps.Keys(m)) }
