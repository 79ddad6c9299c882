package cli

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A col tag is "HEADER" or "HEADER,option,…". The options:
//
//	wide   only with -o wide
//	bytes  a size, shown with a unit
//	count  a number, shown with separators; negative means unknown and shows as "-"
//	ms     milliseconds, shown as a duration
//	left   a number that is a name, such as a broker id
//	full   never shortened to fit the terminal
type column struct {
	index  int
	header string
	right  bool
	opts   string
}

func (c column) has(opt string) bool { return strings.Contains(c.opts+",", ","+opt+",") }

// grid is a table as text: one header row, then the cells.
type grid struct {
	cols  []column
	cells [][]string
}

func columnsOf(t reflect.Type, wide bool) []column {
	var cols []column
	for i := range t.NumField() {
		tag, ok := t.Field(i).Tag.Lookup("col")
		if !ok {
			continue
		}
		header, opts, _ := strings.Cut(tag, ",")
		c := column{index: i, header: header, opts: "," + opts}
		if c.has("wide") && !wide {
			continue
		}
		switch t.Field(i).Type.Kind() {
		case reflect.Int, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Float64:
			c.right = !c.has("left")
		case reflect.Pointer:
			k := t.Field(i).Type.Elem().Kind()
			c.right = (k == reflect.Int64 || k == reflect.Int32 || k == reflect.Float64) && !c.has("left")
		}
		cols = append(cols, c)
	}
	return cols
}

// tableOf renders a slice of structs (or one struct) as text cells.
func tableOf(v any, wide bool) (grid, error) {
	rows, t, err := structRows(v)
	if err != nil {
		return grid{}, err
	}
	g := grid{cols: columnsOf(t, wide)}
	for _, r := range rows {
		line := make([]string, len(g.cols))
		for i, c := range g.cols {
			line[i] = cellText(r.Field(c.index), c)
		}
		g.cells = append(g.cells, line)
	}
	return g, nil
}

func structRows(v any) ([]reflect.Value, reflect.Type, error) {
	rv := reflect.ValueOf(v)
	if rv.Kind() == reflect.Struct {
		return []reflect.Value{rv}, rv.Type(), nil
	}
	if rv.Kind() != reflect.Slice || rv.Type().Elem().Kind() != reflect.Struct {
		return nil, nil, fmt.Errorf("a %T has no table form", v)
	}
	rows := make([]reflect.Value, rv.Len())
	for i := range rows {
		rows[i] = rv.Index(i)
	}
	return rows, rv.Type().Elem(), nil
}

func cellText(v reflect.Value, c column) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "-"
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Int, reflect.Int16, reflect.Int32, reflect.Int64:
		return intCell(v.Int(), c)
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	case reflect.Bool:
		if v.Bool() {
			return "yes"
		}
		return "no"
	case reflect.Slice:
		return sliceCell(v)
	}
	if t, ok := v.Interface().(time.Time); ok {
		if t.IsZero() {
			return "-"
		}
		return t.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	if s := fmt.Sprint(v.Interface()); s != "" {
		return printable(s)
	}
	return "-"
}

func intCell(n int64, c column) string {
	switch {
	case c.has("bytes"):
		return humanBytes(n)
	case c.has("ms"):
		if n < 0 {
			return "-"
		}
		return humanDuration(time.Duration(n) * time.Millisecond)
	case c.has("count") && n < 0:
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

func sliceCell(v reflect.Value) string {
	if v.Len() == 0 {
		return "-"
	}
	if ids, ok := v.Interface().([]int32); ok {
		return joinInts(ids)
	}
	parts := make([]string, v.Len())
	for i := range parts {
		parts[i] = printable(fmt.Sprint(v.Index(i).Interface()))
	}
	return strings.Join(parts, ",")
}

// joinInts writes 1,2,3.
func joinInts(ids []int32) string {
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = strconv.Itoa(int(id))
	}
	return strings.Join(parts, ",")
}

// printable escapes what would upset a terminal or break a line.
func printable(s string) string {
	clean := utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }) < 0
	if clean {
		return s
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

// writeTable writes upper-case headers and cells two spaces apart, without borders. The last column
// is not padded, so that lines have no trailing blanks.
func (a *App) writeTable(out *bytes.Buffer, g grid) {
	widths := make([]int, len(g.cols))
	for i, c := range g.cols {
		widths[i] = utf8.RuneCountInString(c.header)
		for _, line := range g.cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(line[i]))
		}
	}
	header := make([]string, len(g.cols))
	for i, c := range g.cols {
		header[i] = c.header
	}
	if len(header) == 0 {
		return
	}
	var first bytes.Buffer
	writeLine(&first, g.cols, widths, header)
	out.WriteString(a.paint(bold, strings.TrimSuffix(first.String(), "\n")) + "\n")
	for _, line := range g.cells {
		writeLine(out, g.cols, widths, line)
	}
}

func writeLine(out *bytes.Buffer, cols []column, widths []int, cells []string) {
	for i, cell := range cells {
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		last := i == len(cells)-1
		switch {
		case cols[i].right:
			out.WriteString(pad + cell)
		case last:
			out.WriteString(cell)
		default:
			out.WriteString(cell + pad)
		}
		if !last {
			out.WriteString("  ")
		}
	}
	out.WriteByte('\n')
}

// csvOf renders rows for a spreadsheet: raw numbers, lower-case headers, lists joined by spaces.
func csvOf(v any) ([][]string, error) {
	rows, t, err := structRows(v)
	if err != nil {
		return nil, err
	}
	cols := columnsOf(t, true)
	head := make([]string, len(cols))
	for i, c := range cols {
		name, _, _ := strings.Cut(t.Field(c.index).Tag.Get("json"), ",")
		head[i] = name
	}
	out := [][]string{head}
	for _, r := range rows {
		line := make([]string, len(cols))
		for i, c := range cols {
			line[i] = csvCell(r.Field(c.index))
		}
		out = append(out, line)
	}
	return out, nil
}

func csvCell(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	if v.Kind() == reflect.Slice {
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = fmt.Sprint(v.Index(i).Interface())
		}
		return strings.Join(parts, " ")
	}
	if t, ok := v.Interface().(time.Time); ok {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprint(v.Interface())
}

// firstColumn is what -o name prints: the first column of every row.
func firstColumn(v any) []string {
	g, err := tableOf(v, false)
	if err != nil || len(g.cols) == 0 {
		return nil
	}
	out := make([]string, len(g.cells))
	for i, line := range g.cells {
		out[i] = line[0]
	}
	return out
}
