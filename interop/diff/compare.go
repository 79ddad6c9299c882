package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// difference is one field in which the two answers differ.
type difference struct {
	scenario, step, path, a, b string
}

func (d difference) String() string {
	return fmt.Sprintf("%s | %s | %s\n  a: %s\n  b: %s", d.scenario, d.step, d.path, d.a, d.b)
}

type result struct {
	exchanges, equal, knownOnly, different int
	differences                            []difference
	known                                  map[string]int
	// once are differences that were none when the scenario was played again.
	once []difference
	// firm are scenarios that differed in something else when they were played again: they are not played any more.
	firm map[string]bool
}

// momentary matches the fields that say how things stand at a moment, passing the error codes of what passes.
var (
	momentary = regexp.MustCompile(`/(HighWatermark|LastStableOffset|LogStartOffset|OffsetLag|Size|Leader|LeaderEpoch|ISR|State|GroupState|PreferredReadReplica|Assignment|MemberEpoch)(/.*)?$`)
	passing   = regexp.MustCompile(`^(3|5|6|7|13|14|15|16|19|20|27|41|51|74|75|88|100|"(no answer in time|closed|no connection|broken: .*|could not be set up: .*|the nodes do not agree .*)")$`)
)

// doubtful are the scenarios whose first difference is of a kind that a busy machine brings about.
func (r *result) doubtful() map[string]bool {
	first, doubtful := map[string]string{}, map[string]bool{}
	for _, d := range r.differences {
		step, seen := first[d.scenario]
		if !seen {
			step = d.step
			first[d.scenario] = step
		}
		if d.step == step && !r.firm[d.scenario] && (momentary.MatchString(d.path) || passing.MatchString(d.a) || passing.MatchString(d.b)) {
			doubtful[d.scenario] = true
		}
	}
	return doubtful
}

// playedAgain is added to the names of steps that were.
const playedAgain = " (again)"

// second takes the result of scenarios that were played again: where they agree, the first differences count no more.
func (r *result) second(other result, played map[string]bool) {
	again := map[string]bool{}
	for _, d := range other.differences {
		again[d.scenario] = true
	}
	steps := map[string]bool{}
	r.differences = slices.DeleteFunc(r.differences, func(d difference) bool {
		agreed := played[d.scenario] && !again[d.scenario] && other.exchanges > 0
		if agreed {
			r.once = append(r.once, d)
			steps[d.scenario+strings.ReplaceAll(d.step, playedAgain, "")] = true
		}
		return agreed
	})
	r.different -= len(steps)
	r.equal += len(steps)
	doubtful := other.doubtful()
	for scenario := range again {
		if !doubtful[scenario] {
			if r.firm == nil {
				r.firm = map[string]bool{}
			}
			r.firm[scenario] = true
		}
	}
	for _, d := range other.differences {
		d.step += playedAgain
		r.differences = append(r.differences, d)
	}
}

// compare holds transcripts of the same scenarios against each other.
func compare(ta, tb transcript, nodes int) result {
	r := result{known: map[string]int{}}
	for i := range max(len(ta), len(tb)) {
		if i >= len(ta) || i >= len(tb) || ta[i].Scenario != tb[i].Scenario || ta[i].Step != tb[i].Step {
			r.differences = append(r.differences, difference{"(transcript)", fmt.Sprint("entry ", i), "", entry(ta, i), entry(tb, i)})
			r.different++
			break
		}
		r.exchanges++
		fields := walk("", plain(ta[i].Answer), plain(tb[i].Answer))
		open := 0
		for _, f := range fields {
			f.scenario, f.step = ta[i].Scenario, ta[i].Step
			if k := knownReason(f, nodes); k != "" {
				r.known[k]++
				continue
			}
			open++
			r.differences = append(r.differences, f)
		}
		switch {
		case len(fields) == 0:
			r.equal++
		case open == 0:
			r.knownOnly++
		default:
			r.different++
		}
	}
	return r
}

func entry(t transcript, i int) string {
	if i >= len(t) {
		return "(end)"
	}
	return t[i].Scenario + " | " + t[i].Step
}

// plain makes an answer what JSON has, so that both sides have the same types.
func plain(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		return err.Error()
	}
	return out
}

// walk returns the paths at which two values differ.
func walk(path string, a, b any) []difference {
	ma, okA := a.(map[string]any)
	mb, okB := b.(map[string]any)
	if okA && okB {
		var keys []string
		for k := range ma {
			keys = append(keys, k)
		}
		for k := range mb {
			if _, ok := ma[k]; !ok {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		var out []difference
		for _, k := range keys {
			va, inA := ma[k]
			vb, inB := mb[k]
			switch {
			case !inA:
				out = append(out, difference{path: path + "/" + k, a: "(absent)", b: show(vb)})
			case !inB:
				out = append(out, difference{path: path + "/" + k, a: show(va), b: "(absent)"})
			default:
				out = append(out, walk(path+"/"+k, va, vb)...)
			}
		}
		return out
	}
	la, okA := a.([]any)
	lb, okB := b.([]any)
	if okA && okB && len(la) == len(lb) {
		var out []difference
		for i := range la {
			out = append(out, walk(fmt.Sprintf("%s/%d", path, i), la[i], lb[i])...)
		}
		return out
	}
	if sa, sb := show(a), show(b); sa != sb {
		return []difference{{path: path, a: sa, b: sb}}
	}
	return nil
}

func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	if len(b) > 400 {
		return string(b[:400]) + "…"
	}
	return string(b)
}
