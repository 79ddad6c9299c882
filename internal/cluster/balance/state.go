package balance

import (
	"cmp"
	"fmt"
	"slices"
)

// Broker is a place for replicas.
type Broker struct {
	ID   int32
	Rack string // empty where racks are not used
	// Closed brokers keep what they have and get nothing more: they are cordoned, or their disk is gone.
	Closed bool
	// Room is how many bytes of replicas may be added; 0 where that is not known. A full broker is Closed.
	Room int64
}

// Partition is what a plan can move.
type Partition struct {
	Topic     string
	Partition int32
	Replicas  []int32 // the first is the preferred leader
	Bytes     int64   // of one replica
	In, Out   int64   // bytes a second: what each replica gets, and what the leader sends
	// Fixed partitions count, but Balance leaves them alone: they are being moved, have no leader to copy from, or
	// belong to a topic that is to stay where it is.
	Fixed bool
}

// Name is topic-partition, as Kafka writes it.
func (p *Partition) Name() string { return fmt.Sprintf("%s-%d", p.Topic, p.Partition) }

// State is a cluster as planning sees it.
type State struct {
	Brokers    []Broker
	Partitions []Partition
}

// Move gives a partition other replicas, or the same in another order.
type Move struct {
	Topic     string
	Partition int32
	From, To  []int32
	Bytes     int64  // of one replica
	Why       string // for a person
}

// Adding are the brokers that must copy the partition.
func (m *Move) Adding() []int32 { return without(m.To, m.From) }

// Removing are the brokers that give it up.
func (m *Move) Removing() []int32 { return without(m.From, m.To) }

// CopyBytes is what goes over the network.
func (m *Move) CopyBytes() int64 { return m.Bytes * int64(len(m.Adding())) }

func without(ids, gone []int32) []int32 {
	var out []int32
	for _, id := range ids {
		if !slices.Contains(gone, id) {
			out = append(out, id)
		}
	}
	return out
}

// Load is what a broker holds.
type Load struct {
	Broker   int32
	Rack     string
	Replicas int
	Leaders  int // preferred ones
	Bytes    int64
	In, Out  int64 // bytes a second
}

// Loads sums up what each broker of the state holds, by broker id.
func (s *State) Loads() []Load {
	w := newWork(s)
	out := make([]Load, 0, len(w.ids))
	for _, id := range w.ids {
		out = append(out, *w.loads[id])
	}
	return out
}

// After is the state with the moves carried out.
func (s *State) After(moves []Move) State {
	to := map[string][]int32{}
	for _, m := range moves {
		p := Partition{Topic: m.Topic, Partition: m.Partition}
		to[p.Name()] = m.To
	}
	out := State{Brokers: slices.Clone(s.Brokers), Partitions: slices.Clone(s.Partitions)}
	for i := range out.Partitions {
		if r, ok := to[out.Partitions[i].Name()]; ok {
			out.Partitions[i].Replicas = r
		}
	}
	return out
}

// work is a plan in the making.
type work struct {
	ids       []int32 // sorted
	brokers   map[int32]Broker
	loads     map[int32]*Load
	rackCount int
	parts     []Partition // sorted by topic and partition, with replicas of their own
	before    [][]int32   // the replicas that parts began with
	why       []string    // of the first change of each
	arrived   map[int32]int64

	copied      int   // partitions with a replica that is new
	swapped     int   // partitions with the same replicas in another order
	copiedBytes int64 // of all new replicas
}

func newWork(s *State) *work {
	w := &work{brokers: map[int32]Broker{}, loads: map[int32]*Load{}, arrived: map[int32]int64{}}
	for _, b := range s.Brokers {
		w.ids = append(w.ids, b.ID)
		w.brokers[b.ID] = b
		w.loads[b.ID] = &Load{Broker: b.ID, Rack: b.Rack}
	}
	slices.Sort(w.ids)
	w.rackCount = w.racks(w.ids)
	w.parts = slices.Clone(s.Partitions)
	slices.SortFunc(w.parts, func(a, b Partition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	for i := range w.parts {
		p := &w.parts[i]
		w.before = append(w.before, p.Replicas)
		p.Replicas = slices.Clone(p.Replicas)
		w.count(p, 1)
	}
	w.why = make([]string, len(w.parts))
	return w
}

// count adds a partition to the loads, or takes it away with -1. Replicas on brokers that are not in the
// state count nowhere.
func (w *work) count(p *Partition, sign int) {
	for i, id := range p.Replicas {
		l := w.loads[id]
		if l == nil {
			continue
		}
		l.Replicas += sign
		l.Bytes += int64(sign) * p.Bytes
		l.In += int64(sign) * p.In
		if i == 0 {
			l.Out += int64(sign) * p.Out
			l.Leaders += sign
		}
	}
}

// set gives partition i other replicas, for a reason.
func (w *work) set(i int, replicas []int32, why string) {
	p := &w.parts[i]
	w.count(p, -1)
	w.tally(i, -1)
	p.Replicas = replicas
	w.tally(i, 1)
	w.count(p, 1)
	if w.why[i] == "" {
		w.why[i] = why
	}
}

// tally counts what partition i costs as it is now, or takes that away with -1.
func (w *work) tally(i, sign int) {
	p := &w.parts[i]
	fresh := without(p.Replicas, w.before[i])
	switch {
	case len(fresh) > 0:
		w.copied += sign
	case !slices.Equal(p.Replicas, w.before[i]):
		w.swapped += sign
	}
	for _, id := range fresh {
		w.copiedBytes += int64(sign) * p.Bytes
		w.arrived[id] += int64(sign) * p.Bytes
	}
}

// hasRoom says whether a replica of p can be added to a broker.
func (w *work) hasRoom(p *Partition, id int32) bool {
	room := w.brokers[id].Room
	return room == 0 || w.arrived[id]+p.Bytes <= room
}

// moves are the partitions that are no longer where they were.
func (w *work) moves() []Move {
	var out []Move
	for i, p := range w.parts {
		if slices.Equal(p.Replicas, w.before[i]) {
			continue
		}
		out = append(out, Move{
			Topic: p.Topic, Partition: p.Partition, From: slices.Clone(w.before[i]), To: slices.Clone(p.Replicas), Bytes: p.Bytes,
			Why: w.why[i],
		})
	}
	return out
}

// racks counts the racks of replicas; brokers without a rack, or unknown, count as one together.
func (w *work) racks(replicas []int32) int {
	var seen []string
	for _, id := range replicas {
		b, ok := w.brokers[id]
		if ok && !slices.Contains(seen, b.Rack) {
			seen = append(seen, b.Rack)
		}
	}
	return len(seen)
}

// replaced is the replicas with one broker in the place of another.
func replaced(replicas []int32, old, fresh int32) []int32 {
	out := slices.Clone(replicas)
	out[slices.Index(out, old)] = fresh
	return out
}

// open lists the brokers that may get a replica of p, by id.
func (w *work) open(p *Partition) []int32 {
	var out []int32
	for _, id := range w.ids {
		if !w.brokers[id].Closed && !slices.Contains(p.Replicas, id) && w.hasRoom(p, id) {
			out = append(out, id)
		}
	}
	return out
}
