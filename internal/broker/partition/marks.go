package partition

import (
	"sync"
	"sync/atomic"
)

// Marks are the partitions of one fetch session in which something has changed since it looked at them last. A session
// of ten thousand partitions at rest costs a fetch nothing: it looks at what is marked. Partitions mark; the fetch that has the session
// takes.
//
// Whoever takes reads the partitions afterwards: what changes from then on marks them again. So no change is missed, and one may be
// looked at twice.
type Marks struct {
	waiter atomic.Pointer[TailWaiter] // of the fetch that waits
	mu     struct {
		sync.Mutex
		list []*Mark
	}
}

// MarkKind is what a session hears of. ToEnd is for who reads up to the end of the log: it is woken by appends, and by the
// high watermark, behind which it finds nothing new, only where it Raises.
type MarkKind struct{ ToEnd, Raises bool }

// Mark is one partition of a session. Watch and Unwatch belong to whoever has the session.
type Mark struct {
	Owner any // what the session has for the partition

	at   *Partition
	of   *Marks // of and kind are set while no partition has the mark
	kind MarkKind
	slot int // in the list of at, guarded by its lock
	on   atomic.Bool
}

// Await has w woken by changes that are worth it, until it is nil. What was marked before wakes nobody: take it afterwards.
func (s *Marks) Await(w *TailWaiter) { s.waiter.Store(w) }

// Take empties the list into spare.
func (s *Marks) Take(spare []*Mark) []*Mark {
	s.mu.Lock()
	list := s.mu.list
	s.mu.list = spare[:0]
	s.mu.Unlock()
	for _, m := range list {
		m.on.Store(false)
	}
	return list
}

// Watch has every change of p marked in of from now on, and of no other partition. A partition that was not watched is to be
// looked at. For another kind it is unwatched first.
func (m *Mark) Watch(p *Partition, of *Marks, kind MarkKind) {
	if m.at == p {
		return
	}
	m.Unwatch()
	m.at, m.of, m.kind = p, of, kind
	p.marks.add(m)
}

// Unwatch undoes Watch.
func (m *Mark) Unwatch() {
	if m.at != nil {
		m.at.marks.remove(m)
		m.at = nil
	}
}

// set marks the partition. wake is for what a fetch that waits is to hear of at once.
func (m *Mark) set(wake bool) {
	if !m.on.Swap(true) {
		m.of.mu.Lock()
		m.of.mu.list = append(m.of.mu.list, m)
		m.of.mu.Unlock()
	}
	if wake {
		if w := m.of.waiter.Load(); w != nil {
			w.Wake()
		}
	}
}

// change is what has happened to a partition.
type change int8

const (
	grew    change = iota // the end of the log has moved
	raised                // the high watermark has
	turned                // another role or log start, or it has closed
	decided               // another in-sync set or other replicas, in the same leader epoch
)

// hears says whether a change is anything to the session, and whether its fetch is woken.
func (m *Mark) hears(c change) (hears, wake bool) {
	switch c {
	case grew:
		return m.kind.ToEnd, true
	case raised:
		return true, !m.kind.ToEnd || m.kind.Raises
	case turned:
		return true, true
	default:
		return m.kind.ToEnd, false
	}
}

// markList is the sessions that have a partition. Its lock comes before that of Marks.
type markList struct {
	n  atomic.Int32 // how many there are: nobody to mark costs an append no lock
	mu struct {
		sync.Mutex
		list []*Mark
	}
}

func (l *markList) add(m *Mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m.slot = len(l.mu.list)
	l.mu.list = append(l.mu.list, m)
	l.n.Store(int32(len(l.mu.list)))
}

func (l *markList) remove(m *Mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := len(l.mu.list) - 1
	moved := l.mu.list[last]
	l.mu.list[m.slot], moved.slot = moved, m.slot
	l.mu.list[last] = nil
	l.mu.list = l.mu.list[:last]
	l.n.Store(int32(last))
}

func (l *markList) fire(c change) {
	if l.n.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.mu.list {
		if hears, wake := m.hears(c); hears {
			m.set(wake)
		}
	}
}
