package sim

import (
	"flag"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	seeds = flag.Int("seeds", 40, "how many seeds TestSeeds runs")
	first = flag.Uint64("seed", 1, "the first of them")
	only  = flag.String("only", "", "only those of them that have this feature, see features")
)

// sometimes are the events that the seeds together must have reached: what a simulation does not come to, it does
// not test.
var sometimes = []string{
	"crash", "crash in a write", "crash of all", "a node cut off", "a way cut in one direction", "a process stood still",
	"the quorum changed its leader", "a partition changed its leader", "in-sync set grew", "in-sync set shrank",
	"follower truncated", "a batch was sent again, and was there", "a message came twice", "progress with a majority", "a cluster of 5 nodes",
	"a sync failed", "a write failed", "a disk was full", "a node ended because its disk failed",
	"a group coordinator was loaded", "a transaction coordinator was loaded", "an offset was committed",
	"a transaction was committed", "a transaction was aborted", "an EndTxn was sent again",
	"a member of the classic protocol was given partitions", "a member of the consumer protocol was given partitions", "a member crashed",
	"a member left", "a member committed", "a partition went to another member", "a consumer that was gone committed",
	"a consumer read from a follower", "a leader sent a consumer to a follower", "a follower had not yet what a consumer had read elsewhere",
	"a consumer left out an aborted record", "a follower said what was aborted",
	"a broker stopped in order", "a broker was let go", "a leader was elected of those eligible", "the last known leader leads again",
	"enough are in sync, and nobody is eligible beside", "one that was eligible is not any more",
	"a follower went on with its session", "a follower began another session", "fetch session refused: FETCH_SESSION_ID_NOT_FOUND",
	"a session told of a partition without records", "a partition was at rest", "a consumer committed what it had let go",
	"a follower wrote past the page cache",
	"a fetch was given up for another partition", "a loop ended with a fetch under way", "a replica went to another loop in the same leader epoch",
}

// seldom are those that some of a thousand seeds must have reached.
var seldom = []string{
	"a cluster of 4 nodes", "a reassignment was asked for", "a reassignment came to its end", "a reassignment was cancelled",
	"a log moved to another directory", "a node lost its log directories", "a place was reported", "a broker went on without a directory",
	"the only one in sync has lost its disk", "a node lost one of its log directories",
	"a directory was lost before it was told what is in it", "a replica was not made anew",
	"min.insync.replicas was set", "a broker learned its epoch from the metadata and stopped",
	"the level of eligible leader replicas was set", "somebody was eligible where a crash takes records",
	"kraft.version went from 0 to 1 amid faults", "a controller lost its directory", "a controller was removed", "a wiped controller was added anew",
	"a wiped controller came back as it was formatted first",
	"a reassignment was replaced while it was under way", "a broker of a reassignment crashed in the middle of it",
	"a preferred leader was elected while replicas were moved", "an unclean election while replicas were moved",
	"a replica was made anew before its loop had looked", "a loop that was to end had an answer",
	"a leader was moved away", "a replica was dropped with its log", "a stray log was removed", "the replication factor grew", "the replication factor shrank",
	"an unclean election", "an unclean election lost what was committed", "a leader that had not heard of an unclean election went on",
	"a producer began anew after an unclean election",
	"balancing began to move a partition", "balancing chose another preferred leader", "balancing went on with the round of an earlier controller",
}

// TestSeeds runs seeds. A failure names its seed: -seed N -seeds 1 replays it.
func TestSeeds(t *testing.T) {
	var mu sync.Mutex
	seen, next := map[string]int{}, atomic.Uint64{}
	var steps int
	var simulated float64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < uint64(*seeds) && !t.Failed(); i = next.Add(1) - 1 {
				o := newOptions(*first + i)
				if *only != "" && o.feature != feature(*only) {
					continue
				}
				w := simulate(o)
				mu.Lock()
				for what, n := range w.seen {
					seen[what] += n
				}
				steps += w.steps
				seen[fmt.Sprintf("a cluster of %d nodes", o.nodes)]++
				simulated += w.now().Sub(w.began).Seconds()
				mu.Unlock()
				if w.failed != nil {
					t.Errorf("seed %d: %v\noptions %+v\n%s\nseed %d: %v", o.seed, w.failed, o, w.history(), o.seed, w.failed)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d seeds, %d events, %.0f simulated seconds", *seeds, steps, simulated)
	for _, what := range slices.Sorted(maps.Keys(seen)) {
		t.Logf("  %6d %s", seen[what], what)
	}
	var must []string
	if *seeds >= 40 && *only == "" {
		must = sometimes
	}
	if *seeds >= 1000 && *only == "" {
		must = append(slices.Clone(must), seldom...)
	}
	for _, what := range must {
		if seen[what] == 0 {
			t.Errorf("no seed came to: %s", what)
		}
	}
}

// TestSeedIsOneHistory runs a seed of each kind twice.
func TestSeedIsOneHistory(t *testing.T) {
	type kind struct {
		feature feature
		group   bool
	}
	seen := map[kind]bool{}
	for seed := range uint64(40) {
		o := newOptions(seed + 1)
		if k := (kind{o.feature, o.members > 1}); seen[k] {
			continue
		} else {
			seen[k] = true
		}
		a, b := simulate(o), simulate(o)
		if a.digest != b.digest || a.steps != b.steps {
			t.Errorf("seed %d has two histories: %x with %d events, %x with %d\n%s", seed+1, a.digest, a.steps, b.digest, b.steps,
				difference(a.tail, b.tail))
		}
	}
}

func difference(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%s\n%s", a[i], b[i])
		}
	}
	return "one is longer"
}
