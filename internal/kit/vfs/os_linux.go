package vfs

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const directFlags = unix.O_DIRECT | unix.O_DSYNC

// directWorks tells whether aligned reads past the page cache are served: some file systems accept
// the open and refuse the first transfer.
func directWorks(f *osFile) bool {
	buf := alignedBlock()
	_, err := unix.Pread(int(f.File.Fd()), buf, 0)
	return err == nil
}

// alignedBlock is one block whose address is a multiple of DirectAlign.
func alignedBlock() []byte {
	buf := make([]byte, 2*DirectAlign)
	skip := DirectAlign - int(uintptr(unsafe.Pointer(&buf[0]))%DirectAlign)
	return buf[skip : skip+DirectAlign : skip+DirectAlign]
}

// control runs fn with the descriptor held open, and again while a signal interrupts it.
func control(f *os.File, fn func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = conn.Control(func(fd uintptr) {
		for {
			if inner = fn(int(fd)); !errors.Is(inner, unix.EINTR) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	return inner
}

func syncData(f *os.File) error { return control(f, unix.Fdatasync) }

func writeBack(f *os.File, offset, length int64) error {
	err := control(f, func(fd int) error {
		return unix.SyncFileRange(fd, offset, length, unix.SYNC_FILE_RANGE_WRITE)
	})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ESPIPE) {
		return nil // only a hint
	}
	return err
}

func lockFile(f *os.File) error {
	return control(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
}

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
	for {
		err := unix.Statfs(name, &st)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return Usage{}, err
		}
		size := int64(st.Bsize)
		return Usage{TotalBytes: int64(st.Blocks) * size, FreeBytes: int64(st.Bavail) * size}, nil
	}
}
