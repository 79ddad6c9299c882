package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// humanBytes writes a size with a binary unit: 0 B, 999 B, 1.5 KiB, 20 GiB.
func humanBytes(n int64) string {
	if n < 0 {
		return "-" // unknown
	}
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	f, unit := float64(n), 0
	for f >= 1024 && unit < len(byteUnits)-1 {
		f /= 1024
		unit++
	}
	return trimFloat(f) + " " + byteUnits[unit]
}

var byteUnits = []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// trimFloat keeps three significant digits at most and no trailing zero.
func trimFloat(f float64) string {
	prec := 0
	if f < 10 {
		prec = 2
	} else if f < 100 {
		prec = 1
	}
	s := strconv.FormatFloat(f, 'f', prec, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// humanCount writes a count with thousands separators: 1,234,567.
func humanCount(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// humanDuration writes a duration with the unit that suits it: 1.2 ms, 3.4 s, 5m, 2h10m, 7d.
func humanDuration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + humanDuration(-d)
	case d == 0:
		return "0 s"
	case d < time.Millisecond:
		return trimFloat(float64(d)/float64(time.Microsecond)) + " µs"
	case d < time.Second:
		return trimFloat(float64(d)/float64(time.Millisecond)) + " ms"
	case d < time.Minute:
		return trimFloat(d.Seconds()) + " s"
	case d < 48*time.Hour:
		s := d.Round(time.Second).String()
		if strings.HasSuffix(s, "m0s") {
			s = strings.TrimSuffix(s, "0s")
		}
		if strings.HasSuffix(s, "h0m") {
			s = strings.TrimSuffix(s, "0m")
		}
		return s
	}
	days := d / (24 * time.Hour)
	rest := (d % (24 * time.Hour)) / time.Hour
	if rest == 0 {
		return fmt.Sprintf("%dd", days)
	}
	return fmt.Sprintf("%dd%dh", days, rest)
}

// humanRate writes bytes per second.
func humanRate(n int64, over time.Duration) string {
	if over <= 0 {
		return "-"
	}
	return humanBytes(int64(float64(n)/over.Seconds())) + "/s"
}

// ago writes how long before now t was: "3s ago", "2h ago", "in 5s".
func ago(t, now time.Time) string {
	d := now.Sub(t)
	suffix, prefix := " ago", ""
	if d < 0 {
		d, suffix, prefix = -d, "", "in "
	}
	var s string
	switch {
	case d < time.Second:
		if prefix == "" {
			return "just now"
		}
		s = "1s"
	case d < time.Minute:
		s = fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		s = fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		s = fmt.Sprintf("%dh", d/time.Hour)
	default:
		s = fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return prefix + s + suffix
}

// parseBytes reads 100, 64k, 1MiB, 1.5GB: the units of bytes are binary, as in Kafka's own settings.
func parseBytes(s string) (int64, error) {
	t := strings.TrimSpace(strings.ToLower(s))
	t = strings.TrimSuffix(strings.TrimSuffix(t, "b"), "i")
	mult := int64(1)
	if n := len(t); n > 0 {
		if i := strings.IndexByte("kmgtp", t[n-1]); i >= 0 {
			mult = 1 << (10 * (i + 1))
			t = strings.TrimSpace(t[:n-1])
		}
	}
	f, err := strconv.ParseFloat(t, 64)
	if err != nil || f < 0 || math.IsNaN(f) || f*float64(mult) > math.MaxInt64 {
		return 0, fmt.Errorf("size %q: want a number with an optional unit, such as 512, 64k or 1MiB", s)
	}
	return int64(f * float64(mult)), nil
}

// parseDuration reads Go durations and days and weeks: 90s, 1h30m, 7d, 2w.
func parseDuration(s string) (time.Duration, error) {
	bad := func() (time.Duration, error) {
		return 0, fmt.Errorf("duration %q: want something like 30s, 5m, 12h, 7d or 2w", s)
	}
	body, neg := strings.CutPrefix(s, "-")
	var total time.Duration
	for _, u := range []struct {
		suffix byte
		d      time.Duration
	}{{'w', 7 * 24 * time.Hour}, {'d', 24 * time.Hour}} {
		i := strings.IndexByte(body, u.suffix)
		if i < 0 {
			continue
		}
		f, err := strconv.ParseFloat(body[:i], 64)
		if err != nil || math.Abs(f)*float64(u.d) > float64(math.MaxInt64/2) {
			return bad()
		}
		total += time.Duration(f * float64(u.d))
		body = body[i+1:]
	}
	if body != "" {
		d, err := time.ParseDuration(body)
		if err != nil {
			return bad()
		}
		total += d
	} else if total == 0 {
		return bad()
	}
	if neg {
		total = -total
	}
	return total, nil
}
