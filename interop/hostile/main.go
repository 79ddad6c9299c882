// Command hostile attacks a broker with bytes and connections that no client would send, while a valid producer and
// consumer use it, and looks afterwards at what is left of it.
//
//	go run ./interop/hostile [-frames N] [-long] [-target HOST:PORT]
//
// It owns the attacks and the checks. It must not know the broker's insides: what it looks at is the wire, /metrics,
// the process and the log. Without a target it builds and starts logstead; of a broker that was given by address only
// what shows on the wire can be checked, the rest is counted as not run.
//
// Concurrency: attacks run one after another, each with connections side by side; the valid clients run beside all.
//
// Invariants:
//  1. a check that could not be made is never a pass
//  2. a failure can be repeated: the frames come from the seed that is printed
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/logstead/logstead/interop/local"
)

const longFrames = 1_000_000

// options are what the command line says.
type options struct {
	frames  int
	conns   int
	idle    int
	churn   int
	seed    uint64
	target  string
	keep    bool
	only    string
	quietBy time.Duration
}

func main() {
	var o options
	long := flag.Bool("long", false, "the long form: 1,000,000 frames")
	flag.IntVar(&o.frames, "frames", 100_000, "malformed frames to send")
	flag.IntVar(&o.conns, "conns", 4, "connections that send frames side by side")
	flag.IntVar(&o.idle, "idle", 2_000, "idle connections")
	flag.IntVar(&o.churn, "churn", 5_000, "connections opened and closed")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64(), "seed of the frames")
	flag.StringVar(&o.target, "target", "", "HOST:PORT of a running broker; logstead is built and started without it")
	flag.BoolVar(&o.keep, "keep", false, "keep the data directory and the log")
	flag.StringVar(&o.only, "only", "", "run only this attack")
	flag.DurationVar(&o.quietBy, "settle", 150*time.Second, "how long memory and handles may take to come back")
	flag.Parse()
	if *long {
		o.frames = max(o.frames, longFrames)
	}
	if o.only != "" && !slices.ContainsFunc(attacks(), func(a attack) bool { return a.name == o.only }) {
		fmt.Fprintf(os.Stderr, "hostile: -only names the attack %q, and there is none: use one of\n", o.only)
		for _, a := range attacks() {
			fmt.Fprintln(os.Stderr, "  "+a.name)
		}
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		code = 1
	}
	os.Exit(code)
}

func run(ctx context.Context, o options) (int, error) {
	fmt.Printf("seed %d\n", o.seed)
	h := &hostile{o: o, addr: o.target, report: &local.Report{}}
	if o.target == "" {
		dir, err := os.MkdirTemp("", "logstead-hostile-")
		if err != nil {
			return 1, err
		}
		if o.keep {
			fmt.Println("directory", dir)
		} else {
			defer os.RemoveAll(dir)
		}
		if h.node, err = local.New(ctx, dir); err != nil {
			return 1, err
		}
		h.node.Set = []string{
			fmt.Sprintf("logstead.memory.budget.bytes=%d", memoryBudgetBytes),
			fmt.Sprintf("logstead.max.open.files=%d", maxOpenFiles),
		}
		if err := h.encrypt(dir); err != nil {
			return 1, err
		}
		if h.login, err = local.FreeAddr(); err != nil {
			return 1, err
		}
		h.node.Set = append(h.node.Set, loginSettings(h.node.Listeners()+",SSL://"+h.tls.addr, h.login)...)
		if err := h.node.Start(ctx); err != nil {
			return 1, err
		}
		defer h.node.Kill()
		h.addr = h.node.Addr
	}
	if err := h.prepare(ctx); err != nil {
		return 1, err
	}
	if err := h.all(ctx); err != nil {
		return 1, err
	}
	return h.report.Close(), nil
}

// hostile is one run.
type hostile struct {
	o      options
	addr   string
	login  string      // where clients log in; empty for a given target
	node   *local.Node // nil for a given target
	tls    *encrypted
	report *local.Report
	valid  *valid
	base   baseline
	topics topics
}

// attack is one kind of hostility; it reports by itself what is wrong with the answers it got.
type attack struct {
	name    string
	run     func(*hostile, context.Context) error
	overTLS bool
}

func attacks() []attack {
	return []attack{
		{"idle connections", (*hostile).idle, false}, // first, while no garbage of others hides what they cost
		{"idle TLS sessions", (*hostile).sessions, true},
		{"TLS handshakes", (*hostile).handshakes, true},
		{"frames", (*hostile).frames, false},
		{"bombs", (*hostile).bombs, false},
		{"giants", (*hostile).giants, false},
		{"slow senders", (*hostile).slow, false},
		{"half-open connections", (*hostile).halfOpen, false},
		{"churning connections", (*hostile).churn, false},
		{"logins", (*hostile).logins, false},
	}
}

func (h *hostile) all(ctx context.Context) error {
	watch := h.watchMemory(ctx)
	var seen []judgement
	for _, a := range attacks() {
		if h.o.only != "" && h.o.only != a.name {
			continue
		}
		seen = append(seen, judgement{during: a.name, attacks: []attack{a}, took: h.attack(ctx, a)})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if h.gone() {
			return nil
		}
	}
	for _, j := range h.judgements(seen) {
		if h.judge(ctx, j); h.gone() {
			return nil
		}
	}
	peak := watch()
	h.checkValidEnd(ctx)
	h.checkAfter(ctx, peak)
	return nil
}

// attack runs one and gives how long the valid producer's answers took meanwhile.
func (h *hostile) attack(ctx context.Context, a attack) []time.Duration {
	began, mark := time.Now(), h.valid.mark()
	if err := a.run(h, ctx); err != nil {
		h.report.Check(a.name, err)
	}
	h.report.Note("%s took %.1f s", a.name, time.Since(began).Seconds())
	took := h.valid.since(mark)
	h.checkAlive(ctx, a.name)
	return took
}

// gone says whether the broker has ended, which no attack may bring about.
func (h *hostile) gone() bool {
	if h.node == nil || !h.node.Exited() {
		return false
	}
	h.report.Note("the broker's last words:\n%s", tail(h.node.LogSince(0), 4000))
	return true
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }
