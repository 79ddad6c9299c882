package sim

import (
	"container/heap"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"

	"github.com/logstead/logstead/internal/kit/clock"
)

// keptEvents is how many of the last events a failure shows.
const keptEvents = 200

// event is something that happens at a time.
type event struct {
	at  time.Time
	seq int
	fn  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

// world is one run.
type world struct {
	opts  options
	rng   *rand.Rand
	clk   *clock.Manual
	began time.Time
	queue events
	seq   int
	nodes []*node
	net   network

	producers   []*producer
	transactors []*transactor
	committer   *committer
	readers     []*reader
	group       *consumers
	mover       *mover
	changer     *changer
	lastID      int64 // of the producer ids given out
	check       *checker
	faulty      bool      // faults go on
	stopped     bool      // producers have stopped
	calm        time.Time // when loads have changed last; see load
	apartUntil  time.Time // see apart

	steps  int
	digest uint64 // of all that happened
	tail   []string
	seen   map[string]int
	failed error
}

func newWorld(o options) *world {
	w := &world{
		opts: o, rng: rand.New(rand.NewPCG(o.seed, 1)), began: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		seen: map[string]int{}, net: network{cut: map[link]bool{}},
	}
	w.clk = clock.NewManual(w.began)
	w.check = newChecker(w)
	return w
}

func (w *world) now() time.Time { return w.clk.Now() }

// after has fn called when some time has passed.
func (w *world) after(d time.Duration, fn func()) {
	w.seq++
	heap.Push(&w.queue, event{w.now().Add(max(d, 0)), w.seq, fn})
}

// run lets time pass until an end, or the first violation.
func (w *world) run(d time.Duration) {
	w.runUntil(d, func() bool { return false })
}

// runUntil is run that ends early once something holds.
func (w *world) runUntil(d time.Duration, holds func() bool) bool {
	for end := w.now().Add(d); w.failed == nil && len(w.queue) > 0 && !w.queue[0].at.After(end); {
		e := heap.Pop(&w.queue).(event)
		if e.at.After(w.now()) {
			w.clk.Set(e.at)
		}
		w.steps++
		w.guard(e.fn)
		if w.failed == nil && holds() {
			return true
		}
	}
	return false
}

// guard turns a panic into a violation, with the history that led to it.
func (w *world) guard(fn func()) {
	defer func() {
		if r := recover(); r != nil {
			w.fail("panic: %v\n%s", r, debug.Stack())
		}
	}()
	fn()
}

// note adds to the history: two runs of a seed must have the same.
func (w *world) note(format string, args ...any) {
	line := fmt.Sprintf("%7.3f ", w.now().Sub(w.began).Seconds()) + fmt.Sprintf(format, args...)
	h := fnv.New64a()
	fmt.Fprintf(h, "%x %s", w.digest, line)
	w.digest = h.Sum64()
	w.tail = append(w.tail, line)
	if len(w.tail) > 2*keptEvents {
		w.tail = append(w.tail[:0], w.tail[keptEvents:]...)
	}
}

// reached counts an event that some run has to reach.
func (w *world) reached(what string) { w.seen[what]++ }

// fail ends the run: an invariant does not hold.
func (w *world) fail(format string, args ...any) {
	if w.failed == nil {
		w.failed = fmt.Errorf(format, args...)
		w.note("VIOLATION: %v", w.failed)
	}
}

// history is the last events, for a failure.
func (w *world) history() string {
	return strings.Join(w.tail[max(0, len(w.tail)-keptEvents):], "\n")
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

func (w *world) between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rng.Int64N(int64(b-a)+1))
}

// link is a direction between two nodes.
type link struct{ from, to int32 }

// network is what may happen to messages.
type network struct {
	loss, twice, late float64 // chances of a message
	cut               map[link]bool
}

// client is the place of producers in the network.
const client int32 = 0

// send carries something to a node, if it arrives: get runs there.
func (w *world) send(from, to int32, get func()) {
	for range 2 {
		if !w.chance(w.net.loss) {
			delay := w.between(time.Millisecond, 8*time.Millisecond)
			if w.chance(w.net.late) {
				delay = w.between(10*time.Millisecond, 700*time.Millisecond)
			}
			l := link{from, to}
			if w.net.cut[l] {
				return
			}
			w.after(delay, func() {
				if !w.net.cut[l] {
					get()
				}
			})
		}
		if !w.chance(w.net.twice) {
			return
		}
		w.reached("a message came twice")
	}
}

// options are what a seed expands to.
type options struct {
	seed       uint64
	nodes      int
	partitions int32
	producers  int
	fsync      bool // durability of the topic; a crash of the other kind keeps what was written
	loss       float64
	twice      float64
	late       float64
	safety     time.Duration
	faultEvery time.Duration
	syncDelay  time.Duration // at most
	snapshots  int64         // bytes of metadata between two
	rest       time.Duration // after which nothing is written to one of the partitions any more; 0 is never

	fetchers int // at most, that a node has for one leader

	large bool // records are of some KiB: followers that are behind fetch several blocks of a disk at once

	coordinators bool // there are a group and transactions, and the topics of their coordinators
	transactors  int

	members int  // of a group, 0 for none
	classic bool // its protocol

	elr   bool // partitions keep eligible leader replicas (KIP-966)
	lossy bool // in durability "replicated" a crash takes what is not synced; one broker at a time is so

	feature feature
	static  bool // the quorum begins with static voters
}

// eligible chooses, by chance of its own, whether there are eligible leader replicas, and what a crash takes.
func (o options) eligible() options {
	rng := rand.New(rand.NewPCG(o.seed, 13))
	o.elr = rng.IntN(4) > 0
	if o.feature == plain && rng.IntN(4) == 0 {
		o.feature, o.elr, o.fsync, o.lossy = lossy, true, false, true
	}
	return o
}

// grouped chooses, by chance of its own, whether there is a group with members. Where directories are lost there is none.
func (o options) grouped() options {
	rng := rand.New(rand.NewPCG(o.seed, 19))
	if o.coordinators && o.feature != disks && rng.IntN(2) == 0 {
		o.members, o.classic = 1+rng.IntN(3), rng.IntN(2) == 0
	}
	return o
}

// rested chooses, by chance of its own, whether one of several partitions is left at rest.
func (o options) rested() options {
	if rng := rand.New(rand.NewPCG(o.seed, 29)); o.partitions > 1 && rng.IntN(2) == 0 {
		o.rest = time.Duration(4000+rng.IntN(12000)) * time.Millisecond
	}
	return o
}

// enlarged chooses, by chance of its own, whether records are large.
func (o options) enlarged() options {
	o.large = rand.New(rand.NewPCG(o.seed, 31)).IntN(4) == 0
	return o
}

// fetched chooses, by chance of its own, how many fetchers a node has for a leader.
func (o options) fetched() options {
	o.fetchers = []int{1, 1, 2, 3}[rand.New(rand.NewPCG(o.seed, 37)).IntN(4)]
	return o
}

// fetchBytes and segmentBytes are what a follower fetches of a partition at once, and what a segment holds.
func (o options) fetchBytes() int32 {
	if o.large {
		return 32 << 10
	}
	return 2 << 10
}

func (o options) segmentBytes() int32 {
	if o.large {
		return 64 << 10
	}
	return 4096
}

// feature is what a seed has beside what all have: no run grows by more than one.
type feature string

const (
	plain     feature = "plain"
	reassigns feature = "reassigns" // partitions move to other brokers, and get more replicas and fewer
	lossy     feature = "lossy"     // see options; of those that are plain otherwise
	disks     feature = "disks"     // brokers have two log directories, of which some fail and some are lost
	quorums   feature = "quorums"   // controllers lose their directories and are replaced; half of the quorums begin static
	unclean   feature = "unclean"   // a replica that misses records may lead where nobody else can
	balances  feature = "balances"  // the active controller evens out what brokers carry
	strays    feature = "strays"    // partitions move, and a replica that misses records may lead
)

var features = []feature{plain, plain, plain, plain, reassigns, reassigns, disks, disks, quorums, unclean, balances, strays}

func (o options) unclean() bool { return o.feature == unclean || o.feature == strays }
func (o options) moves() bool   { return o.feature == reassigns || o.feature == strays }

// featured chooses a seed's feature, by chance of its own: what a seed is beside that stays as it was.
func (o options) featured() options {
	rng := rand.New(rand.NewPCG(o.seed, 11))
	o.feature = features[rng.IntN(len(features))]
	if o.feature == reassigns {
		o.nodes = []int{3, 4, 4, 5}[rng.IntN(4)]
	}
	if o.feature == quorums {
		o.static = rng.IntN(2) == 0
	}
	if o.feature == balances {
		o.nodes, o.partitions = []int{3, 4, 4, 5}[rng.IntN(4)], 2+rng.Int32N(3)
	}
	if o.unclean() { // a leader that has all of its log, and nothing that goes on from what may be lost
		o.fsync, o.coordinators, o.nodes = false, false, []int{3, 5}[rng.IntN(2)]
		if o.feature == strays && rng.IntN(2) == 0 {
			o.nodes = 4
		}
	}
	return o
}

// sized makes one cluster in eight one of five nodes.
func (o options) sized(rng *rand.Rand) options {
	if rng.IntN(8) == 0 {
		o.nodes = 5
	}
	return o
}

func newOptions(seed uint64) options {
	rng := rand.New(rand.NewPCG(seed, 7))
	return options{
		seed: seed, nodes: 3, partitions: 1 + rng.Int32N(2), producers: 1 + rng.IntN(2), fsync: rng.IntN(4) > 0,
		loss: []float64{0, 0.01, 0.05}[rng.IntN(3)], twice: []float64{0, 0.02}[rng.IntN(2)],
		late: []float64{0, 0.05}[rng.IntN(2)], safety: 14 * time.Second,
		faultEvery:   time.Duration(300+rng.IntN(1500)) * time.Millisecond,
		syncDelay:    []time.Duration{0, 5 * time.Millisecond, 100 * time.Millisecond}[rng.IntN(3)],
		snapshots:    []int64{0, 3000}[rng.IntN(2)],
		coordinators: rng.IntN(2) == 0, transactors: 1 + rng.IntN(2),
	}.sized(rng).featured().eligible().grouped().rested().enlarged().fetched()
}
