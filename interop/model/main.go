// Command model plays the same random history against logstead and against Apache Kafka, and compares every answer:
// what is appended, read, found by time, deleted, listed as aborted, and what compaction leaves.
//
//	go run ./interop/model [-seeds N] [-ops N] [-seed S]
//
// It owns the histories. It must not know the brokers' insides. Both run the same steps in the same order; what may
// differ (producer ids, epochs of leaders) is left out or replaced by who it is.
//
// Concurrency: one history at a time, each step on both brokers side by side.
//
// Invariants:
//  1. a step is compared before the next one begins
//  2. a failure can be repeated: a history follows from its seed, which is printed
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/logstead/logstead/interop/local"
)

// options are the flags.
type options struct {
	seeds, ops int
	seed       uint64
}

func main() {
	var o options
	flag.IntVar(&o.seeds, "seeds", 4, "histories to play")
	flag.IntVar(&o.ops, "ops", 400, "steps of a history")
	flag.Uint64Var(&o.seed, "seed", 0, "seed of the first history; 0 is a new one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "model:", err)
		code = 1
	}
	os.Exit(code)
}

// process is a broker that can be ended in either way and started again.
type process interface {
	Start(ctx context.Context) error
	Stop() error
	Kill() error
}

// kafkaSettings make Apache Kafka clean at once, and keep the start of a log over a kill as logstead always does.
const kafkaSettings = `log.cleaner.backoff.ms=200
log.segment.delete.delay.ms=1000
log.initial.task.delay.ms=0
log.flush.start.offset.checkpoint.interval.ms=100
`

func run(ctx context.Context, o options) (code int, err error) {
	dir, err := os.MkdirTemp("", "logstead-model-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if o.seed == 0 {
		o.seed = rand.Uint64N(1_000_000_000)
	}
	extra := filepath.Join(dir, "extra.properties")
	if err := os.WriteFile(extra, []byte(kafkaSettings), 0o644); err != nil {
		return 1, err
	}
	if err := os.Setenv("KAFKA_EXTRA", extra); err != nil {
		return 1, err
	}
	node, err := local.New(ctx, filepath.Join(dir, "logstead"))
	if err != nil {
		return 1, err
	}
	node.Set = []string{"log.cleaner.backoff.ms=200", "log.segment.delete.delay.ms=1000"}
	kafka, err := local.NewKafka(ctx, filepath.Join(dir, "kafka"))
	if err != nil {
		return 1, err
	}
	ours, theirs := newSide("logstead", node.Addr, node), newSide("kafka", kafka.Addr, kafka)
	for _, s := range []*side{ours, theirs} {
		if err := s.process.Start(ctx); err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, s.close()) }()
		if err := s.connect(ctx); err != nil {
			return 1, err
		}
	}
	report := &local.Report{}
	for i := range o.seeds {
		seed := o.seed + uint64(i)
		began := time.Now()
		h := newHistory(seed, ours, theirs)
		err := h.play(ctx, o.ops)
		report.Check(fmt.Sprintf("seed %d: %d steps compared (%s), %d records and %d compacted ones equal, %.0f s", seed, h.steps,
			h.settings, h.records, h.compacted, time.Since(began).Seconds()), err)
		if ctx.Err() != nil {
			return 1, ctx.Err()
		}
	}
	return report.Close(), nil
}
