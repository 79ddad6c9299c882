package main

import "testing"

// TestReplace: the rows of a case give way to new ones of the same case only.
func TestReplace(t *testing.T) {
	kept, fresh := &table{}, &table{}
	for name, v := range map[string]float64{"a": 1, "b": 2} {
		kept.add(benchCase{name: name}, "fsync", []figure{{name: "cpu", unit: "s", value: v}})
	}
	fresh.add(benchCase{name: "a"}, "fsync", []figure{{name: "cpu", unit: "s", value: 3}, {name: "rate", unit: "1/s", value: 4}})
	kept.replace(benchCase{name: "a"}, fresh)
	got := map[string]float64{}
	for _, r := range kept.rows {
		got[r.Case+" "+r.Figure] = r.Values["fsync"][0]
	}
	want := map[string]float64{"a cpu": 3, "a rate": 4, "b cpu": 2}
	if len(got) != len(want) {
		t.Fatalf("rows %v, want %v", got, want)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %v, want %v", k, got[k], v)
		}
	}
}
