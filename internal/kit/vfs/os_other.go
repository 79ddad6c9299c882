//go:build !linux && !darwin && !freebsd && !windows

package vfs

import (
	"errors"
	"os"
)

const directFlags = 0

func directWorks(*osFile) bool { return false }

func syncData(f *os.File) error { return f.Sync() }

func writeUncached(*os.File, []byte, int64) (bool, error) { return false, nil }

func writeBack(*os.File, int64, int64) error { return nil }

// lockFile refuses: without an exclusive lock two processes could write one log directory.
func lockFile(*os.File) error { return errors.ErrUnsupported }

func syncDir(string) error { return nil }

func usage(string) (Usage, error) { return Usage{}, errors.ErrUnsupported }
