package replica

import (
	"math"

	"github.com/logstead/logstead/internal/kit/base"
)

// LoopKey names a loop: what it fetches has one leader and one durability, and of those the number that Spread gave it.
type LoopKey struct {
	Leader int32
	Fsync  bool
	Number int
}

// Order is what a loop is told of a replica: Tell with Epoch. Begins is of a loop that is not there yet, Ends of one that
// has nothing more to fetch; another one may then begin under its key while it ends.
type Order struct {
	Loop         LoopKey
	Epoch        int32
	Begins, Ends bool
}

// Roster says which loop fetches which replica, and which loops there are. It has no goroutine, lock or clock. The zero value has none.
type Roster struct {
	loops  map[LoopKey]int // how many replicas each of them fetches
	follow map[Replica]place
}

type place struct {
	loop  LoopKey
	epoch int32
}

// Follow has a replica fetched by a loop in a leader epoch, and by no other one. The orders are carried out one after the other.
func (r *Roster) Follow(p Replica, k LoopKey, epoch int32) []Order {
	was, ok := r.follow[p]
	if ok && was == (place{k, epoch}) {
		return nil
	}
	orders := r.Unfollow(p)
	if r.loops == nil {
		r.loops, r.follow = map[LoopKey]int{}, map[Replica]place{}
	}
	n := r.loops[k]
	r.loops[k], r.follow[p] = n+1, place{k, epoch}
	return append(orders, Order{Loop: k, Epoch: epoch, Begins: n == 0})
}

// Unfollow has a replica no longer fetched.
func (r *Roster) Unfollow(p Replica) []Order {
	was, ok := r.follow[p]
	if !ok {
		return nil
	}
	delete(r.follow, p)
	r.loops[was.loop]--
	ends := r.loops[was.loop] == 0
	if ends {
		delete(r.loops, was.loop)
	}
	return []Order{{Loop: was.loop, Epoch: NoEpoch, Ends: ends}}
}

// Where is the loop that fetches a replica, and in which leader epoch.
func (r *Roster) Where(p Replica) (k LoopKey, epoch int32, ok bool) {
	was, ok := r.follow[p]
	return was.loop, was.epoch, ok
}

// Spread is the number of the one of n fetchers that fetches a partition: Kafka's AbstractFetcherManager.getFetcherId, whose
// hash is that of Java's strings.
func Spread(tp base.TopicPartition, n int) int {
	if n <= 1 {
		return 0
	}
	h := int32(0)
	for _, c := range tp.Topic { // ASCII only, as topics' names are
		h = 31*h + c
	}
	h = 31*h + tp.Partition
	if h == math.MinInt32 {
		return 0
	}
	return int(max(h, -h)) % n
}
