package api

import (
	"testing"
	"time"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/kit/base"
)

// TestSessionEviction holds whom a new session replaces where every slot is taken, as Kafka's cache has it: who was idle for
// long; else by rank and size, a consumer's at any age for a follower and every other one once it is old. Before all of them goes
// what an earlier run of the same broker has left.
func TestSessionEviction(t *testing.T) {
	const young, old = time.Second, sessionEvictAge + time.Second
	type has struct {
		follower  bool // broker 1 in the epoch 1 unless run says another
		run       fetcherOf
		parts     int
		age, idle time.Duration
		underway  bool
		goes      bool
	}
	begin := time.Unix(1_700_000_000, 0)
	for _, c := range []struct {
		name     string
		there    []has
		follower bool // broker 2 in the epoch 2 unless run says another
		run      fetcherOf
		parts    int
		kept     bool
	}{
		{name: "a consumer does not replace a young one", there: []has{{parts: 1, age: young}}, parts: 9},
		{name: "a consumer replaces an old one of fewer", there: []has{{parts: 5, age: old}, {parts: 1, age: old, goes: true}}, parts: 2, kept: true},
		{name: "a consumer does not replace an old one of as many", there: []has{{parts: 2, age: old}}, parts: 2},
		{name: "a consumer does not replace an old one of more", there: []has{{parts: 3, age: old}}, parts: 2},
		{name: "a consumer does not replace a follower", there: []has{{follower: true, parts: 1, age: old}}, parts: 9},
		{name: "a consumer replaces a follower that is gone", there: []has{{follower: true, parts: 9, age: old, idle: old, goes: true}}, parts: 1, kept: true},
		{
			name: "a follower replaces the smallest consumer", follower: true, parts: 1, kept: true,
			there: []has{{follower: true, parts: 1, age: young}, {parts: 7, age: young}, {parts: 3, age: young, goes: true}},
		},
		{name: "a follower does not replace a young follower", there: []has{{follower: true, parts: 1, age: young}}, follower: true, parts: 9},
		{name: "a follower replaces an old one of fewer", there: []has{{follower: true, parts: 1, age: old, goes: true}}, follower: true, parts: 9, kept: true},
		{
			name: "a follower replaces what its broker's last run has left", follower: true, run: fetcherOf{1, 5}, parts: 1, kept: true,
			there: []has{{follower: true, run: fetcherOf{1, 4}, parts: 9, age: young, goes: true}, {follower: true, run: fetcherOf{2, 3}, parts: 1, age: young}},
		},
		{
			name: "a follower replaces no other session of the same run", follower: true, run: fetcherOf{1, 5}, parts: 9,
			there: []has{{follower: true, run: fetcherOf{1, 5}, parts: 1, age: young}},
		},
		{
			name: "a follower of an earlier run replaces no later one", follower: true, run: fetcherOf{1, 4}, parts: 9,
			there: []has{{follower: true, run: fetcherOf{1, 5}, parts: 1, age: young}},
		},
		{
			name: "a follower that does not say which run it is of replaces nobody's", follower: true, run: fetcherOf{1, -1}, parts: 9,
			there: []has{{follower: true, run: fetcherOf{1, 5}, parts: 1, age: young}},
		},
		{name: "nobody replaces a session with a fetch under way", there: []has{{parts: 1, age: old, idle: old, underway: true}}, follower: true, parts: 9},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache := newSessionCache(len(c.there))
			var evicted []int32
			for _, h := range c.there {
				s := cache.create(begin.Add(-h.age), someParts(h.parts), true, fetcher(h.follower, h.run, 1))
				s.used, s.busy = begin.Add(-h.idle), h.underway
				if h.goes {
					evicted = append(evicted, s.id)
				}
			}
			s := cache.create(begin, someParts(c.parts), true, fetcher(c.follower, c.run, 2))
			if (s != nil) != c.kept {
				t.Errorf("kept %v, want %v", s != nil, c.kept)
			}
			for _, id := range evicted {
				if cache.mu.byID[id] != nil {
					t.Error("the one to be replaced is still there")
				}
			}
			if cache.count() != len(c.there) {
				t.Errorf("%d sessions, want %d", cache.count(), len(c.there))
			}
		})
	}
}

// fetcher is whose a session is: that of run, where it says something, else broker n in the epoch n.
func fetcher(follower bool, run fetcherOf, n int32) fetcherOf {
	switch {
	case !follower:
		return fetcherOf{consumerReplica, -1}
	case run == fetcherOf{}:
		return fetcherOf{n, int64(n)}
	}
	return run
}

func someParts(n int) (parts []*fetchPart) {
	for i := range n {
		parts = append(parts, &fetchPart{key: fetchKey{part: int32(i)}, mark: new(partition.Mark), preferred: base.NoBroker})
	}
	return parts
}
