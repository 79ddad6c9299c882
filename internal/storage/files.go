package storage

import (
	"sync"
	"sync/atomic"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// handle is an open segment file. refs counts its users; -1 means closed. The file set closes it
// once it is over its bound and nobody uses it, or when the last user of a doomed one lets go.
type handle struct {
	f      vfs.File
	set    *fileSet
	seg    *segment
	refs   atomic.Int32
	used   atomic.Bool // touched since the clock hand last passed
	doomed atomic.Bool
	slot   int // index in fileSet.all; guarded by fileSet.mu
}

// tryRef takes a reference unless the file is closed or about to be.
func (h *handle) tryRef() bool {
	for {
		n := h.refs.Load()
		if n < 0 || h.doomed.Load() {
			return false
		}
		if h.refs.CompareAndSwap(n, n+1) {
			if !h.used.Load() {
				h.used.Store(true)
			}
			return true
		}
	}
}

// release gives a reference back.
func (h *handle) release() {
	if h.refs.Add(-1) == 0 && h.doomed.Load() {
		h.set.close(h)
	}
}

// fileSet bounds how many segment files are open. Handles in use are never closed, so the bound can
// be passed by as many as are in use at once.
type fileSet struct {
	fs  vfs.FS
	max int
	mu  struct {
		sync.Mutex
		all  []*handle
		hand int
	}
}

// acquire returns the segment's file with a reference taken, opening it if need be. write opens an
// absent file as an empty one.
func (s *fileSet) acquire(seg *segment, path string, write bool) (*handle, error) {
	if h := seg.handle.Load(); h != nil && h.tryRef() {
		return h, nil
	}
	seg.openMu.Lock()
	defer seg.openMu.Unlock()
	if h := seg.handle.Load(); h != nil && h.tryRef() {
		return h, nil
	}
	open := s.fs.Open
	if write {
		open = s.fs.OpenReadWrite
	}
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	h := &handle{f: f, set: s, seg: seg}
	h.refs.Store(1)
	h.used.Store(true)
	s.add(h)
	seg.handle.Store(h)
	return h, nil
}

func (s *fileSet) add(h *handle) {
	s.mu.Lock()
	h.slot = len(s.mu.all)
	s.mu.all = append(s.mu.all, h)
	var victims []*handle
	for len(s.mu.all) > s.max {
		v := s.victimLocked()
		if v == nil {
			break
		}
		victims = append(victims, v)
	}
	s.mu.Unlock()
	for _, v := range victims {
		v.closed()
	}
}

// victimLocked takes the first handle that nobody uses nor has used since the hand last passed.
func (s *fileSet) victimLocked() *handle {
	for range 2 * len(s.mu.all) {
		s.mu.hand = (s.mu.hand + 1) % len(s.mu.all)
		h := s.mu.all[s.mu.hand]
		if h.used.Swap(false) || !h.refs.CompareAndSwap(0, -1) {
			continue
		}
		s.removeLocked(h)
		return h
	}
	return nil
}

func (s *fileSet) removeLocked(h *handle) {
	last := s.mu.all[len(s.mu.all)-1]
	s.mu.all[h.slot], last.slot = last, h.slot
	s.mu.all[len(s.mu.all)-1] = nil
	s.mu.all = s.mu.all[:len(s.mu.all)-1]
}

// close closes an unused handle; a handle in use is left to its last user.
func (s *fileSet) close(h *handle) {
	if !h.refs.CompareAndSwap(0, -1) {
		return
	}
	s.mu.Lock()
	s.removeLocked(h)
	s.mu.Unlock()
	h.closed()
}

// closed finishes a handle whose refs are -1. A sealed segment's indexes go with its file.
func (h *handle) closed() {
	if h.seg.handle.CompareAndSwap(h, nil) {
		h.seg.dropIndexes()
	}
	_ = h.f.Close() // what matters was synced before
}

// drop closes the segment's file as soon as nobody uses it.
func (s *fileSet) drop(seg *segment) {
	if h := seg.handle.Load(); h != nil {
		h.doomed.Store(true)
		s.close(h)
	}
}

// open is how many files are open now.
func (s *fileSet) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.all)
}
