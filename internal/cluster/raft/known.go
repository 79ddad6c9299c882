package raft

import (
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// KnownVoters are the voters that a directory's state begins with; found says that there is a state. One
// without voters is of a node that waits to be added.
func KnownVoters(fsys vfs.FS, dir string) (voters []Voter, found bool, err error) {
	st, found, err := readState(fsys, dir)
	if err != nil || !found || len(st.anchors) == 0 {
		return nil, false, err
	}
	return st.anchors[len(st.anchors)-1].voters, true, nil
}

// FormatJoiner makes an empty directory that of a node that is to be added to a quorum.
func FormatJoiner(fsys vfs.FS, dir string) error {
	return writeState(fsys, dir, &state{joiner: true, anchors: []anchor{{}}})
}

// Record is the VotersRecord of a set of voters.
func Record(voters []Voter) *kmsg.VotersRecord {
	rec := &kmsg.VotersRecord{}
	for _, v := range voters {
		rec.Voters = append(rec.Voters, kmsg.VotersRecordVoter{
			VoterId: v.ID, VoterDirectoryId: v.DirectoryID, Endpoints: v.Endpoints,
			KRaftVersionFeature: kmsg.VotersRecordKRaftVersionFeature{MaxSupportedVersion: 1},
		})
	}
	return rec
}

// ReadRecord is the set of voters of an encoded VotersRecord.
func ReadRecord(value []byte) ([]Voter, error) { return readVoters(value) }

// Dynamic says that voters are known by their directories too (kraft.version 1), so that they can change.
func Dynamic(voters []Voter) bool { return len(voters) > 0 && !voters[0].DirectoryID.IsZero() }

// Changing says that a change of the voters is on its way.
func (c *Core) Changing() bool { return len(c.conf.GetVotersOutgoing()) > 0 || c.changing > c.applied }

// IsVoter says whether this node is one of the voters, as of what is applied.
func (c *Core) IsVoter() bool {
	for _, v := range c.voters {
		if v.Covers(c.opts.Self) && v.RaftID() == c.id {
			return true
		}
	}
	return false
}
