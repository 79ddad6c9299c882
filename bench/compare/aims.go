package main

import (
	"fmt"
	"slices"
	"strings"
)

// aim is a bound on what a figure of logstead is, or on its ratio to Kafka's.
type aim struct {
	cases    []string
	figure   string
	rivals   []string // of logstead
	bound    float64
	more     bool // the bound is the least, not the most
	absolute bool // the figure itself is bounded and not the ratio
}

var (
	both     = []string{"replicated", "fsync"}
	relaxed  = []string{"replicated"}
	durable  = []string{"fsync"}
	produces = []string{
		"produce/none/1MiB", "produce/none/64KiB", "produce/none/16KiB", "produce/none/1KiB",
		"produce/lz4/1MiB", "produce/lz4/64KiB", "produce/lz4/16KiB", "produce/lz4/1KiB",
		"produce/zstd/1MiB", "produce/zstd/64KiB", "produce/zstd/16KiB", "produce/zstd/1KiB",
	}
	consumes = []string{
		"consume/cache/1MiB", "consume/cache/64KiB", "consume/cache/16KiB", "consume/cache/1KiB", "consume/disk/64KiB",
		"consume/following/64KiB", "franz-go/consume",
	}
	smalls = []string{
		"small/acks=1/1conns", "small/acks=1/64conns", "small/acks=1/1000conns",
		"small/acks=all/1conns", "small/acks=all/64conns", "small/acks=all/1000conns",
	}
)

// aims are what the figures of RESULTS.md are held against. Those in absolute numbers are for a machine
// of two cores that broker and client share.
var aims = []aim{
	{cases: produces[0:1], figure: "cpu", rivals: relaxed, bound: 0.45},
	{cases: produces[1:2], figure: "cpu", rivals: relaxed, bound: 0.36},
	{cases: produces[2:3], figure: "cpu", rivals: relaxed, bound: 0.28},
	{cases: produces[3:4], figure: "cpu", rivals: relaxed, bound: 0.20},
	{cases: produces[4:], figure: "cpu", rivals: relaxed, bound: 0.15},
	{cases: consumes, figure: "cpu", rivals: relaxed, bound: 0.40},
	{cases: smalls, figure: "cpu", rivals: relaxed, bound: 0.25},
	{cases: smalls, figure: "rate", rivals: relaxed, bound: 3, more: true},
	{cases: []string{"latency/1KiB at 1000/s"}, figure: "e2e p99", rivals: relaxed, bound: 0.25},
	{cases: []string{"franz-go/transactions of 1 record"}, figure: "rate", rivals: both, bound: 3, more: true},
	{cases: []string{"franz-go/transactions of 1 record"}, figure: "cpu", rivals: both, bound: 1.0 / 7},
	{cases: []string{"memory"}, figure: "peak under load", rivals: both, bound: 0.10},
	{cases: []string{"start to first record"}, figure: "time", rivals: both, bound: 0.05},
	{cases: produces, figure: "cpu", rivals: durable, bound: 0.60},
	{cases: consumes, figure: "cpu", rivals: durable, bound: 0.60},
	{cases: smalls, figure: "cpu", rivals: durable, bound: 0.60},
	{cases: produces[0:1], figure: "rate", rivals: relaxed, bound: 1200, more: true, absolute: true},
	{cases: consumes[0:1], figure: "rate", rivals: relaxed, bound: 4000, more: true, absolute: true},
	{cases: []string{"franz-go/idempotent produce"}, figure: "rate", rivals: relaxed, bound: 400, more: true, absolute: true},
	{cases: []string{"franz-go/consume"}, figure: "rate", rivals: relaxed, bound: 1000, more: true, absolute: true},
	{cases: []string{"latency/1KiB at 1000/s"}, figure: "ack p99", rivals: relaxed, bound: 1, absolute: true},
	{cases: []string{"durable/1 partitions"}, figure: "rate", rivals: durable, bound: 200_000, more: true, absolute: true},
}

// flatWithin is how far the costs of the same work may lie apart.
const flatWithin = 1.5

func (t *table) find(name, figure string) *row {
	i := slices.IndexFunc(t.rows, func(r *row) bool { return r.Case == name && r.Figure == figure })
	if i < 0 {
		return nil
	}
	return t.rows[i]
}

// medianOf is a rival's median in a row; ok is false where it has none.
func (r *row) medianOf(rival string) (v float64, ok bool) {
	if r == nil || len(r.Values[rival]) == 0 {
		return 0, false
	}
	return median(r.Values[rival]), true
}

// aims is a table of the aims beside what the rows say.
func (t *table) aims() string {
	var b strings.Builder
	b.WriteString("\n## Aims\n`bound` is of the ratio to Kafka, or of the figure itself where a unit stands. `floor ÷ kafka` is what the bare loop has.\n\n")
	b.WriteString("| case | figure | rival | bound | measured | | floor ÷ kafka |\n|---|---|---|---|---|---|---|\n")
	for _, a := range aims {
		for _, rival := range a.rivals {
			for _, name := range a.cases {
				b.WriteString(t.aimLine(a, rival, name))
			}
		}
	}
	for _, f := range [][2]string{{"spread/", "partitions"}, {"connections/", "connections"}, {"stored/", "stored"}} {
		for _, rival := range both {
			b.WriteString(t.flatLine(f[0], f[1], rival))
		}
	}
	return b.String()
}

func (t *table) aimLine(a aim, rival, name string) string {
	r := t.find(name, a.figure)
	v, ok := r.medianOf(rival)
	if !ok {
		return fmt.Sprintf("| %s | %s | %s | %s | - | not measured | - |\n", name, a.figure, rival, a.boundText(""))
	}
	unit, kafka := " "+r.Unit, 0.0
	floor := "-"
	if kafka, ok = r.medianOf("kafka"); ok && kafka > 0 {
		if f, ok := r.medianOf("floor"); ok {
			floor = fmt.Sprintf("%.2f", f/kafka)
		}
	}
	if !a.absolute {
		unit = ""
		if kafka == 0 {
			return fmt.Sprintf("| %s | %s | %s | %s | - | not measured | - |\n", name, a.figure, rival, a.boundText(""))
		}
		v /= kafka
	}
	verdict := "met"
	if a.more && v < a.bound || !a.more && v > a.bound {
		verdict = "**missed**"
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s%s | %s | %s |\n", name, a.figure, rival, a.boundText(unit), number(v), unit, verdict, floor)
}

func (a aim) boundText(unit string) string {
	sign := "≤"
	if a.more {
		sign = "≥"
	}
	return sign + " " + number(a.bound) + unit
}

// flatLine says how far the costs over the sizes of a kind of cases lie apart.
func (t *table) flatLine(prefix, what, rival string) string {
	var all []float64
	for _, r := range t.rows {
		if v, ok := r.medianOf(rival); ok && strings.HasPrefix(r.Case, prefix) && r.Figure == "cpu" {
			all = append(all, v)
		}
	}
	if len(all) < 2 {
		return fmt.Sprintf("| %s* | cpu, flat | %s | ≤ %.2f | - | not measured | - |\n", prefix, rival, flatWithin)
	}
	apart, verdict := slices.Max(all)/slices.Min(all), "met"
	if apart > flatWithin {
		verdict = "**missed**"
	}
	return fmt.Sprintf("| %s* | cpu over %s, greatest ÷ least | %s | ≤ %.2f | %.2f | %s | - |\n", prefix, what, rival, flatWithin, apart, verdict)
}
