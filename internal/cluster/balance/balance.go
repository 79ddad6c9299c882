package balance

import (
	"cmp"
	"fmt"
	"slices"
)

// Options say what is to be evened out, how even is even enough, and how much may be done for it.
type Options struct {
	Goals     []Goal  // nil is AllGoals
	Tolerance float64 // how far from the mean a broker may be, as a share of it; 0 means DefaultTolerance
	// MinGain keeps moves from being made that bring the brokers hardly nearer for what they copy: on average
	// over the goals, each percent of a broker's load that is moved must bring them so many percent nearer.
	MinGain float64
	// FloorBytes and FloorRate are loads below which the tolerance becomes no narrower: brokers that hold, or
	// send and receive a second, less than this on average need not be as even.
	FloorBytes, FloorRate int64
	MaxMoves              int   // partitions that may be copied, 0 for any number
	MaxBytes              int64 // bytes that may be copied, 0 for any number
	MaxSwaps              int   // partitions whose order of replicas may change without a copy, 0 for any number
	NoLeaders             bool  // leave the order of replicas alone
}

// DefaultTolerance is the tolerance where none is given.
const DefaultTolerance = 0.1

// Balance plans moves in this order: replicas of a partition that share a rack are spread, then what brokers
// hold and carry is evened out, by changing preferred leaders where that is enough, which copies nothing, and by
// moving replicas; then the number of preferred leaders is.
func Balance(s State, o Options) []Move {
	b := newBalancer(&s, o)
	if len(b.open) < 2 {
		return nil
	}
	for again := true; again; {
		again = b.spreadRacks()
		again = b.evenLeaders(false) || again
		again = b.evenReplicas() || again
		// While there is more to copy than may be, who leads is changed again by what is copied next.
		again = !b.full() && b.evenLeaders(true) || again
	}
	return b.moves()
}

type balancer struct {
	*work
	o       Options
	open    []int32 // brokers that can get replicas
	scale   scales
	movable []bool // by partition
}

func newBalancer(s *State, o Options) *balancer {
	if o.Tolerance <= 0 {
		o.Tolerance = DefaultTolerance
	}
	if o.Goals == nil {
		o.Goals = AllGoals()
	}
	if o.NoLeaders {
		o.Goals = slices.DeleteFunc(slices.Clone(o.Goals), func(g Goal) bool { return g == Leaders })
	}
	b := &balancer{work: newWork(s), o: o}
	for _, id := range b.ids {
		if !b.brokers[id].Closed {
			b.open = append(b.open, id)
		}
	}
	b.findMovable()
	b.measure()
	return b
}

// measure sets the scales. Steps between open brokers leave them as they are.
func (b *balancer) measure() {
	b.scale = scales{}
	if len(b.open) == 0 {
		return
	}
	floor := amounts{Disk: float64(b.o.FloorBytes), In: float64(b.o.FloorRate), Out: float64(b.o.FloorRate)}
	for _, id := range b.open {
		for g, a := range b.loads[id].amounts() {
			b.scale.mean[g] += a / float64(len(b.open))
		}
	}
	for _, g := range b.o.Goals {
		if b.scale.mean[g] > 0 {
			b.scale.unit[g] = max(b.scale.mean[g], floor[g])
		}
	}
}

// Deviation is how far the broker that is farthest off is from the mean, as a share of it, for each goal.
func (s *State) Deviation(o Options) map[Goal]float64 {
	b := newBalancer(s, o)
	out := map[Goal]float64{}
	for _, id := range b.open {
		for g, d := range b.scale.off(b.loads[id].amounts()) {
			if b.scale.unit[g] > 0 {
				out[Goal(g)] = max(out[Goal(g)], d, -d)
			}
		}
	}
	return out
}

// findMovable notes which partitions may be changed at all: those whose replicas are all on brokers that are
// known.
func (b *balancer) findMovable() {
	b.movable = make([]bool, len(b.parts))
	for i := range b.parts {
		p := &b.parts[i]
		b.movable[i] = !p.Fixed && !slices.ContainsFunc(p.Replicas, func(id int32) bool { return b.loads[id] == nil })
	}
}

// allowed says whether partition i may be copied to one more broker under the limits.
func (b *balancer) allowed(i int) bool {
	return (!b.full() || len(without(b.parts[i].Replicas, b.before[i])) > 0) &&
		(b.o.MaxBytes == 0 || b.copiedBytes+b.parts[i].Bytes <= b.o.MaxBytes)
}

// full says that no further partition may be copied.
func (b *balancer) full() bool { return b.o.MaxMoves > 0 && b.copied >= b.o.MaxMoves }

// spreadRacks gives partitions whose replicas share racks as many racks as there are, up to their
// replication factor.
func (b *balancer) spreadRacks() (changed bool) {
	for i := range b.parts {
		p := &b.parts[i]
		for b.crowded(p) && b.movable[i] && b.allowed(i) {
			next := b.spread(p)
			if next == nil {
				break
			}
			b.set(i, next, "replicas share a rack")
			changed = true
		}
	}
	if changed {
		b.measure() // a closed broker may have given something to an open one
	}
	return changed
}

// crowded says whether replicas of a partition share a rack while there are others.
func (b *balancer) crowded(p *Partition) bool {
	return b.racks(p.Replicas) < min(len(p.Replicas), b.rackCount)
}

// spread is the replicas with one more rack; nil where that cannot be.
func (b *balancer) spread(p *Partition) []int32 {
	now := b.racks(p.Replicas)
	for _, old := range b.rackTwins(p) {
		open := b.work.open(p)
		if len(open) == 0 {
			continue
		}
		if next := replaced(p.Replicas, old, b.bestPlace(p, old, open)); b.racks(next) > now {
			return next
		}
	}
	return nil
}

// rackTwins are the replicas that share their rack with another, those on the fullest brokers first.
func (b *balancer) rackTwins(p *Partition) []int32 {
	var out []int32
	for _, id := range p.Replicas {
		for _, other := range p.Replicas {
			if id != other && b.brokers[id].Rack == b.brokers[other].Rack {
				out = append(out, id)
				break
			}
		}
	}
	slices.SortStableFunc(out, func(x, y int32) int { return cmp.Compare(b.loads[y].Bytes, b.loads[x].Bytes) })
	return out
}

// outside says whether a load is above or below what the tolerance allows, by any goal that replicas are moved
// for. It can be both, with many small replicas or a few large ones.
func (b *balancer) outside(l *Load) (above, below bool) {
	a := l.amounts()
	for g := range Leaders {
		over, under := b.scale.outside(g, a[g], b.o.Tolerance)
		above, below = above || over, below || under
	}
	return above, below
}

// shift is a replica of a partition that goes from one broker to another.
type shift struct {
	part     int
	from, to int32
	gain     float64 // how much smaller the sum of squares becomes
}

// leastGain keeps rounding from passing for an improvement.
const leastGain = 1e-9

// worth says whether a step gains enough for what it moves.
func (b *balancer) worth(gain, share float64) bool {
	return gain > leastGain && gain >= 2*share*b.o.MinGain
}

// evenReplicas takes a shift, again and again, until none helps a broker that is outside the tolerance.
func (b *balancer) evenReplicas() (changed bool) {
	for !b.full() {
		s, ok := b.nextShift()
		if !ok {
			break
		}
		p := &b.parts[s.part]
		from, to, moved := b.loads[s.from].amounts(), b.loads[s.to].amounts(), p.amounts(p.Replicas[0] == s.from)
		moved[Leaders] = 0
		b.set(s.part, replaced(p.Replicas, s.from, s.to), b.scale.reason(s.from, s.to, &from, &to, &moved))
		changed = true
	}
	return changed
}

// nextShift is the best shift away from the worst broker above the tolerance that can be helped, else the best
// one towards the worst broker below it.
func (b *balancer) nextShift() (shift, bool) {
	worst := slices.Clone(b.open)
	slices.SortStableFunc(worst, func(x, y int32) int {
		return cmp.Compare(b.scale.weight(b.loads[y].amounts()), b.scale.weight(b.loads[x].amounts()))
	})
	for _, id := range worst {
		if above, _ := b.outside(b.loads[id]); above {
			if s, ok := b.bestShift([]int32{id}, b.open); ok {
				return s, true
			}
		}
	}
	for _, id := range worst {
		if _, below := b.outside(b.loads[id]); below {
			if s, ok := b.bestShift(b.open, []int32{id}); ok {
				return s, true
			}
		}
	}
	return shift{}, false
}

// place is a broker with what it has.
type place struct {
	id  int32
	has amounts
}

func (b *balancer) places(ids []int32) []place {
	out := make([]place, len(ids))
	for i, id := range ids {
		out[i] = place{id, b.loads[id].amounts()}
	}
	return out
}

// bestShift is the shift with the largest gain from one of some brokers to one of others. The first of equals
// is taken, in the order of partitions and brokers.
func (b *balancer) bestShift(froms, tos []int32) (best shift, ok bool) {
	from, to := b.places(froms), b.places(tos)
	for i := range b.parts {
		p := &b.parts[i]
		for f := range from {
			k := slices.Index(p.Replicas, from[f].id)
			if k < 0 || !b.movable[i] {
				continue
			}
			moved := p.amounts(k == 0)
			for t := range to {
				// Leaders alone are no reason to copy: they are evened out without. But a step makes nothing worse.
				all, g, share := b.scale.gain(&from[f].has, &to[t].has, &moved)
				if g > best.gain && all > leastGain && b.worth(g, share) && b.fits(i, from[f].id, to[t].id) {
					best, ok = shift{i, from[f].id, to[t].id, g}, true
				}
			}
		}
	}
	return best, ok
}

// fits says whether a replica of partition i may go from one open broker to another.
func (b *balancer) fits(i int, from, to int32) bool {
	p := &b.parts[i]
	return !slices.Contains(p.Replicas, to) && b.allowed(i) && b.hasRoom(p, to) &&
		b.racks(replaced(p.Replicas, from, to)) >= b.racks(p.Replicas)
}

// evenLeaders changes the order of replicas until no swap brings the leaders' numbers and what they send nearer
// together. Without count it only helps brokers that send too much or too little.
func (b *balancer) evenLeaders(count bool) (ever bool) {
	if b.o.NoLeaders {
		return false
	}
	for changed := true; changed; {
		changed = false
		for i := range b.parts {
			if next, why := b.betterLeader(i, count); next != nil {
				b.set(i, next, why)
				changed, ever = true, true
			}
		}
	}
	return ever
}

// betterLeader is the replicas of a partition with another one first, and why; nil where none is better.
func (b *balancer) betterLeader(i int, count bool) (next []int32, why string) {
	p := &b.parts[i]
	if len(p.Replicas) < 2 || !b.movable[i] || b.brokers[p.Replicas[0]].Closed || !b.maySwap(i) {
		return nil, ""
	}
	from, moved := b.loads[p.Replicas[0]].amounts(), amounts{Out: float64(p.Out), Leaders: 1}
	best, most := 0, 0.0
	for k, id := range p.Replicas[1:] {
		if b.brokers[id].Closed {
			continue
		}
		to := b.loads[id].amounts()
		sendsUnevenly, _ := b.scale.outside(Out, from[Out], b.o.Tolerance)
		if _, low := b.scale.outside(Out, to[Out], b.o.Tolerance); low && p.Out > 0 {
			sendsUnevenly = true
		}
		if !(sendsUnevenly && p.Out > 0) && !(count && from[Leaders]-to[Leaders] >= 2) {
			continue
		}
		if g, _, share := b.scale.gain(&from, &to, &moved); g > most && b.worth(g, share) {
			best, most = k+1, g
		}
	}
	if best == 0 {
		return nil, ""
	}
	to := b.loads[p.Replicas[best]].amounts()
	why = "leader: " + b.scale.reason(p.Replicas[0], p.Replicas[best], &from, &to, &moved)
	next = slices.Clone(p.Replicas)
	next[0], next[best] = next[best], next[0]
	return next, why
}

// maySwap says whether the order of partition i's replicas may change under the limits.
func (b *balancer) maySwap(i int) bool {
	return b.o.MaxSwaps == 0 || b.swapped < b.o.MaxSwaps || !slices.Equal(b.parts[i].Replicas, b.before[i])
}

// drained is the reason of a move off a broker.
func drained(id int32) string { return fmt.Sprintf("broker %d is emptied", id) }
