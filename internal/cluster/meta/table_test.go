package meta

import (
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// TestTable holds a table against a map, and that an edit leaves alone what it began with.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now, want := newTable[int, int](), map[int]int{}
		keys := rapid.IntRange(0, rapid.SampledFrom([]int{3, 500, 100_000}).Draw(t, "range"))
		for range rapid.IntRange(1, 6).Draw(t, "edits") {
			before, had := now, maps.Clone(want)
			e := now.edit()
			for range rapid.SampledFrom([]int{1, 20, 1000}).Draw(t, "changes") {
				k := keys.Draw(t, "key")
				if k%3 == 0 {
					e.remove(k)
					delete(want, k)
				} else {
					v := len(want)
					e.put(k, v)
					want[k] = v
				}
			}
			now = e.table
			for _, c := range []struct {
				got  *table[int, int]
				want map[int]int
			}{{before, had}, {now, want}} {
				if got := maps.Collect(c.got.all()); !maps.Equal(got, c.want) || c.got.count != len(c.want) {
					t.Fatalf("%d of count %d, want %d", len(got), c.got.count, len(c.want))
				}
			}
			for k, v := range want {
				if now.get(k) != v {
					t.Fatalf("key %d: %d, want %d", k, now.get(k), v)
				}
			}
		}
	})
}
