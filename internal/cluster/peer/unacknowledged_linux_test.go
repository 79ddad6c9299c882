package peer

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// deaf has a connection's system drop whatever comes in, as if the network was cut, or take it again.
func deaf(t *testing.T, nc net.Conn, on bool) {
	t.Helper()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	if cerr := raw.Control(func(fd uintptr) {
		if on {
			err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]})
			return
		}
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
	}); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
}

// TestUnacknowledged: messages that do not arrive, and have no answer that could be missed, end a connection after the
// time that is given, so that the next ones go out on another; without a time they wait for the system.
func TestUnacknowledged(t *testing.T) {
	for _, patience := range []time.Duration{0, 200 * time.Millisecond} {
		n := newNode(t, func(int16, int16, []byte) kmsg.Response { return nil })
		c := n.client(t, Options{Unacknowledged: patience})
		if err := c.Post(t.Context(), 30_000, 0, []byte("one")); err != nil {
			t.Fatal(err)
		}
		n.mu.Lock()
		first := n.mu.open[0]
		n.mu.Unlock()
		deaf(t, first, true)
		end := time.Now().Add(3 * time.Second)
		if patience > 0 {
			end = end.Add(time.Minute) // it ends as soon as there is another
		}
		for n.conns.Load() == 1 && time.Now().Before(end) {
			_ = c.Post(t.Context(), 30_000, 0, []byte("more"))
			time.Sleep(10 * time.Millisecond)
		}
		if got, want := n.conns.Load() > 1, patience > 0; got != want {
			t.Errorf("patience %v: another connection was opened: %v, want %v", patience, got, want)
		}
		deaf(t, first, false)
	}
}
