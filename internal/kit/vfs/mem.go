package vfs

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	errNotDir   = errors.New("not a directory")
	errIsDir    = errors.New("is a directory")
	errNotEmpty = errors.New("directory not empty")
	errLocked   = errors.New("locked by another owner")
	errAlign    = errors.New("direct I/O: offset, length and address must be multiples of 4096")
)

// defaultMemBytes is the size that a Mem without SetCapacity reports.
const defaultMemBytes = 1 << 40

// maxPending is how many unsynced changes of names make Mem look for ones that no longer matter.
const maxPending = 4096

// Mem is a file system in memory. A tracked one (NewMem) remembers what was synced, so that
// CrashClone can show what a power cut would leave; an untracked one (NewUntrackedMem) does not and
// is for serving from memory.
//
// Lock order: Mem.mu, then memFile.mu.
type Mem struct {
	tracked  bool
	capacity atomic.Int64 // 0: unlimited
	used     atomic.Int64 // bytes in chunks of files that have a name
	now      atomic.Pointer[func() time.Time]

	mu struct {
		sync.Mutex
		root    *memNode
		pending []*nameChange // changes of names that no SyncDir has covered, oldest first
		locks   map[string]bool
		direct  bool
	}
}

var _ FS = (*Mem)(nil)

// memNode is a directory (file == nil) or a file.
type memNode struct {
	file    *memFile
	entries map[string]*memNode // directory: as every caller sees it
	synced  map[string]*memNode // directory: as a power cut leaves it; tracked only
}

// nameChange is one atomic change of names: a creation, a removal, or both sides of a rename.
type nameChange struct {
	edits []nameEdit
}

type nameEdit struct {
	dir  *memNode
	name string
	to   *memNode // nil: the name goes
}

// NewMem returns an empty file system that knows what was synced.
func NewMem() *Mem { return newMem(true) }

// NewUntrackedMem returns an empty file system that keeps no account of syncs; it has no CrashClone
// worth the name, and writes cost only the copy.
func NewUntrackedMem() *Mem { return newMem(false) }

func newMem(tracked bool) *Mem {
	m := &Mem{tracked: tracked}
	m.mu.root = newMemDir()
	m.mu.locks = map[string]bool{}
	m.mu.direct = tracked
	m.SetClock(time.Now)
	return m
}

func newMemDir() *memNode {
	return &memNode{entries: map[string]*memNode{}, synced: map[string]*memNode{}}
}

// SetClock sets where modification times come from.
func (m *Mem) SetClock(now func() time.Time) { m.now.Store(&now) }

// SetCapacity bounds the bytes that files may hold; writes beyond it fail with ENOSPC. 0 lifts it.
func (m *Mem) SetCapacity(n int64) { m.capacity.Store(n) }

// SetDirect says whether OpenDirect and WriteUncached offer direct writes.
func (m *Mem) SetDirect(direct bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.direct = direct
}

func (m *Mem) offersDirect() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.direct
}

// elements splits a path; the root and "." have none.
func elements(name string) []string {
	clean := path.Clean("/" + name)
	if clean == "/" {
		return nil
	}
	return strings.Split(clean[1:], "/")
}

// lookupLocked finds a node.
func (m *Mem) lookupLocked(op, name string) (*memNode, error) {
	n := m.mu.root
	for _, e := range elements(name) {
		if n.file != nil {
			return nil, &fs.PathError{Op: op, Path: name, Err: errNotDir}
		}
		next, ok := n.entries[e]
		if !ok {
			return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
		n = next
	}
	return n, nil
}

// parentLocked finds the directory that name is in, and its last element.
func (m *Mem) parentLocked(op, name string) (*memNode, string, error) {
	el := elements(name)
	if len(el) == 0 {
		return nil, "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	dir, err := m.lookupLocked(op, strings.Join(el[:len(el)-1], "/"))
	if err != nil {
		return nil, "", &fs.PathError{Op: op, Path: name, Err: errors.Unwrap(err)}
	}
	if dir.file != nil {
		return nil, "", &fs.PathError{Op: op, Path: name, Err: errNotDir}
	}
	return dir, el[len(el)-1], nil
}

// changeLocked applies edits of names and remembers them until a SyncDir.
func (m *Mem) changeLocked(edits ...nameEdit) {
	for _, e := range edits {
		apply(e.dir.entries, e)
	}
	if !m.tracked {
		return
	}
	if len(m.mu.pending) >= maxPending {
		m.pruneLocked()
	}
	m.mu.pending = append(m.mu.pending, &nameChange{edits: edits})
}

// pruneLocked forgets changes inside of directories that are gone for good.
func (m *Mem) pruneLocked() {
	alive := map[*memNode]bool{}
	var walk func(n *memNode)
	walk = func(n *memNode) {
		if n == nil || n.file != nil || alive[n] {
			return
		}
		alive[n] = true
		for _, child := range n.entries {
			walk(child)
		}
		for _, child := range n.synced {
			walk(child)
		}
	}
	walk(m.mu.root)
	for _, c := range m.mu.pending {
		for _, e := range c.edits {
			walk(e.to)
		}
	}
	m.mu.pending = slices.DeleteFunc(m.mu.pending, func(c *nameChange) bool {
		return !slices.ContainsFunc(c.edits, func(e nameEdit) bool { return alive[e.dir] })
	})
}

func apply(entries map[string]*memNode, e nameEdit) {
	if e.to == nil {
		delete(entries, e.name)
		return
	}
	entries[e.name] = e.to
}

func (m *Mem) open(op, name string, create, truncate bool) (*memHandle, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parentLocked(op, name)
	if err != nil {
		return nil, err
	}
	n, ok := dir.entries[base]
	switch {
	case !ok && !create:
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	case !ok:
		n = &memNode{file: newMemFile(m)}
		m.changeLocked(nameEdit{dir: dir, name: base, to: n})
	case n.file == nil:
		return nil, &fs.PathError{Op: op, Path: name, Err: errIsDir}
	case truncate:
		n.file.truncate(0)
	}
	return &memHandle{file: n.file, name: name}, nil
}

// Create opens a new or truncated file for reading and writing.
func (m *Mem) Create(name string) (File, error) { return handle(m.open("create", name, true, true)) }

// Open opens an existing file for reading.
func (m *Mem) Open(name string) (File, error) {
	h, err := m.open("open", name, false, false)
	if err != nil {
		return nil, err
	}
	h.readOnly = true
	return h, nil
}

// OpenReadWrite opens a file for reading and writing, and creates it if it is absent.
func (m *Mem) OpenReadWrite(name string) (File, error) {
	return handle(m.open("open", name, true, false))
}

func handle(h *memHandle, err error) (File, error) {
	if err != nil {
		return nil, err // not a typed nil
	}
	return h, nil
}

// OpenDirect opens a file each of whose writes is synced when it returns.
func (m *Mem) OpenDirect(name string) (File, bool, error) {
	h, err := m.open("open", name, true, false)
	if err != nil {
		return nil, false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h.direct = m.mu.direct
	return h, h.direct, nil
}

// Remove removes one file or empty directory.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parentLocked("remove", name)
	if err != nil {
		return err
	}
	n, ok := dir.entries[base]
	if !ok {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	if n.file == nil && len(n.entries) > 0 {
		return &fs.PathError{Op: "remove", Path: name, Err: errNotEmpty}
	}
	m.dropLocked(dir, base, n)
	return nil
}

// dropLocked takes a name away.
func (m *Mem) dropLocked(dir *memNode, base string, n *memNode) {
	m.changeLocked(nameEdit{dir: dir, name: base})
	if n.file != nil {
		m.used.Add(-n.file.allocated())
	}
}

// RemoveAll removes name and everything in it, one name at a time as a real one does.
func (m *Mem) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parentLocked("removeall", name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if n, ok := dir.entries[base]; ok {
		m.removeTreeLocked(dir, base, n)
	}
	return nil
}

func (m *Mem) removeTreeLocked(dir *memNode, base string, n *memNode) {
	for _, child := range sortedNames(n.entries) {
		m.removeTreeLocked(n, child, n.entries[child])
	}
	m.dropLocked(dir, base, n)
}

// Rename moves oldName to newName and replaces a file that is there.
func (m *Mem) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, oldBase, err := m.parentLocked("rename", oldName)
	if err != nil {
		return err
	}
	to, newBase, err := m.parentLocked("rename", newName)
	if err != nil {
		return err
	}
	n, ok := from.entries[oldBase]
	if !ok {
		return &fs.PathError{Op: "rename", Path: oldName, Err: fs.ErrNotExist}
	}
	if from == to && oldBase == newBase {
		return nil
	}
	if old, ok := to.entries[newBase]; ok {
		if old.file == nil && len(old.entries) > 0 {
			return &fs.PathError{Op: "rename", Path: newName, Err: errNotEmpty}
		}
		if old.file != nil {
			m.used.Add(-old.file.allocated())
		}
	}
	m.changeLocked(nameEdit{dir: from, name: oldBase}, nameEdit{dir: to, name: newBase, to: n})
	return nil
}

// MkdirAll makes the directory and those above it.
func (m *Mem) MkdirAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.mu.root
	for _, e := range elements(name) {
		next, ok := n.entries[e]
		if !ok {
			next = newMemDir()
			m.changeLocked(nameEdit{dir: n, name: e, to: next})
		}
		if next.file != nil {
			return &fs.PathError{Op: "mkdir", Path: name, Err: errNotDir}
		}
		n = next
	}
	return nil
}

// ReadDir returns the directory's entries sorted by name.
func (m *Mem) ReadDir(name string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookupLocked("readdir", name)
	if err != nil {
		return nil, err
	}
	if n.file != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNotDir}
	}
	out := make([]fs.DirEntry, 0, len(n.entries))
	for _, e := range sortedNames(n.entries) {
		out = append(out, fs.FileInfoToDirEntry(infoOf(e, n.entries[e])))
	}
	return out, nil
}

func sortedNames(entries map[string]*memNode) []string {
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Stat describes a file.
func (m *Mem) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookupLocked("stat", name)
	if err != nil {
		return nil, err
	}
	return infoOf(path.Base(name), n), nil
}

// SyncDir makes the names in the directory durable.
func (m *Mem) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookupLocked("syncdir", name)
	if err != nil {
		return err
	}
	if n.file != nil {
		return &fs.PathError{Op: "syncdir", Path: name, Err: errNotDir}
	}
	m.mu.pending = slices.DeleteFunc(m.mu.pending, func(c *nameChange) bool {
		if !c.touches(n) {
			return false
		}
		for _, e := range c.edits {
			apply(e.dir.synced, e)
		}
		return true
	})
	return nil
}

// OpenVolume gives a handle on all files: they are one volume.
func (m *Mem) OpenVolume(dir string) (Volume, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookupLocked("open", dir)
	if err != nil {
		return nil, err
	}
	if n.file != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: errNotDir}
	}
	return memVolume{m}, nil
}

type memVolume struct{ m *Mem }

// Sync makes all names and files durable.
func (v memVolume) Sync() error {
	m := v.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.tracked {
		return nil
	}
	for _, c := range m.mu.pending {
		for _, e := range c.edits {
			apply(e.dir.synced, e)
		}
	}
	m.mu.pending = nil
	m.mu.root.syncAll()
	return nil
}

// Close does nothing.
func (v memVolume) Close() error { return nil }

// syncAll makes the files below a node durable.
func (n *memNode) syncAll() {
	if n.file != nil {
		n.file.sync()
		return
	}
	for _, e := range n.entries {
		e.syncAll()
	}
}

// touches reports whether one of the edits is in dir.
func (c *nameChange) touches(dir *memNode) bool {
	return slices.ContainsFunc(c.edits, func(e nameEdit) bool { return e.dir == dir })
}

// Lock takes an exclusive lock on the file.
func (m *Mem) Lock(name string) (io.Closer, error) {
	f, err := m.OpenReadWrite(name)
	if err != nil {
		return nil, err
	}
	key := path.Clean("/" + name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.locks[key] {
		_ = f.Close() // closing memory never fails
		return nil, &fs.PathError{Op: "lock", Path: name, Err: errLocked}
	}
	m.mu.locks[key] = true
	return &memLock{m: m, key: key}, nil
}

type memLock struct {
	m    *Mem
	key  string
	once sync.Once
}

func (l *memLock) Close() error {
	l.once.Do(func() {
		l.m.mu.Lock()
		defer l.m.mu.Unlock()
		delete(l.m.mu.locks, l.key)
	})
	return nil
}

// Usage tells the capacity and what is free of it.
func (m *Mem) Usage(name string) (Usage, error) {
	if _, err := m.Stat(name); err != nil {
		return Usage{}, err
	}
	total := m.capacity.Load()
	if total == 0 {
		total = defaultMemBytes
	}
	return Usage{TotalBytes: total, FreeBytes: max(0, total-m.used.Load())}, nil
}

// reserve charges n bytes to the capacity.
func (m *Mem) reserve(n int64) error {
	limit := m.capacity.Load()
	if used := m.used.Add(n); limit > 0 && used > limit {
		m.used.Add(-n)
		return syscall.ENOSPC
	}
	return nil
}

type memInfo struct {
	name    string
	size    int64
	mode    fs.FileMode
	modTime time.Time
}

func infoOf(name string, n *memNode) memInfo {
	if n.file == nil {
		return memInfo{name: name, mode: fs.ModeDir | 0o755}
	}
	size, mod := n.file.stat()
	return memInfo{name: name, size: size, mode: 0o644, modTime: mod}
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return i.mode }
func (i memInfo) ModTime() time.Time { return i.modTime }
func (i memInfo) IsDir() bool        { return i.mode.IsDir() }
func (i memInfo) Sys() any           { return nil }
