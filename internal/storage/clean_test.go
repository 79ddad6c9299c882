package storage

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/proto/batch"
)

func TestOffsetMap(t *testing.T) {
	m := newOffsetMap(3000 * offsetSlotBytes)
	model := map[string]int64{}
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range int64(20_000) {
		key := fmt.Sprint(rng.IntN(2500))
		if !m.put([]byte(key), i) {
			t.Fatalf("full with %d keys of %d slots", m.used, len(m.slots))
		}
		model[key] = i
	}
	for key, want := range model {
		if got := m.get([]byte(key)); got != want {
			t.Fatalf("key %s: offset %d, want %d", key, got, want)
		}
	}
	if m.get([]byte("absent")) != -1 {
		t.Fatal("an absent key was found")
	}
	if m.put([]byte("1"), 5); m.get([]byte("1")) != model["1"] {
		t.Fatal("an older offset replaced a newer one")
	}
	n := 0
	for m.put(fmt.Appendf(nil, "more-%d", n), 1) {
		n++
	}
	if m.used != 2700 || len(m.slots) != 3000 {
		t.Fatalf("%d keys in %d slots, want 2700 in 3000", m.used, len(m.slots))
	}
	if !m.put([]byte("1"), 99_999) || m.get([]byte("1")) != 99_999 {
		t.Fatal("a full map must still take newer offsets of keys it knows")
	}
	m.reset()
	if m.get([]byte("1")) != -1 || m.latest != -1 || m.used != 0 {
		t.Fatal("reset left something")
	}
}

// step is one batch of a scripted log for the pure rule.
type step struct {
	b    batch.Batch
	last bool   // of its segment
	want string // offsets of the records that stay; "-" for none; "empty" for a kept empty batch
}

func dataBatch(t testing.TB, o batch.Options, kvs ...string) batch.Batch {
	t.Helper()
	b := batch.NewBuilder(o)
	for i := 0; i < len(kvs); i += 2 {
		value := []byte(kvs[i+1])
		if kvs[i+1] == "null" {
			value = nil
		}
		b.Append(epoch0.UnixMilli(), []byte(kvs[i]), value)
	}
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return append(batch.Batch(nil), out...)
}

func markerAt(offset, pid int64, epoch int16, kind batch.ControlKind) batch.Batch {
	b := batch.ControlBatch(kind, pid, epoch, 1, epoch0.UnixMilli(), 0)
	b.SetBaseOffset(offset)
	return b
}

func runRule(t *testing.T, r *cleanRule, steps []step) (out []batch.Batch) {
	t.Helper()
	var f batch.Filter
	var stats cleanStats
	for _, s := range steps {
		got := "-"
		if o, drop := r.batch(s.b, s.last); !drop {
			res, err := f.Apply(s.b, o, func(off int64, rec *batch.Record) bool { return r.record(s.b, off, rec, &stats) })
			if err != nil {
				t.Fatal(err)
			}
			if res.Batch != nil {
				out = append(out, append(batch.Batch(nil), res.Batch...))
				got = "empty"
			}
			for i := 0; res.Batch != nil && res.Kept > 0; {
				got = ""
				for rec, err := range res.Batch.Records(batch.Limits{}) {
					if err != nil {
						t.Fatal(err)
					}
					if i++; i > 1 {
						got += " "
					}
					got += fmt.Sprint(res.Batch.Offset(&rec))
				}
				break
			}
		}
		if got != s.want {
			t.Fatalf("%v: stays %q, want %q", s.b, got, s.want)
		}
	}
	return out
}

func TestCleanRule(t *testing.T) {
	keys := newOffsetMap(1 << 20)
	for key, off := range map[string]int64{"a": 10, "b": 3, "t": 4} {
		keys.put([]byte(key), off)
	}
	keys.covers(10)
	now := epoch0.UnixMilli()
	r := &cleanRule{
		keys: keys, txns: newCleanTxns(nil), now: now, retention: 1000,
		producers: map[int64]lastOfProducer{7: {dataOffset: 8}, 8: {dataOffset: -1, epoch: 2}},
	}
	at := func(off int64) batch.Options { return batch.Options{BaseOffset: off} }
	out := runRule(t, r, []step{
		{b: dataBatch(t, at(0), "a", "old", "x", "only"), want: "1"},
		{b: dataBatch(t, at(2), "b", "old", "b", "new", "t", "null"), want: "3 4"},
		{b: dataBatch(t, batch.Options{BaseOffset: 5, Producer: &batch.Producer{ID: 7}}, "a", "1"), want: "-"},
		{b: dataBatch(t, batch.Options{BaseOffset: 8, Producer: &batch.Producer{ID: 7, Sequence: 1}}, "a", "2"), want: "empty"},
		{b: markerAt(9, 8, 2, batch.Commit), want: "9"},
		{b: dataBatch(t, at(10), "a", "now", "b", "beyond the map"), want: "10 11"},
		{b: dataBatch(t, at(20), "a", "beyond the map"), want: "20"},
		{b: dataBatch(t, at(1), "a", "old"), want: "-"},
		{b: dataBatch(t, at(1), "a", "old"), last: true, want: "empty"},
	})
	if !out[1].HasDeleteHorizon() || out[1].BaseTimestamp() != now+1000 {
		t.Fatal("a batch with a tombstone got no delete horizon")
	}
	// After the horizon the tombstone goes; before, it stays.
	r.now = now + 999
	runRule(t, r, []step{{b: out[1], want: "3 4"}})
	r.now = now + 1000
	runRule(t, r, []step{{b: out[1], want: "3"}})
}

func TestCleanRuleTransactions(t *testing.T) {
	keys := newOffsetMap(1 << 20)
	keys.put([]byte("k"), 100)
	keys.covers(100)
	now := epoch0.UnixMilli()
	var kept []txnEntry
	aborted := []txnEntry{{AbortedTxn{ProducerID: 1, FirstOffset: 0, LastOffset: 2}, 3}}
	rule := func(nowMs int64) *cleanRule {
		kept = nil
		txns := newCleanTxns(func(e txnEntry) { kept = append(kept, e) })
		txns.add(aborted)
		txns.add(aborted)
		return &cleanRule{keys: keys, txns: txns, now: nowMs, retention: 1000}
	}
	txn := func(off, pid int64, kvs ...string) batch.Batch {
		return dataBatch(t, batch.Options{BaseOffset: off, Transactional: true, Producer: &batch.Producer{ID: pid}}, kvs...)
	}
	// First round: aborted records go although no newer record has their key; the markers stay,
	// because their transactions have had records until now.
	out := runRule(t, rule(now), []step{
		{b: txn(0, 1, "lost", "1"), want: "-"},
		{b: txn(1, 2, "k", "old", "won", "1"), want: "2"},
		{b: markerAt(3, 1, 0, batch.Abort), want: "3"},
		{b: markerAt(4, 2, 0, batch.Commit), want: "4"},
		{b: txn(5, 1, "k2", "v"), want: "5"},
		{b: markerAt(6, 1, 0, batch.Commit), want: "6"},
	})
	if len(kept) != 1 || kept[0] != aborted[0] {
		t.Fatalf("transaction index keeps %v", kept)
	}
	if out[1].HasDeleteHorizon() {
		t.Fatal("a marker whose transaction has records got a horizon")
	}
	// Second round: nothing is left of the aborted one, so its marker gets a horizon.
	aborted = nil
	out = runRule(t, rule(now+5), []step{
		{b: out[0], want: "2"}, {b: out[1], want: "3"}, {b: out[2], want: "4"}, {b: out[3], want: "5"}, {b: out[4], want: "6"},
	})
	if len(kept) != 0 || !out[1].HasDeleteHorizon() || out[1].BaseTimestamp() != now+1005 || out[2].HasDeleteHorizon() {
		t.Fatalf("second round: index %v, abort horizon %v, commit horizon %v",
			kept, out[1].HasDeleteHorizon(), out[2].HasDeleteHorizon())
	}
	// Third round, at the horizon: the marker goes.
	runRule(t, rule(now+1005), []step{{b: out[0], want: "2"}, {b: out[1], want: "-"}, {b: out[2], want: "4"}})
}

func TestCleanPlan(t *testing.T) {
	now := epoch0
	ms := now.UnixMilli()
	seg := func(base, size, ts int64) cleanSegment {
		return cleanSegment{base: base, next: base + 10, size: size, largestTS: ts, firstTS: ts}
	}
	view := func(change func(v *cleanView, c *LogConfig)) cleanJob {
		c := DefaultLogConfig()
		v := cleanView{
			segs:   []cleanSegment{seg(0, 100, ms-9000), seg(10, 100, ms-6000), seg(20, 100, ms-3000)},
			active: 30, stable: 35, end: 35, cleaned: 10, cfg: &c,
		}
		change(&v, &c)
		return v.plan(now)
	}
	for name, c := range map[string]struct {
		change func(v *cleanView, c *LogConfig)
		want   cleanJob
		due    bool
	}{
		"as it is": {
			func(*cleanView, *LogConfig) {}, cleanJob{firstDirty: 10, firstFixed: 30, dirtyBytes: 200, ratio: 200.0 / 300}, true,
		},
		"open transaction": {
			func(v *cleanView, _ *LogConfig) { v.stable = 25 },
			cleanJob{firstDirty: 10, firstFixed: 25, dirtyBytes: 100, ratio: 0.5}, false,
		},
		"never cleaned": {
			func(v *cleanView, _ *LogConfig) { v.cleaned = -1 }, cleanJob{firstFixed: 30, dirtyBytes: 300, ratio: 1}, true,
		},
		"start moved": {
			func(v *cleanView, _ *LogConfig) { v.start = 12 },
			cleanJob{firstDirty: 12, firstFixed: 30, dirtyBytes: 200, ratio: 200.0 / 300, resetCleaned: true}, true,
		},
		"truncated below": {
			func(v *cleanView, _ *LogConfig) { v.cleaned = 50 },
			cleanJob{firstFixed: 30, dirtyBytes: 300, ratio: 1, resetCleaned: true}, true,
		},
		"young": {
			func(_ *cleanView, c *LogConfig) { c.MinCompactionLag = 4 * time.Second },
			cleanJob{firstDirty: 10, firstFixed: 20, dirtyBytes: 100, ratio: 0.5}, false,
		},
		"overdue": {
			func(v *cleanView, c *LogConfig) { v.stable, c.MaxCompactionLag = 25, 5*time.Second },
			cleanJob{firstDirty: 10, firstFixed: 25, dirtyBytes: 100, ratio: 0.5, overdue: true}, true,
		},
		"nothing dirty": {
			func(v *cleanView, c *LogConfig) { v.cleaned, c.MaxCompactionLag = 30, 5*time.Second },
			cleanJob{firstDirty: 30, firstFixed: 30}, false,
		},
	} {
		got := view(c.change)
		cfg := DefaultLogConfig()
		if got != c.want || got.due(&cfg) != c.due {
			t.Errorf("%s: %+v due %v, want %+v due %v", name, got, got.due(&cfg), c.want, c.due)
		}
	}
}

func TestGroupSegments(t *testing.T) {
	cfg := DefaultLogConfig()
	cfg.SegmentBytes, cfg.IndexBytes = 100, 100
	segs := []cleanSegment{
		{base: 0, size: 40}, {base: 10, size: 40}, {base: 20, size: 40}, {base: 30, size: 10, indexBytes: 90},
		{base: 40, size: 10, indexBytes: 20}, {base: 50, size: 0}, {base: 1 << 32, size: 1}, {base: 1<<32 + 5, size: 200},
	}
	got := ""
	for _, g := range groupSegments(segs, &cfg, 1<<32+9) {
		got += "["
		for _, s := range g {
			got += fmt.Sprint(s.base, " ")
		}
		got += "]"
	}
	if want := "[0 10 ][20 30 ][40 50 ][4294967296 ][4294967301 ]"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
}
