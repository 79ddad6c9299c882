package storage

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// model is what one log must look like: records by offset from start on.
type model struct {
	id      base.TopicID
	start   int64
	records []string // "offset=value" of [0, end), also those below start
	synced  int64
	hw      int64 // the highest that was seen since the log was last opened or cut
	exists  bool
}

func (m *model) end() int64 { return int64(len(m.records)) }

// machine drives a store beside the model. Crashes keep a random share of what was not synced.
type machine struct {
	w      *world
	t      *testing.T
	m      model
	serial int
	cfg    LogConfig
}

func newMachine(t *testing.T, rt *rapid.T) *machine {
	m := &machine{t: t, cfg: DefaultLogConfig()}
	m.cfg.SegmentBytes, m.cfg.IndexIntervalBytes, m.cfg.FileDeleteDelay = 1500, 150, 0
	m.w = newWorld(t, func(o *Options) {
		o.Journal.FileBytes, o.Journal.Files = 64<<10, 2
		o.Journal.DirectBytes = 1000
		o.Journal.TogetherLogs = 1
		o.Journal.Disabled = rapid.IntRange(0, 4).Draw(rt, "journal off") == 0
		o.MaxOpenFiles = 3
		o.Defaults = m.cfg
	})
	m.create()
	return m
}

func (m *machine) create() {
	m.serial++
	m.m = model{id: base.TopicID{1, byte(m.serial), byte(m.serial >> 8)}, exists: true}
	if _, err := m.w.store.Create(tp0, m.m.id, m.cfg, ""); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) append(rt *rapid.T) {
	l := m.w.log()
	s := spec{ts: m.w.clock.Now().UnixMilli()}
	n := rapid.IntRange(1, 3).Draw(rt, "records")
	size := rapid.SampledFrom([]int{5, 5, 50, 1200}).Draw(rt, "size")
	for i := range n {
		m.serial++
		v := fmt.Sprintf("%d-%s", m.serial, strings.Repeat("x", size/n))
		s.values = append(s.values, v)
		m.m.records = append(m.m.records, fmt.Sprintf("%d=%s", m.m.end(), v))
		_ = i
	}
	info, err := l.Append(makeBatch(s), AppendOptions{Now: m.w.clock.Now(), LeaderEpoch: int32(m.serial / 20), Waits: m.serial%2 == 0})
	if info.Unsettled != nil {
		info.Unsettled.Settle(m.serial % 8)
	}
	if err != nil {
		rt.Fatal(err)
	}
	if info.LastOffset != m.m.end()-1 {
		rt.Fatalf("last offset %d, want %d", info.LastOffset, m.m.end()-1)
	}
}

func (m *machine) sync(rt *rapid.T) {
	l := m.w.log()
	waitSynced(rt, l, l.EndOffset())
	m.m.synced = l.EndOffset()
	l.SetHighWatermark(m.m.synced)
	m.m.hw = l.HighWatermark()
	l.SetHighWatermark(m.m.hw / 2) // means nothing
	_ = rt
}

func (m *machine) deleteRecords(rt *rapid.T) {
	l := m.w.log()
	to := rapid.Int64Range(m.m.start, max(l.HighWatermark(), m.m.start)).Draw(rt, "delete below")
	start, err := l.DeleteRecords(to)
	if err != nil {
		rt.Fatal(err)
	}
	m.m.start = max(m.m.start, to)
	if start != m.m.start {
		rt.Fatalf("start %d, want %d", start, m.m.start)
	}
}

func (m *machine) retain(rt *rapid.T) {
	l := m.w.log()
	m.cfg.RetentionBytes = rapid.Int64Range(0, 8000).Draw(rt, "keep bytes")
	l.SetConfig(m.cfg)
	hw := l.HighWatermark()
	if _, err := l.Retain(m.w.clock.Now()); err != nil {
		rt.Fatal(err)
	}
	if l.StartOffset() > max(hw, m.m.start) {
		rt.Fatalf("retention moved the start to %d, the high watermark is %d", l.StartOffset(), hw)
	}
	m.m.start = l.StartOffset()
	m.w.clock.Advance(time.Second)
	m.w.store.emptyTrash(m.w.clock.Now())
}

func (m *machine) truncate(rt *rapid.T) {
	l := m.w.log()
	to := rapid.Int64Range(m.m.start, m.m.end()).Draw(rt, "truncate to")
	if err := l.Truncate(to); err != nil {
		rt.Fatal(err)
	}
	// A cut in the middle of a batch takes the whole batch.
	to = l.EndOffset()
	m.m.records = m.m.records[:to]
	m.m.synced = min(m.m.synced, to)
	m.m.start = l.StartOffset()
	m.m.hw = min(m.m.hw, to)
}

func (m *machine) check(rt *rapid.T) {
	l := m.w.log()
	if l.StartOffset() != m.m.start || l.EndOffset() != m.m.end() {
		rt.Fatalf("log holds %d to %d, want %d to %d", l.StartOffset(), l.EndOffset(), m.m.start, m.m.end())
	}
	if hw := l.HighWatermark(); hw < l.StartOffset() || hw > l.EndOffset() || l.SyncedOffset() > l.EndOffset() {
		rt.Fatalf("start %d, high watermark %d, synced %d, end %d", l.StartOffset(), hw, l.SyncedOffset(), l.EndOffset())
	} else if hw < m.m.hw {
		rt.Fatalf("the high watermark moved back from %d to %d", m.m.hw, hw)
	}
	maxBytes := rapid.Int32Range(1, 4000).Draw(rt, "max bytes")
	got := readAll(rt, l, m.m.start, maxBytes)
	for len(got) > 0 && got[0] != m.m.records[m.m.start] {
		got = got[1:] // the batch that holds the start begins before it
	}
	if want := m.m.records[m.m.start:]; !slices.Equal(got, want) {
		rt.Fatalf("read %d records from %d, want %d", len(got), m.m.start, len(want))
	}
	if n := m.w.store.OpenFiles(); n > 3 {
		rt.Fatalf("%d files are open, the bound is 3", n)
	}
}

func (m *machine) deleteLog(rt *rapid.T) {
	if err := m.w.store.Delete(tp0); err != nil {
		rt.Fatal(err)
	}
	if rapid.Bool().Draw(rt, "empty trash") {
		m.w.store.emptyTrash(m.w.clock.Now().Add(time.Hour))
	}
	m.create()
}

// crash loses power. What was synced must be there, nothing may be there that was not appended, and
// the start must not move back where a journal keeps it.
func (m *machine) crash(rt *rapid.T) {
	m.w.crash(vfs.CrashOptions{
		Seed:         rapid.Uint64().Draw(rt, "seed"),
		KeepUnsynced: rapid.SampledFrom([]float64{0, 0.3, 0.7, 1}).Draw(rt, "keep"),
	})
	m.settle(rt)
}

// settle takes over what the store found after a crash, once it is known to be right.
func (m *machine) settle(rt *rapid.T) {
	l, ok := m.w.store.Log(tp0)
	if !ok || l.TopicID() != m.m.id {
		if m.m.synced > 0 {
			rt.Fatalf("the log is gone; %d records were synced", m.m.synced)
		}
		if ok {
			if err := m.w.store.Delete(tp0); err != nil {
				rt.Fatal(err)
			}
		}
		m.create()
		return
	}
	l.SetConfig(m.cfg)
	end := l.EndOffset()
	if end < m.m.synced || end > m.m.end() {
		rt.Fatalf("log ends at %d; it was synced up to %d and ended at %d", end, m.m.synced, m.m.end())
	}
	// A first segment that was never synced may be lost while a later one is kept.
	if l.StartOffset() > m.m.start && l.StartOffset() <= m.m.synced || !m.w.opts.Journal.Disabled && l.StartOffset() < m.m.start {
		rt.Fatalf("log starts at %d, it started at %d", l.StartOffset(), m.m.start)
	}
	if len(l.Damage()) > 0 {
		rt.Fatalf("damage after a crash: %v", l.Damage())
	}
	m.m.records = m.m.records[:end]
	m.m.start = l.StartOffset()
	m.m.synced, m.m.hw = end, l.HighWatermark()
}

func (m *machine) reopen(rt *rapid.T) {
	m.w.reopen()
	m.m.synced = m.m.end()
	m.w.log().SetConfig(m.cfg)
	_ = rt
}

// durability flips between the modes; under Replicated a crash may take what was not synced before.
func (m *machine) durability(rt *rapid.T) {
	l := m.w.log()
	if err := l.Sync(); err != nil { // what Replicated calls synced is not yet on stable storage
		rt.Fatal(err)
	}
	m.sync(rt)
	if m.cfg.Durability = Fsync; rapid.Bool().Draw(rt, "replicated") {
		m.cfg.Durability = Replicated
	}
	l.SetConfig(m.cfg)
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t, rt)
		rt.Repeat(map[string]func(*rapid.T){
			"append":  m.append,
			"append2": m.append,
			"append3": m.append,
			"sync": func(rt *rapid.T) {
				if m.cfg.Durability == Fsync {
					m.sync(rt)
				}
			},
			"checkpoint": func(*rapid.T) { m.w.store.Checkpoint() },
			"retain":     m.retain,
			"delete":     m.deleteRecords,
			"truncate":   m.truncate,
			"remove":     m.deleteLog,
			"reopen":     m.reopen,
			"crash":      m.crash,
			"durability": m.durability,
			"":           m.check,
		})
		_ = m.w.store.Close()
	})
}
