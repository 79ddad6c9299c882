package cli

import (
	"strings"
	"testing"
	"time"
)

var testNow = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// timesAt is a log with one record a minute before testNow: offset 100 is an hour old, offset 160 is
// the end.
func timesAt(t time.Time) int64 {
	ago := testNow.Sub(t)
	switch {
	case ago > time.Hour:
		return 100
	case ago <= 0:
		return 160
	}
	return 160 - int64(ago/time.Minute)
}

func TestOffsetsResolve(t *testing.T) {
	log := logEnds{start: 100, end: 160, atTime: timesAt}
	tests := []struct {
		expr                  string
		first, last, position int64
	}{
		{"start", 100, noLast, 100},
		{"earliest", 100, noLast, 100},
		{"end", 160, noLast, 160},
		{"latest", 160, noLast, 160},
		{":end", 100, 160, 100},
		{"+5", 105, noLast, 105},
		{"+500", 600, noLast, 160},
		{"-5", 155, noLast, 155},
		{"-500", 100, noLast, 100},
		{"120", 120, noLast, 120},
		{"120:", 120, noLast, 120},
		{"7", 7, noLast, 100},
		{":120", 100, 120, 100},
		{"120:130", 120, 130, 120},
		{"120:end", 120, 160, 120},
		{"@-30m", 130, noLast, 130},
		{"@-30m:", 130, noLast, 130},
		{"@:-30m", 100, 130, 100},
		{"@-30m:-10m", 130, 150, 130},
		{"@-30m:10m", 130, 140, 130},
		{"@-30m:end", 130, 160, 130},
		{"@2026-11-21", 100, noLast, 100},
		{"@2026-11-21T11:30:00Z", 130, noLast, 130},
		{"@2026-11-21T11:30:00Z:2026-11-21T11:40:00Z", 130, 140, 130},
		{"@2026-11-21T12:30:00+01:00:5m", 130, 135, 130},
		{"@1795260600", 130, noLast, 130},
		{"@1795260600000:1795261200000", 130, 140, 130},
		{"@now", 160, noLast, 160},
	}
	for _, tt := range tests {
		r, err := parseOffsets(tt.expr, testNow)
		if err != nil {
			t.Errorf("%s: %v", tt.expr, err)
			continue
		}
		got := r.resolve(log)
		if got.first != tt.first || got.last != tt.last || got.position != tt.position {
			t.Errorf("%s: first %d last %d position %d, want %d %d %d", tt.expr, got.first, got.last, got.position,
				tt.first, tt.last, tt.position)
		}
	}
}

func TestOffsetsRefused(t *testing.T) {
	tests := []struct{ expr, want string }{
		{"", "it is empty"},
		{":", "neither a start nor an end"},
		{"+", "is not an offset"},
		{"--5", "is not an offset"},
		{"+-5", "is not an offset"},
		{"5:x", `"x" is not an offset`},
		{"9:3", "the start 9 is after the end 3"},
		{"@", "want milliseconds"},
		{"@12", "2 digits"},
		{"@:", "neither a start nor an end"},
		{"@yesterday", "want milliseconds, seconds, YYYY-MM-DD, RFC 3339, or -1h"},
		{"@-1h:-2h", "the end is before the start"},
		{"@1h", "want milliseconds"}, // a bare duration needs a start to count from
		{"99999999999999999999", "is not an offset"},
	}
	for _, tt := range tests {
		_, err := parseOffsets(tt.expr, testNow)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q in it", tt.expr, err, tt.want)
		}
	}
}

func TestSpanEmpty(t *testing.T) {
	for expr, want := range map[string]bool{
		":end": true, "start": false, "0:5": true, "-5": false, "@-1h:end": true,
	} {
		r, err := parseOffsets(expr, testNow)
		if err != nil {
			t.Fatal(err)
		}
		got := r.resolve(logEnds{start: 9, end: 9, atTime: func(time.Time) int64 { return 9 }})
		if got.empty() != want {
			t.Errorf("%s in an empty log: empty is %v, want %v", expr, got.empty(), want)
		}
	}
}

// FuzzOffsets holds that parsing never panics, and that what is accepted resolves to a span in order.
func FuzzOffsets(f *testing.F) {
	for _, s := range []string{"start", ":end", "+1", "-1", "5:9", "@-1h:10m", "@2026-11-21T00:00:00Z:end"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseOffsets(s, testNow)
		if err != nil {
			return
		}
		got := r.resolve(logEnds{start: 100, end: 160, atTime: timesAt})
		if got.position < 100 || got.position > 160 {
			t.Errorf("%q: position %d is outside the log", s, got.position)
		}
	})
}

func TestLooksLikeOffsets(t *testing.T) {
	for _, s := range []string{"start", "end", ":end", "+1", "-1", "7", "@-1h"} {
		if !looksLikeOffsets(s) {
			t.Errorf("%q is an offset", s)
		}
	}
	for _, s := range append([]string{"", "%v"}, consumeFormats...) {
		if looksLikeOffsets(s) {
			t.Errorf("%q is a format", s)
		}
	}
}

// TestOnceLed: a partition without a leader can be waited for where no offset of it must be known before.
func TestOnceLed(t *testing.T) {
	for expr, want := range map[string]int64{"start": positionStart, "end": positionEnd, "7": 7} {
		r, err := parseOffsets(expr, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := r.onceLed(); !ok || s.position != want || s.bounded() || s.empty() {
			t.Errorf("%s: %+v, %t", expr, s, ok)
		}
	}
	for _, expr := range []string{":end", "3:5", "-10", "+3", "@-1h"} {
		r, err := parseOffsets(expr, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := r.onceLed(); ok {
			t.Errorf("%s needs offsets that are not known", expr)
		}
	}
}
