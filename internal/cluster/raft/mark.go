package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"
)

// The mark is the newest index that a sync of the log has covered: docs/format/raft-synced.md. What is damaged below it is no
// torn end of the last write, and may have been counted by others.
const (
	markFile  = "raft-synced"
	markMagic = "LSRM"
	markBytes = 16
)

// readMark is the mark of the run before; 0 where there is none, or where a power cut has torn it.
func (s *store) readMark() (uint64, error) {
	f, err := s.fs.OpenReadWrite(path.Join(s.dir, markFile))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	b := make([]byte, markBytes)
	if n, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	} else if n < markBytes || string(b[:4]) != markMagic || binary.BigEndian.Uint32(b[12:]) != crc32.Checksum(b[:12], castagnoli) {
		return 0, nil
	}
	return binary.BigEndian.Uint64(b[4:]), nil
}

// setMark writes the mark. It is not synced where it goes up: the end of a process leaves what was written, and a mark that
// a power cut takes back says less than it could. It is where it goes down, which is before the log is cut.
func (s *store) setMark(index uint64) error {
	if index == s.mark {
		return nil
	}
	f, err := s.fs.OpenReadWrite(path.Join(s.dir, markFile))
	if err != nil {
		return err
	}
	b := binary.BigEndian.AppendUint64([]byte(markMagic), index)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	_, err = f.WriteAt(b, 0)
	if err == nil && index < s.mark {
		err = f.Sync()
	}
	s.mark = index
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", markFile, err)
	}
	return nil
}

// lowerMark is before the log is cut behind an index.
func (s *store) lowerMark(index uint64) error { return s.setMark(min(s.mark, index)) }

// checkMark holds the log against the mark.
func (s *store) checkMark(alone bool) error {
	mark, err := s.readMark()
	if err != nil {
		return err
	}
	s.mark = mark
	last := s.lastIndex()
	if alone || mark <= last {
		return s.lowerMark(last)
	}
	return fmt.Errorf("%s ends at index %d, offset %d, and was on stable storage up to index %d (%s): what stood there is damaged, and others may "+
		"have counted on it; begin with an empty directory, and add this node as a new controller", s.log.Path(), last, s.log.EndOffset(), mark, markFile)
}
