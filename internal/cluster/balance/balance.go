package balance

import (
	"cmp"
	"math"
	"slices"
)

// Options say how even is even enough, and how much may be moved for it.
type Options struct {
	Tolerance float64 // how far from the mean a broker's bytes and replicas may be, as a share of it; 0 means DefaultTolerance
	MaxMoves  int     // partitions that may be copied, 0 for any number
	MaxBytes  int64   // bytes that may be copied, 0 for any number
	NoLeaders bool    // leave the order of replicas alone
}

// DefaultTolerance is the tolerance where none is given.
const DefaultTolerance = 0.1

// Balance plans moves in this order: replicas of a partition that share a rack are spread, then the bytes and
// the number of replicas of the brokers are evened out, then preferred leaders are, by changing the order of
// replicas, which copies nothing.
func Balance(s State, o Options) []Move {
	if o.Tolerance <= 0 {
		o.Tolerance = DefaultTolerance
	}
	w := newWork(&s)
	b := &balancer{work: w, o: o}
	for _, id := range w.ids {
		if !w.brokers[id].Closed {
			b.open = append(b.open, id)
		}
	}
	if len(b.open) < 2 {
		return nil
	}
	b.spreadRacks()
	b.evenReplicas()
	if !o.NoLeaders {
		b.evenLeaders()
	}
	return w.moves()
}

type balancer struct {
	*work
	o    Options
	open []int32 // brokers that can get replicas
}

// movable says whether partition i may be changed at all: all its replicas are on brokers that are known.
func (b *balancer) movable(i int) bool {
	p := &b.parts[i]
	if p.Fixed {
		return false
	}
	for _, id := range p.Replicas {
		if b.loads[id] == nil {
			return false
		}
	}
	return true
}

// allowed says whether partition i may be copied to one more broker under the limits.
func (b *balancer) allowed(i int) bool {
	count := b.copied
	if len(without(b.parts[i].Replicas, b.before[i])) == 0 {
		count++
	}
	return (b.o.MaxMoves == 0 || count <= b.o.MaxMoves) &&
		(b.o.MaxBytes == 0 || b.copiedBytes+b.parts[i].Bytes <= b.o.MaxBytes)
}

// spreadRacks gives partitions whose replicas share racks as many racks as there are, up to their
// replication factor.
func (b *balancer) spreadRacks() {
	for i := range b.parts {
		p := &b.parts[i]
		for b.movable(i) && b.allowed(i) {
			now := b.racks(p.Replicas)
			best, found := []int32(nil), false
			for _, old := range b.rackTwins(p) {
				open := b.work.open(p)
				if len(open) == 0 {
					continue
				}
				next := replaced(p.Replicas, old, b.bestPlace(p, old, open))
				if b.racks(next) > now {
					best, found = next, true
					break
				}
			}
			if !found {
				break
			}
			b.set(i, best)
		}
	}
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

// means are what an open broker would hold if all were even.
type means struct{ bytes, replicas float64 }

func (b *balancer) means() means {
	var m means
	for _, id := range b.open {
		m.bytes += float64(b.loads[id].Bytes)
		m.replicas += float64(b.loads[id].Replicas)
	}
	m.bytes /= float64(len(b.open))
	m.replicas /= float64(len(b.open))
	return m
}

// weight is how far a load is from the means, squared, in shares of the mean.
func (m means) weight(bytes int64, replicas int) float64 {
	w := 0.0
	if m.bytes > 0 {
		d := float64(bytes)/m.bytes - 1
		w += d * d
	}
	if m.replicas > 0 {
		d := float64(replicas)/m.replicas - 1
		w += d * d
	}
	return w
}

// outside says whether a load is above or below what the tolerance allows; the whole numbers of replicas next
// to the mean are always allowed. It can be both, with many small replicas or a few large ones.
func (b *balancer) outside(m means, l *Load) (above, below bool) {
	most := math.Max(math.Ceil(m.replicas), math.Floor(m.replicas*(1+b.o.Tolerance)))
	least := math.Min(math.Floor(m.replicas), math.Ceil(m.replicas*(1-b.o.Tolerance)))
	above = float64(l.Bytes) > m.bytes*(1+b.o.Tolerance) || float64(l.Replicas) > most
	below = float64(l.Bytes) < m.bytes*(1-b.o.Tolerance) || float64(l.Replicas) < least
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

// evenReplicas takes a shift, again and again, until none helps a broker that is outside the tolerance.
func (b *balancer) evenReplicas() {
	m := b.means() // shifts between open brokers leave it as it is
	for {
		s, ok := b.nextShift(m)
		if !ok {
			return
		}
		b.set(s.part, replaced(b.parts[s.part].Replicas, s.from, s.to))
	}
}

// nextShift is the best shift away from the worst broker above the tolerance that can be helped, else the best
// one towards the worst broker below it.
func (b *balancer) nextShift(m means) (shift, bool) {
	worst := slices.Clone(b.open)
	slices.SortStableFunc(worst, func(x, y int32) int {
		lx, ly := b.loads[x], b.loads[y]
		return cmp.Compare(m.weight(ly.Bytes, ly.Replicas), m.weight(lx.Bytes, lx.Replicas))
	})
	for _, id := range worst {
		if above, _ := b.outside(m, b.loads[id]); above {
			if s, ok := b.bestShift(m, []int32{id}, b.open); ok {
				return s, true
			}
		}
	}
	for _, id := range worst {
		if _, below := b.outside(m, b.loads[id]); below {
			if s, ok := b.bestShift(m, b.open, []int32{id}); ok {
				return s, true
			}
		}
	}
	return shift{}, false
}

// bestShift is the shift with the largest gain from one of some brokers to one of others. The first of equals
// is taken, in the order of partitions and brokers.
func (b *balancer) bestShift(m means, froms, tos []int32) (best shift, ok bool) {
	for i := range b.parts {
		p := &b.parts[i]
		for _, from := range p.Replicas {
			if !slices.Contains(froms, from) {
				continue
			}
			for _, to := range tos {
				g := b.gain(m, p.Bytes, from, to)
				if g > max(leastGain, best.gain) && b.fits(i, from, to) {
					best, ok = shift{i, from, to, g}, true
				}
			}
		}
	}
	return best, ok
}

// fits says whether a replica of partition i may go from one open broker to another.
func (b *balancer) fits(i int, from, to int32) bool {
	p := &b.parts[i]
	return !slices.Contains(p.Replicas, to) && b.movable(i) && b.allowed(i) &&
		b.racks(replaced(p.Replicas, from, to)) >= b.racks(p.Replicas)
}

// gain is how much smaller the sum of squares becomes when so many bytes and one replica go from one broker to
// another.
func (b *balancer) gain(m means, bytes int64, from, to int32) float64 {
	f, t := b.loads[from], b.loads[to]
	was := m.weight(f.Bytes, f.Replicas) + m.weight(t.Bytes, t.Replicas)
	is := m.weight(f.Bytes-bytes, f.Replicas-1) + m.weight(t.Bytes+bytes, t.Replicas+1)
	return was - is
}

// evenLeaders changes the order of replicas until no swap makes the number of preferred leaders more even.
// Each swap makes their sum of squares smaller.
func (b *balancer) evenLeaders() {
	for changed := true; changed; {
		changed = false
		for i := range b.parts {
			p := &b.parts[i]
			if !b.movable(i) || b.brokers[p.Replicas[0]].Closed {
				continue
			}
			first := b.loads[p.Replicas[0]]
			least := 0
			for k, id := range p.Replicas {
				if !b.brokers[id].Closed && b.loads[id].Leaders < b.loads[p.Replicas[least]].Leaders {
					least = k
				}
			}
			if least == 0 || first.Leaders-b.loads[p.Replicas[least]].Leaders < 2 {
				continue
			}
			next := slices.Clone(p.Replicas)
			next[0], next[least] = next[least], next[0]
			b.set(i, next)
			changed = true
		}
	}
}
