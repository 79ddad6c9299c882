package storage

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// appendHistory fills small segments from idempotent and plain producers, by small and large
// batches, with checkpoints in between, until journal files are recycled.
func appendHistory(h *history) {
	a, b := h.create("a", nil), h.create("b", nil)
	for i := range 24 {
		h.append(a, who{pid: 1}, h.values(9)...)
		h.append(b, who{}, h.values(9)...)
		if i%3 == 0 {
			h.append(a, who{pid: 2, epoch: 4}, h.values(9)...)
			h.ack(a)
		}
		if i%7 == 3 {
			h.append(b, who{pid: 1}, toldRecord{key: "large", value: strings.Repeat("L", 900)})
			h.ack(b)
		}
		if i%8 == 5 {
			h.store.Checkpoint()
		}
		h.clock.Advance(time.Second)
	}
	h.ack(a)
	h.ack(b)
}

// tornHistory appends batches of several disk blocks, some through the journal and some past it, so
// that a crash takes parts out of their middle.
func tornHistory(h *history) {
	a := h.create("large", func(c *LogConfig) { c.SegmentBytes = 60_000 })
	for i := range 24 {
		n := 1000 + h.rng.IntN(9000)
		h.serial++
		r := toldRecord{key: "k", value: fmt.Sprint(h.serial, strings.Repeat(fmt.Sprint(h.serial), n)[:n])}
		h.append(a, who{pid: 1}, r, h.value(9))
		if i%4 == 3 {
			h.ack(a)
		}
		if i == 13 {
			h.store.Checkpoint()
		}
	}
	h.ack(a)
}

// replicaHistory follows a leader: runs of batches that go through the journal, and others that are large enough
// together to go past it, into segments of a few of them.
func replicaHistory(h *history) {
	a := h.create("follows", func(c *LogConfig) { c.SegmentBytes = 60_000 })
	b := h.create("too", nil)
	for i := range 20 {
		var run [][]toldRecord
		for range 1 + h.rng.IntN(6) {
			h.serial++
			n := 200 + h.rng.IntN(6500)
			v := toldRecord{key: "k", value: fmt.Sprint(h.serial, strings.Repeat(fmt.Sprint(h.serial), n)[:n])}
			run = append(run, []toldRecord{v, h.value(9)})
		}
		h.fetch(a, run...)
		h.fetch(b, h.values(9), h.values(9))
		if i%4 == 3 {
			h.ack(a)
			h.ack(b)
		}
		if i == 11 {
			h.store.Checkpoint()
		}
	}
	h.ack(a)
	h.ack(b)
}

// transactionHistory interleaves committed, aborted and open transactions.
func transactionHistory(h *history) {
	a := h.create("txns", nil)
	p := []who{{pid: 1, txn: true}, {pid: 2, epoch: 1, txn: true}, {pid: 3, txn: true}}
	open := [3]bool{}
	for i := range 36 {
		n := h.rng.IntN(3)
		switch {
		case open[n] && h.rng.IntN(3) == 0:
			h.end(a, p[n], h.rng.IntN(2) == 0)
			open[n] = false
			h.ack(a)
		default:
			h.append(a, p[n], h.values(9)...)
			open[n] = true
		}
		if i%10 == 7 {
			h.store.Checkpoint()
		}
	}
	h.ack(a)
}

// retentionHistory loses its old end to retention and to DeleteRecords.
func retentionHistory(h *history) {
	a := h.create("old", nil)
	for i := range 30 {
		h.append(a, who{pid: 5}, h.values(9)...)
		if i%5 == 4 {
			h.ack(a)
			l := h.log(a)
			if i%2 == 0 {
				h.deleteRecords(a, l.StartOffset()+(l.HighWatermark()-l.StartOffset())/3)
			} else {
				h.retain(a, 3000)
			}
		}
		if i%9 == 6 {
			h.store.Checkpoint()
		}
	}
	h.ack(a)
	h.retain(a, 0)
	h.append(a, who{pid: 5}, h.values(9)...)
	h.ack(a)
}

// recreationHistory deletes logs and makes new ones of the same name.
func recreationHistory(h *history) {
	for range 4 {
		a, b := h.create("again", nil), h.create("other", nil)
		for range 4 {
			h.append(a, who{pid: 1}, h.values(9)...)
			h.append(b, who{}, h.values(9)...)
		}
		h.ack(a)
		h.ack(b)
		h.delete(a)
		h.delete(b)
		h.seqs = map[string]int32{}
	}
	h.ack(h.create("last", nil))
}

// restartHistory is stopped and started again in order, several times.
func restartHistory(h *history) {
	a := h.create("a", nil)
	for i := range 4 {
		for range 4 {
			h.append(a, who{pid: 1}, h.values(9)...)
			h.append(a, who{pid: 2, txn: true}, h.values(9)...)
		}
		h.end(a, who{pid: 2}, i%2 == 0)
		h.ack(a)
		h.reopen()
	}
}

func twoDirs(o *Options) { o.Dirs = []string{"/data", "/more"} }

// movesHistory takes logs from one directory to the other and back, between appends and while there are
// appends.
func movesHistory(h *history) {
	a, b := h.create("wanders", nil), h.create("stays", nil)
	for i := range 4 {
		for range 4 {
			h.append(a, who{pid: 1}, h.values(9)...)
			h.append(a, who{pid: 2, txn: true}, h.values(9)...)
			h.append(b, who{}, h.values(9)...)
		}
		h.end(a, who{pid: 2}, i%2 == 0)
		h.ack(a)
		h.move(a)
		h.append(a, who{pid: 1}, h.values(9)...)
		h.ack(a)
		h.ack(b)
		if i == 2 {
			l := h.log(a)
			h.deleteRecords(a, (l.StartOffset()+l.HighWatermark())/2)
		}
		if i%2 == 1 {
			h.store.Checkpoint()
		}
	}
}

// compactionHistory rewrites a few keys again and again, some in transactions, and compacts in
// between.
func compactionHistory(h *history) {
	a := h.create("keys", func(c *LogConfig) {
		c.Compact, c.Delete, c.MinCleanableDirtyRatio, c.DeleteRetention = true, false, 0.01, 5*time.Second
	})
	a.change(func() { a.compacted = true })
	w := []who{{}, {pid: 1}, {pid: 2, txn: true}}
	rounds := 0
	for i := range 40 {
		n := h.rng.IntN(3)
		h.append(a, w[n], h.values(6)...)
		if h.rng.IntN(4) == 0 && a.open(2) {
			h.end(a, w[2], h.rng.IntN(2) == 0)
		}
		h.clock.Advance(time.Second)
		if i%8 == 7 {
			if a.open(2) {
				h.end(a, w[2], true)
			}
			h.ack(a)
			rounds += h.store.Clean(context.Background())
			h.store.emptyTrash(h.clock.Now())
		}
		if i == 20 {
			h.reopen()
		}
	}
	h.ack(a)
	if rounds < 1 {
		h.t.Errorf("the log was never compacted")
	}
}

// mixedHistory does everything that a store can do, in an order that the seed decides.
func mixedHistory(h *history) {
	keys := func(c *LogConfig) {
		c.Compact, c.Delete, c.MinCleanableDirtyRatio, c.DeleteRetention = true, false, 0.01, 5*time.Second
	}
	logs := []*story{h.create("mixed", nil), h.create("mixed-keys", keys)}
	logs[1].change(func() { logs[1].compacted = true })
	writers := []who{{}, {pid: 1}, {pid: 2, epoch: 3}, {pid: 3, txn: true}, {pid: 4, txn: true}}
	for range 70 {
		s := logs[h.rng.IntN(2)]
		l := h.log(s)
		h.clock.Advance(300 * time.Millisecond)
		switch h.rng.IntN(16) {
		case 0:
			h.store.Checkpoint()
		case 1:
			h.ack(s)
		case 2:
			h.ack(s)
			h.store.Clean(context.Background())
		case 3:
			if s == logs[0] {
				h.ack(s)
				h.deleteRecords(s, l.StartOffset()+(l.HighWatermark()-l.StartOffset())/4)
			}
		case 4:
			if s == logs[0] {
				h.ack(s)
				h.retain(s, 5000)
			}
		case 5, 6, 7:
			for _, w := range writers[3:] {
				if s.open(w.pid) && h.rng.IntN(2) == 0 {
					h.end(s, w, h.rng.IntN(2) == 0)
				}
			}
		case 8:
			if h.rng.IntN(4) == 0 {
				h.ack(logs[0])
				h.ack(logs[1])
				h.reopen()
			}
		default:
			h.append(s, writers[h.rng.IntN(len(writers))], h.values(6)...)
		}
	}
	h.ack(logs[0])
	h.ack(logs[1])
}
