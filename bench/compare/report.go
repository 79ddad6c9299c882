package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// row is all values of one figure of one case, by rival.
type row struct {
	test   string
	figure figure
	values map[string][]float64
}

// table is what has been measured.
type table struct {
	started time.Time
	load    string
	rows    []*row
}

func (t *table) add(c benchCase, rival string, figures []figure) {
	for _, f := range figures {
		i := slices.IndexFunc(t.rows, func(r *row) bool { return r.test == c.name && r.figure.name == f.name })
		if i < 0 {
			i = len(t.rows)
			t.rows = append(t.rows, &row{test: c.name, figure: f, values: map[string][]float64{}})
		}
		t.rows[i].values[rival] = append(t.rows[i].values[rival], f.value)
	}
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

func (t *table) write(o options, f *field) (err error) {
	var w io.Writer = os.Stdout
	if o.out != "" {
		file, err := os.Create(o.out)
		if err != nil {
			return err
		}
		defer func() {
			if cerr := file.Close(); err == nil {
				err = cerr
			}
		}()
		w = file
	}
	_, err = io.WriteString(w, t.markdown(o, f))
	return err
}

func (t *table) markdown(o options, f *field) string {
	var b strings.Builder
	command := "go run ./bench/compare"
	if o.short {
		command += " -short"
	}
	fmt.Fprintf(&b, "# logstead beside Apache Kafka\n\nMade by `%s`, %d rounds, rivals in turn, on %s: %s, %d CPUs shared by broker and client.\n",
		command, o.rounds, t.started.UTC().Format("2006-01-02"), runtime.GOOS+"/"+runtime.GOARCH, runtime.NumCPU())
	fmt.Fprintf(&b, "Load average (1, 5, 15 minutes) before: %s; after: %s.\n\n", t.load, loadAverage())
	b.WriteString("Each cell is the median with the least and the greatest value. CPU is user and system time of the broker's\n" +
		"process; bytes are those of records before compression. The ratio is logstead's median to Kafka's: below 1 is\n" +
		"less cost or less time, for rates above 1 is more. Kafka never syncs; `fsync` always does before it acknowledges.\n" +
		"What the cases are stands in docs/performance.md.\n\n")
	b.WriteString("| case | figure |")
	for _, r := range f.rivals {
		fmt.Fprintf(&b, " %s |", r.name)
	}
	base := f.rivals[len(f.rivals)-1].name
	for _, r := range f.rivals[:len(f.rivals)-1] {
		fmt.Fprintf(&b, " %s ÷ %s |", r.name, base)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", 2*len(f.rivals)-1) + "\n")
	for _, r := range t.rows {
		fmt.Fprintf(&b, "| %s | %s, %s |", r.test, r.figure.name, r.figure.unit)
		for _, rival := range f.rivals {
			fmt.Fprintf(&b, " %s |", cell(r.values[rival.name]))
		}
		for _, rival := range f.rivals[:len(f.rivals)-1] {
			if len(r.values[rival.name]) == 0 || len(r.values[base]) == 0 || median(r.values[base]) == 0 {
				b.WriteString(" - |")
				continue
			}
			fmt.Fprintf(&b, " **%.2f** |", median(r.values[rival.name])/median(r.values[base]))
		}
		b.WriteString("\n")
	}
	return b.String()
}
