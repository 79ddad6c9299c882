package obs

import (
	"bufio"
	"io"
	"math"
	"strconv"
	"strings"
)

// Exposition writes metrics in the Prometheus text format as they are visited. A node with tens of
// thousands of partitions has hundreds of thousands of samples, so nothing is kept and nothing is
// allocated per sample.
type Exposition struct {
	w       *bufio.Writer
	scratch []byte
	name    string
}

// NewExposition writes to w; Flush ends it.
func NewExposition(w io.Writer) *Exposition {
	return &Exposition{w: bufio.NewWriterSize(w, 64<<10)}
}

// Metric types.
const (
	Counter = "counter"
	Gauge   = "gauge"
	Summary = "summary"
)

// Family begins a family; the samples that follow belong to it.
func (e *Exposition) Family(name, typ, help string) {
	e.name = name
	for _, s := range []string{"# HELP ", name, " ", help, "\n# TYPE ", name, " ", typ, "\n"} {
		_, _ = e.w.WriteString(s)
	}
}

// Int writes one sample; labels are name, value, name, value…
func (e *Exposition) Int(v int64, labels ...string) {
	e.open("", labels)
	e.scratch = strconv.AppendInt(e.scratch[:0], v, 10)
	e.close()
}

// Float writes one sample.
func (e *Exposition) Float(v float64, labels ...string) { e.FloatSuffix("", v, labels...) }

// FloatSuffix writes a sample of a part of the family, such as _count or _sum.
func (e *Exposition) FloatSuffix(suffix string, v float64, labels ...string) {
	e.open(suffix, labels)
	switch {
	case math.IsNaN(v):
		e.scratch = append(e.scratch[:0], "NaN"...)
	case math.IsInf(v, 1):
		e.scratch = append(e.scratch[:0], "+Inf"...)
	case math.IsInf(v, -1):
		e.scratch = append(e.scratch[:0], "-Inf"...)
	default:
		e.scratch = strconv.AppendFloat(e.scratch[:0], v, 'g', -1, 64)
	}
	e.close()
}

func (e *Exposition) open(suffix string, labels []string) {
	_, _ = e.w.WriteString(e.name)
	_, _ = e.w.WriteString(suffix)
	for i := 0; i+1 < len(labels); i += 2 {
		if i == 0 {
			_ = e.w.WriteByte('{')
		} else {
			_ = e.w.WriteByte(',')
		}
		_, _ = e.w.WriteString(labels[i])
		_, _ = e.w.WriteString(`="`)
		_, _ = e.w.WriteString(escape(labels[i+1]))
		_ = e.w.WriteByte('"')
	}
	if len(labels) > 1 {
		_ = e.w.WriteByte('}')
	}
	_ = e.w.WriteByte(' ')
}

func (e *Exposition) close() {
	_, _ = e.w.Write(e.scratch)
	_ = e.w.WriteByte('\n')
}

var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func escape(s string) string {
	if !strings.ContainsAny(s, "\\\"\n") {
		return s
	}
	return escaper.Replace(s)
}

// Flush writes what is buffered and returns the first error of all writes.
func (e *Exposition) Flush() error { return e.w.Flush() }
