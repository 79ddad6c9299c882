package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/logstead/logstead/interop/local"
)

// options are the flags.
type options struct {
	nodes    int
	count    int
	only     string
	seed     uint64
	rival    string
	quorum   string
	keep     bool
	java     bool
	secure   bool
	duration time.Duration
}

func main() {
	var o options
	flag.IntVar(&o.nodes, "nodes", 3, "nodes of the cluster")
	flag.IntVar(&o.count, "faults", 0, "faults to inject, chosen at random; 0 is each of the short form once")
	flag.StringVar(&o.only, "only", "", "faults to inject, one after the other, separated by commas; `list` prints them")
	flag.Uint64Var(&o.seed, "seed", 0, "seed of the schedule; 0 is a new one")
	flag.StringVar(&o.rival, "rival", "logstead", "whom to break: logstead or kafka")
	flag.StringVar(&o.quorum, "quorum", "", "static, or dynamic: voters can be added and removed; unset is static with 3 nodes and dynamic with more")
	flag.BoolVar(&o.keep, "keep", false, "keep the directories")
	flag.BoolVar(&o.java, "java", true, "run a Java producer too")
	flag.BoolVar(&o.secure, "secure", false, "TLS, logins and access control on every listener, of clients, brokers and controllers")
	flag.DurationVar(&o.duration, "duration", 0, "end the random schedule after so long")
	flag.Parse()
	if err := local.OwnMounts(); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := runChaos(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		code = 1
	}
	os.Exit(code)
}
