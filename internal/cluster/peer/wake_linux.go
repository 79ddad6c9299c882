package peer

import (
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// lowWater is how a TCP connection is told from how many received bytes on its reader is woken. The kernel wakes it
// earlier where no more have room, and at the end of the stream.
func lowWater(nc io.Reader) func(bytes int) {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return func(bytes int) {
		// A failure only costs time.
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, bytes) })
	}
}
