package main

import (
	"strings"
	"testing"
)

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

// TestAims: a ratio is held against its bound in the right direction, and what was not measured is neither met nor missed.
func TestAims(t *testing.T) {
	tab := &table{}
	add := func(name, what, rival string, v float64) {
		tab.add(benchCase{name: name}, rival, []figure{{name: what, unit: "u", value: v}})
	}
	add("produce/none/1MiB", "cpu", "replicated", 0.9)
	add("produce/none/1MiB", "cpu", "kafka", 2)
	add("produce/none/1MiB", "cpu", "floor", 0.5)
	add("produce/none/64KiB", "cpu", "replicated", 0.8)
	add("produce/none/64KiB", "cpu", "kafka", 2)
	add("small/acks=1/1conns", "rate", "replicated", 290)
	add("small/acks=1/1conns", "rate", "kafka", 100)
	add("stored/0 MiB", "cpu", "fsync", 1)
	add("stored/512 MiB", "cpu", "fsync", 1.6)
	add("stored/512 MiB", "cpu", "replicated", 1.6)
	got := tab.aims()
	for _, want := range []string{
		"| produce/none/1MiB | cpu | replicated | ≤ 0.45 | 0.45 | met | 0.25 |\n",
		"| produce/none/64KiB | cpu | replicated | ≤ 0.36 | 0.40 | **missed** | - |\n",
		"| produce/none/16KiB | cpu | replicated | ≤ 0.28 | - | not measured | - |\n",
		"| small/acks=1/1conns | rate | replicated | ≥ 3.00 | 2.90 | **missed** | - |\n",
		"| stored/* | cpu over stored, greatest ÷ least | fsync | ≤ 1.50 | 1.60 | **missed** | - |\n",
		"| stored/* | cpu, flat | replicated | ≤ 1.50 | - | not measured | - |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no line\n%sin\n%s", want, got)
		}
	}
}
