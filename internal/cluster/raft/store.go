package raft

import (
	"fmt"
	"slices"
	"sync"
	"time"

	etcd "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/storage"
)

// readChunk is how much of the log is read at a time.
const readChunk = 1 << 20

// slot is where an entry is in the log.
type slot struct {
	base   int64
	term   uint32
	voters bool // it changes the voters
}

// store is the log as raft sees it: entries by index.
type store struct {
	log *storage.Log
	fs  vfs.FS
	dir string

	mark uint64 // of whoever writes

	mu struct {
		sync.Mutex
		state   state
		slots   []slot  // of the entries after the last anchor
		upgrade upgrade // the one that the log holds, whether it is committed or not
	}
}

// upgrade is the batch that makes a static quorum one of kraft.version 1; index 0 is none.
type upgrade struct {
	index  uint64
	voters []Voter
}

var _ etcd.Storage = (*store)(nil)

// openStore finds out which index each batch of the log has. initial are the voters of a log that
// begins; alone says that this node is the whole quorum, so that nobody else counts its indexes.
func openStore(log *storage.Log, fsys vfs.FS, dir string, initial []Voter, alone bool) (*store, error) {
	s := &store{log: log, fs: fsys, dir: dir}
	st, found, err := readState(fsys, dir)
	if err != nil {
		return nil, err
	}
	if found && st.installing && len(st.anchors) > 0 {
		if err := log.TruncateFully(st.anchors[len(st.anchors)-1].offset); err != nil {
			return nil, fmt.Errorf("finish the installation of a snapshot: %w", err)
		}
		st.installing = false
		if err := writeState(fsys, dir, &st); err != nil {
			return nil, err
		}
	}
	if err := log.Sync(); err != nil {
		return nil, err
	}
	s.mu.state = st
	// A node that began alone is not alone once the log has told it of others.
	alone = alone && !slices.ContainsFunc(st.anchors, func(a anchor) bool { return len(a.voters) > 1 })
	if err := s.choose(initial, alone); err != nil {
		return nil, err
	}
	if err := s.scan(); err != nil {
		return nil, err
	}
	alone = alone && !slices.ContainsFunc(s.mu.slots, func(at slot) bool { return at.voters })
	if err := s.settle(alone); err != nil {
		return nil, err
	}
	return s, s.checkMark(alone)
}

// choose picks the newest anchor that the log reaches.
func (s *store) choose(initial []Voter, alone bool) error {
	st := &s.mu.state
	start, end := s.log.StartOffset(), s.log.EndOffset()
	for i := len(st.anchors) - 1; i >= 0; i-- {
		if a := st.anchors[i]; start <= a.offset && a.offset <= end {
			st.anchors = st.anchors[:i+1]
			return nil
		}
	}
	first := anchor{offset: start, voters: slices.Clone(initial)}
	switch {
	case start == 0 && len(st.anchors) == 0:
	case !alone:
		return fmt.Errorf("%s holds offsets %d to %d and %s knows none of them: restore the directory, or add this node as a new controller",
			s.log.Path(), start, end, stateFile)
	default: // somebody else (Apache Kafka) wrote here, or a version without the file
		first.index = max(st.commit, 1) + 1
		first.term = 1
		if e, ok := s.log.EpochAt(start); ok {
			first.term = uint64(max(e, 1))
		}
	}
	st.anchors = []anchor{first}
	return nil
}

// scan builds the table of the entries after the anchor.
func (s *store) scan() error {
	from, end := s.last().offset, s.log.EndOffset()
	for from < end {
		next, err := s.each(from, end, readChunk, func(b batch.Batch) error {
			kind, _, control := b.Control()
			s.mu.slots = append(s.mu.slots, slot{b.BaseOffset(), uint32(b.LeaderEpoch()), control && kind == batch.KRaftVoters})
			return s.noteUpgrade(b)
		})
		if err != nil {
			return err
		}
		from = next
	}
	return nil
}

// noteUpgrade remembers the newest batch if it is an upgrade.
func (s *store) noteUpgrade(b batch.Batch) error {
	voters, ok, err := upgradeOf(b)
	if ok && err == nil && s.mu.upgrade.index == 0 {
		s.mu.upgrade = upgrade{s.lastIndex(), voters}
	}
	return err
}

// each reads batches from an offset that one begins at, about limit bytes, and returns the offset after them.
func (s *store) each(from, end int64, limit int32, fn func(batch.Batch) error) (int64, error) {
	rng, err := s.log.Read(from, limit, end, true)
	if err != nil {
		return from, err
	}
	if rng == nil {
		return from, fmt.Errorf("%s: nothing to read at offset %d of %d", s.log.Path(), from, end)
	}
	defer rng.Release()
	buf := make([]byte, rng.Len())
	if _, err := rng.ReadAt(buf, 0); err != nil {
		return from, err
	}
	for rest := buf; len(rest) > 0; {
		var b batch.Batch
		if b, rest, err = batch.Next(rest); err != nil {
			return from, fmt.Errorf("%s: at offset %d: %w", s.log.Path(), from, err)
		}
		if err := fn(b); err != nil {
			return from, err
		}
		from = b.LastOffset() + 1
	}
	return from, nil
}

// settle makes term and commit agree with the log.
func (s *store) settle(alone bool) error {
	st := &s.mu.state
	last := s.lastIndex()
	if term := s.term(last); st.term < term {
		st.term, st.vote = term, 0
	}
	st.commit = max(st.commit, s.last().index)
	if st.commit > last {
		if !alone {
			return fmt.Errorf("%s ends at index %d, and index %d was committed: the log has lost records; add this node as a new controller",
				s.log.Path(), last, st.commit)
		}
		st.commit = last
	}
	return nil
}

// last is the anchor that the table begins at.
func (s *store) last() *anchor { return &s.mu.state.anchors[len(s.mu.state.anchors)-1] }

func (s *store) lastIndex() uint64 { return s.last().index + uint64(len(s.mu.slots)) }

func (s *store) term(i uint64) uint64 {
	if a := s.last(); i == a.index {
		return a.term
	}
	return uint64(s.mu.slots[i-s.last().index-1].term)
}

// endOf is the offset after an entry.
func (s *store) endOf(i uint64) int64 {
	first := s.last().index
	switch n := i - first; {
	case i < first:
		return -1
	case n == 0 && len(s.mu.slots) == 0:
		return s.last().offset
	case n < uint64(len(s.mu.slots)):
		return s.mu.slots[n].base
	default:
		return s.log.EndOffset()
	}
}

// InitialState implements raft.Storage.
func (s *store) InitialState() (*pb.HardState, *pb.ConfState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &s.mu.state
	hs := &pb.HardState{Term: new(st.term), Vote: new(st.vote), Commit: new(st.commit)}
	return hs, s.last().confState(), nil
}

func (a *anchor) confState() *pb.ConfState {
	return pb.EnsureConfState(&pb.ConfState{Voters: raftIDs(a.voters)})
}

// Entries implements raft.Storage.
func (s *store) Entries(lo, hi, maxSize uint64) ([]*pb.Entry, error) {
	s.mu.Lock()
	first := s.last().index
	switch {
	case lo <= first:
		s.mu.Unlock()
		return nil, etcd.ErrCompacted
	case hi > s.lastIndex()+1:
		s.mu.Unlock()
		return nil, etcd.ErrUnavailable
	}
	slots := slices.Clone(s.mu.slots[lo-first-1 : hi-first-1])
	end := s.endOf(hi - 1)
	s.mu.Unlock()
	var list []*pb.Entry
	var size uint64
	for from := slots[0].base; from < end && len(list) < len(slots); {
		full := false
		next, err := s.each(from, end, int32(min(max(maxSize, 1), readChunk)), func(b batch.Batch) error {
			at := slots[len(list)%len(slots)]
			full = full || len(list) == len(slots) || len(list) > 0 && size+uint64(len(b)) > maxSize
			if full {
				return nil
			}
			if b.BaseOffset() != at.base || b.LeaderEpoch() != int32(at.term) {
				return fmt.Errorf("%s: batch at offset %d of epoch %d, want offset %d of epoch %d",
					s.log.Path(), b.BaseOffset(), b.LeaderEpoch(), at.base, at.term)
			}
			kind := pb.EntryNormal
			if at.voters {
				kind = pb.EntryConfChangeV2
			}
			size += uint64(len(b))
			list = append(list, &pb.Entry{
				Term: new(uint64(at.term)), Index: new(lo + uint64(len(list))), Type: kind.Enum(), Data: b,
			})
			return nil
		})
		if err != nil {
			return nil, err
		}
		if full || size >= maxSize {
			break
		}
		from = next
	}
	return list, nil
}

// Term implements raft.Storage.
func (s *store) Term(i uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i < s.last().index {
		return 0, etcd.ErrCompacted
	}
	if i > s.lastIndex() {
		return 0, etcd.ErrUnavailable
	}
	return s.term(i), nil
}

// LastIndex implements raft.Storage.
func (s *store) LastIndex() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastIndex(), nil
}

// FirstIndex implements raft.Storage.
func (s *store) FirstIndex() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last().index + 1, nil
}

// Snapshot implements raft.Storage: what is sent of it at first is where it ends.
func (s *store) Snapshot() (*pb.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.last()
	if a.index == 0 {
		return nil, etcd.ErrSnapshotTemporarilyUnavailable
	}
	return &pb.Snapshot{
		Data:     appendAnchor(nil, a),
		Metadata: &pb.SnapshotMetadata{Index: new(a.index), Term: new(a.term), ConfState: a.confState()},
	}, nil
}

// saveHard makes term and vote durable. Entries from index first on are about to be replaced: what
// the file calls committed must be in the log already.
func (s *store) saveHard(hs *pb.HardState, first uint64) error {
	s.mu.Lock()
	st := &s.mu.state
	must := hs.GetTerm() != st.term || hs.GetVote() != st.vote
	st.term, st.vote, st.commit = hs.GetTerm(), hs.GetVote(), hs.GetCommit()
	keep := s.mu.state
	keep.commit = min(keep.commit, s.lastIndex(), first-1)
	s.mu.Unlock()
	if !must {
		return nil
	}
	return writeState(s.fs, s.dir, &keep)
}

// saveCommit makes it durable that an index, which is in the log, is committed.
func (s *store) saveCommit(index uint64, upgraded bool) error {
	s.mu.Lock()
	s.mu.state.upgraded = s.mu.state.upgraded || upgraded
	s.mu.state.commit = max(s.mu.state.commit, index)
	keep := s.mu.state
	keep.commit = min(keep.commit, s.lastIndex())
	s.mu.Unlock()
	return writeState(s.fs, s.dir, &keep)
}

// write puts entries into the log, in place of what it has at their indexes.
func (s *store) write(entries []*pb.Entry, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		b := batch.Batch(e.Data)
		if e.GetIndex() <= s.last().index || e.GetIndex() > s.lastIndex()+1 {
			return fmt.Errorf("entry %d does not follow on %d", e.GetIndex(), s.lastIndex())
		}
		if e.GetIndex() <= s.lastIndex() {
			n := e.GetIndex() - s.last().index - 1
			if err := s.lowerMark(e.GetIndex() - 1); err != nil {
				return err
			}
			if err := s.log.Truncate(s.mu.slots[n].base); err != nil {
				return err
			}
			s.mu.slots = s.mu.slots[:n]
			if s.mu.upgrade.index >= e.GetIndex() {
				s.mu.upgrade = upgrade{}
			}
		}
		if b.BaseOffset() != s.log.EndOffset() || uint64(b.LeaderEpoch()) != e.GetTerm() {
			return fmt.Errorf("entry %d begins at offset %d in epoch %d, want offset %d in epoch %d",
				e.GetIndex(), b.BaseOffset(), b.LeaderEpoch(), s.log.EndOffset(), e.GetTerm())
		}
		_, err := s.log.Append(b, storage.AppendOptions{LeaderEpoch: b.LeaderEpoch(), Now: now, Origin: storage.Replica})
		if err != nil {
			return err
		}
		s.mu.slots = append(s.mu.slots, slot{b.BaseOffset(), uint32(e.GetTerm()), e.GetType() == pb.EntryConfChangeV2})
		if err := s.noteUpgrade(b); err != nil {
			return err
		}
	}
	return nil
}

// compact forgets the entries that end at or before an offset, of which a snapshot exists.
func (s *store) compact(offset int64, voters, founders []Voter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, found := slices.BinarySearchFunc(s.mu.slots, offset, func(at slot, o int64) int { return int(min(max(at.base-o, -1), 1)) })
	if !found && offset != s.log.EndOffset() || n == 0 {
		return fmt.Errorf("no entry ends at offset %d", offset)
	}
	a := anchor{index: s.last().index + uint64(n), term: uint64(s.mu.slots[n-1].term), offset: offset, voters: slices.Clone(voters)}
	if Dynamic(voters) {
		a.founders = founders
	}
	st := s.mu.state
	st.anchors = append(slices.Clone(st.anchors[max(0, len(st.anchors)+1-maxAnchors):]), a)
	if err := writeState(s.fs, s.dir, &st); err != nil {
		return err
	}
	if _, err := s.log.DeleteRecords(offset); err != nil {
		return err
	}
	s.mu.state, s.mu.slots = st, slices.Clone(s.mu.slots[n:])
	return nil
}

// install begins the log anew behind a snapshot that is in its place already.
func (s *store) install(a anchor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.lowerMark(0); err != nil {
		return err
	}
	st := s.mu.state
	st.anchors, st.installing = []anchor{a}, true
	st.commit = max(st.commit, a.index)
	if err := writeState(s.fs, s.dir, &st); err != nil {
		return err
	}
	if err := s.log.TruncateFully(a.offset); err != nil {
		return err
	}
	st.installing = false
	if err := writeState(s.fs, s.dir, &st); err != nil {
		return err
	}
	s.mu.state, s.mu.slots, s.mu.upgrade = st, nil, upgrade{}
	return nil
}
