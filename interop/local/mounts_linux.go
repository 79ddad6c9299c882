package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// ownMounts says in the environment that this process has begun again with mounts of its own.
const ownMounts = "INTEROP_OWN_MOUNTS"

// OwnMounts begins this program again with a mount namespace of its own: what it mounts nobody else sees. A process
// elsewhere that gets itself a namespace, as ip netns exec does, would have a copy of every volume, and keep it in use
// when it is unmounted. Call it first in main. Who is not root mounts nothing, and goes on as it is.
func OwnMounts() error {
	if os.Geteuid() != 0 {
		return nil
	}
	if os.Getenv(ownMounts) != "" {
		return os.Unsetenv(ownMounts)
	}
	runtime.LockOSThread() // the namespace is this thread's, which is the one that exec keeps
	if err := unix.Unshare(unix.CLONE_NEWNS); errors.Is(err, unix.EPERM) {
		runtime.UnlockOSThread()
		return nil // root in a container without the right to: it cannot mount either
	} else if err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	if err := dropCopies(); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	return fmt.Errorf("begin again with mounts of its own: %w", unix.Exec(exe, os.Args, append(os.Environ(), ownMounts+"=1")))
}

// dropCopies unmounts what lies in the directory of temporary files: volumes of others, which are copies here that would
// keep them in use.
func dropCopies() error {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	temp := filepath.Clean(os.TempDir()) + "/"
	var errs []error
	for line := range strings.Lines(string(info)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], temp) {
			errs = append(errs, unix.Unmount(fields[4], unix.MNT_DETACH))
		}
	}
	return errors.Join(errs...)
}
