package conf

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

var humanNumber = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)$`)

var sizeUnits = map[string]float64{
	"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

var msUnits = map[string]float64{
	"ms": 1, "s": 1e3, "m": 6e4, "min": 6e4, "h": 3.6e6, "d": 8.64e7, "w": 6.048e8,
}

// fromHuman turns a duration or size like 7d or 1GiB into the number that the key takes. What is
// neither stays as it is, for the key's own rule to refuse.
func fromHuman(k *Key, text string) string {
	if k.Type != Int && k.Type != Long && k.Type != Short {
		return text
	}
	m := humanNumber.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return text
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return text
	}
	var ok bool
	var factor float64
	if per := msPerUnit(k.Name); per > 0 {
		factor, ok = msUnits[strings.ToLower(m[2])]
		factor /= per
	} else {
		factor, ok = sizeUnits[strings.ToLower(m[2])]
	}
	if n *= factor; !ok || n != math.Trunc(n) || n >= math.MaxInt64 {
		return text
	}
	return strconv.FormatInt(int64(n), 10)
}

// msPerUnit is the milliseconds in one unit of a key that is a time, 0 for any other key.
func msPerUnit(name string) float64 {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return map[string]float64{
		"ms": 1, "millis": 1, "secs": 1e3, "seconds": 1e3, "minutes": minutesToMs, "hours": hoursToMs,
	}[last]
}
