//go:build unix

package server

import "syscall"

// haveReadFD says that a socket can be read once it is readable, without a buffer before.
const haveReadFD = true

func readFD(fd uintptr, p []byte) (int, error) { return syscall.Read(int(fd), p) }
