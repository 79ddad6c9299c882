// Package vfs is the file-system seam: the operating system's files (OS), files in memory (Mem)
// and injected faults (Fault).
//
// It knows nothing of Kafka. Everything that logstead stores goes through an FS, so that the same
// code runs on a disk, in memory for `logstead dev`, and under crash and fault tests.
//
// Concurrency: an FS and its Files may be used from any goroutine; ReadAt and WriteAt on disjoint
// ranges may run side by side.
//
// Invariants:
//  1. What Sync or SyncData has returned nil for survives a crash; a name survives only once its
//     directory was given to SyncDir.
//  2. Every error names the operation and the path (*fs.PathError or wrapped).
package vfs

import (
	"io"
	"io/fs"
)

// FS is a file system. Paths are absolute or relative to the process, with '/' between elements.
type FS interface {
	// Create opens a new or truncated file for reading and writing.
	Create(name string) (File, error)
	// Open opens an existing file for reading.
	Open(name string) (File, error)
	// OpenReadWrite opens a file for reading and writing, and creates it empty if it is absent.
	OpenReadWrite(name string) (File, error)
	// OpenDirect is OpenReadWrite with O_DIRECT|O_DSYNC where the file system offers that: each
	// WriteAt is on stable storage when it returns, and offset, length and address of the buffer
	// must be multiples of 4096. Where direct is false the caller writes ordinarily and syncs.
	OpenDirect(name string) (f File, direct bool, err error)
	Remove(name string) error
	RemoveAll(name string) error
	Rename(oldName, newName string) error
	MkdirAll(name string) error
	// ReadDir returns the directory's entries sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes creations, removals and renames in the directory durable.
	SyncDir(name string) error
	// OpenVolume gives a handle on the volume that holds the directory, for syncing all of it at once.
	// The error is errors.ErrUnsupported where that cannot be done, or where it might not tell of a
	// failed write.
	OpenVolume(dir string) (Volume, error)
	// Lock takes an exclusive lock on the file, creating it; Close releases it. A lock that
	// somebody else holds is an error at once.
	Lock(name string) (io.Closer, error)
	// Usage tells the size and the free bytes of the volume that holds name.
	Usage(name string) (Usage, error)
}

// File is an open file. There is no file position: every read and write says where.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Name() string
	Size() (int64, error)
	Truncate(size int64) error
	// Sync makes data and metadata durable; SyncData makes the data and what is needed to read it
	// durable (fdatasync).
	Sync() error
	SyncData() error
	// WriteUncached is WriteAt past the page cache (O_DIRECT): cheaper for what is large and nobody is about to read.
	// It is no more durable than WriteAt. off, length and address of p must be multiples of DirectAlign, and no
	// WriteAt on the same blocks may be under way. ok false says that the file cannot do it and nothing was written.
	WriteUncached(p []byte, off int64) (ok bool, err error)
	// WriteBack asks the kernel to begin writing the range to the device, without waiting
	// (sync_file_range); a no-op where there is no such call.
	WriteBack(offset, length int64) error
	// Fd is the descriptor for sendfile; ok is false where the file has none.
	Fd() (fd uintptr, ok bool)
}

// Volume is an open volume.
type Volume interface {
	// Sync makes everything that was written to the volume before it durable, with all names, whoever
	// wrote it. It tells of any write to the volume that has failed since OpenVolume.
	Sync() error
	io.Closer
}

// Usage is the size of a volume and what is free on it, in bytes.
type Usage struct {
	TotalBytes int64
	FreeBytes  int64
}
