package partition

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/batch"
)

// marked is a session of one partition with a fetch that waits.
type marked struct {
	Marks
	m    Mark
	wait *TailWaiter
}

func newMarked(p *Partition, toEnd, raises bool) *marked {
	s := &marked{wait: NewTailWaiter()}
	s.m.Watch(p, &s.Marks, MarkKind{toEnd, raises})
	s.Await(s.wait)
	return s
}

// heard is what the session and its fetch have heard since the last call.
func (s *marked) heard() string {
	switch n, woken := len(s.Take(nil)), len(s.wait.C); {
	case n > 1:
		return fmt.Sprintf("marked %d times", n)
	case n == 0 && woken == 0:
		return "nothing"
	case n == 0:
		return "woken without a mark"
	case woken == 0:
		return "marked"
	}
	s.wait.Drain()
	return "woken"
}

// TestMarks is what a session hears of each change of a partition.
func TestMarks(t *testing.T) {
	g := newGroup(t, 1, 1)
	a := g.replicas[0]
	sessions := []*marked{newMarked(a.p, true, false), newMarked(a.p, true, true), newMarked(a.p, false, true)}
	gone := newMarked(a.p, true, true)
	gone.m.Unwatch()
	fetched := func(offset int64) {
		for _, id := range []int32{1, 2} {
			a.p.FollowerFetched(FollowerFetch{ID: id, BrokerEpoch: 1, Offset: offset, LeaderEpoch: a.p.LeaderEpoch(), Now: g.now})
		}
	}
	for _, step := range []struct {
		what  string
		do    func()
		hears [3]string // a follower, one that high watermarks are news for, a consumer
	}{
		{"nothing", func() {}, [3]string{"nothing", "nothing", "nothing"}},
		{"an append", func() { g.must(g.produce(a)) }, [3]string{"woken", "woken", "nothing"}},
		{"a sync that commits nothing", func() { g.sync(a) }, [3]string{"nothing", "nothing", "nothing"}},
		{"the high watermark", func() { fetched(1) }, [3]string{"marked", "woken", "woken"}},
		{"the same positions again", func() { fetched(1) }, [3]string{"nothing", "nothing", "nothing"}},
		{"a log start", func() {
			_, err := a.p.DeleteRecords(1)
			g.must(err)
		}, [3]string{"woken", "woken", "woken"}},
		{"a smaller in-sync set", func() {
			g.state.ISR = []int32{0, 1}
			g.state.PartitionEpoch++
			g.tell(a)
		}, [3]string{"marked", "marked", "nothing"}},
		{"the answer to a proposal", func() {
			fetched(1)
			g.alter(false)
		}, [3]string{"marked", "marked", "nothing"}},
		{"another leader epoch", func() {
			g.lead(0)
			g.tell(a)
		}, [3]string{"woken", "woken", "woken"}},
		{"another leader", func() {
			g.lead(1)
			g.tell(a)
		}, [3]string{"woken", "woken", "woken"}},
		{"the end", func() { a.p.Close(kerr.NotLeaderForPartition) }, [3]string{"woken", "woken", "woken"}},
	} {
		step.do()
		for i, s := range sessions {
			if heard := s.heard(); heard != step.hears[i] {
				t.Errorf("%s: session %d hears %q, want %q", step.what, i, heard, step.hears[i])
			}
		}
		if heard := gone.heard(); heard != "nothing" {
			t.Errorf("%s: a session that has forgotten the partition hears %q", step.what, heard)
		}
	}
}

// TestMarksSettled: a follower is settled only in a leader's epoch and in the in-sync set.
func TestMarksSettled(t *testing.T) {
	g := newGroup(t, 1, 1)
	g.state.ISR = []int32{0, 1}
	g.lead(0)
	g.tellAll()
	a := g.replicas[0]
	for _, c := range []struct {
		name string
		f    FollowerFetch
		want bool
	}{
		{"in sync", FollowerFetch{ID: 1, BrokerEpoch: 1, LeaderEpoch: 1}, true},
		{"not in sync", FollowerFetch{ID: 2, BrokerEpoch: 1, LeaderEpoch: 1}, false},
		{"of an earlier leader epoch", FollowerFetch{ID: 1, BrokerEpoch: 1}, false},
		{"of an earlier life of the follower", FollowerFetch{ID: 1, LeaderEpoch: 1}, false},
		{"not a replica", FollowerFetch{ID: 7, BrokerEpoch: 1, LeaderEpoch: 1}, false},
	} {
		c.f.Now = g.now
		if got := a.p.FollowerFetched(c.f); got != c.want {
			t.Errorf("%s: settled %v, want %v", c.name, got, c.want)
		}
	}
}

// TestMarksWhileTaken: whoever takes the marks, reads, and waits, has read the last record of every partition in the end, however
// appends and sessions' comings and goings fall between.
func TestMarksWhileTaken(t *testing.T) {
	const partitions, appends = 4, 300
	var parts []*Partition
	for i := range partitions {
		g := newGroup(t, uint64(i), 1)
		parts = append(parts, g.replicas[0].p)
	}
	var s Marks
	wait := NewTailWaiter()
	marks, seen := make([]Mark, partitions), make([]int64, partitions)
	for i, p := range parts {
		marks[i].Owner = i
		marks[i].Watch(p, &s, MarkKind{ToEnd: true})
	}
	var writers sync.WaitGroup
	for _, p := range parts {
		writers.Go(func() {
			b := batch.NewBuilder(batch.Options{})
			b.Append(1_700_000_000_000, nil, []byte("v"))
			built, err := b.Build()
			if err != nil {
				t.Error(err)
				return
			}
			for range appends {
				if _, err := p.Append(slices.Clone(built), AppendOptions{Now: time.UnixMilli(1_700_000_000_000)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Go(func() { // other sessions of the same partitions
		var other Marks
		for range appends {
			var m Mark
			for _, p := range parts {
				m.Watch(p, &other, MarkKind{ToEnd: true})
			}
			m.Unwatch()
		}
	})
	defer writers.Wait()
	timeout := time.After(time.Minute)
	var spare []*Mark
	for slices.Min(seen) < appends {
		wait.Drain()
		s.Await(wait)
		spare = s.Take(spare)
		for _, m := range spare {
			i, _ := m.Owner.(int)
			seen[i] = parts[i].Log().EndOffset()
		}
		if len(spare) > 0 {
			s.Await(nil)
			continue
		}
		select {
		case <-wait.C:
		case <-timeout:
			t.Fatalf("read up to %v, and nothing is marked", seen)
		}
	}
}
