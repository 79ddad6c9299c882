//go:build !linux

package server

import (
	"errors"
	"net"
)

// haveSendFile: elsewhere file ranges are copied.
const haveSendFile = false

func setCork(*net.TCPConn, bool) {}

func sendFile(*net.TCPConn, uintptr, int64, int) error { return errors.ErrUnsupported }
