package controller

import (
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
)

// placer spreads partitions in stripes, as Kafka does: replicas over racks first, then over the
// brokers of a rack, leaders over all; fenced brokers only where there are no others, and never as
// leaders. Racks and brokers each begin at a place of chance that moves on by one a partition.
type placer struct {
	random  *rand.Rand
	racks   []*placerRack
	brokers int // all together
	leaders int // that are not fenced
	offset  int // of the rack that is first
	round   int
}

type placerRack struct{ unfenced, fenced placerList }

// placerList hands out each of its brokers once a round.
type placerList struct {
	ids                  []int32
	index, offset, round int
}

func (l *placerList) next(round int) (int32, bool) {
	if l.round != round {
		l.round, l.index = round, 0
		l.offset++
	}
	if l.index >= len(l.ids) {
		return 0, false
	}
	id := l.ids[(l.index+l.offset)%len(l.ids)]
	l.index++
	return id, true
}

func (l *placerList) begin(r *rand.Rand) {
	if len(l.ids) > 0 {
		l.offset = r.IntN(len(l.ids))
	}
}

// newPlacer takes the brokers that may get partitions, in the order of their ids.
func newPlacer(random *rand.Rand, brokers []*meta.Broker) *placer {
	p := &placer{random: random}
	byRack := map[string]*placerRack{}
	for _, b := range brokers {
		name := "" // no rack sorts first
		if b.Rack != nil {
			name = "r" + *b.Rack
		}
		rack := byRack[name]
		if rack == nil {
			rack = &placerRack{}
			byRack[name] = rack
		}
		p.brokers++
		if b.Fenced {
			rack.fenced.ids = append(rack.fenced.ids, b.ID)
			continue
		}
		p.leaders++
		rack.unfenced.ids = append(rack.unfenced.ids, b.ID)
	}
	for _, name := range slices.Sorted(maps.Keys(byRack)) {
		rack := byRack[name]
		rack.unfenced.begin(random)
		rack.fenced.begin(random)
		p.racks = append(p.racks, rack)
	}
	if len(p.racks) > 0 {
		p.offset = random.IntN(len(p.racks))
	}
	return p
}

// place is the replicas of the next partition. There are at least factor brokers, and one that leads.
func (p *placer) place(factor int) []int32 {
	if p.round == p.leaders && p.leaders > 1 {
		p.shuffle() // or the same assignments would come again
		p.round = 0
	}
	first := p.offset % len(p.racks)
	var out []int32
	for len(out) == 0 {
		if id, ok := p.racks[first].unfenced.next(p.round); ok {
			out = append(out, id)
			break
		}
		first = (first + 1) % len(p.racks)
	}
	// The leader's rack has had its turn in the first lap.
	for rack := p.offset % len(p.racks); len(out) < factor; rack = (rack + 1) % len(p.racks) {
		if rack == first {
			first = -1
			continue
		}
		id, ok := p.racks[rack].unfenced.next(p.round)
		if !ok {
			id, ok = p.racks[rack].fenced.next(p.round)
		}
		if ok {
			out = append(out, id)
		}
	}
	p.round++
	p.offset = (p.offset + 1) % len(p.racks)
	return out
}

func (p *placer) shuffle() {
	p.random.Shuffle(len(p.racks), func(i, j int) { p.racks[i], p.racks[j] = p.racks[j], p.racks[i] })
	for _, r := range p.racks {
		for _, l := range []*placerList{&r.unfenced, &r.fenced} {
			p.random.Shuffle(len(l.ids), func(i, j int) { l.ids[i], l.ids[j] = l.ids[j], l.ids[i] })
		}
	}
}

// placeable lists the brokers that new partitions may go to: not on their way out, and with a
// directory that takes some (KIP-1066). Who has stopped, in order or not, may follow: it will be back.
func (m *Machine) placeable() []*meta.Broker {
	var out []*meta.Broker
	for _, b := range m.image().Brokers() {
		if (b.Fenced || !b.InControlledShutdown) && !b.Cordoned() {
			out = append(out, b)
		}
	}
	return out
}

// stopping says whether a broker could take partitions if it were not about to stop.
func (m *Machine) stopping() bool {
	return slices.ContainsFunc(m.image().Brokers(), func(b *meta.Broker) bool {
		return b.InControlledShutdown && !b.Fenced && !b.Cordoned()
	})
}

// place chooses the replicas of n partitions.
func (m *Machine) place(n, factor int) ([][]int32, error) {
	p := newPlacer(m.cfg.Random, m.placeable())
	switch registered := len(m.image().Brokers()); {
	case p.leaders == 0 && m.stopping():
		return nil, refuse(kerr.InvalidReplicationFactor, "Unable to replicate the partition %d time(s): "+
			"All brokers are currently fenced or in controlled shutdown.", factor)
	case p.leaders == 0:
		return nil, refuse(kerr.InvalidReplicationFactor, "Unable to replicate the partition %d time(s): "+
			"All brokers are currently fenced, or have all their log directories cordoned.", factor)
	case factor > registered:
		return nil, refuse(kerr.InvalidReplicationFactor, "Unable to replicate the partition %d time(s): The target "+
			"replication factor of %d cannot be reached because only %d broker(s) are registered.",
			factor, factor, registered)
	case factor > p.brokers:
		return nil, refuse(kerr.InvalidReplicationFactor, "Unable to replicate the partition %d time(s): The target "+
			"replication factor of %d cannot be reached because only %d broker(s) are usable.",
			factor, factor, p.brokers)
	}
	out := make([][]int32, n)
	for i := range out {
		out[i] = p.place(factor)
	}
	return out, nil
}
