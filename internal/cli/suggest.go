package cli

import (
	"sort"
	"strings"
)

// similar returns up to three names close enough to want to be worth a "did you mean".
func similar(want string, names []string) []string {
	type scored struct {
		name string
		dist int
	}
	limit := max(2, len(want)/3)
	lower := strings.ToLower(want)
	var found []scored
	for _, n := range names {
		d := editDistance(lower, strings.ToLower(n))
		if d > limit && len(want) >= 3 && strings.Contains(strings.ToLower(n), lower) {
			d = limit
		}
		if d <= limit && n != want {
			found = append(found, scored{n, d})
		}
	}
	sort.Slice(found, func(i, j int) bool {
		if found[i].dist != found[j].dist {
			return found[i].dist < found[j].dist
		}
		return found[i].name < found[j].name
	})
	out := make([]string, 0, 3)
	for _, s := range found[:min(3, len(found))] {
		out = append(out, s.name)
	}
	return out
}

// editDistance counts insertions, deletions, substitutions and swaps of neighbours.
func editDistance(a, b string) int {
	if len(a) > 256 || len(b) > 256 {
		return max(len(a), len(b)) // names are short; a huge argument is no typing slip
	}
	prev2, prev, cur := []int(nil), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, make([]int, len(b)+1)
	}
	return prev[len(b)]
}
