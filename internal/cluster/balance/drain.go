package balance

import (
	"cmp"
	"fmt"
	"slices"
)

// NoRoomError says that a replica has nowhere to go.
type NoRoomError struct {
	Partition string
	Broker    int32 // that it is to leave
	Replicas  []int32
	Open      int // brokers that could hold replicas
}

func (e *NoRoomError) Error() string {
	return fmt.Sprintf("partition %s has replicas on brokers %v, and none of the other %d that take replicas could hold the one "+
		"of broker %d: its replication factor of %d would be broken", e.Partition, e.Replicas, e.Open, e.Broker, len(e.Replicas))
}

// Drain plans to take every replica off the brokers. They need not be in the state: a broker that is gone
// for ever is drained the same way. Each replica goes where it keeps the racks, and among those to the
// broker with the least; the largest partitions choose first.
//
// It fails with a NoRoomError when a partition would end below its replication factor.
func Drain(s State, brokers ...int32) ([]Move, error) {
	for i := range s.Brokers {
		if slices.Contains(brokers, s.Brokers[i].ID) {
			s.Brokers = slices.Clone(s.Brokers)
			s.Brokers[i].Closed = true
		}
	}
	w := newWork(&s)
	order := make([]int, len(w.parts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(w.parts[b].Bytes, w.parts[a].Bytes) })
	for _, i := range order {
		if err := w.drainPartition(i, brokers); err != nil {
			return nil, err
		}
	}
	return w.moves(), nil
}

func (w *work) drainPartition(i int, brokers []int32) error {
	p := &w.parts[i]
	for _, id := range brokers {
		if !slices.Contains(p.Replicas, id) {
			continue
		}
		open := w.open(p)
		if len(open) == 0 {
			return &NoRoomError{Partition: p.Name(), Broker: id, Replicas: w.before[i], Open: w.openCount()}
		}
		old := slices.Index(p.Replicas, id)
		next := replaced(p.Replicas, id, w.bestPlace(p, id, open))
		if old == 0 {
			next = w.leastLeadersFirst(next)
		}
		w.set(i, next, drained(id))
	}
	return nil
}

func (w *work) openCount() (n int) {
	for _, b := range w.brokers {
		if !b.Closed {
			n++
		}
	}
	return n
}

// bestPlace chooses where a replica goes that leaves a broker.
func (w *work) bestPlace(p *Partition, old int32, open []int32) int32 {
	return slices.MinFunc(open, func(a, b int32) int {
		la, lb := w.loads[a], w.loads[b]
		return cmp.Or(
			cmp.Compare(w.racks(replaced(p.Replicas, old, b)), w.racks(replaced(p.Replicas, old, a))), // more racks first
			cmp.Compare(la.Bytes, lb.Bytes),
			cmp.Compare(la.Replicas, lb.Replicas),
			cmp.Compare(a, b),
		)
	})
}

// leastLeadersFirst makes the replica the preferred leader whose broker leads least. Ties stay as they are.
func (w *work) leastLeadersFirst(replicas []int32) []int32 {
	best := 0
	for i, id := range replicas {
		l := w.loads[id]
		if l == nil || w.brokers[id].Closed {
			continue
		}
		cur := w.loads[replicas[best]]
		if cur == nil || w.brokers[replicas[best]].Closed || l.Leaders < cur.Leaders {
			best = i
		}
	}
	replicas[0], replicas[best] = replicas[best], replicas[0]
	return replicas
}
