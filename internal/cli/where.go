package cli

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// filter is one --where condition. It evaluates no code: a field, an operator and a constant.
type filter struct {
	field  string   // key, value, header, topic, partition, offset, timestamp
	path   []string // members inside a JSON key or value, or the header's name
	op     string
	glob   string
	re     *regexp.Regexp
	number float64
}

// whereOps in the order in which they are looked for: longer ones first.
var whereOps = []string{"!=", ">=", "<=", "==", "!~", "=", "~", ">", "<"}

const whereHelp = "FIELD OP TEXT, such as 'key=ana', 'value~fail(ed|ure)', 'header.trace=ab*' or 'value.amount > 10'"

// parseWhere reads one condition.
func parseWhere(s string) (*filter, error) {
	at, op := -1, ""
	for i := range len(s) {
		for _, o := range whereOps {
			if strings.HasPrefix(s[i:], o) {
				at, op = i, o
				break
			}
		}
		if at >= 0 {
			break
		}
	}
	if at <= 0 {
		return nil, usagef("--where %q has no operator", s).try(whereHelp)
	}
	f := &filter{op: op}
	if err := f.setField(strings.TrimSpace(s[:at])); err != nil {
		return nil, usagef("--where %q: %v", s, err).try(whereHelp)
	}
	if err := f.setOperand(unquote(strings.TrimSpace(s[at+len(op):]))); err != nil {
		return nil, usagef("--where %q: %v", s, err).try(whereHelp)
	}
	return f, nil
}

func (f *filter) setField(name string) error {
	head, rest, dotted := strings.Cut(name, ".")
	f.field = head
	switch head {
	case "key", "value":
		if dotted {
			f.path = strings.Split(rest, ".")
		}
		return nil
	case "header":
		if !dotted || rest == "" {
			return fmt.Errorf("name the header: header.NAME")
		}
		f.path = []string{rest}
		return nil
	case "topic", "partition", "offset", "timestamp":
		if !dotted {
			return nil
		}
	}
	return fmt.Errorf("%q is not key, value, header.NAME, topic, partition, offset or timestamp", name)
}

func (f *filter) setOperand(s string) (err error) {
	switch f.op {
	case "=", "==", "!=":
		f.glob = s
		if _, err := path.Match(s, ""); err != nil {
			return fmt.Errorf("pattern %q is not well formed", s)
		}
	case "~", "!~":
		if f.re, err = regexp.Compile(s); err != nil {
			return err
		}
	default:
		if f.number, err = strconv.ParseFloat(s, 64); err != nil {
			return fmt.Errorf("%s compares numbers, and %q is none", f.op, s)
		}
	}
	return nil
}

// unquote drops one pair of quotes around the operand.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

// match says whether the record passes. A field that is absent passes only a negation.
func (f *filter) match(r *kgo.Record) bool {
	text, ok := f.text(r)
	switch f.op {
	case "=", "==":
		return ok && globMatch(f.glob, text)
	case "!=":
		return !ok || !globMatch(f.glob, text)
	case "~":
		return ok && f.re.MatchString(text)
	case "!~":
		return !ok || !f.re.MatchString(text)
	}
	n, err := strconv.ParseFloat(text, 64)
	if !ok || err != nil {
		return false
	}
	switch f.op {
	case ">":
		return n > f.number
	case ">=":
		return n >= f.number
	case "<":
		return n < f.number
	}
	return n <= f.number
}

// globMatch is path.Match in which * also spans slashes.
func globMatch(pattern, s string) bool {
	if !isGlob(pattern) {
		return pattern == s
	}
	swap := strings.NewReplacer("/", "\x00")
	ok, err := path.Match(swap.Replace(pattern), swap.Replace(s))
	return err == nil && ok
}

// text is the field's value in the record, if it has one.
func (f *filter) text(r *kgo.Record) (string, bool) {
	switch f.field {
	case "topic":
		return r.Topic, true
	case "partition":
		return strconv.Itoa(int(r.Partition)), true
	case "offset":
		return strconv.FormatInt(r.Offset, 10), true
	case "timestamp":
		return strconv.FormatInt(r.Timestamp.UnixMilli(), 10), true
	case "header":
		for i := len(r.Headers) - 1; i >= 0; i-- { // the last of equal names wins, as in Kafka's lastHeader
			if r.Headers[i].Key == f.path[0] {
				return string(r.Headers[i].Value), r.Headers[i].Value != nil
			}
		}
		return "", false
	}
	raw := r.Value
	if f.field == "key" {
		raw = r.Key
	}
	if raw == nil {
		return "", false
	}
	if f.path == nil {
		return string(raw), true
	}
	return jsonMember(raw, f.path)
}

// jsonMember walks into a JSON document; numbers keep their own digits.
func jsonMember(raw []byte, members []string) (string, bool) {
	cur := json.RawMessage(raw)
	for _, m := range members {
		if i, err := strconv.Atoi(m); err == nil {
			var arr []json.RawMessage
			if json.Unmarshal(cur, &arr) == nil && i >= 0 && i < len(arr) {
				cur = arr[i]
				continue
			}
		}
		var obj map[string]json.RawMessage
		if json.Unmarshal(cur, &obj) != nil {
			return "", false
		}
		next, ok := obj[m]
		if !ok {
			return "", false
		}
		cur = next
	}
	var s string
	if json.Unmarshal(cur, &s) == nil && len(cur) > 0 && cur[0] == '"' {
		return s, true
	}
	if string(cur) == "null" {
		return "", false
	}
	return string(cur), true
}
