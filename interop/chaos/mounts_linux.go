package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// ownMountsSet says, in the environment, that the process has mounts of its own.
const ownMountsSet = "LOGSTEAD_CHAOS_MOUNTS"

// ownMounts begins the process anew among mounts of its own. Elsewhere a process that takes a copy of all mounts (ip netns exec,
// unshare, containers) keeps the volumes in use after they are unmounted here, and a node that lost its power would find its
// volume as it was cut off. It returns where there is nothing to do: the process has them, or may not.
func ownMounts() error {
	if os.Getenv(ownMountsSet) != "" || os.Geteuid() != 0 {
		return nil
	}
	// Threads that live on in the old namespace end with exec.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); errors.Is(err, unix.EPERM) {
		return nil
	} else if err != nil {
		return fmt.Errorf("a mount namespace: %w", err)
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts from other namespaces: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return fmt.Errorf("begin again: %w", unix.Exec(self, os.Args, append(os.Environ(), ownMountsSet+"=1")))
}
