// Command scale measures what the metadata of a large cluster costs: the real controller over a real log
// on this disk, with brokers that are played, in one process.
//
//	go run ./bench/scale                                 3 to 1,000 brokers, up to 100,000 partitions
//	go run ./bench/scale -brokers 1000 -partitions 1000000
//	go run ./bench/scale -node 100000                    a real node with that many partitions of its own
//
// CPU is that of this process, garbage collection included; bytes are those on the wire or on the disk. The
// figures and what follows from them are in docs/adr/0009-scale.md.
//
// It must not know how the controller decides: it asks, and takes the time.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
)

// size is a cluster to be measured.
type size struct{ brokers, partitions, perTopic int }

var sizes = []size{{3, 10_000, 100}, {3, 100_000, 100}, {3, 100_000, 1}, {100, 100_000, 100}, {1000, 100_000, 100}}

func main() {
	brokers := flag.Int("brokers", 0, "brokers of the cluster; 0 for a list of sizes")
	partitions := flag.Int("partitions", 100_000, "partitions of the cluster, three replicas each")
	perTopic := flag.Int("per-topic", 100, "partitions of a topic")
	node := flag.Int("node", 0, "start a real node with `N` partitions instead")
	dir := flag.String("dir", "", "where the files go (default: a temporary directory)")
	flag.Parse()
	if err := run(*node, *dir, size{*brokers, *partitions, *perTopic}); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(node int, dir string, one size) error {
	tmp, err := os.MkdirTemp(dir, "logstead-scale-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if node > 0 {
		return measureNode(tmp, node)
	}
	list := sizes
	if one.brokers > 0 {
		list = []size{one}
	}
	for i, s := range list {
		if err := measure(fmt.Sprintf("%s/%d", tmp, i), s); err != nil {
			return fmt.Errorf("%d brokers, %d partitions: %w", s.brokers, s.partitions, err)
		}
	}
	return nil
}

// cost is what something took.
type cost struct{ wall, cpu time.Duration }

func (c cost) per(n int) cost { return cost{c.wall / time.Duration(n), c.cpu / time.Duration(n)} }

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// take measures fn.
func take(fn func() error) (cost, error) {
	wall, cpu := time.Now(), cpuTime()
	err := fn()
	return cost{time.Since(wall), cpuTime() - cpu}, err
}

// heap is what is in use once what is not has been thrown away.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// row prints one figure.
func row(what, format string, args ...any) {
	fmt.Printf("  %-46s "+format+"\n", append([]any{what}, args...)...)
}

func (c cost) String() string {
	return fmt.Sprintf("%s (CPU %s)", c.wall.Round(10*time.Microsecond), c.cpu.Round(10*time.Microsecond))
}
