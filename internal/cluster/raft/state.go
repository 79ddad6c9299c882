package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path"
	"slices"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// The file of what raft must remember beside the log: docs/format/raft-state.md.
const (
	stateFile    = "raft-state"
	stateMagic   = "LSRS"
	stateVersion = 1
	// stateUpgraded is the version of a node whose quorum went from static voters to kraft.version 1: a build that
	// knows nothing of founders must not take part there.
	stateUpgraded = 2

	flagInstalling = 1
	flagJoiner     = 2
	maxStateFile   = 1 << 20
	maxAnchors     = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// anchor says which index a snapshot, or the empty log, ends at.
type anchor struct {
	index  uint64
	term   uint64
	offset int64 // after the last record of the index
	voters []Voter
	// founders are the voters of the static quorum that this one began as, with the directories they had then; none
	// where it did not, or was static at the index.
	founders []Voter
}

// state is the content of the file.
type state struct {
	term, vote, commit uint64
	installing         bool     // the log has still to be cut to the last anchor
	upgraded           bool     // kraft.version has come from 0 to 1 here
	joiner             bool     // it was formatted to be added: it is no founder, whatever a snapshot of before says
	anchors            []anchor // in the order of their indexes
}

func (s *state) encode() []byte {
	b := append([]byte(stateMagic), 0, stateVersion, 0, 0)
	if s.upgraded || slices.ContainsFunc(s.anchors, func(a anchor) bool { return len(a.founders) > 0 }) {
		b[5] = stateUpgraded
	}
	if s.installing {
		b[7] |= flagInstalling
	}
	if s.joiner {
		b[7] |= flagJoiner
	}
	for _, v := range []uint64{s.term, s.vote, s.commit} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.anchors)))
	for i := range s.anchors {
		b = appendAnchor(b, &s.anchors[i])
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// fields reads big-endian numbers until there are no more bytes.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) take(n int) []byte {
	if n > len(f.b) {
		f.bad, n = true, len(f.b)
	}
	p := f.b[:n]
	f.b = f.b[n:]
	return p
}

func (f *fields) u64() uint64 {
	if p := f.take(8); len(p) == 8 {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (f *fields) u32() uint32 {
	if p := f.take(4); len(p) == 4 {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func decodeState(b []byte) (s state, err error) {
	if len(b) < 12 || string(b[:4]) != stateMagic {
		return s, fmt.Errorf("%d bytes without the magic %q", len(b), stateMagic)
	}
	version := binary.BigEndian.Uint16(b[4:])
	if version != stateVersion && version != stateUpgraded {
		return s, fmt.Errorf("version %d, want %d or %d: a newer logstead wrote it", version, stateVersion, stateUpgraded)
	}
	body := b[:len(b)-4]
	if got, want := crc32.Checksum(body, castagnoli), binary.BigEndian.Uint32(b[len(b)-4:]); got != want {
		return s, fmt.Errorf("checksum %08x, want %08x: the file is damaged", got, want)
	}
	s.installing, s.joiner, s.upgraded = b[7]&flagInstalling != 0, b[7]&flagJoiner != 0, version == stateUpgraded
	f := fields{b: body[8:]}
	s.term, s.vote, s.commit = f.u64(), f.u64(), f.u64()
	for n := f.u32(); n > 0 && !f.bad; n-- {
		a, err := f.anchor()
		if f.bad {
			break
		}
		if err != nil {
			return s, err
		}
		s.anchors = append(s.anchors, a)
	}
	if f.bad || len(f.b) > 0 {
		return s, fmt.Errorf("%d bytes do not hold what they announce", len(b))
	}
	return s, nil
}

// readState is the state of a directory; ok is false where there is none.
func readState(fsys vfs.FS, dir string) (s state, ok bool, err error) {
	name := path.Join(dir, stateFile)
	b, err := vfs.ReadFile(fsys, name, maxStateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil
	}
	if err != nil {
		return s, false, err
	}
	if s, err = decodeState(b); err != nil {
		return s, false, fmt.Errorf("%s: %w", name, err)
	}
	return s, true, nil
}

func writeState(fsys vfs.FS, dir string, s *state) error {
	return vfs.WriteFile(fsys, path.Join(dir, stateFile), s.encode())
}
