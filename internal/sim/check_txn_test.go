package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/logstead/logstead/internal/proto/batch"
)

// marker begins what is noted of a control record.
const marker = "marker "

// valueOf is what is noted of a record: of a transaction with its producer, of a marker what it says.
func valueOf(b batch.Batch, rec *batch.Record) string {
	switch kind, _ := rec.Control(); {
	case b.IsControl():
		return fmt.Sprintf("%s%d %v", marker, b.ProducerID(), kind == batch.Commit)
	case b.IsTransactional():
		return fmt.Sprintf("%d %s %s", b.ProducerID(), rec.Key, rec.Value)
	case rec.Key != nil:
		return fmt.Sprintf("%s=%s", rec.Key, rec.Value)
	}
	return string(rec.Value)
}

// visible is how often a read_committed consumer sees each transactional record, over all partitions of the topic.
func (c *checker) visible() map[string]int {
	seen := map[string]int{}
	for _, k := range c.w.keys() {
		open := map[string][]string{}
		for _, rec := range c.committed[k] {
			if rest, ok := strings.CutPrefix(rec.value, marker); ok {
				pid, commit, _ := strings.Cut(rest, " ")
				if commit == "true" {
					for _, v := range open[pid] {
						seen[v]++
					}
				}
				delete(open, pid)
				continue
			}
			if pid, v, ok := strings.Cut(rec.value, " "); ok {
				open[pid] = append(open[pid], strings.TrimSpace(v))
			}
		}
		for pid, values := range open {
			c.w.fail("%s: the transaction of producer %s with %v has no end", k, pid, values)
		}
	}
	return seen
}

// transactions demands that each is there as a whole or not at all, and is what its client was told.
func (c *checker) transactions() {
	if c.w.failed != nil {
		return
	}
	seen := c.visible()
	for _, t := range c.w.transactors {
		for _, x := range t.all() {
			c.transaction(t, x, seen)
		}
	}
}

func (c *checker) transaction(t *transactor, x *transaction, seen map[string]int) {
	there := 0
	for _, v := range x.sent {
		if seen[v] > 1 {
			c.w.fail("%s: record %s is committed %d times", t.id, v, seen[v])
		}
		there += seen[v]
	}
	lost := slices.ContainsFunc(x.values, func(v string) bool { return seen[v] == 0 })
	switch {
	case there > 0 && !(x.asked && x.commits):
		c.w.fail("%s: transaction %d was not to be committed, %d of its records are", t.id, x.n, there)
	case x.ended && x.commits && lost:
		c.w.fail("%s: transaction %d was committed, of its records %v only %d are there", t.id, x.n, x.values, there)
	case there > 0 && lost:
		c.w.fail("%s: transaction %d is torn: of its records %v only %d are there", t.id, x.n, x.values, there)
	}
	if x.asked && x.commits && !x.ended {
		c.w.reached(map[bool]string{true: "a commit without an answer was done", false: "a commit without an answer was not done"}[there > 0])
	}
}

// all are a client's transactions, the last one included.
func (t *transactor) all() []*transaction {
	if t.now == nil {
		return t.done
	}
	return append(slices.Clone(t.done), t.now)
}

// offsets demands of the coordinator the offset of the newest transaction that was committed and had one, and the
// last offset that was acknowledged without a transaction.
func (c *checker) offsets() {
	if c.w.failed != nil || c.w.committer == nil {
		return
	}
	seen := c.visible()
	for _, t := range c.w.transactors {
		want := int64(-1)
		for _, x := range t.all() {
			if x.offset >= 0 && seen[x.values[0]] > 0 {
				want = x.offset
			}
		}
		if got := c.fetched(t.id); got != want {
			c.w.fail("group %s: the committed offset is %d, that of the newest transaction that was committed is %d", t.id, got, want)
		}
	}
	if got := c.fetched(committerGroup); got < c.w.committer.acked {
		c.w.fail("group %s: the committed offset is %d, %d was acknowledged", committerGroup, got, c.w.committer.acked)
	}
}

// fetched is a group's offset, as the coordinator says when nothing is broken.
func (c *checker) fetched(id string) int64 {
	var got int64
	done, attempt := false, 0
	var ask func()
	ask = func() {
		c.w.fetchOffset(id, &attempt, func(offset int64, _ int32, ok bool) {
			if got, done = offset, ok; !ok {
				c.w.after(20*time.Millisecond, ask)
			}
		})
	}
	ask()
	if !c.w.runUntil(10*time.Second, func() bool { return done }) {
		c.w.fail("group %s: the coordinator does not answer", id)
	}
	return got
}
