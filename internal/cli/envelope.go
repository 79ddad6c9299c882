package cli

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// appendEnvelope writes one record as the JSON object that every logstead tool uses, without a line
// end. It is built by hand: it runs once a record, and keys must come in this order.
// decodeJSON puts a value that is a JSON document into the envelope as such, digit for digit.
func appendEnvelope(b []byte, r *kgo.Record, decodeJSON bool) []byte {
	b = append(b, `{"topic":`...)
	b = appendJSONString(b, r.Topic)
	b = append(b, `,"partition":`...)
	b = strconv.AppendInt(b, int64(r.Partition), 10)
	b = append(b, `,"offset":`...)
	b = strconv.AppendInt(b, r.Offset, 10)
	b = append(b, `,"timestamp":`...)
	b = strconv.AppendInt(b, r.Timestamp.UnixMilli(), 10)
	b = append(b, `,"timestamp_type":"`...)
	b = append(b, timestampType(r)...)
	b = append(b, `",`...)
	b = appendBytesMember(b, "key", r.Key)
	b = append(b, ',')
	b = appendValue(b, r.Value, decodeJSON)
	b = append(b, `,"headers":[`...)
	for i, h := range r.Headers {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"key":`...)
		b = appendJSONString(b, h.Key)
		b = append(b, ',')
		b = appendBytesMember(b, "value", h.Value)
		b = append(b, '}')
	}
	b = append(b, `],"size":`...)
	b = strconv.AppendInt(b, int64(recordBytes(r)), 10)
	return append(b, '}')
}

func timestampType(r *kgo.Record) string {
	switch r.Attrs.TimestampType() {
	case 0:
		return "create"
	case 1:
		return "append"
	}
	return "none"
}

func appendValue(b []byte, v []byte, decodeJSON bool) []byte {
	if decodeJSON && v != nil && json.Valid(v) {
		b = append(b, `"value":`...)
		b = appendCompact(b, v)
		return append(b, `,"value_format":"json"`...)
	}
	return appendBytesMember(b, "value", v)
}

// appendCompact drops white space outside strings; v is valid JSON.
func appendCompact(b, v []byte) []byte {
	inString := false
	for i := 0; i < len(v); i++ {
		c := v[i]
		switch {
		case inString && c == '\\':
			b = append(b, c, v[i+1])
			i++
			continue
		case c == '"':
			inString = !inString
		case !inString && (c == ' ' || c == '\n' || c == '\t' || c == '\r'):
			continue
		}
		b = append(b, c)
	}
	return b
}

// appendBytesMember writes text where the bytes are UTF-8, base64 with a note of it where not, and
// null for null.
func appendBytesMember(b []byte, name string, v []byte) []byte {
	b = append(b, '"')
	b = append(b, name...)
	b = append(b, `":`...)
	switch {
	case v == nil:
		return append(b, "null"...)
	case utf8.Valid(v):
		return appendJSONString(b, string(v))
	}
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, v)
	b = append(b, `","`...)
	b = append(b, name...)
	return append(b, `_encoding":"base64"`...)
}

const hexDigits = "0123456789abcdef"

// appendJSONString quotes valid UTF-8 and leaves everything that JSON allows as it is.
func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c != 0x7f {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, s[start:]...), '"')
}
