package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/logstead/logstead/interop/local"
)

// run is one campaign.
type run struct {
	o       options
	report  *local.Report
	fabric  *fabric
	cluster *cluster
	load    *load
	rng     *rand.Rand

	records, copied, noisy int
	quiet                  float64 // records a second that the producers get acknowledged when nothing is broken

	names  []string // of the faults that were seen to bite
	left   map[string]string
	gapsOf map[string][]time.Duration // by fault
}

const (
	warmUp    = 3 * time.Second
	warmAcks  = 500
	afterward = 2 * time.Second
)

// runChaos is the whole command.
func runChaos(ctx context.Context, o options) (int, error) {
	if o.only == "list" {
		for _, f := range faults {
			fmt.Printf("%-22s %v, gap at most %v\n", f.name, f.hold, f.gap)
		}
		return 0, nil
	}
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano())
	}
	r := &run{o: o, report: &local.Report{}, rng: rand.New(rand.NewPCG(o.seed, 2)),
		left: map[string]string{}, gapsOf: map[string][]time.Duration{}}
	schedule, err := r.schedule()
	if err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "logstead-chaos-")
	if err != nil {
		return 1, err
	}
	if o.keep {
		fmt.Println("directory", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	fmt.Printf("%s, %d nodes, seed %d, a schedule of %d faults\n", o.rival, o.nodes, o.seed, len(schedule))
	err = r.campaign(ctx, dir, schedule)
	var no *local.NotHere
	if errors.As(err, &no) {
		r.report.NotRun("chaos", no.Error())
		return r.report.Close(), nil
	}
	if err != nil {
		r.report.Check("campaign", err)
	}
	return r.report.Close(), ctx.Err()
}

// schedule is the faults in their order.
func (r *run) schedule() ([]fault, error) {
	names := short
	if r.o.secure {
		names = slices.Concat(short, shortSecure)
	}
	if r.o.only != "" {
		names = strings.Split(r.o.only, ",")
	}
	var list []fault
	for _, name := range names {
		i := slices.IndexFunc(faults, func(f fault) bool { return f.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-only %s: no such fault as %q; -only list prints them", r.o.only, name)
		}
		list = append(list, faults[i])
	}
	n := r.o.count
	switch {
	case n == 0 && r.o.duration == 0:
		return list, nil
	case n == 0:
		n = int(r.o.duration/time.Second) + 1 // more than there is time for
	}
	if r.o.only == "" {
		list = slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return f.needs&secured != 0 && !r.o.secure })
	}
	out := make([]fault, 0, n)
	for len(out) < n { // every fault comes equally often
		for _, i := range r.rng.Perm(len(list)) {
			out = append(out, list[i])
		}
	}
	return out[:n], nil
}

func (r *run) campaign(ctx context.Context, dir string, schedule []fault) (err error) {
	rv, err := r.rivalFor(ctx, dir)
	if err != nil {
		return err
	}
	java := ""
	if r.o.java {
		if java, err = kafkaClasspath(ctx); err != nil {
			return fmt.Errorf("class path of Kafka's tools: %w", err)
		}
	}
	var no *local.NotHere
	if r.fabric, err = newFabric(ctx, r.o.nodes, r.o.seed); errors.As(err, &no) {
		r.report.Note("the nodes share this machine's loopback: %v", err)
		r.fabric = loopback(r.o.nodes, err)
	} else if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.fabric.close()) }()
	var s *security
	if r.o.secure {
		if s, err = newSecurity(dir); err != nil {
			return err
		}
	}
	r.cluster, err = newCluster(ctx, r.fabric, rv, dir, r.o.nodes, r.o.quorum == "dynamic" || r.o.quorum == "" && r.o.nodes > maxVoters, s)
	defer func() { err = errors.Join(err, r.cluster.close()) }()
	if err != nil {
		return err
	}
	if err := r.cluster.createTopics(ctx); err != nil {
		return err
	}
	if s != nil {
		r.judgeDoors(ctx)
	}
	if r.load, err = startLoad(ctx, r.cluster, dir, java); err != nil {
		return err
	}
	defer r.load.stop()
	defer r.keepStall()
	if err := r.await(ctx, warmAcks); err != nil {
		return fmt.Errorf("before the first fault: %w", err)
	}
	if err := r.rest(ctx, warmUp); err != nil {
		return err
	}
	began := time.Now()
	for i, f := range schedule {
		if r.o.duration > 0 && time.Since(began) > r.o.duration {
			r.report.Note("the time is over: %d of %d faults were injected", i, len(schedule))
			break
		}
		if err := r.inject(ctx, i, f); err != nil {
			return err
		}
	}
	if err := r.finish(ctx); err != nil {
		return err
	}
	r.summary()
	return nil
}

func (r *run) rivalFor(ctx context.Context, dir string) (rival, error) {
	switch r.o.rival {
	case "logstead":
		bin := os.Getenv("INTEROP_BIN")
		if bin == "" {
			bin = filepath.Join(dir, "logstead")
			if err := local.Build(ctx, bin); err != nil {
				return nil, err
			}
		}
		return logstead{bin}, nil
	case "kafka":
		script, err := kafkaScript(ctx)
		return kafka{script}, err
	}
	return nil, fmt.Errorf("-rival %s: want logstead or kafka", r.o.rival)
}

// keepStall keeps what was written down of a writer that got no answer.
func (r *run) keepStall() {
	if !r.load.stalled.Load() {
		return
	}
	to, err := r.load.keepLogs()
	r.report.Note("a writer had no answer for %v; how the nodes were then and all logs: %s", stallAfter, to)
	r.report.Check("logs of the stall are kept", err)
}

// await returns when so many records are acknowledged.
func (r *run) await(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for r.load.h.Acks() < n {
		if wait(ctx, 10*time.Millisecond) != nil {
			return fmt.Errorf("%d records acknowledged, and no more within %v", r.load.h.Acks(), startLimit)
		}
	}
	return nil
}

// inject breaks the cluster, and once more while a bound was missed that is of time; what is right or wrong has no second go.
func (r *run) inject(ctx context.Context, i int, f fault) error {
	if why := r.cluster.lacks(f); why != "" {
		if r.left[f.name] == "" {
			r.report.NotRun(f.name, why)
		}
		r.left[f.name] = why
		return nil
	}
	trial := &local.Trial{Name: fmt.Sprintf("fault %d, %s", i+1, f.name), Report: r.report}
	defer trial.Close()
	for {
		bounds, err := r.once(ctx, trial.Name, f)
		if err != nil {
			return err
		}
		if !trial.Take(bounds...) || ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// once breaks the cluster once, heals it and waits until it is whole; it returns what it measured.
func (r *run) once(ctx context.Context, name string, f fault) (bounds []local.Bound, err error) {
	x := &injection{c: r.cluster, l: r.load, rng: r.rng}
	began := time.Now()
	r.load.gaps.begin(began)
	bit := f.bite(ctx, x)
	var moved time.Duration
	var rate float64
	if bit == nil {
		bitten, acks := time.Now(), r.load.h.AcksBelow(producers)
		if x.silent != nil && f.hold >= pastSession {
			moved = r.awaitMove(ctx, x.silent, f.hold+moveSlack).Sub(began)
		}
		_ = wait(ctx, f.hold-time.Since(bitten))
		rate = float64(r.load.h.AcksBelow(producers)-acks) / time.Since(bitten).Seconds()
	}
	if err := x.heal(context.WithoutCancel(ctx)); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: heal: %w", name, err), bit)
	}
	var none *noBite
	if bit != nil && !errors.As(bit, &none) {
		r.report.Check(name+" "+x.what+" bites", bit)
		return nil, nil
	}
	if bit != nil {
		bounds = append(bounds, local.Bound{Name: "bites", Found: strings.TrimSpace(x.what + " " + bit.Error())})
	} else {
		bounds = append(bounds, local.Bound{Name: "bites", Held: true, Found: cmp.Or(x.what, "all nodes")})
		r.names = append(r.names, f.name)
	}
	if err := r.load.awaitAll(ctx, wholeLimit); err != nil {
		r.report.Check(name+": everybody goes on", err)
		r.load.h.Anomaly("stall", "%s: %v", name, err)
	}
	if err := r.cluster.awaitWhole(ctx, wholeLimit, r.cluster.topics()...); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	before := r.quiet
	if err := r.rest(ctx, afterward); err != nil {
		return nil, err
	}
	w := r.load.gaps.end(time.Now())
	for _, verdict := range x.verdicts {
		verdict(r.report, name)
	}
	if bit != nil {
		return bounds, nil
	}
	if moved > 0 {
		// What clients see comes later by as long as they wait for the silent broker (request.timeout.ms).
		bounds = append(bounds, local.Bound{Name: "it leads nothing any more", Held: moved <= moveLimit, Excused: w.excuses(moved, moveLimit),
			Found: fmt.Sprintf("%s: after %v, aim %v, limit %v", x.what, moved.Round(time.Millisecond), moveAim, moveLimit)})
	}
	if x.rated {
		kept := rate / max(before, 1)
		bounds = append(bounds, local.Bound{Name: "rate of producers", Held: kept >= keptLimit, Excused: w.noisy(),
			Found: fmt.Sprintf("%.0f%% of %.0f records a second, aim %.0f%%, limit %.0f%%", 100*kept, before, 100*keptAim, 100*keptLimit)})
	}
	for _, measure := range x.measures {
		b := measure()
		b.Excused = w.noisy()
		bounds = append(bounds, b)
	}
	return append(bounds, r.judgeGap(f, x, w)), nil
}

// judgeGap judges how long a partition went without an acknowledgement.
func (r *run) judgeGap(f fault, x *injection, w window) local.Bound {
	found := fmt.Sprintf("longest gap of acks=all %v, aim %v, limit %v", w.worst.Round(time.Millisecond), f.aim, f.gap)
	if x.what != "" {
		found = x.what + ": " + found
	}
	if w.noisy() {
		r.noisy++
		found += fmt.Sprintf("; this process itself was up to %v late, %v in all", w.late.Round(time.Millisecond), w.lost.Round(time.Millisecond))
	} else {
		r.gapsOf[f.name] = append(r.gapsOf[f.name], w.worst)
	}
	return local.Bound{Held: f.gap == 0 || w.worst <= f.gap, Excused: w.excuses(w.worst, f.gap), Found: found}
}

// What links that are slow or lose packets are to leave of the producers' rate.
const (
	keptAim   = 0.5
	keptLimit = 0.2
)

// rest waits, and notes what rate the producers have when nothing is broken.
func (r *run) rest(ctx context.Context, d time.Duration) error {
	began, acks := time.Now(), r.load.h.AcksBelow(producers)
	err := wait(ctx, d)
	r.quiet = float64(r.load.h.AcksBelow(producers)-acks) / time.Since(began).Seconds()
	return err
}

// The bounds for a node that is silent: broker.session.timeout.ms and two seconds, and what is never to be passed.
const (
	moveAim   = 11 * time.Second
	moveLimit = 14 * time.Second
	moveSlack = 6 * time.Second // beyond a fault's hold, so that what is late is told from what a machine that stood still makes late
)

// awaitMove returns when another node says that a silent one is in sync with no partition that is probed, or when limit
// has passed.
func (r *run) awaitMove(ctx context.Context, silent *node, limit time.Duration) time.Time {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	asked := r.cluster.nodes[0]
	if asked == silent {
		asked = r.cluster.nodes[1]
	}
	cl, err := r.cluster.newClient(admin, kgo.SeedBrokers(asked.addr()))
	if err != nil {
		return time.Now().Add(limit) // not known: never in time
	}
	defer cl.Close()
	name := probeTopic
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &name
	req.Topics = append(req.Topics, topic)
	for {
		resp, err := req.RequestWith(ctx, cl.SeedBrokers()[0])
		if err == nil && len(resp.Topics) == 1 && len(resp.Topics[0].Partitions) == probes &&
			!slices.ContainsFunc(resp.Topics[0].Partitions, func(p kmsg.MetadataResponseTopicPartition) bool {
				return p.Leader < 0 || slices.Contains(p.ISR, silent.id)
			}) {
			return time.Now()
		}
		if wait(ctx, 50*time.Millisecond) != nil {
			return time.Now()
		}
	}
}

// summary prints the counts and the verdicts.
func (r *run) summary() {
	l := r.load
	r.report.That("faults were seen to bite", len(r.names) > 0, "%d injections of %d kinds", len(r.names), len(kinds(r.names)))
	for _, name := range kinds(r.names) {
		list := r.gapsOf[name]
		slices.Sort(list)
		if len(list) > 0 {
			r.report.Note("gap of acks=all, %-22s %2d times, median %v, longest %v", name, len(list),
				list[len(list)/2].Round(time.Millisecond), list[len(list)-1].Round(time.Millisecond))
		}
	}
	r.report.Note("%d records acknowledged (%d by the Java producer), %d read at the end, %d copied exactly once",
		l.h.Acks(), l.javaAcks.Load(), r.records, r.copied)
	r.report.Note("%d transactions committed, %d aborted, %d of unknown outcome; %d windows were noisy",
		l.commits.Load(), l.aborts.Load(), l.unsure.Load(), r.noisy)
	l.h.Found(func(kind string, n int, examples []string) bool {
		r.report.That(kind, n == 0, "%d%s", n, first(examples))
		return true
	})
	r.report.That("transactions were committed and aborted", l.commits.Load() > 0 && l.aborts.Load() > 0,
		"%d and %d", l.commits.Load(), l.aborts.Load())
	r.report.That("records were copied by a transactional group", r.copied > 0, "%d", r.copied)
	if l.java != "" {
		r.report.That("the Java producer was served", l.javaAcks.Load() > 0, "%d records", l.javaAcks.Load())
	}
}

// kinds are the names in a list, each once.
func kinds(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return ", among them: " + strings.Join(list, "; ")
}
