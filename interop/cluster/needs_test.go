package main

import (
	"slices"
	"testing"
)

func TestNeedsAreSteps(t *testing.T) {
	names := stepNames()
	for name, all := range needs {
		for _, n := range append([]string{name}, all...) {
			if !slices.Contains(names, n) {
				t.Errorf("needs of %q: %q is not the name of a step", name, n)
			}
		}
	}
}

// TestOnlyRunsWhatIsNeeded: what -only leaves out is nothing that the chosen step counts on.
func TestOnlyRunsWhatIsNeeded(t *testing.T) {
	for only, want := range map[string][]string{
		"back to three": {created, "reassign-partitions: to two brokers, and verify"},
		"get-offsets":   {created, "a node is killed: partitions get other leaders", "the node comes back and catches up", "it comes back"},
		"decommission":  {moved},
	} {
		run := chosen(only)
		for _, w := range append(want, stepNames()[0]) {
			if !run[w] {
				t.Errorf("-only %q does not run %q", only, w)
			}
		}
	}
	if all := chosen(""); len(all) != len(stepNames()) {
		t.Errorf("without -only %d of %d steps run", len(all), len(stepNames()))
	}
	if run := chosen("metadata-quorum: status"); len(run) != 2 {
		t.Errorf("-only runs %d steps where the first and one are enough: %v", len(run), run)
	}
}
