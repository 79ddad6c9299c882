package cli

import (
	"os"
	"runtime"
	"runtime/debug"
)

// serverGOGC is how much the heap of a server may grow between collections, in per cent. The data path
// allocates nothing, so what is left are coordinators and admin requests; their garbage is small
// against the buffers that are pooled, and memory under load is the same as with 100.
const serverGOGC = 200

// tuneRuntime sets the Go runtime up for a server, where the environment does not say otherwise.
//
// A goroutine in a write or a sync holds its processor until the runtime notices and takes it away;
// with no more processors than cores, requests that are ready wait meanwhile. Twice as many halved
// the p99 of small requests beside a background of large ones; waking more threads costs such a load
// up to a tenth of its CPU, and large requests nothing (docs/performance.md).
func tuneRuntime() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(4, 2*runtime.GOMAXPROCS(0)))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(serverGOGC)
	}
}
