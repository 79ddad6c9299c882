package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/storage"
)

// reader is a consumer that reads where it is near: leaders send it to followers (KIP-392). It has chance of its own, and
// sends no messages, so that a run is what it would be without it.
type reader struct {
	w         *world
	isolation partition.Isolation
	rng       *rand.Rand
	next      map[tp]int64 // the offset that it reads next
	epoch     map[tp]int32 // the newest leader epoch that it has heard of (KIP-320)
	near      map[tp]int32 // the follower that it was sent to
	early     []early
}

// early is a record that was read when the marker of its transaction stood in the replica's log, and not below a high
// watermark yet: a replica that has stopped in order and started again, whose snapshot tells of open transactions alone,
// gives such a record. The outcome has been decided by then, and has to be what the reader was told.
type early struct {
	k            tp
	at, producer int64
	left         bool
}

func (w *world) read() {
	if w.opts.unclean() {
		return // what they had read may be lost
	}
	for _, isolation := range []partition.Isolation{partition.ReadUncommitted, partition.ReadCommitted} {
		r := &reader{w: w, isolation: isolation, rng: rand.New(rand.NewPCG(w.opts.seed, 17+uint64(isolation))),
			next: map[tp]int64{}, epoch: map[tp]int32{}, near: map[tp]int32{}}
		w.readers = append(w.readers, r)
		r.again()
	}
}

func (r *reader) again() {
	r.w.after(time.Duration(10+r.rng.IntN(60))*time.Millisecond, func() {
		for _, k := range r.w.keys() {
			r.fetch(k)
		}
		r.again()
	})
}

// fetch asks a broker: the one that it was sent to, else any that has a replica.
func (r *reader) fetch(k tp) {
	n := r.w.nodes[r.rng.IntN(len(r.w.nodes))]
	if id := r.near[k]; id > 0 && r.rng.IntN(4) > 0 {
		n = r.w.node(id)
	}
	if r.w.stopped && n.parts[k] == nil { // it has heard by now where the replicas are
		if s := r.w.newest().states[k]; s != nil && s.Leader > 0 {
			n = r.w.node(s.Leader)
		}
	}
	p := n.parts[k]
	if !n.up || p == nil || n.frozen.After(r.w.now()) {
		delete(r.near, k)
		return
	}
	if s := n.states[k]; s.LeaderEpoch > r.epoch[k] {
		r.epoch[k] = s.LeaderEpoch
	}
	if p.IsLeader() && p.CheckLeader(r.epoch[k]) == nil && r.sent(k, p) {
		return
	}
	res, err := p.Read(partition.ReadRequest{Offset: r.next[k], MaxBytes: 1 + r.rng.Int32N(1000), MinOne: true, Isolation: r.isolation,
		LeaderEpoch: r.epoch[k], AnyReplica: true})
	if err != nil {
		r.w.reached("read: " + errName(err))
		delete(r.near, k)
		return
	}
	if res.LastStableOffset > res.HighWatermark {
		r.w.fail("%s of %s says that its last stable offset is %d, and its high watermark %d", k, n, res.LastStableOffset, res.HighWatermark)
	}
	if !p.IsLeader() && res.HighWatermark < r.next[k] {
		r.w.reached("a follower had not yet what a consumer had read elsewhere")
		delete(r.near, k)
	}
	data, err := bytesOf(res.Range)
	if err == nil && len(data) > 0 {
		r.take(n, k, res, data)
		if !p.IsLeader() {
			r.w.reached("a consumer read from a follower")
		}
	}
}

// sent says whether a leader sends the consumer to a follower.
func (r *reader) sent(k tp, p *partition.Partition) bool {
	if r.rng.IntN(2) == 0 {
		return false
	}
	id := p.NearReplica(r.next[k], func(int32) bool { return r.rng.IntN(2) == 0 })
	if id < 1 {
		return false
	}
	r.w.reached("a leader sent a consumer to a follower")
	r.near[k] = id
	return true
}

// take does what a consumer does with an answer: it leaves out markers and what the answer lists as aborted.
func (r *reader) take(n *node, k tp, res partition.ReadResult, data []byte) {
	bound, aborted := res.HighWatermark, res.Aborted
	if r.isolation == partition.ReadCommitted {
		bound = res.LastStableOffset
	}
	out := map[int64]bool{}
	for len(data) > 0 {
		b, rest, err := batch.Next(data)
		if err != nil {
			return // the rest of a batch that was cut, which a consumer leaves
		}
		data = rest
		aborted = slices.DeleteFunc(slices.Clone(aborted), func(a storage.AbortedTxn) bool {
			if a.FirstOffset > b.LastOffset() {
				return false
			}
			out[a.ProducerID] = true
			return true
		})
		for rec, err := range b.Records(batch.Limits{}) {
			if err != nil {
				r.w.fail("%s read from %s: %v", k, n, err)
				return
			}
			at := b.Offset(&rec)
			if at >= r.next[k] {
				r.record(n, k, b, committed{valueOf(b, &rec), b.LeaderEpoch()}, at, bound, out[b.ProducerID()])
				r.next[k] = at + 1
			}
		}
		if b.IsControl() {
			delete(out, b.ProducerID())
		}
	}
}

// record looks at one that was read: it is committed, nothing before it is missing, and one of a transaction is left out
// just where that was aborted.
func (r *reader) record(n *node, k tp, b batch.Batch, got committed, at, bound int64, left bool) {
	all := r.w.check.committed[k]
	switch {
	case at != r.next[k]:
		r.w.fail("%s read from %s: offset %d comes where %d is next", k, n, at, r.next[k])
	case at >= bound:
		r.w.fail("%s read from %s: offset %d, and it said that consumers may read below %d", k, n, at, bound)
	case at >= int64(len(all)) || all[at] != got:
		r.w.fail("%s read from %s: %q at offset %d of leader epoch %d is not what is committed there", k, n, got.value, at, got.epoch)
	case r.isolation == partition.ReadUncommitted || b.IsControl() || !b.IsTransactional():
	default:
		e := early{k, at, b.ProducerID(), left}
		if !r.outcome(e) {
			r.w.reached("a replica knew the end of a transaction early")
			r.early = append(r.early, e)
		}
		if !left {
			return
		}
		r.w.reached("a consumer left out an aborted record")
		if !n.parts[k].IsLeader() {
			r.w.reached("a follower said what was aborted")
		}
	}
}

// outcome compares what a reader was told of a record with the marker of its transaction, once there is one.
func (r *reader) outcome(e early) bool {
	says := fmt.Sprintf("%s%d ", marker, e.producer)
	for _, rec := range r.w.check.committed[e.k][e.at:] {
		if end, ok := strings.CutPrefix(rec.value, says); ok {
			if e.left == (end == "true") {
				r.w.fail("%s: a consumer found offset %d left out as aborted: %v; its transaction says otherwise", e.k, e.at, e.left)
			}
			return true
		}
	}
	return false
}

// haveRead says whether consumers have come to the end.
func (w *world) haveRead() bool {
	for _, r := range w.readers {
		if slices.ContainsFunc(r.early, func(e early) bool { return !r.outcome(e) }) {
			return false
		}
		for _, k := range w.keys() {
			if r.next[k] < int64(len(w.check.committed[k])) {
				return false
			}
		}
	}
	return true
}
