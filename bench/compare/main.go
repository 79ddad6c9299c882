// Command compare measures logstead, in both durabilities, beside a real Apache Kafka: the same
// clients, the same machine, the rivals taking turns. It writes bench/RESULTS.md.
//
//	go run ./bench/compare            every case, three rounds, about an hour
//	go run ./bench/compare -only '^produce' -keep    some of them, beside the kept results of earlier runs
//	go run ./bench/compare -short     the main cases, at most three minutes
//	go run ./bench/compare -nodes 3   clusters of three nodes beside three nodes of Kafka, into bench/CLUSTER.md
//	go run ./bench/compare -only 'produce/.*none' -before OLD   against another build of logstead
//
// What counts is the CPU time of the broker's process for a unit of work, and ratios of rivals in
// the same round. Throughput and latency stand beside it; on a shared machine they mean less.
//
// It must not know what a rival is made of: all of them are processes with an address.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	short   bool
	keep    bool
	list    bool
	only    *regexp.Regexp
	rounds  int
	out     string
	results string // file with the results of all runs
	rivals  []string
	kafka   string // script that starts Kafka
	attach  string // host:port,pid of a Kafka that runs already
	before  string // other builds of logstead, to compare with
	profile string
	pprof   string   // directory for Go's CPU profiles
	set     []string // further settings of logstead
	limit   time.Duration
	nodes   int // of each rival
	moveGiB int // that the reassignment moves
}

func parse(args []string) (options, error) {
	var o options
	var only, rivals string
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.BoolVar(&o.short, "short", false, "the main cases only, with less data; at most three minutes")
	f.StringVar(&only, "only", "", "run the cases whose names match this regular expression")
	f.IntVar(&o.nodes, "nodes", 1, "nodes of each rival: 1, or 3 for the cases of clusters")
	f.IntVar(&o.moveGiB, "move", 1, "with -nodes 3: `GIB` that the reassignment moves")
	f.IntVar(&o.rounds, "rounds", 3, "rounds; each rival runs every case once a round")
	f.StringVar(&o.out, "out", "", "write the report to this `FILE` (default: bench/RESULTS.md or CLUSTER.md, with -only standard output)")
	f.BoolVar(&o.keep, "keep", false, "with -only: put the cases among the kept results of earlier runs and write the report anew")
	f.BoolVar(&o.list, "list", false, "print the names of the cases")
	f.StringVar(&rivals, "rivals", "", "who runs (default fsync,replicated,kafka and, with one node, floor: a bare loop in Go, where it can)")
	f.StringVar(&o.kafka, "kafka", "interop/kafka.sh", "script that starts Apache Kafka")
	f.StringVar(&o.attach, "attach", "", "use the Kafka that runs at `HOST:PORT,PID` (not for start-up and memory)")
	f.StringVar(&o.before, "before", "", "path of another build of logstead that runs as fsync-before and replicated-before")
	f.StringVar(&o.profile, "profile", "", "write a profile of each case to this directory, with perf (logstead only)")
	f.StringVar(&o.pprof, "pprof", "", "take a Go CPU profile of each case through logstead.http.pprof into this `DIR` and print its top (logstead only)")
	f.Func("set", "a further setting of logstead: `KEY=VALUE`; may be repeated", func(v string) error {
		o.set = append(o.set, v)
		return nil
	})
	f.DurationVar(&o.limit, "limit", 0, "give up after this long (default: 3m with -short, else 60m)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.limit == 0 {
		o.limit = 60 * time.Minute
		if o.short {
			o.limit = 3 * time.Minute
		}
	}
	if o.out == "" && (only == "" || o.keep) && !o.short {
		o.out = "bench/RESULTS.md"
		if o.nodes > 1 {
			o.out = "bench/CLUSTER.md"
		}
	}
	if o.out != "" {
		name := "results.json"
		if o.nodes > 1 {
			name = "cluster.json"
		}
		o.results = filepath.Join(filepath.Dir(o.out), name)
	}
	if rivals == "" {
		rivals = "fsync,replicated,kafka"
		if o.nodes == 1 {
			rivals += ",floor"
		}
	}
	o.rivals = strings.Split(rivals, ",")
	if o.pprof != "" {
		o.set = append(o.set, "logstead.http.pprof=true")
	}
	var err error
	if o.only, err = regexp.Compile(only); err != nil {
		return o, fmt.Errorf("-only: %w", err)
	}
	if o.nodes != 1 && o.nodes != 3 {
		return o, fmt.Errorf("-nodes %d: want 1 or 3", o.nodes)
	}
	if o.nodes > 1 && o.attach != "" {
		return o, errors.New("-attach: a cluster is started, not attached to; leave out -attach or -nodes")
	}
	if o.rounds < 1 || o.rounds > 100 {
		return o, fmt.Errorf("-rounds %d: want 1 to 100", o.rounds)
	}
	return o, nil
}

// cases are those that the rivals can run.
func (o options) cases() []benchCase {
	if o.nodes > 1 {
		return clusterCases(o.short, o.moveGiB)
	}
	return allCases(o.short)
}

func main() {
	// A broken pipe behind the output must not end the program before it has stopped its brokers.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGPIPE)
	defer stop()
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.list {
		for _, c := range o.cases() {
			fmt.Println(c.name)
		}
		return nil
	}
	t, err := newTable(o.results)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	dir, err := os.MkdirTemp("", "logstead-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	field, err := startAll(ctx, o, dir)
	defer field.stop()
	if err != nil {
		return err
	}
	warm := firstWarm
	for _, c := range o.cases() {
		if !o.only.MatchString(c.name) {
			continue
		}
		fresh := &table{}
		err = field.measure(ctx, o, c, warm, fresh)
		warm = 1
		if err == nil || o.results == "" {
			t.replace(c, fresh) // kept results stay until a case has run to its end
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", c.name, err)
			break // what has been measured is still reported
		}
	}
	return errors.Join(err, t.write(o))
}

// plain leaves of a case's name what a file may be called.
func plain(r rune) rune {
	if r == '/' || r == ' ' {
		return '-'
	}
	return r
}

// firstWarm is how many passes of the first case a JVM gets that do not count: after one it is still compiling.
const firstWarm = 3

// measure runs one case on every rival, in turn, for all rounds. The first round of a case that
// loads code is preceded by warm passes that do not count, so that the JVM has compiled it.
func (f *field) measure(ctx context.Context, o options, c benchCase, warm int, t *table) error {
	rounds := o.rounds
	if o.short && c.fresh {
		rounds = 1 // Kafka takes many seconds to start
	}
	for round := -warm; round < rounds; round++ {
		if round < 0 && !c.warm {
			continue
		}
		for i := range f.rivals {
			r := f.rivals[(i+max(round, 0))%len(f.rivals)] // nobody is always first
			if c.fresh && r.attached || r.jvm && c.most > 0 && c.size > c.most || r.floor && !c.bare {
				continue
			}
			if round < 0 && !r.jvm {
				continue
			}
			r.profile, r.pprof = "", ""
			if o.profile != "" && round >= 0 && !r.jvm {
				r.profile = filepath.Join(o.profile, strings.Map(plain, c.name)+"."+r.name+".perf")
			}
			if o.pprof != "" && round >= 0 && !r.jvm && !r.floor {
				r.pprof = filepath.Join(o.pprof, strings.Map(plain, c.name)+"."+r.name+".pprof")
			}
			if err := touchMemory(c.fills * int64(len(r.each()))); err != nil {
				return err
			}
			figures, err := c.run(ctx, r)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			if err := printTop(ctx, r.pprofFiles()); err != nil {
				return err
			}
			if round >= 0 && figures != nil {
				t.add(c, r.name, figures)
				fmt.Fprintf(os.Stderr, "%-34s %d %-17s %s\n", c.name, round+1, r.name, line(figures))
			}
		}
	}
	return nil
}
