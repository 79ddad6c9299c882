package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// volumeSyncs are the file systems whose syncfs is one journal commit that tells of failed writes.
// Layered and network file systems are left out.
var volumeSyncs = map[uint32]bool{
	unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true,
}

// osVolume keeps one descriptor open: the kernel counts failed writes for each descriptor from its open on.
type osVolume struct{ f *os.File }

func openVolume(dir string) (Volume, error) {
	if !syncfsTells() {
		return nil, errors.ErrUnsupported
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	err = control(f, func(fd int) error { return unix.Fstatfs(fd, &st) })
	if err == nil && !volumeSyncs[uint32(st.Type)] {
		err = errors.ErrUnsupported
	}
	if err != nil {
		_ = f.Close() // it was only read
		return nil, err
	}
	return &osVolume{f}, nil
}

// syncfsTells reports whether syncfs returns errors of earlier write-back, as it does from Linux 5.8 on.
func syncfsTells() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var major, minor int
	if n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); n != 2 {
		return false
	}
	return major > 5 || major == 5 && minor >= 8
}

// Sync makes the volume durable.
func (v *osVolume) Sync() error {
	if err := control(v.f, unix.Syncfs); err != nil {
		return &fs.PathError{Op: "syncfs", Path: v.f.Name(), Err: err}
	}
	return nil
}

// Close gives the descriptor back.
func (v *osVolume) Close() error { return v.f.Close() }
