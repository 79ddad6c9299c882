package cli

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/twmb/franz-go/pkg/kgo"
)

// printer writes records to stdout in one of the formats of "logstead help formats".
type printer struct {
	app    *App
	w      *bufio.Writer
	append func(b []byte, r *kgo.Record) []byte
	buf    []byte
	loc    *time.Location
	err    error
}

var consumeFormats = []string{"json", "ndjson", "raw", "pretty", "table", "wide", "csv", "yaml", "name"}

// newPrinter chooses the format: -f, else -o, else pretty on a terminal and json elsewhere.
func (a *App) newPrinter(fl consumeFlags) (*printer, error) {
	s, err := a.settings()
	if err != nil {
		return nil, err
	}
	if fl.decode != "" && fl.decode != "json" {
		return nil, usagef("--decode %q is not json", fl.decode)
	}
	p := &printer{app: a, w: bufio.NewWriterSize(a.Stdout, 64<<10), loc: s.location}
	name := firstOf(fl.format, a.flags.output)
	if name == "" {
		name = "json"
		if a.StdoutTTY {
			name = "pretty"
		}
	}
	if strings.Contains(name, "%") {
		f, err := kgo.NewRecordFormatter(name)
		if err != nil {
			return nil, usagef("format %q: %v", name, err).try("logstead help formats")
		}
		p.append = f.AppendRecord
		return p, nil
	}
	return p, p.choose(name, fl.decode == "json")
}

func (p *printer) choose(name string, decodeJSON bool) error {
	switch name {
	case "json", "ndjson":
		p.append = func(b []byte, r *kgo.Record) []byte { return append(appendEnvelope(b, r, decodeJSON), '\n') }
	case "raw":
		p.append = func(b []byte, r *kgo.Record) []byte { return append(append(b, r.Value...), '\n') }
	case "pretty":
		p.append = p.pretty
	case "table", "wide":
		p.append = p.tableLine(name == "wide")
	case "csv":
		p.append = p.csvLine()
	case "yaml":
		p.append = func(b []byte, r *kgo.Record) []byte { return p.yamlDoc(b, r, decodeJSON) }
	case "name":
		p.append = func(b []byte, r *kgo.Record) []byte {
			return fmt.Appendf(b, "%s/%d/%d\n", r.Topic, r.Partition, r.Offset)
		}
	case "help":
		p.append = func(b []byte, _ *kgo.Record) []byte { return b }
		_, err := p.w.WriteString(envelopeShape)
		return err
	default:
		f := usagef("%q is neither an offset nor one of the formats %s, and has no %%", name,
			strings.Join(consumeFormats, ", "))
		f.Similar = similar(name, append([]string{"start", "end"}, consumeFormats...))
		return f.try("logstead help offsets, logstead help formats")
	}
	return nil
}

const envelopeShape = `{
  topic: string
  partition: number
  offset: number
  timestamp: number (milliseconds since 1970)
  timestamp_type: "create", "append" or "none"
  key: string or null
  key_encoding: "base64", only where the key is not text
  value: string or null; with --decode json any JSON
  value_encoding: "base64", only where the value is not text
  value_format: "json", only with --decode json
  headers: [{ key: string, value: string or null, value_encoding: "base64" if not text }]
  size: number (bytes of key, value and headers)
}
`

func (p *printer) print(r *kgo.Record) error {
	p.buf = p.append(p.buf[:0], r)
	if p.err != nil {
		return p.err
	}
	_, err := p.w.Write(p.buf)
	return err
}

func (p *printer) flush() error { return p.w.Flush() }
func (p *printer) close() error { return p.w.Flush() }

// pretty is the form for eyes: a line about the record, then its value.
func (p *printer) pretty(b []byte, r *kgo.Record) []byte {
	a := p.app
	head := fmt.Sprintf("%s/%d @%d", r.Topic, r.Partition, r.Offset)
	b = append(b, a.paint(cyan, head)...)
	b = append(b, "  "...)
	when := r.Timestamp.In(p.loc)
	b = append(b, a.paint(dim, when.Format("2006-01-02 15:04:05.000Z07:00")+" ("+ago(r.Timestamp, a.Now())+")")...)
	if r.Key != nil {
		b = append(b, "  key "...)
		b = append(b, a.paint(green, shown(r.Key))...)
	}
	for _, h := range r.Headers {
		b = append(b, "  "...)
		b = append(b, a.paint(dim, printable(h.Key)+"="+shown(h.Value))...)
	}
	b = append(b, '\n')
	switch {
	case r.Value == nil:
		b = append(b, a.paint(dim, "(null)")...)
	case len(r.Value) == 0:
		b = append(b, a.paint(dim, "(empty)")...)
	case !utf8.Valid(r.Value):
		b = append(b, hexView(r.Value)...)
	case r.Value[0] == '{' || r.Value[0] == '[':
		b = append(b, indented(r.Value)...)
	default:
		b = append(b, withoutControls(string(r.Value))...)
	}
	return append(b, '\n')
}

// shown is a short text as one line: text as it is, null and binary marked.
func shown(v []byte) string {
	switch {
	case v == nil:
		return "(null)"
	case len(v) == 0:
		return `""`
	case !utf8.Valid(v):
		return "0x" + hex.EncodeToString(v[:min(len(v), 64)])
	}
	return printable(string(v))
}

// hexView shows binary data, cut at a screenful.
func hexView(v []byte) string {
	const most = 512
	s := strings.TrimRight(hex.Dump(v[:min(len(v), most)]), "\n")
	if len(v) > most {
		s += fmt.Sprintf("\n... %s more; -f raw or -o json writes all", humanBytes(int64(len(v)-most)))
	}
	return s
}

func indented(v []byte) []byte {
	var out bytes.Buffer
	if json.Indent(&out, v, "", "  ") != nil {
		return []byte(withoutControls(string(v)))
	}
	return out.Bytes()
}

// withoutControls keeps line breaks and tabs and shows other control characters as escapes, so that
// a record cannot drive the terminal.
func withoutControls(s string) string {
	bad := func(r rune) bool { return (r < 0x20 && r != '\n' && r != '\t') || (r >= 0x7f && r < 0xa0) }
	if strings.IndexFunc(s, bad) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if bad(r) {
			fmt.Fprintf(&b, "\\x%02x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// tableLine writes fixed columns; widths cannot follow the data of a stream.
func (p *printer) tableLine(wide bool) func([]byte, *kgo.Record) []byte {
	first := true
	return func(b []byte, r *kgo.Record) []byte {
		if first {
			first = false
			head := fmt.Sprintf("%-20s  %9s  %10s  %-24s  %-16s  %s", "TOPIC", "PARTITION", "OFFSET", "TIMESTAMP",
				"KEY", "VALUE")
			if wide {
				head = fmt.Sprintf("%-20s  %9s  %10s  %-24s  %-16s  %-16s  %s", "TOPIC", "PARTITION", "OFFSET",
					"TIMESTAMP", "KEY", "HEADERS", "VALUE")
			}
			b = append(b, p.app.paint(bold, head)+"\n"...)
		}
		b = fmt.Appendf(b, "%-20s  %9d  %10d  %-24s  %-16s  ", r.Topic, r.Partition, r.Offset,
			r.Timestamp.In(p.loc).Format("2006-01-02T15:04:05.000Z07:00"), shown(r.Key))
		if wide {
			b = fmt.Appendf(b, "%-16s  ", headersText(r.Headers))
		}
		return append(append(b, shown(r.Value)...), '\n')
	}
}

func headersText(hs []kgo.RecordHeader) string {
	if len(hs) == 0 {
		return "-"
	}
	parts := make([]string, len(hs))
	for i, h := range hs {
		parts[i] = printable(h.Key) + "=" + shown(h.Value)
	}
	return strings.Join(parts, ",")
}

func (p *printer) csvLine() func([]byte, *kgo.Record) []byte {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	first := true
	return func(b []byte, r *kgo.Record) []byte {
		out.Reset()
		if first {
			first = false
			p.err = w.Write([]string{"topic", "partition", "offset", "timestamp", "key", "value"})
		}
		if err := w.Write([]string{r.Topic, strconv.Itoa(int(r.Partition)), strconv.FormatInt(r.Offset, 10),
			strconv.FormatInt(r.Timestamp.UnixMilli(), 10), string(r.Key), string(r.Value)}); err != nil {
			p.err = err
		}
		w.Flush()
		return append(b, out.Bytes()...)
	}
}

func (p *printer) yamlDoc(b []byte, r *kgo.Record, decodeJSON bool) []byte {
	y, err := yaml.JSONToYAML(appendEnvelope(nil, r, decodeJSON))
	if err != nil {
		p.err = fmt.Errorf("convert record %s/%d/%d to YAML: %w", r.Topic, r.Partition, r.Offset, err)
		return b
	}
	return append(append(b, "---\n"...), y...)
}
