// Command interop runs real Kafka clients, Kafka's own tools and Kafka's own frameworks against a broker and
// prints one line for each thing tried.
//
//	go run ./interop [flags] [suite...]
//	go run ./interop -nodes 3 [flags] [suite...]
//
// The second form starts three nodes: topics have three replicas then, internal ones too, and a kill takes all nodes.
// It owns the running of foreign programs: installing them (setup.sh), starting them with a time limit, and
// reading what they print. It must not know anything of the broker's insides: the target is an address, and where
// a suite must kill or restart the broker, a process with a data directory. Without a target it builds and starts
// logstead; `-target kafka` starts Apache Kafka, against which every suite must pass too; `-target HOST:PORT`
// takes what listens there and leaves out the suites that restart it.
//
// Concurrency: suites run one after another; within a suite, members of a group run side by side.
//
// Invariants:
//  1. a check that did not run is not a pass: a suite that cannot be set up is a failed row
//  2. every foreign program has a time limit, and its whole process tree ends with it
//  3. nothing is written into the repository
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/logstead/logstead/interop/local"
)

// suite is a named group of checks.
type suite struct {
	name string
	// parts are what setup.sh must have installed.
	parts []string
	// long suites run only when they are named, or with -long.
	long bool
	// extra suites are long on several nodes: another suite there has their clients.
	extra bool
	// reads says that the suite reads the files of the only broker and restarts it, or starts one like it.
	reads bool
	run   func(context.Context, *Run)
}

func suites() []suite {
	all := []suite{
		{name: "tools", parts: []string{"java"}, extra: true, run: tools},
		{name: "flights", parts: []string{"java", "data", "python", "node", "go", "kcat"}, extra: true, run: flights},
	}
	for _, d := range drivers() {
		all = append(all, suite{name: "smoke-" + d.name, parts: []string{d.part}, long: d.long, extra: d.extra, run: smoke(d)})
	}
	return append(all,
		suite{name: "kcat", parts: []string{"kcat"}, run: kcat},
		suite{name: "kaskade", parts: []string{"kaskade"}, long: true, run: kaskade},
		suite{name: "streams", parts: []string{"java"}, run: streams},
		suite{name: "connect", parts: []string{"java"}, run: connect},
		suite{name: "mirror", parts: []string{"java"}, long: true, run: mirror},
		suite{name: "tls", parts: []string{"java", "python", "node", "go", "kcat"}, reads: true, run: tlsSuite},
		suite{name: "login", parts: []string{"java", "python", "node", "go", "kcat"}, reads: true, run: login},
		suite{name: "files", parts: []string{"java"}, reads: true, run: files},
	)
}

func main() {
	os.Exit(run())
}

func run() int {
	targetFlag := flag.String("target", os.Getenv("INTEROP_BOOTSTRAP"), "logstead (built and started), kafka, or HOST:PORT")
	nodes := flag.Int("nodes", 1, "how many nodes of the target are started; topics then have three replicas, and the suite that reads a broker's files is left out")
	long := flag.Bool("long", false, "run the long suites too")
	list := flag.Bool("list", false, "list the suites")
	table := flag.Bool("matrix", false, "print which client does what, as docs/testing.md has it")
	keep := flag.Bool("keep", false, "keep the data directory and the logs")
	again := flag.Bool("again", false, "run suites in which something failed again, twice at most; what fails each time fails, and what was lost, twice or out of order at once")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: interop [flags] [suite or pattern, as in 'smoke-*']...")
		flag.PrintDefaults()
	}
	flag.Parse()
	chosen := choose(flag.Args(), *long, *nodes)
	if *list {
		for _, s := range suites() {
			fmt.Println(s.name)
		}
		return 0
	}
	if *table {
		fmt.Print(matrix())
		return 0
	}
	if len(chosen) == 0 {
		fmt.Fprintf(os.Stderr, "interop: no suite matches %q; -list prints them\n", flag.Args())
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := newRun()
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 2
	}
	defer r.close(*keep)
	if err := r.setup(ctx, chosen); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 2
	}
	if *nodes > 1 {
		r.target, err = newCluster(ctx, r, *targetFlag, *nodes)
	} else {
		r.target, err = newTarget(ctx, r, *targetFlag)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 2
	}
	defer r.target.stop()
	fmt.Printf("target %s at %s\n", r.target.name, r.target.addr)
	fmt.Printf("%-16s %-34s %-6s %8s\n", "client", "scenario", "result", "seconds")
	r.play(ctx, chosen)
	for goes := 1; *again && goes < local.Goes && ctx.Err() == nil; goes++ {
		if failed := r.toTryAgain(chosen); len(failed) > 0 {
			r.tryAgain(ctx, failed)
		}
	}
	return r.summary()
}

// play runs suites one after the other; a broker that is gone ends it.
func (r *Run) play(ctx context.Context, suites []suite) {
	for _, s := range suites {
		if ctx.Err() != nil {
			return
		}
		if s.reads && r.target.node == nil {
			fmt.Printf("%-16s %-34s %-6s\n", s.name, "needs a single broker of our own", "left")
			continue
		}
		r.suite = s.name
		s.run(ctx, r)
		if err := r.target.alive(); err != nil {
			r.row(s.name, "the broker still runs", 0, &wrong{err})
			return
		}
	}
}

// wrong is an error that no busy machine brings about: something was lost, came twice or out of order, or the broker is gone. Nothing
// is tried again for it.
type wrong struct{ error }

func (w *wrong) Unwrap() error { return w.error }

// toTryAgain are the suites in which something failed, and nothing that is wrong.
func (r *Run) toTryAgain(chosen []suite) []suite {
	return slices.DeleteFunc(slices.Clone(chosen), func(s suite) bool {
		failed := false
		for _, row := range r.rows {
			var never *wrong
			if row.suite == s.name && errors.As(row.err, &never) {
				return true
			}
			failed = failed || row.suite == s.name && row.err != nil
		}
		return !failed
	})
}

// tryAgain runs suites again under other names and lets what comes out stand for them. Clients wait on timers of their
// own, and a busy machine makes some of them give up.
func (r *Run) tryAgain(ctx context.Context, failed []suite) {
	fmt.Println("\nagain, for what failed:")
	first := r.rows
	r.rows = nil
	r.id += "b"
	r.work = filepath.Join(r.root, r.id)
	if err := os.Mkdir(r.work, 0o755); err != nil {
		r.rows = append(first, row{suite: "again", client: "interop", name: "a directory", err: &wrong{err}})
		return
	}
	r.play(ctx, failed)
	for _, row := range first {
		again := slices.ContainsFunc(failed, func(s suite) bool { return s.name == row.suite })
		if row.err != nil && again {
			fmt.Printf("again: %s %s: %v\n", row.client, row.name, row.err)
		}
		if !again {
			r.rows = append(r.rows, row)
		}
	}
}

// choose returns the suites whose names match the patterns; without patterns all, the long ones with long only, and on
// several nodes the extra ones so too, and not the one that reads the files of a single broker.
func choose(patterns []string, long bool, nodes int) []suite {
	return slices.DeleteFunc(suites(), func(s suite) bool {
		if len(patterns) == 0 {
			return s.reads && nodes > 1 || !long && (s.long || s.extra && nodes > 1)
		}
		return !slices.ContainsFunc(patterns, func(p string) bool {
			ok, err := path.Match(p, s.name)
			return err == nil && ok
		})
	})
}

// summary prints what failed and the closing counts, and returns the exit code.
func (r *Run) summary() int {
	var failed []row
	for _, row := range r.rows {
		if row.err != nil {
			failed = append(failed, row)
		}
	}
	for _, f := range failed {
		fmt.Printf("\nFAILED %s %s\n  %s\n", f.client, f.name, strings.ReplaceAll(f.err.Error(), "\n", "\n  "))
	}
	fmt.Printf("\n%d passed, %d failed in %.0f s\n", len(r.rows)-len(failed), len(failed), time.Since(r.start).Seconds())
	if len(failed) > 0 || len(r.rows) == 0 {
		return 1
	}
	return 0
}
