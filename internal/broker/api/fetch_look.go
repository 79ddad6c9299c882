package api

import (
	"time"

	"github.com/logstead/logstead/internal/broker/partition"
)

// sessionSweep is how often a fetch looks at every partition of its session, if not more often (Broker.MaxLag). What no
// partition tells of shows then: a log start that retention has moved, and that a follower of a partition at rest is still there.
const sessionSweep = time.Second

// sessionLook decides which partitions of a session a fetch looks at: those that it names, those that have changed, those
// that had something left to say, and now and then all. Whoever has the session uses it.
//
// Of two fetches the second begins with what the first had no room for and ends with what the first gave records of, so
// that every partition has its turn.
type sessionLook struct {
	marks partition.Marks
	kind  lookKind
	swept time.Time    // when all were looked at
	queue []*fetchPart // to look at next, first those that have waited
	gave  []*fetchPart // to look at after those
	list  []*fetchPart // what the last fetch looked at; its memory is used again
	spare []*partition.Mark
}

// lookKind is what of a fetch all partitions are looked at for anew where it differs from that of the fetch before.
type lookKind struct {
	replica   int32
	epoch     int64
	isolation partition.Isolation
	marks     partition.MarkKind
}

// note has the next fetch look at a partition.
func (l *sessionLook) note(p *fetchPart) {
	if !p.looked {
		p.looked = true
		l.queue = append(l.queue, p)
	}
}

// drain notes what was marked, and says whether anything was.
func (l *sessionLook) drain() bool {
	l.spare = l.marks.Take(l.spare)
	for i, m := range l.spare {
		if p, _ := m.Owner.(*fetchPart); !p.gone {
			p.known = false // what a fetch under way has noted of a follower was before the change
			l.note(p)
		}
		l.spare[i] = nil
	}
	return len(l.spare) > 0
}

// begin is what a fetch looks at: all partitions where it is another kind of fetch than the one before or every has passed
// since that was done last. The list is the fetch's until end.
func (l *sessionLook) begin(all []*fetchPart, now time.Time, every time.Duration, kind lookKind) []*fetchPart {
	l.drain()
	if kind != l.kind {
		l.kind, l.swept = kind, time.Time{}
		for _, p := range all {
			p.mark.Unwatch()
		}
	}
	if now.Sub(l.swept) >= every {
		l.swept = now
		for _, p := range all {
			l.note(p)
		}
	}
	list := l.take(l.list[:0], &l.queue)
	return l.take(list, &l.gave)
}

// take moves the partitions of from to a fetch's list.
func (l *sessionLook) take(list []*fetchPart, from *[]*fetchPart) []*fetchPart {
	for _, p := range *from {
		if !p.gone {
			p.known = false
			list = append(list, p)
		}
	}
	clear(*from)
	*from = (*from)[:0]
	return list
}

// watch has the partition mark the session. It comes before the look.
func (l *sessionLook) watch(p *fetchPart, part *partition.Partition) {
	p.mark.Watch(part, &l.marks, l.kind.marks)
}

// more takes what was marked since the fetch began to its list, and says whether one of the list was: then it is to
// be read anew.
func (l *sessionLook) more(list []*fetchPart) (all []*fetchPart, changed bool) {
	changed = l.drain()
	return l.take(list, &l.queue), changed
}

// rest takes out of a fetch's list what neither says anything new nor would if it was looked at again: the partition
// tells when that changes.
func (l *sessionLook) rest(list []*fetchPart) []*fetchPart {
	kept := list[:0]
	for _, p := range list {
		if p.settled && !p.news() {
			p.looked = false
			continue
		}
		kept = append(kept, p)
	}
	clear(list[len(kept):])
	return kept
}

// end takes the list back once the answer is on its way. told is false where the answer says nothing of it.
func (l *sessionLook) end(list []*fetchPart, told bool) {
	for _, p := range list {
		switch {
		case told && p.settled:
			p.looked = false
		case told && p.given:
			l.gave = append(l.gave, p)
		default:
			l.queue = append(l.queue, p)
		}
	}
	clear(list)
	l.list = list[:0]
}
