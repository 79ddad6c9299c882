package raft

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Voter is one controller of the quorum. Without a directory id (a static quorum) it is known by
// its node id alone.
type Voter struct {
	ID          int32
	DirectoryID base.TopicID
	Endpoints   []kmsg.VotersRecordEndpoint
	// Founder is one of a static quorum that became one of kraft.version 1, still on that directory: raft goes on
	// knowing it by its node id alone, as it did before.
	Founder bool
}

// Is says whether both are the same node with the same directory.
func (v Voter) Is(o Voter) bool { return v.ID == o.ID && v.DirectoryID == o.DirectoryID }

// Covers says whether a node is this voter: in a static quorum, which names no directories, with any directory.
func (v Voter) Covers(node Voter) bool {
	return v.ID == node.ID && (v.DirectoryID.IsZero() || v.DirectoryID == node.DirectoryID)
}

// withFounders is the list with those of the founders marked that are in it.
func withFounders(voters, founders []Voter) []Voter {
	list := slices.Clone(voters)
	for i := range list {
		list[i].Founder = slices.ContainsFunc(founders, list[i].Is)
	}
	return list
}

// RaftID is what the algorithm knows the voter by: the checksum of the directory id above the node
// id and one. A node with a new directory is somebody else. Voters of a static quorum and founders have the node's part
// alone; which directory a founder's is, messages tell (stamp.go).
func (v Voter) RaftID() uint64 {
	id := uint64(uint32(v.ID)) + 1
	if !v.DirectoryID.IsZero() && !v.Founder {
		id |= uint64(crc32.ChecksumIEEE(v.DirectoryID[:])) << 32
	}
	return id
}

// NodeID is the node of a raft id.
func NodeID(raftID uint64) int32 { return int32(uint32(raftID) - 1) }

func sortVoters(list []Voter) {
	slices.SortFunc(list, func(a, b Voter) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), slices.Compare(a.DirectoryID[:], b.DirectoryID[:]))
	})
}

func raftIDs(list []Voter) []uint64 {
	ids := make([]uint64, 0, len(list))
	for _, v := range list {
		ids = append(ids, v.RaftID())
	}
	return ids
}

// difference is the change of raft that leads from one set of voters to another.
func difference(old, now []Voter) []*pb.ConfChangeSingle {
	var changes []*pb.ConfChangeSingle
	had, has := raftIDs(old), raftIDs(now)
	for _, id := range has {
		if !slices.Contains(had, id) {
			changes = append(changes, &pb.ConfChangeSingle{Type: pb.ConfChangeAddNode.Enum(), NodeId: new(id)})
		}
	}
	for _, id := range had {
		if !slices.Contains(has, id) {
			changes = append(changes, &pb.ConfChangeSingle{Type: pb.ConfChangeRemoveNode.Enum(), NodeId: new(id)})
		}
	}
	return changes
}

// appendVoters appends the VotersRecord of the set.
func appendVoters(buf []byte, voters []Voter) []byte {
	rec := Record(voters)
	w := kmsg.Writer{}
	rec.Append(&w, 0)
	return append(buf, w.Buf...)
}

func readVoters(value []byte) ([]Voter, error) {
	var rec kmsg.VotersRecord
	r := kmsg.NewReader(slices.Clone(value))
	if err := rec.Read(&r, 0); err != nil {
		return nil, fmt.Errorf("voters record of %d bytes: %w", len(value), err)
	}
	var list []Voter
	for _, v := range rec.Voters {
		list = append(list, Voter{ID: v.VoterId, DirectoryID: v.VoterDirectoryId, Endpoints: v.Endpoints})
	}
	sortVoters(list)
	return list, nil
}

// votersBatch is the batch that makes a set of voters known. Offset and epoch are set when it is written.
func votersBatch(voters []Voter, ms int64) batch.Batch {
	return controlBatch(ms, control{batch.KRaftVoters, appendVoters(nil, voters)})
}

// leaderBatch is the batch that begins a leader's term. It has the voters' directories where they count: who follows the
// log from its beginning hears of them nowhere else until they change.
func leaderBatch(leader int32, voters []Voter, ms int64) batch.Batch {
	rec := kmsg.LeaderChangeMessage{LeaderId: leader}
	if Dynamic(voters) {
		rec.Version = 1
	}
	rec.GrantingVoters = []kmsg.LeaderChangeMessageVoter{{VoterId: leader}}
	for _, v := range voters {
		voter := kmsg.LeaderChangeMessageVoter{VoterId: v.ID, VoterDirectoryId: v.DirectoryID}
		if rec.Voters = append(rec.Voters, voter); v.ID == leader {
			rec.GrantingVoters[0] = voter
		}
	}
	w := kmsg.Writer{}
	rec.Append(&w, rec.Version)
	return controlBatch(ms, control{batch.LeaderChange, w.Buf})
}

// control is a control record.
type control struct {
	kind  batch.ControlKind
	value []byte
}

func controlBatch(ms int64, records ...control) batch.Batch {
	b := batch.NewBuilder(batch.Options{Control: true})
	for _, r := range records {
		b.Append(ms, []byte{0, 0, 0, byte(r.kind)}, r.value)
	}
	whole, _ := b.Build() // without a codec it cannot fail
	return slices.Clone(whole)
}

// votersOf is the set of voters that a batch makes known; ok is false for every other batch.
func votersOf(b batch.Batch) (voters []Voter, ok bool, err error) {
	if kind, _, control := b.Control(); !control || kind != batch.KRaftVoters {
		return nil, false, nil
	}
	for rec, err := range b.Records(batch.Limits{}) {
		if err != nil {
			return nil, true, err
		}
		voters, err = readVoters(rec.Value)
		return voters, true, err
	}
	return nil, true, fmt.Errorf("batch of voters at offset %d is empty", b.BaseOffset())
}
