package main

import (
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// send writes a header, a range of a file and what follows, corked as the broker does.
func send(nc *net.TCPConn, head []byte, file *os.File, pos int64, n int, tail []byte) error {
	raw, err := nc.SyscallConn()
	if err != nil {
		return err
	}
	cork := func(on int) {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, on) })
	}
	cork(1)
	if _, err := nc.Write(head); err != nil {
		return err
	}
	var failed error
	src := int(file.Fd())
	err = raw.Write(func(fd uintptr) bool {
		for n > 0 {
			k, err := unix.Sendfile(int(fd), src, &pos, n)
			switch {
			case err == unix.EINTR:
				continue
			case err == unix.EAGAIN:
				_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, 0)
				return false
			case err != nil:
				failed = err
				return true
			case k == 0:
				failed = io.ErrUnexpectedEOF
				return true
			}
			n -= k
		}
		return true
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	_, err = nc.Write(tail)
	cork(0)
	return err
}
