package replica

import (
	"slices"
	"testing"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/kit/base"
)

// TestMadeAnew: a replica that was dropped and made anew before the loop has looked is followed, whichever of the two it was
// told of first.
func TestMadeAnew(t *testing.T) {
	old, now := &partition.Partition{TP: testTP, TopicID: testID}, &partition.Partition{TP: testTP, TopicID: testID}
	tell := func(c *Course, p *partition.Partition, epoch int32) { c.Tell(Member{testTP, testID, p}, epoch) }
	for i, told := range []func(c *Course, f *Fetcher){
		func(c *Course, _ *Fetcher) { tell(c, old, NoEpoch); tell(c, now, 5) },
		func(c *Course, _ *Fetcher) { tell(c, now, 5); tell(c, old, NoEpoch) },
		func(c *Course, f *Fetcher) { tell(c, now, 5); c.Take(f); tell(c, old, NoEpoch) },
	} {
		f, c := NewFetcher(FetcherOptions{}), &Course{}
		tell(c, old, 3)
		c.Take(f)
		told(c, f)
		c.Take(f)
		if w := f.all[key{testID, 0}]; w == nil || w.replica != Replica(now) || w.epoch != 5 {
			t.Fatalf("order %d: what is fetched of a replica that was made anew: %+v", i, w)
		}
		tell(c, now, NoEpoch)
		c.Take(f)
		if f.Len() != 0 {
			t.Fatalf("order %d: a replica is fetched that was let go", i)
		}
	}
}

// TestCourseGivesUp: what waits at the leader is given up once, for whoever waits to be fetched, and nothing that comes later is.
func TestCourseGivesUp(t *testing.T) {
	c, p := &Course{}, &partition.Partition{TP: testTP, TopicID: testID}
	f, m := NewFetcher(FetcherOptions{}), Member{testTP, testID, p}
	first, hasten, ok := c.Depart()
	if hasten || !ok {
		t.Fatalf("a request with nothing to wait for it: hasten %v, ok %v", hasten, ok)
	}
	c.Tell(m, NoEpoch)
	if look, hasten := c.Wake(); look || hasten {
		t.Fatalf("a removal does not hurry: look %v, hasten %v", look, hasten)
	}
	c.Tell(m, 5)
	if look, hasten := c.Wake(); !look || !hasten {
		t.Fatalf("who waits to be fetched hurries: look %v, hasten %v", look, hasten)
	}
	if _, hasten := c.Wake(); hasten {
		t.Fatal("a request is given up twice")
	}
	c.GiveUp(first)
	if gaveUp, ended := c.Arrive(); !gaveUp || ended {
		t.Fatalf("arrived: gave up %v, ended %v", gaveUp, ended)
	}
	c.Take(f)
	second, hasten, _ := c.Depart()
	if hasten || second == first {
		t.Fatalf("request %d after %d: hasten %v", second, first, hasten)
	}
	c.GiveUp(first)
	if !c.End() {
		t.Fatal("a request is under way at the end")
	}
	if gaveUp, ended := c.Arrive(); gaveUp || !ended {
		t.Fatalf("arrived at the end: gave up %v, ended %v", gaveUp, ended)
	}
	if _, _, ok := c.Depart(); ok {
		t.Fatal("a loop that has ended sends a request")
	}
}

// TestRoster: a loop is there as long as it fetches something, and is told in an order in which nothing is lost.
func TestRoster(t *testing.T) {
	var r Roster
	a, b := &partition.Partition{}, &partition.Partition{}
	one, two := LoopKey{Leader: 1}, LoopKey{Leader: 2, Fsync: true}
	for i, c := range []struct{ got, want []Order }{
		{r.Follow(a, one, 3), []Order{{one, 3, true, false}}},
		{r.Follow(b, one, 3), []Order{{one, 3, false, false}}},
		{r.Follow(a, one, 3), nil},
		{r.Follow(a, one, 4), []Order{{one, NoEpoch, false, false}, {one, 4, false, false}}},
		{r.Follow(a, two, 4), []Order{{one, NoEpoch, false, false}, {two, 4, true, false}}},
		{r.Follow(b, one, 4), []Order{{one, NoEpoch, false, true}, {one, 4, true, false}}},
		{r.Unfollow(a), []Order{{two, NoEpoch, false, true}}},
		{r.Unfollow(a), nil},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("step %d: %+v, want %+v", i, c.got, c.want)
		}
	}
	if k, epoch, ok := r.Where(b); k != one || epoch != 4 || !ok {
		t.Errorf("where: %+v, %d, %v", k, epoch, ok)
	}
}

// TestSpread holds that partitions go to the fetchers that Kafka would give them. The hash codes are Java's.
func TestSpread(t *testing.T) {
	for _, c := range []struct {
		topic     string
		partition int32
		fetchers  int
		want      int
	}{
		{"abc", 0, 1, 0},
		{"abc", 0, 4, 2}, // 31 * 96354
		{"abc", 1, 4, 3},
		{"abc", 6, 7, (31*96354 + 6) % 7},
		{"polygenelubricants", 0, 4, 0}, // the lowest int
		{"polygenelubricants", 1, 4, 2147483647 % 4},
	} {
		f := New(Options{PerLeader: func() int { return c.fetchers }})
		if got := f.spread(base.TopicPartition{Topic: c.topic, Partition: c.partition}); got != c.want {
			t.Errorf("%s-%d among %d: fetcher %d, want %d", c.topic, c.partition, c.fetchers, got, c.want)
		}
	}
}
