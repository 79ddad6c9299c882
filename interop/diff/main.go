// Command diff asks two brokers the same things on the raw protocol and compares every field of their answers but ids
// and times.
//
//	go run ./interop/diff [flags] [scenario...]
//
// It owns the scenarios, which are data: each is a list of steps, a step one request and what to keep of its answer.
// The same code plays them to both brokers; what comes back is written down in a normal form (normal.go) and the two
// transcripts are compared. Requests are written by franz-go's kmsg, which shares nothing with logstead's codec. It
// must not know anything of a broker but its address. What is known to differ stands in known.go with its reason.
//
// Without flags it starts Apache Kafka and logstead itself, with `-nodes 3` three nodes of each, which are controllers
// too (nodes.go says what goes to which), with `-authorizer` one with access control (s_acl.go). -a and -b take addresses instead; `-b kafka` starts a
// second Apache Kafka, which must compare equal to the first: that is the proof that the normal form is stable.
//
// Concurrency: the two brokers are asked at the same time, each scenario on connections of its own.
//
// Invariants:
//  1. an exchange that one side did not answer is a difference, never left out
//  2. what differs once is a failure, unless it is of a kind that depends on the moment (compare.go) and the whole
//     scenario agrees when it is played again; that is printed
//  3. a row of known.go that no longer matches anything is an error, so the list cannot rot
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/logstead/logstead/interop/local"
)

func main() {
	os.Exit(run())
}

func run() int {
	addrA := flag.String("a", "kafka", "the reference: kafka (started), or HOST:PORT")
	addrB := flag.String("b", "logstead", "the broker in question: logstead (built and started), kafka (started), or HOST:PORT")
	dump := flag.String("dump", "", "write both transcripts as JSON into this directory")
	list := flag.Bool("list", false, "list the scenarios with their steps")
	nodes := flag.Int("nodes", 1, "how many nodes each side has; several are started")
	long := flag.Bool("long", false, "with several nodes, also the scenarios that say where replicas are to be, and those in which nodes are missing")
	authorizer := flag.Bool("authorizer", false, "start both with an authorizer, and play what is asked of one")
	most := flag.Int("most", 200, "print at most this many differences")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	all := scenarios(*nodes, *long)
	if *authorizer {
		all = aclScenarios()
	}
	chosen := choose(all, flag.Args())
	if *list {
		for _, s := range chosen {
			fmt.Println(s.name)
			for _, st := range s.steps {
				fmt.Println("  " + st.name)
			}
		}
		return 0
	}
	began := time.Now()
	a, stopA, err := start(ctx, *addrA, *nodes, *authorizer)
	if err != nil {
		fmt.Fprintln(os.Stderr, "diff: a:", err)
		return 2
	}
	defer stopA()
	b, stopB, err := start(ctx, *addrB, *nodes, *authorizer)
	if err != nil {
		fmt.Fprintln(os.Stderr, "diff: b:", err)
		return 2
	}
	defer stopB()
	ranges, err := versionRanges(a.addrs[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, "diff: a:", err)
		return 2
	}
	// Both play the same requests, so what names they carry is the same on both sides.
	prefix := fmt.Sprintf("diff%x", time.Now().UnixNano()&0xffffffff)
	fmt.Printf("a %s at %s, b %s at %s, %d scenarios\n", *addrA, strings.Join(a.addrs, ","), *addrB, strings.Join(b.addrs, ","), len(chosen))
	playBoth := func(prefix string, only map[string]bool) (ta, tb transcript) {
		var wg sync.WaitGroup
		wg.Go(func() { ta = play(ctx, a, prefix, ranges, chosen, only) })
		wg.Go(func() { tb = play(ctx, b, prefix, ranges, chosen, only) })
		wg.Wait()
		return ta, tb
	}
	ta, tb := playBoth(prefix, nil)
	if *dump != "" {
		if err := write(*dump, ta, tb); err != nil {
			fmt.Fprintln(os.Stderr, "diff:", err)
			return 2
		}
	}
	if ctx.Err() != nil {
		fmt.Printf("interrupted after %d and %d exchanges, which are not compared\n", len(ta), len(tb))
		return 2
	}
	r := compare(ta, tb, *nodes)
	for goes := 1; goes < local.Goes && ctx.Err() == nil; goes++ {
		doubtful := r.doubtful()
		if len(doubtful) == 0 {
			break
		}
		fmt.Printf("again: differed in what may be of the moment, played under other names: %s\n", strings.Join(slices.Sorted(maps.Keys(doubtful)), ", "))
		ta, tb := playBoth(prefix+strings.Repeat("x", goes), doubtful)
		r.second(compare(ta, tb, *nodes), doubtful)
	}
	self := *addrB == "kafka"
	code := report(r, !self && len(flag.Args()) == 0 && !*authorizer, *nodes, *most, time.Since(began))
	if code != 0 {
		a.ended("a")
		b.ended("b")
	}
	return code
}

// choose returns the scenarios whose names match a pattern; without patterns all.
func choose(all []scenario, patterns []string) []scenario {
	if len(patterns) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(s scenario) bool {
		return !slices.ContainsFunc(patterns, func(p string) bool {
			ok, err := path.Match(p, s.name)
			return err == nil && ok
		})
	})
}

func write(dir string, ta, tb transcript) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, t := range map[string]transcript{"a.json": ta, "b.json": tb} {
		b, err := json.MarshalIndent(t, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(path.Join(dir, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// report prints the differences and the counts and returns the exit code. stale says that the list of known
// differences must have been needed whole. What fails comes last, for whoever sees only the end.
func report(r result, stale bool, nodes, most int, took time.Duration) int {
	bad := len(r.differences)
	for _, k := range known {
		n := r.known[k.reason]
		if n > 0 {
			fmt.Printf("known: %4d × %s\n", n, k.reason)
		}
		if n == 0 && stale && !k.authorizer && k.holds(nodes) {
			r.differences = append(r.differences, difference{scenario: "(known.go)", step: "a known difference is none any more", path: k.reason})
			bad++
		}
	}
	fmt.Printf("%s\n", strings.Repeat("-", 60))
	for _, d := range r.once {
		fmt.Printf("DIFFERED, agreed when played again: %s\n", d)
	}
	for i, d := range r.differences {
		if i == most {
			fmt.Printf("… and %d more\n", len(r.differences)-most)
			break
		}
		fmt.Printf("DIFF %s\n", d)
	}
	fmt.Printf("%d exchanges compared: %d equal, %d with known differences only, %d different (%d fields), %d fields differed at first, in %.0f s\n",
		r.exchanges, r.equal, r.knownOnly, r.different, len(r.differences), len(r.once), took.Seconds())
	if bad > 0 || r.exchanges == 0 {
		return 1
	}
	return 0
}
