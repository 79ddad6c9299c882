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

// The soft limit of the heap is so many times the budget for requests and answers: beside them a batch may decompress to
// 256 MiB. Without it, garbage of such batches would wait for the heap to grow threefold.
const (
	heapBudgets  = 4
	leastHeapMax = 512 << 20
)

// tuneRuntime sets the Go runtime up for a server with this memory budget (0: none was set), where the environment
// does not say otherwise.
//
// A goroutine in a write or a sync holds its processor until the runtime notices and takes it away;
// with no more processors than cores, requests that are ready wait meanwhile. Twice as many halved
// the p99 of small requests beside a background of large ones; waking more threads costs such a load
// up to a tenth of its CPU, and large requests nothing (docs/performance.md).
func tuneRuntime(budget int64) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.SetDefaultGOMAXPROCS() // of the machine, and not what an earlier server of this process has made of it
		runtime.GOMAXPROCS(max(4, 2*runtime.GOMAXPROCS(0)))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(serverGOGC)
	}
	if os.Getenv("GOMEMLIMIT") == "" && budget > 0 {
		debug.SetMemoryLimit(max(heapBudgets*budget, leastHeapMax))
	}
}
