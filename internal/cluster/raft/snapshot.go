package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"time"

	etcd "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// Bounds of a transfer.
const (
	snapshotChunk    = 256 << 10
	maxSnapshotBytes = 1 << 30
	incomingFile     = "incoming-snapshot.part"
)

// SnapshotName is the file of a snapshot, as Kafka names it.
func SnapshotName(offset int64, epoch int32) string {
	return fmt.Sprintf("%020d-%010d.checkpoint", offset, epoch)
}

// withFoundersFlag, in the length of an anchor's voters, says that the founders follow in the same form.
const withFoundersFlag = 1 << 31

// appendAnchor is what a message and the file say about a snapshot.
func appendAnchor(b []byte, a *anchor) []byte {
	b = binary.BigEndian.AppendUint64(b, a.index)
	b = binary.BigEndian.AppendUint64(b, a.term)
	b = binary.BigEndian.AppendUint64(b, uint64(a.offset))
	voters := appendVoters(nil, a.voters)
	if len(a.founders) == 0 {
		return append(binary.BigEndian.AppendUint32(b, uint32(len(voters))), voters...)
	}
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(voters))|withFoundersFlag), voters...)
	founders := appendVoters(nil, a.founders)
	return append(binary.BigEndian.AppendUint32(b, uint32(len(founders))), founders...)
}

func (f *fields) anchor() (a anchor, err error) {
	a = anchor{index: f.u64(), term: f.u64(), offset: int64(f.u64())}
	size := f.u32()
	raw := f.take(int(size &^ withFoundersFlag))
	var founders []byte
	if size&withFoundersFlag != 0 {
		founders = f.take(int(f.u32()))
	}
	if f.bad || a.offset < 0 || a.term > 1<<31-1 {
		return a, errors.New("a snapshot's description is damaged")
	}
	if len(founders) > 0 {
		if a.founders, err = readVoters(founders); err != nil {
			return a, err
		}
	}
	voters, err := readVoters(raw)
	a.voters = withFounders(voters, a.founders)
	return a, err
}

// outgoing is a snapshot on its way to a follower, one chunk at a time.
type outgoing struct {
	snap  *pb.Snapshot
	name  string
	size  int64
	acked int64
	heard time.Time // the last progress
	sent  time.Time
}

// incoming is a snapshot on its way here.
type incoming struct {
	from  uint64
	index uint64
	term  uint64
	got   int64
	file  vfs.File
}

// beginTransfer takes the place of a MsgSnap of raft's.
func (c *Core) beginTransfer(m *pb.Message) error {
	f := fields{b: m.GetSnapshot().GetData()}
	a, err := f.anchor()
	if err != nil {
		return err
	}
	name := path.Join(c.store.dir, SnapshotName(a.offset, int32(a.term)))
	info, err := c.store.fs.Stat(name)
	if err != nil {
		c.node.ReportSnapshot(m.GetTo(), etcd.SnapshotFailure)
		return nil //nolint:nilerr // a newer one takes its place; raft asks again
	}
	if old := c.out[m.GetTo()]; old == nil || old.name != name {
		c.out[m.GetTo()] = &outgoing{snap: m.GetSnapshot(), name: name, size: info.Size(), heard: c.now}
	}
	return c.sendChunk(m.GetTo())
}

// sendChunk sends what the follower has not acknowledged yet.
func (c *Core) sendChunk(to uint64) error {
	t := c.out[to]
	file, err := c.store.fs.Open(t.name)
	if err != nil {
		c.endTransfer(to, etcd.SnapshotFailure)
		return nil //nolint:nilerr // as above
	}
	defer file.Close()
	data := append([]byte(nil), t.snap.GetData()...)
	data = binary.BigEndian.AppendUint64(data, uint64(t.acked))
	data = binary.BigEndian.AppendUint64(data, uint64(t.size))
	chunk := make([]byte, min(snapshotChunk, t.size-t.acked))
	if _, err := file.ReadAt(chunk, t.acked); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", t.name, err)
	}
	t.sent = c.now
	c.post(&pb.Message{
		Type: pb.MsgSnap.Enum(), To: new(to), From: new(c.id), Term: new(c.status().GetTerm()),
		Snapshot: &pb.Snapshot{Metadata: t.snap.GetMetadata(), Data: append(data, chunk...)},
	})
	return nil
}

func (c *Core) endTransfer(to uint64, status etcd.SnapshotStatus) {
	delete(c.out, to)
	c.node.ReportSnapshot(to, status)
}

// tickTransfers repeats chunks that were lost, and gives up on who does not answer.
func (c *Core) tickTransfers() error {
	for _, id := range sortedKeys(c.out) {
		t := c.out[id]
		switch {
		case !c.IsLeader():
			delete(c.out, id)
		case c.now.Sub(t.heard) > 10*c.opts.Election:
			c.endTransfer(id, etcd.SnapshotFailure)
		case c.now.Sub(t.sent) >= c.opts.Election:
			if err := c.sendChunk(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// onChunkAck takes in how much of a snapshot a follower has.
func (c *Core) onChunkAck(m *pb.Message) error {
	t := c.out[m.GetFrom()]
	if t == nil || !c.IsLeader() || m.GetRejectHint() != t.snap.GetMetadata().GetIndex() {
		return nil
	}
	got := int64(m.GetIndex())
	if got <= t.acked && t.size > 0 || got > t.size {
		return nil
	}
	t.acked, t.heard = got, c.now
	if t.acked == t.size {
		c.endTransfer(m.GetFrom(), etcd.SnapshotFinish)
		return nil
	}
	return c.sendChunk(m.GetFrom())
}

// onChunk takes in a part of a snapshot. With the last one raft is told of the whole.
func (c *Core) onChunk(m *pb.Message) error {
	f := fields{b: m.GetSnapshot().GetData()}
	a, err := f.anchor()
	pos, size := int64(f.u64()), int64(f.u64())
	if err != nil || f.bad || pos < 0 || size > maxSnapshotBytes || pos+int64(len(f.b)) > size {
		return nil //nolint:nilerr // a damaged message is a lost one
	}
	if m.GetTerm() < c.status().GetTerm() || c.busy {
		return nil
	}
	in := c.in
	if in == nil || in.from != m.GetFrom() || in.index != a.index || in.term != a.term {
		if pos != 0 {
			return nil
		}
		c.dropIncoming()
		file, err := c.store.fs.Create(path.Join(c.store.dir, incomingFile))
		if err != nil {
			return err
		}
		in = &incoming{from: m.GetFrom(), index: a.index, term: a.term, file: file}
		c.in = in
	}
	if pos == in.got {
		if _, err := in.file.WriteAt(f.b, pos); err != nil {
			return err
		}
		in.got += int64(len(f.b))
	}
	c.lastHeard = c.now
	c.post(&pb.Message{
		Type: pb.MsgSnapStatus.Enum(), To: m.From, From: new(c.id), Index: new(uint64(in.got)), RejectHint: new(a.index),
	})
	if in.got < size {
		return nil
	}
	if err := in.file.Sync(); err != nil {
		return err
	}
	err = errors.Join(in.file.Close(),
		c.store.fs.Rename(path.Join(c.store.dir, incomingFile), path.Join(c.store.dir, SnapshotName(a.offset, int32(a.term)))),
		c.store.fs.SyncDir(c.store.dir))
	c.in = nil
	if err != nil {
		return err
	}
	whole := &pb.Message{
		Type: pb.MsgSnap.Enum(), To: m.To, From: m.From, Term: m.Term,
		Snapshot: &pb.Snapshot{Metadata: c.metadata(&a), Data: appendAnchor(nil, &a)},
	}
	return c.stepRaw(whole)
}

// metadata is what raft is told of a snapshot. Raft takes none that does not name the node: one that
// is older than the node's own membership has it as a learner, which only this node knows and which
// ends when it applies that it is a voter.
func (c *Core) metadata(a *anchor) *pb.SnapshotMetadata {
	conf := a.confState()
	if !slices.Contains(conf.GetVoters(), c.id) {
		conf.Learners = []uint64{c.id}
	}
	return &pb.SnapshotMetadata{Index: new(a.index), Term: new(a.term), ConfState: conf}
}

func (c *Core) dropIncoming() {
	if c.in != nil {
		_ = c.in.file.Close() // its content is not used
		c.in = nil
	}
}
