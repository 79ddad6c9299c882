package main

import (
	"encoding/json"
	"fmt"
	"slices"
)

// difference is one field in which the two answers differ.
type difference struct {
	scenario, step, path, a, b string
}

type result struct {
	exchanges, equal, knownOnly, different int
	differences                            []difference
	known                                  map[string]int
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
