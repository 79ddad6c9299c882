package cli

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestWhere(t *testing.T) {
	rec := &kgo.Record{Topic: "orders", Partition: 3, Offset: 42, Timestamp: time.UnixMilli(1000), Key: []byte("ana/1"),
		Value: []byte(
			`{"amount": 12.5, "big": 12345678901234567890, "name": "Ana", "tags": ["x","y"], "null": null, "in": {"a": true}}`),
		Headers: []kgo.RecordHeader{{Key: "try", Value: []byte("1")}, {Key: "try", Value: []byte("2")}, {Key: "nil"}}}
	tests := []struct {
		expr string
		want bool
	}{
		{"key=ana/1", true}, {"key=ana*", true}, {"key = 'ana*'", true}, {"key==bob", false}, {"key!=bob", true},
		{"key~^ana", true}, {"key!~^ana", false}, {"value~amount", true},
		{"value.amount>12", true}, {"value.amount > 12.5", false}, {"value.amount>=12.5", true}, {"value.amount<13",
			true},
		{"value.name=Ana", true}, {"value.name=A?a", true}, {"value.tags.1=y", true}, {"value.tags.9=y", false},
		{"value.in.a=true", true}, {"value.big=12345678901234567890", true}, {"value.null=null", false},
		{"value.none=x", false}, {"value.none!=x", true}, {"value.name>3", false},
		{"header.try=2", true}, {"header.try=1", false}, {"header.nil=*", false}, {"header.none!=1", true},
		{"topic=orders", true}, {"partition=3", true}, {"offset>=42", true}, {"offset<42", false}, {"timestamp=1000",
			true},
	}
	for _, tt := range tests {
		f, err := parseWhere(tt.expr)
		if err != nil {
			t.Errorf("%s: %v", tt.expr, err)
			continue
		}
		if got := f.match(rec); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.expr, got, tt.want)
		}
	}
	for _, bad := range []string{"", "key", "=x", "nope=1", "header=1", "header.=1", "topic.x=1", "value.a>ten",
		"key~(", "key=[a"} {
		if _, err := parseWhere(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
