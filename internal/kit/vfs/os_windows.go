package vfs

import (
	"os"

	"golang.org/x/sys/windows"
)

const directFlags = 0

func directWorks(*osFile) bool { return false }

func syncData(f *os.File) error { return f.Sync() }

func writeUncached(*os.File, []byte, int64) (bool, error) { return false, nil }

func writeBack(*os.File, int64, int64) error { return nil }

func lockFile(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	return windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{})
}

// syncDir does nothing: NTFS journals names itself and has no call to wait for it.
func syncDir(string) error { return nil }

func usage(name string) (Usage, error) {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return Usage{}, err
	}
	var free, total, all uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, &total, &all); err != nil {
		return Usage{}, err
	}
	return Usage{TotalBytes: int64(total), FreeBytes: int64(free)}, nil
}
