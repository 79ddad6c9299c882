package vfs

import (
	"errors"
	"os"
	"strconv"
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

// writeUncached writes through a descriptor of its own, opened for the one write: it costs three microseconds, readers
// keep to the page cache, and there is no second descriptor to bound for each file. It is opened by way of the one
// there is, since the file may have been renamed.
func writeUncached(f *os.File, p []byte, off int64) (ok bool, err error) {
	fd, refused := -1, error(nil)
	err = control(f, func(n int) error {
		fd, refused = unix.Open("/proc/self/fd/"+strconv.Itoa(n), unix.O_WRONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
		return nil
	})
	switch {
	case err != nil:
		return false, err
	case errors.Is(refused, unix.EMFILE) || errors.Is(refused, unix.ENFILE):
		return false, refused
	case refused != nil:
		return false, nil // no /proc, or a file system without direct writes
	}
	defer func() { _ = unix.Close(fd) }() // what the writes say is all there is to say
	for done := 0; done < len(p); {
		n, err := unix.Pwrite(fd, p[done:], off+int64(done))
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EINVAL) && done == 0:
			return false, nil // a device that wants more than DirectAlign
		case err != nil:
			return true, err
		}
		done += max(n, 0)
	}
	return true, nil
}

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
