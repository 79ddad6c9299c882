package cli

import (
	"testing"
	"time"
)

func TestHumanForms(t *testing.T) {
	for n, want := range map[int64]string{-1: "-", 0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB",
		10 << 20: "10 MiB", 5 << 40: "5 TiB"} {
		if got := humanBytes(n); got != want {
			t.Errorf("humanBytes(%d) is %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := humanCount(n); got != want {
			t.Errorf("humanCount(%d) is %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0 s", 1500 * time.Nanosecond: "1.5 µs",
		2500 * time.Microsecond: "2.5 ms",
		10 * time.Second:        "10 s", 90 * time.Second: "1m30s", 2 * time.Hour: "2h", 26 * time.Hour: "26h", 50 * time.Hour: "2d2h", 7 * 24 * time.Hour: "7d"} {
		if got := humanDuration(d); got != want {
			t.Errorf("humanDuration(%v) is %q, want %q", int64(d), got, want)
		}
	}
	for back, want := range map[time.Duration]string{0: "just now", 5 * time.Second: "5s ago",
		3 * time.Minute: "3m ago", -5 * time.Second: "in 5s", 72 * time.Hour: "3d ago"} {
		if got := ago(testNow.Add(-back), testNow); got != want {
			t.Errorf("ago(%v) is %q, want %q", back, got, want)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "100": 100, "64k": 65536, "1KiB": 1024, "1kb": 1024,
		"1.5M": 1572864, "2 GiB": 2 << 30} {
		if got, err := parseBytes(s); err != nil || got != want {
			t.Errorf("parseBytes(%q) is %d, %v, want %d", s, got, err, want)
		}
	}
	for _, bad := range []string{"", "x", "-1", "1ZiB", "NaN", "9999999P"} {
		if n, err := parseBytes(bad); err == nil {
			t.Errorf("parseBytes(%q) is %d, want an error", bad, n)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{"30s": 30 * time.Second, "1h30m": 90 * time.Minute,
		"7d":    168 * time.Hour,
		"1d12h": 36 * time.Hour, "2w": 336 * time.Hour, "-1d": -24 * time.Hour, "0.5d": 12 * time.Hour} {
		if got, err := parseDuration(s); err != nil || got != want {
			t.Errorf("parseDuration(%q) is %v, %v, want %v", s, got, err, want)
		}
	}
	for _, bad := range []string{"", "5", "d", "1x", "-", "1e30w"} {
		if d, err := parseDuration(bad); err == nil {
			t.Errorf("parseDuration(%q) is %v, want an error", bad, d)
		}
	}
}

func TestSimilar(t *testing.T) {
	names := []string{"orders", "orders-v2", "payments", "billing"}
	tests := []struct {
		typed string
		want  string
	}{{"ordrs", "orders"}, {"odrers", "orders"}, {"paymnts", "payments"}, {"Orders", "orders"}, {"zzzzzz",
		""}, {"bill", "billing"}}
	for _, tt := range tests {
		got := ""
		if s := similar(tt.typed, names); len(s) > 0 {
			got = s[0]
		}
		if got != tt.want {
			t.Errorf("similar(%q) begins with %q, want %q", tt.typed, got, tt.want)
		}
	}
}

func TestParsePartitions(t *testing.T) {
	for s, want := range map[string]string{"": "", "0": "0", "2,0-1": "0,1,2", "5-5,5": "5"} {
		got, err := parsePartitions(s)
		if err != nil || joinInts(got) != want {
			t.Errorf("parsePartitions(%q) is %v, %v, want %s", s, got, err, want)
		}
	}
	for _, bad := range []string{"x", "-1", "3-1", "0-99999999", "1-2-3"} {
		if got, err := parsePartitions(bad); err == nil {
			t.Errorf("parsePartitions(%q) is %v, want an error", bad, got)
		}
	}
	if got := rangeText([]int32{0, 1, 2, 5, 7, 8}); got != "0-2,5,7-8" {
		t.Errorf("rangeText is %s", got)
	}
}
