package parity

import (
	"strings"
	"testing"
)

func TestDifferences(t *testing.T) {
	const want = "== a: X v0-1\n{One: 1}\n\n== b: Y v2-2\n{}\n"
	if d := Differences(want, want); len(d) != 0 {
		t.Fatalf("a record differs from itself: %v", d)
	}
	// The same answers in other groups are no difference.
	if d := Differences(want, "== a: X v0-0\n{One: 1}\n\n== a: X v1-1\n{One: 1}\n\n== b: Y v2-2\n{}\n"); len(d) != 0 {
		t.Fatalf("grouping matters: %v", d)
	}
	d := Differences(want, "== a: X v0-0\n{One: 1}\n\n== a: X v1-1\n{One: 2}\n\n== c: Y v2-2\n{}\n")
	if len(d) != 3 || !strings.HasPrefix(d[0], "a: X v1") {
		t.Fatalf("got %d differences: %v", len(d), d)
	}
}
