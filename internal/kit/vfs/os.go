package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// DirectAlign is the alignment in bytes that OpenDirect's files want of offset, length and address.
const DirectAlign = 4096

// OS is the operating system's file system.
type OS struct{}

var _ FS = OS{}

// Create opens a new or truncated file for reading and writing.
func (OS) Create(name string) (File, error) {
	return openOS(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

// Open opens an existing file for reading.
func (OS) Open(name string) (File, error) { return openOS(name, os.O_RDONLY) }

// OpenReadWrite opens a file for reading and writing, and creates it if it is absent.
func (OS) OpenReadWrite(name string) (File, error) { return openOS(name, os.O_RDWR|os.O_CREATE) }

// OpenDirect opens a file past the page cache where the platform and the volume allow it.
func (OS) OpenDirect(name string) (File, bool, error) {
	if directFlags != 0 {
		f, err := openOS(name, os.O_RDWR|os.O_CREATE|directFlags)
		if err == nil && directWorks(f) {
			return f, true, nil
		}
		if f != nil {
			_ = f.Close() // nothing was written to it
		}
		if err != nil && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
			return nil, false, err
		}
	}
	f, err := openOS(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, false, err
	}
	return f, false, nil
}

// Remove removes one file or empty directory.
func (OS) Remove(name string) error { return os.Remove(filepath.FromSlash(name)) }

// RemoveAll removes name and everything in it.
func (OS) RemoveAll(name string) error { return os.RemoveAll(filepath.FromSlash(name)) }

// Rename moves oldName to newName and replaces what is there.
func (OS) Rename(oldName, newName string) error {
	return os.Rename(filepath.FromSlash(oldName), filepath.FromSlash(newName))
}

// MkdirAll makes the directory and those above it.
func (OS) MkdirAll(name string) error { return os.MkdirAll(filepath.FromSlash(name), 0o755) }

// ReadDir returns the directory's entries sorted by name.
func (OS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(filepath.FromSlash(name)) }

// Stat describes a file.
func (OS) Stat(name string) (fs.FileInfo, error) { return os.Stat(filepath.FromSlash(name)) }

// SyncDir makes the names in the directory durable.
func (OS) SyncDir(name string) error { return syncDir(filepath.FromSlash(name)) }

// OpenVolume gives a handle on the volume that holds the directory.
func (OS) OpenVolume(dir string) (Volume, error) { return openVolume(filepath.FromSlash(dir)) }

// Lock takes an exclusive lock on the file.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(filepath.FromSlash(name), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		_ = f.Close() // the lock's error is the one to tell
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	return f, nil
}

// Usage tells the size and the free bytes of the volume that holds name.
func (OS) Usage(name string) (Usage, error) {
	u, err := usage(filepath.FromSlash(name))
	if err != nil {
		return Usage{}, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	return u, nil
}

// osFile is an *os.File whose shared position is never used.
type osFile struct {
	*os.File
}

func openOS(name string, flags int) (*osFile, error) {
	f, err := os.OpenFile(filepath.FromSlash(name), flags, 0o644)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

// Size is the file's length in bytes.
func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// SyncData makes the data and what is needed to read it durable.
func (f *osFile) SyncData() error {
	if err := syncData(f.File); err != nil {
		return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

// WriteUncached writes past the page cache.
func (f *osFile) WriteUncached(p []byte, off int64) (bool, error) {
	ok, err := writeUncached(f.File, p, off)
	if err != nil {
		return ok, &fs.PathError{Op: "write", Path: f.Name(), Err: err}
	}
	return ok, nil
}

// WriteBack starts writing the range to the device.
func (f *osFile) WriteBack(offset, length int64) error {
	if length <= 0 {
		return nil
	}
	if err := writeBack(f.File, offset, length); err != nil {
		return &fs.PathError{Op: "sync_file_range", Path: f.Name(), Err: err}
	}
	return nil
}

// Fd is the descriptor; it stays valid until Close.
func (f *osFile) Fd() (uintptr, bool) { return f.File.Fd(), true }
