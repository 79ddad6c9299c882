package peer

import (
	"io"
	"net"
	"time"

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

// giveUpUnacknowledged ends a connection whose bytes the other side has not acknowledged for so long.
func giveUpUnacknowledged(tcp *net.TCPConn, after time.Duration) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	// A failure leaves it to the system's own patience.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(max(after.Milliseconds(), 1)))
	})
}
