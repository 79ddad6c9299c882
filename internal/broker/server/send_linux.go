package server

import (
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// haveSendFile says that file ranges go out without being copied.
const haveSendFile = true

// setCork holds partial segments back while a header, a file range and what follows are sent. A
// failure only costs packets.
func setCork(c *net.TCPConn, on bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	v := 0
	if on {
		v = 1
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, v) })
}

// sendFile sends n bytes of a file from off. It gives its own offset, so that fetches of the same
// file do not disturb each other. Once the socket's buffer is full the cork comes off: it has held
// header and data together, and from there on it would only hold back what the buffer ends with, for
// which the client would have to be woken once more. Reading into a buffer and writing that costs
// half as much again and more, whatever the size of the buffer (docs/performance.md).
func sendFile(c *net.TCPConn, src uintptr, off int64, n int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	corked := true
	err = raw.Write(func(fd uintptr) bool {
		for n > 0 {
			k, err := unix.Sendfile(int(fd), int(src), &off, min(n, maxSendFile))
			switch {
			case err == unix.EINTR:
				continue
			case err == unix.EAGAIN:
				if corked {
					corked = false
					_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, 0) // a failure only costs time
				}
				return false
			case err != nil:
				sendErr = fmt.Errorf("sendfile: %w", err)
				return true
			case k == 0:
				sendErr = fmt.Errorf("sendfile: file ended %d bytes early: %w", n, io.ErrUnexpectedEOF)
				return true
			}
			n -= k
		}
		return true
	})
	if sendErr != nil {
		return sendErr
	}
	return err
}

// maxSendFile bounds one call, so that one connection does not hold a thread for long.
const maxSendFile = 4 << 20
