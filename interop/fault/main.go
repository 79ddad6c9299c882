// Command fault breaks what a broker stands on, and checks that its promises hold nevertheless: it kills the process
// under load, cuts the power of its volume, flips bits in each kind of file, and fills or breaks its volume; and it hands
// the directory of a broker that lost its power to Apache Kafka and back.
//
//	go run ./interop/fault [-rounds N] [-only PART,...] [-keep]
//
// It owns the faults, the load beside them and the checkers of what was acknowledged. It must not know the broker's
// insides beyond the names of its files. The volumes need Linux, root and a loop device; without them those parts
// are counted as not run. Apache Kafka needs Java, which kafka.sh installs where it can.
//
// Concurrency: the parts run one after another; producers, a transaction and a group run beside each fault.
//
// Invariants:
//  1. a check that could not be made is never a pass
//  2. only what was acknowledged is demanded, and nothing that was never sent is accepted
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/logstead/logstead/interop/local"
)

type fault struct {
	rounds int
	dir    string
	report *local.Report
}

func main() {
	f := &fault{report: &local.Report{}}
	flag.IntVar(&f.rounds, "rounds", 10, "kills and power cuts, each")
	only := flag.String("only", "", "run only these parts, with commas between: kill, power, flip, full, settle")
	keep := flag.Bool("keep", false, "keep the directories")
	flag.Parse()
	if err := local.OwnMounts(); err != nil {
		fmt.Fprintln(os.Stderr, "fault:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := f.run(ctx, *only, *keep)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fault:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func (f *fault) run(ctx context.Context, only string, keep bool) (int, error) {
	parts, err := f.chosen(only)
	if err != nil {
		return 2, err
	}
	if f.dir, err = os.MkdirTemp("", "logstead-fault-"); err != nil {
		return 1, err
	}
	if keep {
		fmt.Println("directory", f.dir)
	} else {
		defer os.RemoveAll(f.dir)
	}
	for _, p := range parts {
		began := time.Now()
		err := p.run(ctx)
		var no *local.NotHere
		switch {
		case errors.As(err, &no):
			f.report.NotRun(p.name, no.Error())
		case err != nil:
			f.report.Check(p.name, err)
		}
		if ctx.Err() != nil {
			return 1, ctx.Err()
		}
		f.report.Note("%s took %.1f s", p.name, time.Since(began).Seconds())
	}
	return f.report.Close(), nil
}

// part is one kind of fault.
type part struct {
	name string
	run  func(context.Context) error
}

// chosen returns the parts that only names, in their order; without a name all of them.
func (f *fault) chosen(only string) ([]part, error) {
	all := []part{{"kill", f.kill}, {"power", f.power}, {"flip", f.flip}, {"full", f.full}, {"settle", f.settle}}
	if only == "" {
		return all, nil
	}
	names := strings.Split(only, ",")
	for _, name := range names {
		if !slices.ContainsFunc(all, func(p part) bool { return p.name == name }) {
			return nil, fmt.Errorf("-only names the part %q, and there is none: use kill, power, flip, full or settle, with commas between", name)
		}
	}
	return slices.DeleteFunc(all, func(p part) bool { return !slices.Contains(names, p.name) }), nil
}

// newNode makes a broker for one part; all parts use one binary.
func (f *fault) newNode(ctx context.Context, name string) (*local.Node, error) {
	bin := filepath.Join(f.dir, "bin", "logstead")
	if os.Getenv("INTEROP_BIN") == "" {
		if _, err := local.New(ctx, filepath.Dir(bin)); err != nil {
			return nil, err
		}
		if err := os.Setenv("INTEROP_BIN", bin); err != nil {
			return nil, err
		}
	}
	n, err := local.New(ctx, filepath.Join(f.dir, name))
	if err != nil {
		return nil, err
	}
	n.Set = []string{"offsets.topic.num.partitions=4", "transaction.state.log.num.partitions=4",
		"logstead.journal.file.bytes=4194304"}
	return n, nil
}

// kill ends the broker with kill -9 in a loop under load.
func (f *fault) kill(ctx context.Context) error {
	n, err := f.newNode(ctx, "kill")
	if err != nil {
		return err
	}
	defer n.Kill()
	return f.repeat(ctx, "kill -9", n, func(context.Context) error { return n.Kill() })
}

// repeat runs the load over rounds of a fault, which must end the process and leave it ready to start.
func (f *fault) repeat(ctx context.Context, name string, n *local.Node, cut func(context.Context) error) error {
	if err := n.Start(ctx); err != nil {
		return err
	}
	l, err := startLoad(ctx, n.Addr)
	if err != nil {
		return err
	}
	defer l.close()
	for i := range f.rounds {
		before := l.acks()
		if err := l.await(ctx, before+200); err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
		l.pause(time.Duration(i%5) * 37 * time.Millisecond) // not always at the same point of a transaction
		if err := cut(ctx); err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
		began := time.Now()
		if err := n.Start(ctx); err != nil {
			return fmt.Errorf("start after round %d: %w", i+1, err)
		}
		f.report.Note("%s %d: %d acknowledged so far, %d transactions, answers again after %.2f s",
			name, i+1, l.acks(), l.txns(), time.Since(began).Seconds())
	}
	if err := l.await(ctx, l.acks()+100); err != nil {
		return fmt.Errorf("after the last round: %w", err)
	}
	if err := l.stop(ctx); err != nil {
		return err
	}
	l.check(ctx, f.report, fmt.Sprintf("%s, %d rounds: ", name, f.rounds))
	return nil
}
