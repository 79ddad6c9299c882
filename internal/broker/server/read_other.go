//go:build !unix

package server

import "errors"

// haveReadFD: elsewhere a connection holds its read buffer while it waits.
const haveReadFD = false

func readFD(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
