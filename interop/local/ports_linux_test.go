package local

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"testing"
)

// No address of a node is one that an outgoing connection may take while the node is down.
func TestAddressesBelowOutgoingOnes(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	var first, last int
	if _, scan := fmt.Sscan(string(text), &first, &last); err != nil || scan != nil {
		t.Skip("the system does not say which ports outgoing connections have:", err, scan)
	}
	t.Setenv("INTEROP_BIN", "/bin/true")
	for range 20 {
		n, err := New(t.Context(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		k, err := NewKafka(t.Context(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer k.held.Close()
		free, err := FreeAddr()
		if err != nil {
			t.Fatal(err)
		}
		for _, addr := range []string{n.Addr, n.HTTP, k.Addr, k.Controller(), free} {
			_, port, _ := net.SplitHostPort(addr)
			if number, _ := strconv.Atoi(port); number == 0 || number >= first {
				t.Fatalf("%s may be an outgoing connection's, which begin at port %d", addr, first)
			}
		}
	}
}
