package main

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// outcome is what a client knows of one record.
type outcome uint8

const (
	open      outcome = iota // sent, and nothing heard that settles it
	acked                    // acknowledged, or in a transaction whose commit was
	unknown                  // given up on: it may be there or not
	forbidden                // never to be seen: its transaction was aborted, or it was refused before the append
)

// key names a record: which writer sent it, and as its how-manieth.
type key struct {
	writer int
	seq    int
}

func (k key) String() string { return fmt.Sprintf("%d/%d", k.writer, k.seq) }

// sent is a record as its writer knows it.
type sent struct {
	topic     string
	partition int32
	offset    int64 // where acknowledged, -1 where that is not told
	outcome   outcome
	at        time.Time // when it was sent, as far as is known
}

// place is where a record was read.
type place struct {
	topic     string
	partition int32
}

func (p place) String() string { return fmt.Sprintf("%s-%d", p.topic, p.partition) }

// History is what clients did and saw. Reads are compared as they come in; the rest at the end.
type History struct {
	mu     sync.Mutex
	sent   map[int][]sent // by writer, by seq
	read   map[place]map[int64]key
	acks   int
	acksOf map[int]int         // by writer
	told   map[int]int         // by writer that is another process, the highest seq heard of
	before map[int]int         // by writer, below which nothing is open any more
	gives  map[int]bool        // by writer: it gives up records, and sends the next one elsewhere
	wrong  map[string][]string // by kind of anomaly
	counts map[string]int
}

const wrongKept = 5 // examples of each kind

// NewHistory returns an empty one.
func NewHistory() *History {
	return &History{
		sent: map[int][]sent{}, acksOf: map[int]int{}, told: map[int]int{}, before: map[int]int{}, gives: map[int]bool{},
		read: map[place]map[int64]key{}, wrong: map[string][]string{}, counts: map[string]int{},
	}
}

// GivesUp says of a writer without idempotence that it closes its connection when a record has had no answer for long, and sends the
// next one through another. What it gave up may still be under way, and come after what it sent later.
func (h *History) GivesUp(writer int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gives[writer] = true
}

// Begin notes that a writer sends its next record.
func (h *History) Begin(writer int, topic string, partition int32) key {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := key{writer, len(h.sent[writer])}
	h.sent[writer] = append(h.sent[writer], sent{topic: topic, partition: partition, offset: -1, at: time.Now()})
	return k
}

// Settle notes the outcome of records; offset is -1 where it is not known.
func (h *History) Settle(k key, o outcome, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &h.sent[k.writer][k.seq]
	s.outcome, s.offset = o, offset
	if o == acked {
		h.acks++
		h.acksOf[k.writer]++
	}
}

// Told notes an acknowledged record of a writer that is another process: what it sent before and was not told of
// stays open.
func (h *History) Told(k key, topic string, partition int32, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.sent[k.writer]) <= k.seq+maxUntold {
		h.sent[k.writer] = append(h.sent[k.writer], sent{topic: topic, partition: -1, offset: -1})
	}
	for i := h.told[k.writer]; i < k.seq; i++ { // sent before it, and nothing is known of them yet
		if s := &h.sent[k.writer][i]; s.at.IsZero() {
			s.at = time.Now()
		}
	}
	h.told[k.writer] = max(h.told[k.writer], k.seq)
	h.sent[k.writer][k.seq] = sent{topic: topic, partition: partition, offset: offset, outcome: acked}
	h.acks++
}

// Waiting is for how long a writer has waited for the oldest answer, and what record that is.
func (h *History) Waiting(writer int, now time.Time) (time.Duration, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.sent[writer]
	i := h.before[writer]
	for i < len(list) && list[i].outcome != open {
		i++
	}
	h.before[writer] = i
	if i == len(list) || list[i].at.IsZero() {
		return 0, ""
	}
	return now.Sub(list[i].at), fmt.Sprintf("%v to %s-%d", key{writer, i}, list[i].topic, list[i].partition)
}

// maxUntold is how many records another process may have sent beyond those it told of.
const maxUntold = 100_000

// Acks is the number of records acknowledged so far.
func (h *History) Acks() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.acks
}

// AcksBelow is the number of records acknowledged to writers below some number.
func (h *History) AcksBelow(writer int) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range writer {
		n += h.acksOf[w]
	}
	return n
}

// Anomaly notes something that must never be.
func (h *History) Anomaly(kind, format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.anomalyLocked(kind, format, args...)
}

func (h *History) anomalyLocked(kind, format string, args ...any) {
	h.counts[kind]++
	if len(h.wrong[kind]) < wrongKept {
		h.wrong[kind] = append(h.wrong[kind], time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	}
}

// Saw notes a record that somebody read. One place never holds two values (inconsistent-offsets).
func (h *History) Saw(at place, offset int64, k key) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.read[at]
	if m == nil {
		m = map[int64]key{}
		h.read[at] = m
	}
	if was, ok := m[offset]; ok && was != k {
		h.anomalyLocked("inconsistent-offsets", "%v at %d held %v, now %v", at, offset, was, k)
		return
	}
	m[offset] = k
}

// Record is one record of the last read, in the order of the log.
type Record struct {
	Place  place
	Offset int64
	Key    key
}

// Judge compares the whole with the log as it stands at the end. committed says that the records are what a
// read_committed consumer sees.
func (h *History) Judge(topic string, final []Record, committed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	where := map[key]Record{}
	last := map[place]map[int]int{}
	end := map[place]int64{}
	for _, r := range final {
		if was, ok := where[r.Key]; ok {
			h.anomalyLocked("duplicate", "%v at %v %d and %v %d", r.Key, was.Place, was.Offset, r.Place, r.Offset)
		}
		where[r.Key] = r
		h.judgeOne(r, committed)
		if last[r.Place] == nil {
			last[r.Place] = map[int]int{}
		}
		prev, ok := last[r.Place][r.Key.writer]
		late := ok && prev > r.Key.seq
		if late && !h.gaveUpLocked(r.Key) {
			h.anomalyLocked("nonmonotonic-send", "%v: %v comes after %d of the same writer", r.Place, r.Key, prev)
		}
		if !late {
			last[r.Place][r.Key.writer] = r.Key.seq
		}
		end[r.Place] = max(end[r.Place], r.Offset+1)
	}
	for w, list := range h.sent {
		for seq, s := range list {
			if s.topic != topic || s.outcome != acked {
				continue
			}
			if _, ok := where[key{w, seq}]; !ok {
				h.anomalyLocked("lost-write", "%v, acknowledged at %s-%d %d, is not there; the last record is at %d",
					key{w, seq}, s.topic, s.partition, s.offset, end[place{s.topic, s.partition}]-1)
			}
		}
	}
	h.judgeVanished(topic, where)
}

// gaveUpLocked says of a record that its writer gave it up.
func (h *History) gaveUpLocked(k key) bool {
	list := h.sent[k.writer]
	return h.gives[k.writer] && k.seq >= 0 && k.seq < len(list) && list[k.seq].outcome == unknown
}

// judgeOne compares a record with what its writer knows; mu is held.
func (h *History) judgeOne(r Record, committed bool) {
	list := h.sent[r.Key.writer]
	if r.Key.seq < 0 || r.Key.seq >= len(list) {
		h.anomalyLocked("invented", "%v at %v %d was never sent", r.Key, r.Place, r.Offset)
		return
	}
	s := list[r.Key.seq]
	switch {
	case s.topic != r.Place.topic || s.partition >= 0 && s.partition != r.Place.partition:
		h.anomalyLocked("invented", "%v was sent to %s-%d and stands in %v", r.Key, s.topic, s.partition, r.Place)
	case s.outcome == acked && s.offset >= 0 && s.offset != r.Offset:
		h.anomalyLocked("inconsistent-offsets", "%v was acknowledged at %v %d and stands at %d", r.Key, r.Place, s.offset, r.Offset)
	case s.outcome == forbidden && committed:
		h.anomalyLocked("aborted-read", "%v at %v %d was aborted or refused", r.Key, r.Place, r.Offset)
	}
}

// judgeVanished finds what was read once and is not there any more; mu is held.
func (h *History) judgeVanished(topic string, where map[key]Record) {
	for at, m := range h.read {
		if at.topic != topic {
			continue
		}
		for offset, k := range m {
			if r, ok := where[k]; !ok || r.Place != at || r.Offset != offset {
				h.anomalyLocked("dirty-read", "%v was read at %v %d and is not there at the end", k, at, offset)
			}
		}
	}
}

// Torn finds transactions of which a read_committed consumer sees a part.
func (h *History) Torn(final []Record, size int, txnOf func(key) int) {
	parts := map[int]int{}
	for _, r := range final {
		parts[txnOf(r.Key)]++
	}
	for n, got := range parts {
		if got != size {
			h.Anomaly("torn-transaction", "transaction %d has %d of %d records", n, got, size)
		}
	}
}

// anomalies are the kinds that the checkers look for; each is counted even when there is none.
var anomalies = []string{
	"lost-write", "duplicate", "inconsistent-offsets", "invented", "nonmonotonic-send", "nonmonotonic-poll", "poll-skip",
	"aborted-read", "dirty-read", "torn-transaction", "commit-regress", "two-owners", "replica-digest", "client-error",
}

// Found gives the number and examples of each kind of anomaly.
func (h *History) Found(yield func(kind string, n int, examples []string) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	kinds := slices.Clone(anomalies)
	for _, k := range slices.Sorted(maps.Keys(h.counts)) {
		if !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	for _, k := range kinds {
		if !yield(k, h.counts[k], h.wrong[k]) {
			return
		}
	}
}

// commits are the offsets that were committed for one partition, each greater than the one before.
type commits struct {
	known int64          // the greatest that was acknowledged; 0 for none, for they begin at 1
	late  map[int64]bool // those of which a request may still be on its way
}

// abandoned is how long a client waits for an answer before it closes the connection and asks again. What it had sent may
// lie with the system, which brings it to the broker when a cut has healed: a commit that fences nobody is carried out then, and
// takes the place of later ones, on Apache Kafka too.
const abandoned = 900 * time.Millisecond

// sent notes what became of a commit.
func (c *commits) sent(offset int64, took time.Duration, err error) {
	if err == nil {
		c.known = offset
	}
	if err != nil || took >= abandoned {
		if c.late == nil {
			c.late = map[int64]bool{}
		}
		c.late[offset] = true
	}
}

// regressed says whether what is read, -1 for no commit, is less than what was committed, and no commit that came late.
func (c *commits) regressed(read int64) bool { return c.known > 0 && read < c.known && !c.late[read] }
