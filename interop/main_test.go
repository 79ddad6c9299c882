package main

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// Suites in which something failed are tried again, but for those in which something is wrong.
func TestToTryAgain(t *testing.T) {
	r := &Run{rows: []row{
		{suite: "good"},
		{suite: "late", err: errors.New("not done in time")}, {suite: "late"},
		{suite: "lost", err: errors.New("not done in time")}, {suite: "lost", err: fmt.Errorf("group: %w", &wrong{errors.New("99 of 100 records")})},
	}}
	var names []string
	for _, s := range r.toTryAgain([]suite{{name: "good"}, {name: "late"}, {name: "lost"}, {name: "left out"}}) {
		names = append(names, s.name)
	}
	if !slices.Equal(names, []string{"late"}) {
		t.Errorf("tried again: %v, want late alone", names)
	}
}

// What came is wrong when as much of it came as there is, and late when it did not.
func TestLedger(t *testing.T) {
	l := &ledger{records: map[[2]int64]string{}}
	l.add(0, "0\t0\tk\tone", map[int64]int64{})
	l.add(1, "0\t0\tk\tother", map[int64]int64{})
	var w *wrong
	if !errors.As(l.problem, &w) {
		t.Errorf("two records at one offset: %v, want what is never tried again", l.problem)
	}
}
