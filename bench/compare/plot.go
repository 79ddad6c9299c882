package main

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// series is one line of a plot.
type series struct {
	name   string
	points [][2]float64
}

// plot is a chart with logarithmic axes.
type plot struct {
	title, x, y string
	lines       []series
}

const (
	plotWidth, plotHeight = 720, 420
	plotLeft, plotBottom  = 70, 50
	plotTop, plotRight    = 40, 150
)

var colours = []string{"#1b6ca8", "#2e8b57", "#c0392b", "#8e44ad", "#d68910", "#555555"}

// plots draws what the table has into a directory.
func (t *table) plots(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range []struct {
		file, prefix, figure string
		plot
	}{
		{"spread.svg", "spread/", "cpu", plot{title: "Cost of producing 16 KiB batches", x: "partitions", y: "CPU s/GiB"}},
		{"connections.svg", "connections/", "cpu", plot{title: "Cost of a small request", x: "connections", y: "CPU us/request"}},
		{"stored.svg", "stored/", "cpu", plot{title: "Cost of producing onto what is stored", x: "MiB stored (1: none)", y: "CPU s/GiB"}},
		{"idle.svg", "idle/", "memory", plot{title: "Memory of idle partitions", x: "partitions", y: "MiB resident"}},
	} {
		p.lines = t.lines(p.prefix, p.figure)
		if err := os.WriteFile(filepath.Join(dir, p.file), []byte(p.svg()), 0o644); err != nil {
			return err
		}
	}
	latency := plot{title: "Latency of 1 KiB at 1,000/s, acks=all", x: "of a thousand records, so many are slower", y: "ms", lines: t.latencies("latency/1KiB at 1000/s")}
	return os.WriteFile(filepath.Join(dir, "latency.svg"), []byte(latency.svg()), 0o644)
}

// lines are the medians of one figure over the sizes of the cases, a line for each rival.
func (t *table) lines(prefix, figure string) (out []series) {
	for _, rival := range t.rivals() {
		s := series{name: rival}
		for _, r := range t.rows {
			if v := r.Values[rival]; strings.HasPrefix(r.Case, prefix) && r.Figure == figure && len(v) > 0 {
				s.points = append(s.points, [2]float64{float64(r.Size), median(v)})
			}
		}
		slices.SortFunc(s.points, func(a, b [2]float64) int { return cmp.Compare(a[0], b[0]) })
		if len(s.points) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// latencies are the quantiles of a case.
func (t *table) latencies(name string) (out []series) {
	slower := map[string]float64{"p50": 500, "p99": 10, "p99.9": 1}
	for _, kind := range []string{"ack", "e2e"} {
		for _, rival := range t.rivals() {
			s := series{name: rival + " " + kind}
			for _, r := range t.rows {
				k, q, _ := strings.Cut(r.Figure, " ")
				if v := r.Values[rival]; r.Case == name && k == kind && len(v) > 0 {
					s.points = append(s.points, [2]float64{slower[q], median(v)})
				}
			}
			slices.SortFunc(s.points, func(a, b [2]float64) int { return cmp.Compare(a[0], b[0]) })
			if len(s.points) > 0 {
				out = append(out, s)
			}
		}
	}
	return out
}

// span is the whole decades around the values of one axis.
func (p plot) span(axis int) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, s := range p.lines {
		for _, pt := range s.points {
			if v := max(pt[axis], 1e-3); v > 0 {
				lo, hi = min(lo, math.Floor(math.Log10(v))), max(hi, math.Ceil(math.Log10(v)))
			}
		}
	}
	if math.IsInf(lo, 0) {
		return 0, 1
	}
	return lo, max(hi, lo+1)
}

// svg draws it.
func (p plot) svg() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%d" y="24" font-size="15">%s</text>`+"\n", plotLeft, p.title)
	x0, x1 := p.span(0)
	y0, y1 := p.span(1)
	const w, h = plotWidth - plotLeft - plotRight, plotHeight - plotTop - plotBottom
	xAt := func(v float64) float64 { return plotLeft + w*(math.Log10(max(v, 1e-3))-x0)/(x1-x0) }
	yAt := func(v float64) float64 { return plotTop + h*(1-(math.Log10(max(v, 1e-3))-y0)/(y1-y0)) }
	for d := x0; d <= x1; d++ {
		x := xAt(math.Pow(10, d))
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%g</text>`+"\n",
			x, plotTop, x, plotTop+h, x, plotTop+h+16, math.Pow(10, d))
	}
	for d := y0; d <= y1; d++ {
		y := yAt(math.Pow(10, d))
		fmt.Fprintf(&b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n",
			plotLeft, y, plotLeft+w, y, plotLeft-6, y+4, math.Pow(10, d))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", plotLeft+w/2, plotHeight-10, p.x)
	fmt.Fprintf(&b, `<text transform="translate(16 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", plotTop+h/2, p.y)
	for i, s := range p.lines {
		colour := colours[i%len(colours)]
		var pts []string
		for _, pt := range s.points {
			x, y := xAt(pt[0]), yAt(pt[1])
			pts = append(pts, fmt.Sprintf("%.1f,%.1f", x, y))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x, y, colour)
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(pts, " "), colour)
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", plotLeft+w+12, plotTop+16+18*i, colour, s.name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
