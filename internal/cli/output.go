package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
)

// outputFormats are the values of -o for commands that print rows or one description.
var outputFormats = []string{"table", "wide", "json", "yaml", "ndjson", "name", "csv"}

// sectioned is a value that prints as several blocks, such as a description.
// Its JSON form is the value itself.
type sectioned interface {
	sections(wide bool) []section
}

// section is one block of a table output: facts, then rows, then a closing line; each may be absent.
type section struct {
	title string
	facts []fact
	rows  any // a slice of structs with col tags
	text  string
}

type fact struct{ name, value string }

// named is a sectioned value that knows what -o name prints.
type named interface{ names() []string }

// format is the chosen output format, "table" by default.
func (a *App) format() string {
	if a.flags.output == "" {
		return "table"
	}
	return a.flags.output
}

// emit prints a command's result on stdout in the chosen format. v is a slice of structs or a
// struct; its json tags name the JSON members and its col tags the table's columns.
func (a *App) emit(v any) error {
	switch a.format() {
	case "table":
		return a.emitTable(v, false)
	case "wide":
		return a.emitTable(v, true)
	case "json":
		return a.emitJSON(v)
	case "ndjson":
		return a.emitNDJSON(v)
	case "yaml":
		return a.emitYAML(v)
	case "csv":
		return emitCSV(a.Stdout, v)
	case "name":
		return emitNames(a.Stdout, v)
	case "help":
		_, err := io.WriteString(a.Stdout, shapeOf(v))
		return err
	}
	return checkFormat(a.flags.output)
}

func checkFormat(format string) error {
	if format == "" || format == "help" {
		return nil
	}
	for _, f := range outputFormats {
		if f == format {
			return nil
		}
	}
	f := usagef("output format %q is not one of %s", format, strings.Join(outputFormats, ", "))
	f.Similar = similar(format, outputFormats)
	return f
}

func (a *App) emitTable(v any, wide bool) error {
	out := &bytes.Buffer{}
	s, ok := v.(sectioned)
	if !ok {
		rows, err := tableOf(v, wide)
		if err != nil {
			return err
		}
		a.writeTable(out, rows)
		return a.flush(out)
	}
	for i, sec := range s.sections(wide) {
		if i > 0 {
			out.WriteByte('\n')
		}
		if err := a.writeSection(out, sec, wide); err != nil {
			return err
		}
	}
	return a.flush(out)
}

func (a *App) flush(b *bytes.Buffer) error {
	_, err := a.Stdout.Write(b.Bytes())
	return err
}

func (a *App) writeSection(out *bytes.Buffer, sec section, wide bool) error {
	if sec.title != "" {
		fmt.Fprintln(out, a.paint(bold, sec.title))
	}
	longest := 0
	for _, f := range sec.facts {
		longest = max(longest, len(f.name))
	}
	for _, f := range sec.facts {
		fmt.Fprintf(out, "%s%s  %s\n", f.name, strings.Repeat(" ", longest-len(f.name)), f.value)
	}
	if sec.rows != nil {
		rows, err := tableOf(sec.rows, wide)
		if err != nil {
			return err
		}
		a.writeTable(out, rows)
	}
	if sec.text != "" {
		fmt.Fprintln(out, sec.text)
	}
	return nil
}

func (a *App) emitJSON(v any) error {
	b, err := marshalJSON(v, "  ")
	if err != nil {
		return err
	}
	_, err = a.Stdout.Write(b)
	return err
}

func (a *App) emitNDJSON(v any) error {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Slice {
		b, err := marshalJSON(v, "")
		if err != nil {
			return err
		}
		_, err = a.Stdout.Write(b)
		return err
	}
	for i := range rv.Len() {
		b, err := marshalJSON(rv.Index(i).Interface(), "")
		if err != nil {
			return err
		}
		if _, err := a.Stdout.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) emitYAML(v any) error {
	b, err := marshalJSON(v, "")
	if err != nil {
		return err
	}
	y, err := yaml.JSONToYAML(b)
	if err != nil {
		return fmt.Errorf("convert the result to YAML: %w", err)
	}
	_, err = a.Stdout.Write(y)
	return err
}

// marshalJSON encodes v without HTML escapes and with [] in place of null arrays.
func marshalJSON(v any, indent string) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(withoutNilSlices(reflect.ValueOf(v)).Interface()); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// withoutNilSlices copies v with every nil slice and map made empty, so that scripts need no special
// case. []byte and json.RawMessage keep their meaning.
func withoutNilSlices(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return v
		}
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(withoutNilSlices(v.Index(i)))
		}
		return out
	case reflect.Struct:
		out := reflect.New(v.Type()).Elem()
		out.Set(v)
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				out.Field(i).Set(withoutNilSlices(v.Field(i)))
			}
		}
		return out
	case reflect.Map:
		if v.IsNil() {
			return reflect.MakeMap(v.Type())
		}
	case reflect.Pointer:
		if !v.IsNil() && v.Elem().Kind() == reflect.Struct {
			out := reflect.New(v.Type().Elem())
			out.Elem().Set(withoutNilSlices(v.Elem()))
			return out
		}
	case reflect.Interface:
		if !v.IsNil() {
			return withoutNilSlices(v.Elem())
		}
	}
	return v
}

func emitCSV(w io.Writer, v any) error {
	rows, err := csvOf(rowsOf(v))
	if err != nil {
		return err
	}
	cw := csv.NewWriter(w)
	if err := cw.WriteAll(rows); err != nil {
		return err
	}
	return cw.Error()
}

// rowsOf is the slice of structs at the heart of v: v itself, or the first rows of its sections.
func rowsOf(v any) any {
	s, ok := v.(sectioned)
	if !ok {
		return v
	}
	for _, sec := range s.sections(true) {
		if sec.rows != nil {
			return sec.rows
		}
	}
	return v
}

func emitNames(w io.Writer, v any) error {
	var list []string
	if n, ok := v.(named); ok {
		list = n.names()
	} else {
		list = firstColumn(rowsOf(v))
	}
	for _, n := range list {
		if _, err := fmt.Fprintln(w, n); err != nil {
			return err
		}
	}
	return nil
}

// shapeOf describes the JSON form of v's type, for -o help.
func shapeOf(v any) string {
	var b strings.Builder
	writeShape(&b, reflect.TypeOf(v), "")
	b.WriteByte('\n')
	return b.String()
}

func writeShape(b *strings.Builder, t reflect.Type, indent string) {
	switch t.Kind() {
	case reflect.Pointer:
		writeShape(b, t.Elem(), indent)
		b.WriteString(" or null")
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			b.WriteString("any")
			return
		}
		b.WriteString("[")
		writeShape(b, t.Elem(), indent)
		b.WriteString("]")
	case reflect.Map:
		b.WriteString("{ name: ")
		writeShape(b, t.Elem(), indent)
		b.WriteString(" }")
	case reflect.Struct:
		if t.PkgPath() == "time" {
			b.WriteString("time (RFC 3339)")
			return
		}
		b.WriteString("{\n")
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" || name == "-" {
				continue
			}
			b.WriteString(indent + "  " + name + ": ")
			writeShape(b, f.Type, indent+"  ")
			b.WriteByte('\n')
		}
		b.WriteString(indent + "}")
	case reflect.String:
		b.WriteString("string")
	case reflect.Bool:
		b.WriteString("true or false")
	case reflect.Interface:
		b.WriteString("any")
	default:
		b.WriteString("number")
	}
}
