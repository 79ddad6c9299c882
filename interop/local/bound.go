package local

import (
	"fmt"
	"strings"
)

// Bound is what one go measured of something that depends on the machine too: a time, a rate. What is right or wrong whatever
// the machine does is no bound: it goes to Report.Check at once, and has no second go.
type Bound struct {
	Name string
	Held bool
	// Found is what was measured, with what was wanted.
	Found string
	// Excused says that the machine itself stood still meanwhile, by enough to be why the bound was missed.
	Excused bool
}

// Goes is how often something is done at most before a bound that it missed each time counts as missed.
const Goes = 3

// enoughMisses is how many of the goes must have missed a bound without an excuse.
const enoughMisses = 2

// Trial judges the bounds of one thing that is done up to Goes times: as long as one of them was held in no go.
type Trial struct {
	// Name is of what is done, Report where its bounds are judged.
	Name   string
	Report *Report

	goes   int
	bounds []*judged
}

// judged is one bound over all goes.
type judged struct {
	name    string
	held    bool
	found   []string // of each go until it was held
	without int      // goes that missed it without an excuse
}

// Take notes what a go measured, prints what it missed, and says whether there is to be another one.
func (t *Trial) Take(bounds ...Bound) (again bool) {
	t.goes++
	for _, b := range bounds {
		j := t.bound(b.Name)
		if j.held {
			continue
		}
		found := b.Found
		switch {
		case b.Held:
			j.held = true
		case b.Excused:
			found += "; this machine stood still meanwhile"
		default:
			j.without++
		}
		j.found = append(j.found, found)
	}
	for _, j := range t.bounds {
		again = again || !j.held
	}
	if again = again && t.goes < Goes; again {
		for _, j := range t.bounds {
			if !j.held {
				fmt.Printf("again  %s: %s\n", t.title(j), j.found[len(j.found)-1])
			}
		}
	}
	return again
}

func (t *Trial) bound(name string) *judged {
	for _, j := range t.bounds {
		if j.name == name {
			return j
		}
	}
	j := &judged{name: name}
	t.bounds = append(t.bounds, j)
	return j
}

func (t *Trial) title(j *judged) string {
	if j.name == "" {
		return t.Name
	}
	return t.Name + ": " + j.name
}

// Close reports every bound: held in one go is held, missed in all of them is missed, unless the machine was why in all but one.
func (t *Trial) Close() {
	for _, j := range t.bounds {
		switch all := strings.Join(j.found, "; "); {
		case j.held && len(j.found) == 1:
			t.Report.That(t.title(j), true, "%s", j.found[0])
		case j.held:
			t.Report.That(t.title(j), true, "go %d: %s", len(j.found), j.found[len(j.found)-1])
		case j.without >= enoughMisses || t.goes < Goes:
			t.Report.Check(t.title(j), fmt.Errorf("missed each time: %s", all))
		default:
			t.Report.NotRun(t.title(j), all)
		}
	}
}
