package balance

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// randomState draws a cluster: brokers in racks or without, some closed, partitions of unequal size.
func randomState(r *rand.Rand) State {
	var s State
	brokers, racks := 1+r.IntN(9), r.IntN(4)
	for id := range brokers {
		b := Broker{ID: int32(id + 1), Closed: r.IntN(8) == 0}
		if racks > 0 {
			b.Rack = fmt.Sprint("r", r.IntN(racks))
		}
		s.Brokers = append(s.Brokers, b)
	}
	traffic := r.IntN(2) == 0
	skewed := r.IntN(2) == 0 // new brokers hold nothing yet
	for p := range r.IntN(60) {
		pool := r.Perm(brokers)
		if skewed {
			pool = r.Perm((brokers + 1) / 2)
		}
		rf := min(1+r.IntN(3), len(pool))
		part := Partition{Topic: fmt.Sprint("t", p%5), Partition: int32(p), Bytes: r.Int64N(1000), Fixed: r.IntN(15) == 0}
		if traffic {
			part.In, part.Out = r.Int64N(1000), r.Int64N(3000)
		}
		for _, b := range pool[:rf] {
			part.Replicas = append(part.Replicas, int32(b+1))
		}
		s.Partitions = append(s.Partitions, part)
	}
	return s
}

// check holds a plan to the invariants of the package.
func check(t *testing.T, s State, moves []Move) {
	t.Helper()
	w := newWork(&s)
	open := map[int32]bool{}
	for _, b := range s.Brokers {
		open[b.ID] = !b.Closed
	}
	for _, m := range moves {
		if len(m.To) != len(m.From) {
			t.Fatalf("%+v changes the replication factor", m)
		}
		if ids := slices.Compact(slices.Sorted(slices.Values(m.To))); len(ids) != len(m.To) {
			t.Fatalf("%+v puts two replicas on one broker", m)
		}
		for _, id := range m.Adding() {
			if !open[id] {
				t.Fatalf("%+v uses broker %d, which is closed or unknown", m, id)
			}
		}
		if slices.Equal(m.From, m.To) {
			t.Fatalf("%+v does nothing", m)
		}
		i := slices.IndexFunc(s.Partitions, func(p Partition) bool { return p.Topic == m.Topic && p.Partition == m.Partition })
		if !slices.Equal(s.Partitions[i].Replicas, m.From) || s.Partitions[i].Bytes != m.Bytes {
			t.Fatalf("%+v is not about %+v", m, s.Partitions[i])
		}
		if gone := without(m.From, w.ids); len(gone) == 0 && w.racks(m.To) < w.racks(m.From) && racksCouldBeKept(w, m) {
			t.Fatalf("%+v loses a rack", m)
		}
	}
}

// racksCouldBeKept tries every open broker in the place of one that leaves.
func racksCouldBeKept(w *work, m Move) bool {
	kept := without(m.From, m.Removing())
	for _, id := range w.ids {
		if w.brokers[id].Closed || slices.Contains(m.From, id) {
			continue
		}
		if w.racks(append(slices.Clone(kept), id)) >= w.racks(m.From) {
			return true
		}
	}
	return false
}

// imbalance is what Balance makes smaller.
func imbalance(s State, o Options) (sum float64) {
	b := newBalancer(&s, o)
	for _, id := range b.open {
		sum += b.scale.weight(b.loads[id].amounts())
	}
	return sum
}

func TestBalanceProperties(t *testing.T) {
	moved := 0
	for seed := range uint64(1500) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := randomState(r)
		o := Options{Tolerance: r.Float64() / 2, MinGain: float64(r.IntN(3)) / 20, FloorBytes: r.Int64N(2) * 5000}
		if r.IntN(3) == 0 {
			o.Goals = AllGoals()[r.IntN(3):]
		}
		plan := Balance(s, o)
		if again := Balance(s, o); !reflect.DeepEqual(plan, again) {
			t.Fatalf("seed %d: two plans for one state:\n%v\n%v", seed, plan, again)
		}
		check(t, s, plan)
		w := newWork(&s)
		for _, m := range plan {
			if w.racks(m.To) < w.racks(m.From) {
				t.Fatalf("seed %d: %+v loses a rack", seed, m)
			}
			for _, p := range s.Partitions {
				if p.Fixed && p.Topic == m.Topic && p.Partition == m.Partition {
					t.Fatalf("seed %d: %+v moves a partition that is fixed", seed, m)
				}
			}
		}
		after := s.After(plan)
		if rest := Balance(after, o); len(rest) != 0 {
			t.Fatalf("seed %d: the plan left %d moves: %+v", seed, len(rest), rest)
		}
		if len(plan) > 0 {
			moved++
		}
	}
	if moved < 500 {
		t.Fatalf("only %d of the states needed a move", moved)
	}
}

// Where racks ask for nothing, a plan makes things more even and never less.
func TestBalanceHelps(t *testing.T) {
	for seed := range uint64(1000) {
		s := randomState(rand.New(rand.NewPCG(seed, 2)))
		for i := range s.Brokers {
			s.Brokers[i].Rack, s.Brokers[i].Closed = "", false
		}
		o := Options{}
		before := imbalance(s, o)
		plan := Balance(s, o)
		if after := imbalance(s.After(plan), o); len(plan) > 0 && after >= before {
			t.Fatalf("seed %d: imbalance %v became %v by %+v", seed, before, after, plan)
		}
		for _, m := range plan {
			if m.Why == "" {
				t.Fatalf("seed %d: %+v has no reason", seed, m)
			}
		}
	}
}

// With partitions of one size the least number of moves is known: what brokers have above the mean.
func TestBalanceMovesFew(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 3))
		s := randomState(r)
		for i := range s.Brokers {
			s.Brokers[i].Rack, s.Brokers[i].Closed = "", false
		}
		total := 0
		for i := range s.Partitions {
			s.Partitions[i].Bytes, s.Partitions[i].Fixed = 100, false
			s.Partitions[i].In, s.Partitions[i].Out = 0, 0
			total += len(s.Partitions[i].Replicas)
		}
		most := 0
		for _, l := range s.Loads() {
			most += max(0, l.Replicas-total/len(s.Brokers))
		}
		plan := Balance(s, Options{NoLeaders: true})
		copies := 0
		for _, m := range plan {
			copies += len(m.Adding())
		}
		if copies > most {
			t.Fatalf("seed %d: %d copies, where %d are enough", seed, copies, most)
		}
		after := s.After(plan)
		mean := float64(total) / float64(len(s.Brokers))
		for _, l := range after.Loads() {
			// A broker cannot hold two replicas of a partition, which alone can keep it from the mean.
			if float64(l.Replicas) > max(math.Ceil(mean), mean*(1+DefaultTolerance)) && len(s.Brokers) > 4 && total > 60 {
				t.Fatalf("seed %d: broker %d has %d of %d replicas on %d brokers", seed, l.Broker, l.Replicas, total, len(s.Brokers))
			}
		}
	}
}

func TestBalanceLimits(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 4))
		s := randomState(r)
		o := Options{MaxMoves: 1 + r.IntN(5), MaxBytes: 1 + r.Int64N(2000)}
		count, bytes := 0, int64(0)
		for _, m := range Balance(s, o) {
			if len(m.Adding()) > 0 {
				count++
			}
			bytes += m.CopyBytes()
		}
		if count > o.MaxMoves || bytes > o.MaxBytes {
			t.Fatalf("seed %d: %d moves of %d bytes, allowed were %d of %d", seed, count, bytes, o.MaxMoves, o.MaxBytes)
		}
	}
}

func TestBalanceFillsANewBroker(t *testing.T) {
	s := State{Brokers: []Broker{{ID: 1}, {ID: 2}, {ID: 3}, {ID: 4}}}
	for p := range int32(12) {
		s.Partitions = append(s.Partitions, Partition{
			Topic: "orders", Partition: p, Bytes: 10, Replicas: []int32{p%3 + 1, (p+1)%3 + 1},
		})
	}
	plan := Balance(s, Options{})
	after := s.After(plan)
	for _, l := range after.Loads() {
		if l.Replicas != 6 || l.Leaders != 3 {
			t.Errorf("broker %d has %d replicas and leads %d, want 6 and 3", l.Broker, l.Replicas, l.Leaders)
		}
	}
	copies := 0
	for _, m := range plan {
		copies += len(m.Adding())
	}
	if copies != 6 {
		t.Errorf("%d copies, want 6", copies)
	}
}

// What leaders send is evened out by other leaders, without a copy.
func TestBalanceSwapsLeadersForTraffic(t *testing.T) {
	s := State{Brokers: []Broker{{ID: 1}, {ID: 2}, {ID: 3}}}
	for p := range int32(9) {
		s.Partitions = append(s.Partitions, Partition{
			Topic: "t", Partition: p, Bytes: 100, In: 10, Out: 20, Replicas: []int32{p%3 + 1, (p+1)%3 + 1, (p+2)%3 + 1},
		})
	}
	for p := 0; p < 9; p += 3 { // those that broker 1 leads
		s.Partitions[p].Out = 200
	}
	plan := Balance(s, Options{})
	for _, m := range plan {
		if len(m.Adding()) > 0 {
			t.Errorf("%+v copies", m)
		}
	}
	after := s.After(plan)
	for _, l := range after.Loads() {
		if l.Out != 240 || l.Leaders != 3 {
			t.Errorf("broker %d leads %d partitions and sends %d, want 3 and 240", l.Broker, l.Leaders, l.Out)
		}
	}
}

// Partitions of one size and number everywhere, and one broker has the busy ones.
func TestBalanceMovesTraffic(t *testing.T) {
	s := State{Brokers: []Broker{{ID: 1}, {ID: 2}, {ID: 3}}}
	for p := range int32(30) {
		part := Partition{Topic: "t", Partition: p, Bytes: 100, In: 10, Out: 10, Replicas: []int32{p%3 + 1}}
		if p%3 == 0 {
			part.In, part.Out = 100, 300
		}
		s.Partitions = append(s.Partitions, part)
	}
	o := Options{}
	plan := Balance(s, o)
	after := s.After(plan)
	for _, g := range []Goal{Disk, In, Out, Count} {
		if d := after.Deviation(o)[g]; d > 0.25 {
			t.Errorf("%s is off by %.0f%% after %+v", g, 100*d, plan)
		}
	}
	if d := s.Deviation(o)[In]; d < 1 {
		t.Errorf("bytes-in was off by only %v", d)
	}
	if plan := Balance(s, Options{Goals: []Goal{Disk, Count}}); len(plan) > 0 {
		t.Errorf("traffic is no goal, and yet %+v", plan)
	}
	if plan := Balance(s, Options{FloorRate: 10_000}); len(plan) > 0 {
		t.Errorf("so little traffic counts for nothing, and yet %+v", plan)
	}
	for range 3 { // as long as each round may do only a little, rounds go on to the same end
		if next := Balance(s, Options{MaxMoves: 2, MaxSwaps: 2}); len(next) > 4 {
			t.Errorf("%d moves in one round", len(next))
		} else {
			s = s.After(next)
		}
	}
}

// A broker gets no more than it has room for.
func TestBalanceKeepsRoom(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 6))
		s := randomState(r)
		room := map[int32]int64{}
		for i := range s.Brokers {
			s.Brokers[i].Room = 1 + r.Int64N(1500)
			room[s.Brokers[i].ID] = s.Brokers[i].Room
		}
		for _, m := range Balance(s, Options{}) {
			for _, id := range m.Adding() {
				room[id] -= m.Bytes
			}
		}
		for id, left := range room {
			if left < 0 {
				t.Fatalf("seed %d: broker %d gets %d bytes more than it has room for", seed, id, -left)
			}
		}
	}
}

// A large partition that would only change places is left where it is.
func TestBalanceMinGain(t *testing.T) {
	s := State{Brokers: []Broker{{ID: 1}, {ID: 2}}}
	for p, bytes := range []int64{100, 80, 50, 40} {
		s.Partitions = append(s.Partitions, Partition{Topic: "t", Partition: int32(p), Bytes: bytes, Replicas: []int32{int32(p/2) + 1}})
	}
	o := Options{Goals: []Goal{Disk}, Tolerance: 0.05}
	if plan := Balance(s, o); len(plan) == 0 {
		t.Error("without a bound every improvement is made")
	}
	o.MinGain = 0.2
	if plan := Balance(s, o); len(plan) > 0 {
		t.Errorf("it gains too little: %+v", plan)
	}
}

func TestDrainProperties(t *testing.T) {
	drained, refused := 0, 0
	for seed := range uint64(1500) {
		r := rand.New(rand.NewPCG(seed, 5))
		s := randomState(r)
		id := s.Brokers[r.IntN(len(s.Brokers))].ID
		if r.IntN(4) == 0 { // it is gone for ever
			s.Brokers = slices.DeleteFunc(s.Brokers, func(b Broker) bool { return b.ID == id })
		}
		plan, err := Drain(s, id)
		var noRoom *NoRoomError
		if errors.As(err, &noRoom) {
			refused++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		check(t, s, plan)
		touched := 0
		for _, p := range s.Partitions {
			if slices.Contains(p.Replicas, id) {
				touched++
			}
		}
		if len(plan) != touched {
			t.Fatalf("seed %d: %d moves for %d partitions", seed, len(plan), touched)
		}
		for _, m := range plan {
			if slices.Contains(m.To, id) || len(m.Adding()) != 1 {
				t.Fatalf("seed %d: %+v does not take broker %d out and one in", seed, m, id)
			}
		}
		if len(plan) > 0 {
			drained++
		}
	}
	if drained < 250 || refused < 50 {
		t.Fatalf("%d drained and %d refused: too few of one", drained, refused)
	}
}

func TestDrainRefusesBelowReplicationFactor(t *testing.T) {
	s := State{
		Brokers:    []Broker{{ID: 1}, {ID: 2}, {ID: 3}, {ID: 4, Closed: true}},
		Partitions: []Partition{{Topic: "orders", Partition: 7, Replicas: []int32{3, 1, 2}}},
	}
	_, err := Drain(s, 3)
	want := "partition orders-7 has replicas on brokers [3 1 2], and none of the other 2 that take replicas could hold the one of " +
		"broker 3: its replication factor of 3 would be broken"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestDrainSpreadsLeadersAndKeepsRacks(t *testing.T) {
	s := State{Brokers: []Broker{{ID: 1, Rack: "a"}, {ID: 2, Rack: "a"}, {ID: 3, Rack: "b"}, {ID: 4, Rack: "b"}}}
	for p := range int32(8) {
		s.Partitions = append(s.Partitions, Partition{Topic: "orders", Partition: p, Bytes: 1, Replicas: []int32{1, 3 + p%2}})
	}
	plan, err := Drain(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	after := s.After(plan)
	w := newWork(&after)
	for _, p := range after.Partitions {
		if w.racks(p.Replicas) != 2 {
			t.Errorf("%s has replicas %v in one rack", p.Name(), p.Replicas)
		}
	}
	for _, l := range after.Loads() {
		if l.Broker != 1 && (l.Leaders < 2 || l.Leaders > 3) {
			t.Errorf("broker %d leads %d of 8", l.Broker, l.Leaders)
		}
	}
}

// BenchmarkBalanceRound is one round of a few moves in a large cluster.
func BenchmarkBalanceRound(b *testing.B) {
	for _, grown := range []bool{false, true} {
		s := State{}
		const brokers = 30
		for id := range int32(brokers) {
			s.Brokers = append(s.Brokers, Broker{ID: id, Rack: fmt.Sprint(id % 3)})
		}
		old := int32(brokers)
		if grown {
			old = 27
		}
		r := rand.New(rand.NewPCG(1, 1))
		for p := range int32(100_000) {
			first := p % old
			s.Partitions = append(s.Partitions, Partition{
				Topic: fmt.Sprint("t", p/100), Partition: p % 100, Bytes: r.Int64N(1 << 30), In: r.Int64N(1 << 10), Out: r.Int64N(1 << 12),
				Replicas: []int32{first, (first + 1) % old, (first + 2) % old},
			})
		}
		b.Run(fmt.Sprintf("grown=%t", grown), func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(float64(len(Balance(s, Options{MaxMoves: 10, MaxSwaps: 100, MinGain: 0.05}))), "moves")
			}
		})
	}
}

func BenchmarkBalanceGrow(b *testing.B) {
	s := State{}
	for id := range int32(30) {
		s.Brokers = append(s.Brokers, Broker{ID: id, Rack: fmt.Sprint(id % 3)})
	}
	r := rand.New(rand.NewPCG(1, 1))
	for p := range int32(10_000) {
		first := p % 24
		s.Partitions = append(s.Partitions, Partition{
			Topic: "t", Partition: p, Bytes: r.Int64N(1 << 30), Replicas: []int32{first, (first + 1) % 24, (first + 2) % 24},
		})
	}
	for b.Loop() {
		b.ReportMetric(float64(len(Balance(s, Options{}))), "moves")
	}
}
