//go:build darwin || freebsd

package vfs

import (
	"os"

	"golang.org/x/sys/unix"
)

const directFlags = 0

func directWorks(*osFile) bool { return false }

// syncData is the full sync: on darwin only F_FULLFSYNC, which os.File.Sync uses, reaches the device.
func syncData(f *os.File) error { return f.Sync() }

func writeUncached(*os.File, []byte, int64) (bool, error) { return false, nil }

func writeBack(*os.File, int64, int64) error { return nil }

func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

func usage(name string) (Usage, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(name, &st); err != nil {
		return Usage{}, err
	}
	size := int64(st.Bsize)
	return Usage{TotalBytes: int64(st.Blocks) * size, FreeBytes: int64(st.Bavail) * size}, nil
}
