package vfs

import (
	"io"
	"io/fs"
	"path"
	"sync"
)

// OpKind is a file-system operation that Fault sees.
type OpKind string

// The operations. Reading a size, a name or a descriptor is not one.
const (
	OpCreate    OpKind = "create"
	OpOpen      OpKind = "open"
	OpRemove    OpKind = "remove"
	OpRename    OpKind = "rename"
	OpMkdir     OpKind = "mkdir"
	OpReadDir   OpKind = "readdir"
	OpStat      OpKind = "stat"
	OpSyncDir   OpKind = "syncdir"
	OpLock      OpKind = "lock"
	OpRead      OpKind = "read"
	OpWrite     OpKind = "write"
	OpTruncate  OpKind = "truncate"
	OpSync      OpKind = "sync" // Sync and SyncData
	OpWriteBack OpKind = "writeback"
	OpClose     OpKind = "close"
)

// Changes reports whether the operation can change what a crash leaves.
func (k OpKind) Changes() bool {
	switch k {
	case OpCreate, OpRemove, OpRename, OpMkdir, OpSyncDir, OpLock, OpWrite, OpTruncate, OpSync:
		return true
	case OpOpen, OpReadDir, OpStat, OpRead, OpWriteBack, OpClose:
		return false
	}
	return false
}

// Op is one operation that is about to happen.
type Op struct {
	N      int64 // 1 for the first operation of the Fault
	Kind   OpKind
	Path   string // of a rename: the old name
	Offset int64  // reads and writes
	Len    int
	Data   []byte // of a write; valid while the hook runs
}

// Rule makes operations fail.
type Rule struct {
	Kind  OpKind // empty: every kind
	Path  string // path.Match pattern, tried on the whole path and on its last element; empty: every path
	After int    // operations that match and are let through first
	Count int    // operations that fail then; 0: all that follow
	Err   error
	// Short, on writes, is how many bytes are written before Err; on reads, how many are read.
	Short int
}

// Fault is a file system that does what another one does, counts it, and fails where rules say so.
type Fault struct {
	under FS

	mu struct {
		sync.Mutex
		n     int64
		hook  func(Op)
		rules []*activeRule
	}
}

var _ FS = (*Fault)(nil)

type activeRule struct {
	Rule
	seen int
}

// NewFault wraps a file system; without rules it changes nothing.
func NewFault(under FS) *Fault { return &Fault{under: under} }

// Ops is the number of operations so far.
func (f *Fault) Ops() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.n
}

// OnOp sets a function to be called before every operation, on its goroutine and outside of the
// Fault's lock. Before operation n+1 is after operation n: there a test takes its crash clone.
func (f *Fault) OnOp(hook func(Op)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.hook = hook
}

// Inject adds a rule. The first rule that applies decides.
func (f *Fault) Inject(r Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.rules = append(f.mu.rules, &activeRule{Rule: r})
}

// Clear takes all rules away.
func (f *Fault) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.rules = nil
}

// before counts an operation, runs the hook and returns the rule that fails it, if any.
func (f *Fault) before(kind OpKind, name string, off int64, n int, data []byte) *Rule {
	f.mu.Lock()
	f.mu.n++
	op := Op{N: f.mu.n, Kind: kind, Path: name, Offset: off, Len: n, Data: data}
	hook := f.mu.hook
	var hit *Rule
	for _, r := range f.mu.rules {
		if r.matches(kind, name) {
			hit = &r.Rule
			break
		}
	}
	f.mu.Unlock()
	if hook != nil {
		hook(op)
	}
	return hit
}

// matches reports whether the rule fails this operation, and counts it.
func (r *activeRule) matches(kind OpKind, name string) bool {
	if r.Kind != "" && r.Kind != kind {
		return false
	}
	if r.Path != "" && !match(r.Path, name) && !match(r.Path, path.Base(name)) {
		return false
	}
	r.seen++
	return r.seen > r.After && (r.Count == 0 || r.seen <= r.After+r.Count)
}

func match(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

func (f *Fault) fail(kind OpKind, name string) error {
	if r := f.before(kind, name, 0, 0, nil); r != nil {
		return &fs.PathError{Op: string(kind), Path: name, Err: r.Err}
	}
	return nil
}

func (f *Fault) file(kind OpKind, name string, open func(string) (File, error)) (File, error) {
	if err := f.fail(kind, name); err != nil {
		return nil, err
	}
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	return &faultFile{under: file, fs: f}, nil
}

// Create opens a new or truncated file.
func (f *Fault) Create(name string) (File, error) { return f.file(OpCreate, name, f.under.Create) }

// Open opens an existing file for reading.
func (f *Fault) Open(name string) (File, error) { return f.file(OpOpen, name, f.under.Open) }

// OpenReadWrite opens a file for reading and writing; it counts as a creation.
func (f *Fault) OpenReadWrite(name string) (File, error) {
	return f.file(OpCreate, name, f.under.OpenReadWrite)
}

// OpenDirect opens a file for direct writes; it counts as a creation.
func (f *Fault) OpenDirect(name string) (File, bool, error) {
	var direct bool
	file, err := f.file(OpCreate, name, func(name string) (File, error) {
		var under File
		var err error
		under, direct, err = f.under.OpenDirect(name)
		return under, err
	})
	if err != nil {
		return nil, false, err
	}
	return file, direct, nil
}

// Remove removes one file or empty directory.
func (f *Fault) Remove(name string) error {
	if err := f.fail(OpRemove, name); err != nil {
		return err
	}
	return f.under.Remove(name)
}

// RemoveAll removes a tree; it is one operation.
func (f *Fault) RemoveAll(name string) error {
	if err := f.fail(OpRemove, name); err != nil {
		return err
	}
	return f.under.RemoveAll(name)
}

// Rename moves a file.
func (f *Fault) Rename(oldName, newName string) error {
	if err := f.fail(OpRename, oldName); err != nil {
		return err
	}
	return f.under.Rename(oldName, newName)
}

// MkdirAll makes a directory.
func (f *Fault) MkdirAll(name string) error {
	if err := f.fail(OpMkdir, name); err != nil {
		return err
	}
	return f.under.MkdirAll(name)
}

// ReadDir lists a directory.
func (f *Fault) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := f.fail(OpReadDir, name); err != nil {
		return nil, err
	}
	return f.under.ReadDir(name)
}

// Stat describes a file.
func (f *Fault) Stat(name string) (fs.FileInfo, error) {
	if err := f.fail(OpStat, name); err != nil {
		return nil, err
	}
	return f.under.Stat(name)
}

// SyncDir makes names durable.
func (f *Fault) SyncDir(name string) error {
	if err := f.fail(OpSyncDir, name); err != nil {
		return err
	}
	return f.under.SyncDir(name)
}

// OpenVolume opens a volume; its Sync is an OpSync of dir.
func (f *Fault) OpenVolume(dir string) (Volume, error) {
	if err := f.fail(OpOpen, dir); err != nil {
		return nil, err
	}
	v, err := f.under.OpenVolume(dir)
	if err != nil {
		return nil, err
	}
	return &faultVolume{v, f, dir}, nil
}

type faultVolume struct {
	Volume
	fs  *Fault
	dir string
}

// Sync makes the volume durable.
func (v *faultVolume) Sync() error {
	if err := v.fs.fail(OpSync, v.dir); err != nil {
		return err
	}
	return v.Volume.Sync()
}

// Lock takes an exclusive lock.
func (f *Fault) Lock(name string) (io.Closer, error) {
	if err := f.fail(OpLock, name); err != nil {
		return nil, err
	}
	return f.under.Lock(name)
}

// Usage passes through.
func (f *Fault) Usage(name string) (Usage, error) { return f.under.Usage(name) }

type faultFile struct {
	under File
	fs    *Fault
}

var _ File = (*faultFile)(nil)

// ReadAt reads, fails, or reads short and fails.
func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	r := f.fs.before(OpRead, f.under.Name(), off, len(p), nil)
	if r == nil {
		return f.under.ReadAt(p, off)
	}
	n := min(r.Short, len(p))
	if n > 0 {
		var err error
		if n, err = f.under.ReadAt(p[:n], off); err != nil {
			return n, err
		}
	}
	return n, &fs.PathError{Op: "read", Path: f.under.Name(), Err: r.Err}
}

// WriteAt writes, fails, or writes short and fails.
func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	r := f.fs.before(OpWrite, f.under.Name(), off, len(p), p)
	if r == nil {
		return f.under.WriteAt(p, off)
	}
	n := min(r.Short, len(p))
	if n > 0 {
		var err error
		if n, err = f.under.WriteAt(p[:n], off); err != nil {
			return n, err
		}
	}
	return n, &fs.PathError{Op: "write", Path: f.under.Name(), Err: r.Err}
}

// WriteUncached is a write as WriteAt is.
func (f *faultFile) WriteUncached(p []byte, off int64) (bool, error) {
	r := f.fs.before(OpWrite, f.under.Name(), off, len(p), p)
	if r == nil {
		return f.under.WriteUncached(p, off)
	}
	if n := min(r.Short, len(p)); n > 0 {
		if _, err := f.under.WriteAt(p[:n], off); err != nil {
			return true, err
		}
	}
	return true, &fs.PathError{Op: "write", Path: f.under.Name(), Err: r.Err}
}

// Close closes the file, also where a rule makes it fail.
func (f *faultFile) Close() error {
	ruleErr := f.fs.fail(OpClose, f.under.Name())
	if err := f.under.Close(); err != nil {
		return err
	}
	return ruleErr
}

func (f *faultFile) Name() string         { return f.under.Name() }
func (f *faultFile) Size() (int64, error) { return f.under.Size() }

// Truncate sets the file's length.
func (f *faultFile) Truncate(size int64) error {
	if err := f.fs.fail(OpTruncate, f.under.Name()); err != nil {
		return err
	}
	return f.under.Truncate(size)
}

// Sync makes the file durable.
func (f *faultFile) Sync() error {
	if err := f.fs.fail(OpSync, f.under.Name()); err != nil {
		return err
	}
	return f.under.Sync()
}

// SyncData makes the data durable.
func (f *faultFile) SyncData() error {
	if err := f.fs.fail(OpSync, f.under.Name()); err != nil {
		return err
	}
	return f.under.SyncData()
}

// WriteBack starts writing a range to the device.
func (f *faultFile) WriteBack(offset, length int64) error {
	if err := f.fs.fail(OpWriteBack, f.under.Name()); err != nil {
		return err
	}
	return f.under.WriteBack(offset, length)
}

// Fd has nothing to offer: reads by descriptor would pass the rules by.
func (f *faultFile) Fd() (uintptr, bool) { return 0, false }
