package vfs

import (
	"io"
	"io/fs"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

const (
	blockBytes  = 4096      // what a device writes as one
	chunkBytes  = 64 * 1024 // what a file grows by
	chunkBlocks = chunkBytes / blockBytes
)

// memFile is the content of one file, apart from its names.
type memFile struct {
	fs *Mem

	mu         sync.RWMutex
	chunks     []*memChunk // nil: a hole
	size       int64
	syncedSize int64
	alloc      int64 // bytes charged to fs
	modTime    time.Time
	dirty      []int32 // indexes of chunks with a dirty block; tracked only
}

// memChunk holds chunkBytes of a file; a file's first chunk grows to that by doubling.
type memChunk struct {
	data  []byte
	dirty uint16                          // bit i: block i changed since the last sync
	old   *[chunkBlocks]*[blockBytes]byte // what was synced, of dirty blocks; nil: zeros
}

func newMemFile(m *Mem) *memFile { return &memFile{fs: m, modTime: (*m.now.Load())()} }

func (f *memFile) stat() (int64, time.Time) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.size, f.modTime
}

func (f *memFile) allocated() int64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.alloc
}

// readAt copies what there is; holes read as zeros.
func (f *memFile) readAt(p []byte, off int64) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if off >= f.size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	want := int(min(int64(len(p)), f.size-off))
	for n := 0; n < want; {
		ci, at := int((off+int64(n))/chunkBytes), int((off+int64(n))%chunkBytes)
		piece := p[n:min(want, n+chunkBytes-at)]
		f.readChunk(piece, ci, at)
		n += len(piece)
	}
	if want < len(p) {
		return want, io.EOF
	}
	return want, nil
}

func (f *memFile) readChunk(p []byte, ci, at int) {
	n := 0
	if ci < len(f.chunks) && f.chunks[ci] != nil && at < len(f.chunks[ci].data) {
		n = copy(p, f.chunks[ci].data[at:])
	}
	clear(p[n:])
}

func (f *memFile) writeAt(p []byte, off int64, direct bool) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.modTime = (*f.fs.now.Load())()
	for n := 0; n < len(p); {
		ci, at := int((off+int64(n))/chunkBytes), int((off+int64(n))%chunkBytes)
		piece := p[n:min(len(p), n+chunkBytes-at)]
		c, err := f.chunkLocked(ci, at+len(piece))
		if err != nil {
			return n, err
		}
		f.touchLocked(ci, at, len(piece))
		copy(c.data[at:], piece)
		n += len(piece)
		f.size = max(f.size, off+int64(n))
	}
	if direct {
		f.syncRangeLocked(off, int64(len(p)))
	}
	return len(p), nil
}

// chunkLocked returns chunk ci with room for its first need bytes.
func (f *memFile) chunkLocked(ci, need int) (*memChunk, error) {
	for len(f.chunks) <= ci {
		f.chunks = append(f.chunks, nil)
	}
	c := f.chunks[ci]
	have := 0
	if c != nil {
		have = len(c.data)
	}
	if need <= have {
		return c, nil
	}
	size := chunkBytes
	if ci == 0 {
		size = max(blockBytes, 1<<bits.Len(uint(need-1)))
	}
	if err := f.fs.reserve(int64(size - have)); err != nil {
		return nil, err
	}
	f.alloc += int64(size - have)
	data := make([]byte, size)
	if c == nil {
		c = &memChunk{}
		f.chunks[ci] = c
	}
	copy(data, c.data)
	c.data = data
	return c, nil
}

// touchLocked marks blocks as changed and keeps what was synced of them.
func (f *memFile) touchLocked(ci, at, n int) {
	if !f.fs.tracked || n == 0 {
		return
	}
	c := f.chunks[ci]
	if c.dirty == 0 {
		f.dirty = append(f.dirty, int32(ci))
	}
	for b := at / blockBytes; b <= (at+n-1)/blockBytes; b++ {
		if c.dirty&(1<<b) != 0 {
			continue
		}
		c.dirty |= 1 << b
		start := int64(ci)*chunkBytes + int64(b)*blockBytes
		if start >= f.syncedSize || b*blockBytes >= len(c.data) {
			continue // nothing there that a crash could bring back
		}
		if c.old == nil {
			c.old = new([chunkBlocks]*[blockBytes]byte)
		}
		c.old[b] = new([blockBytes]byte)
		copy(c.old[b][:], c.data[b*blockBytes:])
	}
}

// sync makes everything durable and lets go of what a truncation cut off.
func (f *memFile) sync() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ci := range f.dirty {
		if c := f.chunks[ci]; c != nil {
			c.dirty, c.old = 0, nil
		}
	}
	f.dirty = f.dirty[:0]
	for ci := int((f.size + chunkBytes - 1) / chunkBytes); ci < len(f.chunks); ci++ {
		f.releaseLocked(ci)
	}
	f.chunks = f.chunks[:min(len(f.chunks), int((f.size+chunkBytes-1)/chunkBytes))]
	f.syncedSize = f.size
}

// syncRangeLocked makes the blocks of one write durable, and the size that is needed to read them.
func (f *memFile) syncRangeLocked(off, n int64) {
	for b := off / blockBytes; b*blockBytes < off+n; b++ {
		c := f.chunks[b/chunkBlocks]
		c.dirty &^= 1 << (b % chunkBlocks)
		if c.old != nil {
			c.old[b%chunkBlocks] = nil
		}
	}
	kept := f.dirty[:0]
	for _, ci := range f.dirty {
		if f.chunks[ci] != nil && f.chunks[ci].dirty != 0 {
			kept = append(kept, ci)
		}
	}
	f.dirty = kept
	f.syncedSize = max(f.syncedSize, off+n)
}

// truncate sets the size; what is cut off reads as zeros if the file grows again.
func (f *memFile) truncate(size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.modTime = (*f.fs.now.Load())()
	for ci := int(size / chunkBytes); ci < len(f.chunks); ci++ {
		f.cutChunkLocked(ci, int(max(0, size-int64(ci)*chunkBytes)))
	}
	f.size = size
}

// cutChunkLocked zeroes a chunk from byte at on. A tracked file keeps the chunk, which remembers
// what was synced; an untracked one lets whole chunks go.
func (f *memFile) cutChunkLocked(ci, at int) {
	c := f.chunks[ci]
	if c == nil || at >= len(c.data) {
		return
	}
	f.touchLocked(ci, at, len(c.data)-at)
	clear(c.data[at:])
	if at > 0 || f.fs.tracked && c.old != nil {
		return
	}
	f.releaseLocked(ci)
}

// releaseLocked makes chunk ci a hole.
func (f *memFile) releaseLocked(ci int) {
	if c := f.chunks[ci]; c != nil {
		f.fs.used.Add(-int64(len(c.data)))
		f.alloc -= int64(len(c.data))
		f.chunks[ci] = nil
	}
}

// memHandle is one open file.
type memHandle struct {
	file     *memFile
	name     string
	readOnly bool
	direct   bool
	closed   atomic.Bool
}

var _ File = (*memHandle)(nil)

func (h *memHandle) check(op string, write bool) error {
	if h.closed.Load() {
		return &fs.PathError{Op: op, Path: h.name, Err: fs.ErrClosed}
	}
	if write && h.readOnly {
		return &fs.PathError{Op: op, Path: h.name, Err: fs.ErrPermission}
	}
	return nil
}

// ReadAt reads len(p) bytes at off, or up to the end and io.EOF.
func (h *memHandle) ReadAt(p []byte, off int64) (int, error) {
	if err := h.check("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, &fs.PathError{Op: "read", Path: h.name, Err: fs.ErrInvalid}
	}
	return h.file.readAt(p, off)
}

// WriteAt writes p at off.
func (h *memHandle) WriteAt(p []byte, off int64) (int, error) {
	if err := h.check("write", true); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, &fs.PathError{Op: "write", Path: h.name, Err: fs.ErrInvalid}
	}
	if len(p) == 0 {
		return 0, nil
	}
	addr := int64(uintptr(unsafe.Pointer(&p[0])))
	if h.direct && (off|int64(len(p))|addr)%DirectAlign != 0 {
		return 0, &fs.PathError{Op: "write", Path: h.name, Err: errAlign}
	}
	n, err := h.file.writeAt(p, off, h.direct)
	if err != nil {
		return n, &fs.PathError{Op: "write", Path: h.name, Err: err}
	}
	return n, nil
}

// WriteUncached is WriteAt where the file system offers direct writes, with what they want of offset, length and address.
func (h *memHandle) WriteUncached(p []byte, off int64) (bool, error) {
	if !h.file.fs.offersDirect() || len(p) == 0 {
		return false, nil
	}
	if addr := int64(uintptr(unsafe.Pointer(&p[0]))); (off|int64(len(p))|addr)%DirectAlign != 0 {
		return false, &fs.PathError{Op: "write", Path: h.name, Err: errAlign}
	}
	_, err := h.WriteAt(p, off)
	return true, err
}

// Close ends the handle; the content stays.
func (h *memHandle) Close() error {
	if h.closed.Swap(true) {
		return &fs.PathError{Op: "close", Path: h.name, Err: fs.ErrClosed}
	}
	return nil
}

// Name is the path that the file was opened by.
func (h *memHandle) Name() string { return h.name }

// Size is the file's length in bytes.
func (h *memHandle) Size() (int64, error) {
	if err := h.check("stat", false); err != nil {
		return 0, err
	}
	size, _ := h.file.stat()
	return size, nil
}

// Truncate sets the file's length.
func (h *memHandle) Truncate(size int64) error {
	if err := h.check("truncate", true); err != nil {
		return err
	}
	if size < 0 {
		return &fs.PathError{Op: "truncate", Path: h.name, Err: fs.ErrInvalid}
	}
	h.file.truncate(size)
	return nil
}

// Sync makes data and size durable.
func (h *memHandle) Sync() error {
	if err := h.check("sync", false); err != nil {
		return err
	}
	h.file.sync()
	return nil
}

// SyncData makes data and size durable.
func (h *memHandle) SyncData() error { return h.Sync() }

// WriteBack does nothing: memory has no device to begin writing to.
func (h *memHandle) WriteBack(int64, int64) error { return h.check("writeback", false) }

// Fd has nothing to offer.
func (h *memHandle) Fd() (uintptr, bool) { return 0, false }
