//go:build !linux

package peer

import (
	"io"
	"net"
	"time"
)

func lowWater(io.Reader) func(int) { return nil }

func giveUpUnacknowledged(*net.TCPConn, time.Duration) {}
