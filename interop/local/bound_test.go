package local

import (
	"slices"
	"testing"
)

// A bound is held by one go, missed when each go missed it, and not judged where the machine stood still in all goes but one.
func TestTrial(t *testing.T) {
	held, missed, excused := Bound{Held: true, Found: "short"}, Bound{Found: "long"}, Bound{Found: "long", Excused: true}
	for _, c := range []struct {
		name                   string
		goes                   []Bound
		passed, failed, notRun int
	}{
		{"held at once", []Bound{held}, 1, 0, 0},
		{"held in spite of a machine that stands still", []Bound{{Held: true, Excused: true}}, 1, 0, 0},
		{"held the second time", []Bound{missed, held}, 1, 0, 0},
		{"held the third time", []Bound{missed, excused, held}, 1, 0, 0},
		{"missed each time", []Bound{missed, missed, missed}, 0, 1, 0},
		{"missed each time, once with an excuse", []Bound{missed, excused, missed}, 0, 1, 0},
		{"excused but once", []Bound{excused, missed, excused}, 0, 0, 1},
		{"excused each time", []Bound{excused, excused, excused}, 0, 0, 1},
	} {
		trial := Trial{Name: c.name, Report: &Report{}}
		for i, b := range c.goes {
			if again := trial.Take(b); again != (i < len(c.goes)-1) {
				t.Fatalf("%s: after go %d of %d again is %v", c.name, i+1, len(c.goes), again)
			}
		}
		trial.Close()
		if r := trial.Report; r.passed != c.passed || len(r.failures) != c.failed || r.notRun != c.notRun {
			t.Errorf("%s: %d passed, %d failed, %d not run, want %d, %d, %d", c.name, r.passed, len(r.failures), r.notRun, c.passed, c.failed, c.notRun)
		}
	}
}

// A bound that was held once is not missed by a go that is for another one.
func TestTrialOfTwo(t *testing.T) {
	trial := Trial{Name: "two", Report: &Report{}}
	if !trial.Take(Bound{Name: "a", Held: true}, Bound{Name: "b"}) {
		t.Fatal("b was missed, and there is no second go")
	}
	if trial.Take(Bound{Name: "a"}, Bound{Name: "b", Held: true}) {
		t.Fatal("both were held in a go each, and there is a third one")
	}
	trial.Close()
	if r := trial.Report; r.passed != 2 || len(r.failures) > 0 || r.notRun > 0 {
		t.Errorf("%d passed, %d not run, failures %v, want both passed", r.passed, r.notRun, slices.Clone(r.failures))
	}
}
