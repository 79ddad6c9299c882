package replica

import (
	"testing"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/kit/base"
)

// TestMadeAnew: a replica that was dropped and made anew before the loop has looked is followed, whichever of the two it was
// told of first.
func TestMadeAnew(t *testing.T) {
	old, now := &partition.Partition{TP: testTP, TopicID: testID}, &partition.Partition{TP: testTP, TopicID: testID}
	var f *Fetcher
	for range 20 { // by chance, if it is left to that
		for _, tell := range []func(l *loop){
			func(l *loop) { l.change(old, noEpoch); l.change(now, 5) },
			func(l *loop) { l.change(now, 5); l.change(old, noEpoch) },
			func(l *loop) { l.change(now, 5); l.take(f); l.change(old, noEpoch) },
		} {
			f = NewFetcher(FetcherOptions{})
			l := newLoop(nil, loopKey{})
			l.change(old, 3)
			l.take(f)
			tell(l)
			l.take(f)
			if w := f.all[key{testID, 0}]; w == nil || w.replica != Replica(now) || w.epoch != 5 {
				t.Fatalf("what is fetched of a replica that was made anew: %+v", w)
			}
			l.change(now, noEpoch)
			l.take(f)
			if f.Len() != 0 {
				t.Fatal("a replica is fetched that was let go")
			}
		}
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
