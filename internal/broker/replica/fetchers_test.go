package replica

import (
	"testing"

	"github.com/logstead/logstead/internal/kit/base"
)

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
