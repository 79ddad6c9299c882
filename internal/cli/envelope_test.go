package cli

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestEnvelopeShape(t *testing.T) {
	tests := []struct {
		name   string
		rec    kgo.Record
		decode bool
		want   string
	}{
		{"text", kgo.Record{Topic: "t", Partition: 3, Offset: 4711, Timestamp: time.UnixMilli(1763689000123),
			Key: []byte("k1"), Value: []byte("v\n\x01\"<é"),
			Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte("ab")}}}, false,
			`{"topic":"t","partition":3,"offset":4711,"timestamp":1763689000123,"timestamp_type":"create","key":"k1","value":"v\n\u0001\"<é","headers":[{"key":"trace","value":"ab"}],"size":16}`},
		{"tombstone", kgo.Record{Topic: "t", Timestamp: time.UnixMilli(0)}, false,
			`{"topic":"t","partition":0,"offset":0,"timestamp":0,"timestamp_type":"create","key":null,"value":null,"headers":[],"size":0}`},
		{"empty is not null", kgo.Record{Topic: "t", Timestamp: time.UnixMilli(0), Key: []byte{}, Value: []byte{}},
			false,
			`{"topic":"t","partition":0,"offset":0,"timestamp":0,"timestamp_type":"create","key":"","value":"","headers":[],"size":0}`},
		{"binary", kgo.Record{Topic: "t", Timestamp: time.UnixMilli(0), Key: []byte{0xff}, Value: []byte{0, 0xff},
			Headers: []kgo.RecordHeader{{Key: "h", Value: []byte{0xfe}}}}, false,
			`{"topic":"t","partition":0,"offset":0,"timestamp":0,"timestamp_type":"create","key":"/w==","key_encoding":"base64","value":"AP8=","value_encoding":"base64","headers":[{"key":"h","value":"/g==","value_encoding":"base64"}],"size":5}`},
		{"decoded, digits kept", kgo.Record{Topic: "t", Timestamp: time.UnixMilli(0),
			Value: []byte(` {"id": 12345678901234567890, "s": "a \" b"} `)}, true,
			`{"topic":"t","partition":0,"offset":0,"timestamp":0,"timestamp_type":"create","key":null,"value":{"id":12345678901234567890,"s":"a \" b"},"value_format":"json","headers":[],"size":45}`},
	}
	for _, tt := range tests {
		if got := string(appendEnvelope(nil, &tt.rec, tt.decode)); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// FuzzEnvelope holds that what consume prints, produce reads back, byte for byte, and that any JSON
// reader can read it.
func FuzzEnvelope(f *testing.F) {
	f.Add([]byte("key"), []byte("value"), "header", []byte("x"))
	f.Add([]byte{0xff}, []byte("\x00\x7f\u2028"), "", []byte(nil))
	f.Fuzz(func(t *testing.T, key, value []byte, name string, header []byte) {
		in := &kgo.Record{Topic: "t", Timestamp: time.UnixMilli(5), Key: key, Value: value,
			Headers: []kgo.RecordHeader{{Key: "h", Value: header}}}
		line := appendEnvelope(nil, in, false)
		if !json.Valid(line) {
			t.Fatalf("not JSON: %s", line)
		}
		src := &jsonSource{dec: json.NewDecoder(bytes.NewReader(line)), shape: recordShape{partition: -1}}
		if key == nil && value == nil {
			return // null and null is written, too, but an input without either is refused
		}
		out, err := src.next()
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		same := func(what string, a, b []byte) {
			if !bytes.Equal(a, b) || (a == nil) != (b == nil) {
				t.Errorf("%s: %q became %q", what, a, b)
			}
		}
		same("key", in.Key, out.Key)
		same("value", in.Value, out.Value)
		same("header", in.Headers[0].Value, out.Headers[0].Value)
	})
}
