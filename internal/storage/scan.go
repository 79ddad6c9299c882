package storage

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// scanner walks the batch headers of a segment file. Those of newScanner come from a pool.
type scanner struct {
	f    vfs.File
	size int64 // bytes of the file that hold batches
	buf  []byte
	at   int64  // position of buf[0]
	have int    // valid bytes in buf
	pos  int64  // of the batch last looked at; size at the end
	h    header // of that batch
}

const scanWindow = 8 << 10

var scanners = sync.Pool{New: func() any { return &scanner{buf: make([]byte, scanWindow)} }}

func newScanner(f vfs.File, size int64) *scanner {
	s, _ := scanners.Get().(*scanner)
	s.f, s.size, s.at, s.have, s.pos = f, size, -1, 0, 0
	return s
}

// free gives the scanner back; headers that seek has returned are no longer valid.
func (s *scanner) free() {
	s.f = nil
	scanners.Put(s)
}

// bytes gives the file's bytes at pos, n of them or up to the end.
func (s *scanner) bytes(pos int64, n int) ([]byte, error) {
	if left := s.size - pos; int64(n) > left {
		n = int(left)
	}
	if s.at < 0 || pos < s.at || pos+int64(n) > s.at+int64(s.have) {
		if err := s.fill(pos); err != nil {
			return nil, err
		}
	}
	i := int(pos - s.at)
	return s.buf[i:min(i+n, s.have)], nil
}

func (s *scanner) fill(pos int64) error {
	want := min(int64(len(s.buf)), s.size-pos)
	n, err := s.f.ReadAt(s.buf[:want], pos)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	s.at, s.have = pos, n
	return nil
}

// header reads the header at pos.
func (s *scanner) header(pos int64) (header, error) {
	b, err := s.bytes(pos, minBatchBytes)
	if err != nil {
		return header{}, err
	}
	h, err := parseHeader(b, s.size-pos)
	if err != nil {
		return h, &damagedError{file: s.f.Name(), pos: pos, found: err}
	}
	return h, nil
}

// seek walks from the batch at pos to the first one that stop accepts and leaves s.pos there; nil
// means that the end came first. While stop runs, s.pos is the batch's position. The header is valid
// until the next call.
func (s *scanner) seek(pos int64, stop func(*header) bool) (*header, error) {
	for s.pos = pos; s.pos < s.size; {
		var err error
		if s.h, err = s.header(s.pos); err != nil {
			return nil, err
		}
		if stop(&s.h) {
			return &s.h, nil
		}
		s.pos += s.h.size
	}
	s.pos = s.size
	return nil, nil
}

// readHeader reads one header.
func readHeader(f vfs.File, pos, size int64) (header, error) {
	sc := newScanner(f, size)
	defer sc.free()
	return sc.header(pos)
}

// damagedError says that no batch could be made of the bytes at pos.
type damagedError struct {
	file  string
	pos   int64
	found error
}

// Error names the place and what was found there.
func (e *damagedError) Error() string {
	return fmt.Sprintf("%s: no batch at position %d: found %v", e.file, e.pos, e.found)
}
