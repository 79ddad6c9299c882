package node

import (
	"net"
	"os"

	"github.com/twmb/franz-go/pkg/kerr"
)

// errStopping is what those get who still wait on a partition when the broker stops.
var errStopping = kerr.NotLeaderForPartition

// notifySystemd tells the service manager of a state, where there is one.
func notifySystemd(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer c.Close() //nolint:errcheck // nothing depends on it
	_, _ = c.Write([]byte(state))
}
