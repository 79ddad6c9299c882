package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// row is all values of one figure of one case, by rival.
type row struct {
	Case   string               `json:"case"`
	Figure string               `json:"figure"`
	Unit   string               `json:"unit"`
	Size   int                  `json:"size,omitempty"` // what it is drawn against
	Values map[string][]float64 `json:"values"`
	// When, Build and Load are of the run that the values are of: day, commit, and load average as the first round ended.
	When  string `json:"when"`
	Build string `json:"build,omitempty"`
	Load  string `json:"load"`
}

// table is what has been measured, now and in earlier runs whose results are kept.
type table struct{ rows []*row }

// newTable goes on from the results in a file, where there is one.
func newTable(file string) (*table, error) {
	t := &table{}
	if file == "" {
		return t, nil
	}
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return t, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &t.rows)
	}
	if err != nil {
		return nil, fmt.Errorf("results of earlier runs: %s: %w", file, err)
	}
	return t, nil
}

// save keeps the results.
func (t *table) save(file string) error {
	if file == "" {
		return nil
	}
	b := []byte("[\n")
	for i, r := range t.rows {
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if i > 0 {
			b = append(b, ",\n"...)
		}
		b = append(b, line...)
	}
	return os.WriteFile(file, append(b, "\n]\n"...), 0o644)
}

// replace puts what was measured now in the place of what earlier runs said of a case.
func (t *table) replace(c benchCase, fresh *table) {
	t.rows = slices.DeleteFunc(t.rows, func(r *row) bool { return r.Case == c.name })
	t.rows = append(t.rows, fresh.rows...)
}

// build is the commit that is measured, as far as git can tell; what was measured before does not count as a change.
var build = sync.OnceValue(func() string {
	out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return ""
	}
	name := strings.TrimSpace(string(out))
	if exec.Command("git", "diff", "--quiet", "HEAD", "--", "cmd", "internal", "go.mod").Run() != nil {
		name += "-dirty"
	}
	return name
})

func (t *table) add(c benchCase, rival string, figures []figure) {
	for _, f := range figures {
		i := slices.IndexFunc(t.rows, func(r *row) bool { return r.Case == c.name && r.Figure == f.name })
		if i < 0 {
			i = len(t.rows)
			t.rows = append(t.rows, &row{
				Case: c.name, Figure: f.name, Unit: f.unit, Size: c.size, Values: map[string][]float64{},
				When: time.Now().UTC().Format("2006-01-02"), Build: build(), Load: loadAverage(),
			})
		}
		t.rows[i].Values[rival] = append(t.rows[i].Values[rival], f.value)
	}
}

// sort puts the rows in the order of the cases.
func (t *table) sort(o options) {
	o.short = false
	at := map[string]int{}
	for i, c := range o.cases() {
		at[c.name] = i
	}
	slices.SortStableFunc(t.rows, func(a, b *row) int { return at[a.Case] - at[b.Case] })
}

func line(figures []figure) string {
	var b strings.Builder
	for _, f := range figures {
		fmt.Fprintf(&b, "%s %s %s  ", f.name, number(f.value), f.unit)
	}
	return b.String()
}

// number prints three significant digits.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// cell is a median with the least and the greatest value.
func cell(v []float64) string {
	if len(v) == 0 {
		return "-"
	}
	return fmt.Sprintf("%s (%s-%s)", number(median(v)), number(slices.Min(v)), number(slices.Max(v)))
}

// rivalOrder is the order of the columns; ratios are to the last one that has values.
var rivalOrder = []string{"fsync", "replicated", "fsync-before", "replicated-before", "floor", "kafka"}

func (t *table) rivals() (names []string) {
	for _, name := range rivalOrder {
		if slices.ContainsFunc(t.rows, func(r *row) bool { return len(r.Values[name]) > 0 }) {
			names = append(names, name)
		}
	}
	return names
}

func (t *table) write(o options) (err error) {
	t.sort(o)
	if err := t.save(o.results); err != nil {
		return err
	}
	var w io.Writer = os.Stdout
	if o.out != "" {
		file, err := os.Create(o.out)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		w = file
		if o.nodes == 1 {
			if err := t.plots(filepath.Join(filepath.Dir(o.out), "plots")); err != nil {
				return err
			}
		}
	}
	_, err = io.WriteString(w, t.markdown(o))
	return err
}

const preamble = `# logstead beside Apache Kafka

Made by %s, up to %d rounds, rivals in turn: %s, %d CPUs shared by broker and client. The rows
are of several runs, kept in results.json; the last column says of which day and commit, and the load average over 1, 5 and
15 minutes as the case ended its first round (the case itself and what waits for the disk are in it).

Each cell is the median with the least and the greatest value. CPU is user and system time of the broker's
process; bytes are those of records before compression. The ratio is logstead's median to Kafka's: below 1 is
less cost or less time, for rates above 1 is more. Kafka never syncs; ` + "`fsync`" + ` always does before it acknowledges.
` + "`floor`" + ` is no broker but a bare loop in Go (bench/floor) that appends, sends and answers, and
knows nothing else. What the cases are stands in docs/performance.md. [Aims](#aims) are at the end. Plots: [CPU against partitions](plots/spread.svg), [against
connections](plots/connections.svg), [against what is stored](plots/stored.svg), [memory of idle partitions](plots/idle.svg),
[latency](plots/latency.svg).

`

const clusterPreamble = `# Three nodes of logstead beside three of Apache Kafka

Made by %s, up to %d rounds, rivals in turn: %s, %d CPUs shared by all nodes and the client. The clusters
are all up at once; those whose turn it is not have nothing to do. The rows are of several runs, kept in cluster.json; the last
column says of which day and commit, and the load average over 1, 5 and 15 minutes as the case ended its first round (the case
itself and what waits for the disk are in it).

Each cell is the median with the least and the greatest value. CPU is user and system time of all three nodes together; bytes
are those of records before compression, counted once although each is stored three times. Three replicas, of which two must be
in sync, acks=all. The ratio is logstead's median to Kafka's: below 1 is less cost or less time, for rates above 1 is more.
Kafka never syncs; ` + "`fsync`" + ` has a record on stable storage of every in-sync replica before it acknowledges. What the cases are
stands in docs/performance.md.

`

func (t *table) markdown(o options) string {
	var b strings.Builder
	text, command := preamble, "go run ./bench/compare"
	if o.nodes > 1 {
		text, command = clusterPreamble, command+" -nodes 3"
	}
	if o.short {
		command += " -short"
	}
	fmt.Fprintf(&b, text, "`"+command+"`", o.rounds, runtime.GOOS+"/"+runtime.GOARCH, runtime.NumCPU())
	names := t.rivals()
	if len(names) == 0 {
		return b.String() + "Nothing was measured.\n"
	}
	base := names[len(names)-1]
	b.WriteString("| case | figure |")
	for _, n := range names {
		fmt.Fprintf(&b, " %s |", n)
	}
	for _, n := range names[:len(names)-1] {
		fmt.Fprintf(&b, " %s ÷ %s |", n, base)
	}
	b.WriteString(" when, build, load |\n|---|---|" + strings.Repeat("---|", 2*len(names)) + "\n")
	for _, r := range t.rows {
		fmt.Fprintf(&b, "| %s | %s, %s |", r.Case, r.Figure, r.Unit)
		for _, n := range names {
			fmt.Fprintf(&b, " %s |", cell(r.Values[n]))
		}
		for _, n := range names[:len(names)-1] {
			if len(r.Values[n]) == 0 || len(r.Values[base]) == 0 || median(r.Values[base]) == 0 {
				b.WriteString(" - |")
				continue
			}
			fmt.Fprintf(&b, " **%.2f** |", median(r.Values[n])/median(r.Values[base]))
		}
		fmt.Fprintf(&b, " %s, %s, %s |\n", r.When, cmp.Or(r.Build, "older"), r.Load)
	}
	if o.nodes == 1 && o.results != "" {
		b.WriteString(t.aims())
	}
	return b.String()
}
