package storage

import (
	"flag"
	"sync/atomic"
	"testing"
)

// The crash tests run a scripted history and pull the plug before every file-system operation that
// changes anything, each time with none, some and all of what was not synced left; a torn write is
// cut in its middle as well. Every remains are recovered and compared with what the history had
// acknowledged and attempted by then; some are cut again while they are being recovered.

// minRecoveries is what all histories together must reach, as `make test` promises.
const minRecoveries = 2700

// crashHistories are the scripts. Each acts on h, whose operations are being cut.
var crashHistories = []struct {
	name   string
	change func(*Options)
	run    func(h *history)
	seeds  int // more crashes at each operation
}{
	{"journal", nil, appendHistory, 0},
	{"segments", func(o *Options) { o.Journal.Disabled = true }, appendHistory, 0},
	{"torn batches", nil, tornHistory, 4},
	{"what a leader sent", nil, replicaHistory, 2},
	{"what a replica behind fetched", func(o *Options) { o.UncachedBytes = 1 }, replicaHistory, 2},
	{"the same without a journal", func(o *Options) { o.UncachedBytes, o.Journal.Disabled = 1, true }, replicaHistory, 2},
	{"torn batches without a journal", func(o *Options) { o.Journal.Disabled = true }, tornHistory, 4},
	{"transactions", nil, transactionHistory, 0},
	{"retention", nil, retentionHistory, 0},
	{"recreation", nil, recreationHistory, 0},
	{"restarts", nil, restartHistory, 0},
	{"mixed", nil, mixedHistory, 0},
	{"moves", twoDirs, movesHistory, 0},
	{"compaction", nil, compactionHistory, 0},
	{"compaction without a journal", func(o *Options) { o.Journal.Disabled = true }, compactionHistory, 0},
}

// crashSeed varies the histories and the crashes: `go test -run TestCrashes -crash.seed 7`.
var crashSeed = flag.Uint64("crash.seed", 0, "seed of the crash tests")

// TestCrashes cuts every history before every operation that changes a file; with -short before
// every fifth.
func TestCrashes(t *testing.T) {
	var recoveries, again, points, ran atomic.Int64
	t.Run("histories", func(t *testing.T) {
		for i, c := range crashHistories {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				h := newHistory(t, *crashSeed<<8+uint64(i), c.change)
				sw := &sweeper{h: h, t: t, seeds: 1 + c.seeds}
				sw.watch()
				c.run(h)
				h.fault.OnOp(nil)
				if err := h.store.Close(); err != nil {
					t.Fatal(err)
				}
				recoveries.Add(sw.recoveries.Load())
				again.Add(sw.again.Load())
				points.Add(sw.points.Load())
				ran.Add(1)
			})
		}
	})
	t.Logf("%d recoveries after cuts at %d operations, %d of them cut again while recovering",
		recoveries.Load(), points.Load(), again.Load())
	if !testing.Short() && ran.Load() == int64(len(crashHistories)) && recoveries.Load() < minRecoveries {
		t.Errorf("%d recoveries, want at least %d", recoveries.Load(), minRecoveries)
	}
}
