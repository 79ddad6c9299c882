package raft

import (
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/logstead/logstead/internal/kit/base"
)

// A stamp says which directory a message is from, and which one it is for where the sender knows. It is a field that raft
// does not know, and a build without stamps ignores it.
const (
	stampField   = 100
	stampBytes   = 33
	stampUpgrade = 1 // flag: the sender's log has the upgrade to kraft.version 1
)

// stamp puts this node's stamp on a message.
func (c *Core) stamp(m *pb.Message) {
	if c.opts.Self.DirectoryID.IsZero() {
		return
	}
	to, flags := c.heardOn[m.GetTo()], byte(0)
	if bound, ok := c.bound(m.GetTo()); ok {
		to, flags = bound, stampUpgrade
	}
	s := append(append(append([]byte(nil), c.opts.Self.DirectoryID[:]...), to[:]...), flags)
	m.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, stampField, protowire.BytesType), s))
}

// post hands out a message that is not raft's own.
func (c *Core) post(m *pb.Message) {
	c.stamp(m)
	c.extra = append(c.extra, m)
}

// stampOf is the stamp of a message; zeros where it has none.
func stampOf(m *pb.Message) (from, to base.TopicID, flags byte) {
	for b := []byte(m.ProtoReflect().GetUnknown()); len(b) > 0; {
		num, kind, n := protowire.ConsumeField(b)
		if n < 0 {
			return from, to, flags
		}
		if num == stampField && kind == protowire.BytesType {
			_, _, tag := protowire.ConsumeTag(b)
			if s, _ := protowire.ConsumeBytes(b[tag:]); len(s) == stampBytes {
				copy(from[:], s)
				copy(to[:], s[16:])
				flags = s[32]
			}
		}
		b = b[n:]
	}
	return from, to, flags
}

// bound is the directory that an id without one belongs to, once this node has the upgrade: even before it knows that
// it is committed, for to ignore somebody is always safe.
func (c *Core) bound(id uint64) (dir base.TopicID, ok bool) {
	if id>>32 != 0 {
		return dir, false
	}
	founders := c.founders
	if len(founders) == 0 {
		c.store.mu.Lock()
		founders = c.store.mu.upgrade.voters
		c.store.mu.Unlock()
	}
	for _, f := range founders {
		if f.ID == NodeID(id) {
			return f.DirectoryID, true
		}
	}
	return dir, false
}

// admit says whether a message counts: one from another directory than the one that its sender's id belongs to does
// not, nor does one that is meant for another directory than this node's.
//
// In a static quorum ids belong to no directory, and a node may come back with an empty one. A leader that has counted what
// the old directory held must not go on with that: it ends its term, and the next leader asks anew.
func (c *Core) admit(m *pb.Message) bool {
	from, to, flags := stampOf(m)
	if self := c.opts.Self.DirectoryID; !to.IsZero() && !self.IsZero() && to != self {
		if flags&stampUpgrade != 0 && !c.warned {
			c.warned = true
			c.opts.Logger.Error("this controller is none of the quorum: it was there with another directory; remove that one, "+
				"format this one with --no-initial-controllers, and add it", "node", c.opts.Self.ID, "directory", self.String(), "was", to.String())
		}
		return false
	}
	if bound, ok := c.bound(m.GetFrom()); ok {
		return from == bound
	}
	if m.GetFrom()>>32 != 0 || from.IsZero() {
		return true
	}
	before, known := c.heardOn[m.GetFrom()]
	c.heardOn[m.GetFrom()] = from
	if known && before != from && c.IsLeader() {
		c.StepDown()
	}
	return true
}

// HeardOn is the directory that a node of a static quorum last spoke from; zero where it did not say.
func (c *Core) HeardOn(node int32) base.TopicID {
	if node == c.opts.Self.ID {
		return c.opts.Self.DirectoryID
	}
	return c.heardOn[Voter{ID: node}.RaftID()]
}
