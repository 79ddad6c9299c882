package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// offsetRange is a parsed offset expression: where to start and where to stop in each partition.
type offsetRange struct {
	from, to offsetBound // to.kind is boundNone for "keep following"
}

// offsetBound is one end of a range, still to be resolved against a partition's log.
type offsetBound struct {
	kind boundKind
	n    int64     // boundExact, boundAfterStart, boundBeforeEnd
	t    time.Time // boundTime
}

type boundKind int8

const (
	boundNone boundKind = iota
	boundStart
	boundEnd // the end as it is when the command starts
	boundExact
	boundAfterStart
	boundBeforeEnd
	boundTime
)

// parseOffsets reads the offset language; see "logstead help offsets". now anchors relative times.
func parseOffsets(s string, now time.Time) (offsetRange, error) {
	switch s {
	case "start", "oldest", "earliest", "beginning":
		return offsetRange{from: offsetBound{kind: boundStart}}, nil
	case "end", "newest", "latest":
		return offsetRange{from: offsetBound{kind: boundEnd}}, nil
	case ":end":
		return offsetRange{from: offsetBound{kind: boundStart}, to: offsetBound{kind: boundEnd}}, nil
	case "":
		return offsetRange{}, badOffsets(s, "it is empty")
	}
	switch s[0] {
	case '@':
		return parseTimeRange(s, s[1:], now)
	case '+', '-':
		n, err := parseOffsetNumber(s[1:])
		if err != nil {
			return offsetRange{}, badOffsets(s, err.Error())
		}
		kind := boundAfterStart
		if s[0] == '-' {
			kind = boundBeforeEnd
		}
		return offsetRange{from: offsetBound{kind: kind, n: n}}, nil
	}
	return parseExactRange(s)
}

// looksLikeOffsets tells an offset expression from an output format, which share consume's -o.
func looksLikeOffsets(s string) bool {
	switch s {
	case "start", "oldest", "earliest", "beginning", "end", "newest", "latest":
		return true
	}
	return s != "" && strings.ContainsRune("@+-:0123456789", rune(s[0]))
}

func badOffsets(s, why string) error {
	return usagef("offset %q: %s", s, why).try("logstead help offsets")
}

func parseOffsetNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || s[0] == '+' {
		return 0, fmt.Errorf("%q is not an offset", s)
	}
	return n, nil
}

// parseExactRange reads N, N:, :N, N:M and N:end.
func parseExactRange(s string) (offsetRange, error) {
	left, right, ranged := strings.Cut(s, ":")
	r := offsetRange{from: offsetBound{kind: boundStart}}
	if left == "" && right == "" {
		return r, badOffsets(s, "it has neither a start nor an end")
	}
	if left != "" {
		n, err := parseOffsetNumber(left)
		if err != nil {
			return r, badOffsets(s, err.Error())
		}
		r.from = offsetBound{kind: boundExact, n: n}
	}
	if !ranged || right == "" {
		return r, nil
	}
	if right == "end" {
		r.to = offsetBound{kind: boundEnd}
		return r, nil
	}
	n, err := parseOffsetNumber(right)
	if err != nil {
		return r, badOffsets(s, err.Error())
	}
	r.to = offsetBound{kind: boundExact, n: n}
	if r.from.kind == boundExact && r.from.n > n {
		return r, badOffsets(s, fmt.Sprintf("the start %d is after the end %d", r.from.n, n))
	}
	return r, nil
}

// parseTimeRange reads T, T:, :T and T:U. A time may itself hold colons, so every colon is tried as
// the divider until both sides make sense.
func parseTimeRange(whole, s string, now time.Time) (offsetRange, error) {
	none := offsetRange{}
	if t, err := parseInstant(s, now); err == nil {
		return offsetRange{from: offsetBound{kind: boundTime, t: t}}, nil
	}
	var firstErr error
	for i := range len(s) {
		if s[i] != ':' {
			continue
		}
		r, err := parseTimeSides(s[:i], s[i+1:], now)
		if err == nil {
			if r.from.kind == boundTime && r.to.kind == boundTime && r.to.t.Before(r.from.t) {
				return none, badOffsets(whole, "the end is before the start")
			}
			return r, nil
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	if firstErr == nil {
		_, firstErr = parseInstant(s, now)
	}
	return none, badOffsets(whole, firstErr.Error())
}

func parseTimeSides(left, right string, now time.Time) (offsetRange, error) {
	r := offsetRange{from: offsetBound{kind: boundStart}}
	if left == "" && right == "" {
		return r, fmt.Errorf("it has neither a start nor an end")
	}
	anchor := now
	if left != "" {
		t, err := parseInstant(left, now)
		if err != nil {
			return r, err
		}
		r.from, anchor = offsetBound{kind: boundTime, t: t}, t
	}
	switch {
	case right == "":
		return r, nil
	case right == "end":
		r.to = offsetBound{kind: boundEnd}
		return r, nil
	}
	t, err := parseInstant(right, now)
	if err != nil {
		d, derr := parseDuration(right)
		if derr != nil || left == "" {
			return r, err
		}
		t = anchor.Add(d) // a bare duration counts from the start of the range
	}
	r.to = offsetBound{kind: boundTime, t: t}
	return r, nil
}

// parseInstant reads one point in time: ms, s, date, RFC 3339 or a negative duration from now.
func parseInstant(s string, now time.Time) (time.Time, error) {
	if s == "now" {
		return now, nil
	}
	if strings.HasPrefix(s, "-") {
		d, err := parseDuration(s)
		if err != nil {
			return time.Time{}, err
		}
		return now.Add(d), nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		switch len(s) {
		case 13:
			return time.UnixMilli(n), nil
		case 9, 10:
			return time.Unix(n, 0), nil
		}
		return time.Time{}, fmt.Errorf("time %q has %d digits: want 13 for milliseconds, 9 or 10 for seconds", s,
			len(s))
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("time %q: want milliseconds, seconds, YYYY-MM-DD, RFC 3339, or -1h", s)
}

// span is a range resolved for one partition: records with first <= offset < last.
type span struct {
	first, last int64 // last is math.MaxInt64 for "keep following"
	position    int64 // where to begin fetching: first, held within the log; or positionStart, positionEnd
}

const noLast = math.MaxInt64

// empty says that the span can hold no record.
func (s span) empty() bool { return s.last <= s.position || s.last <= s.first }

// bounded says that the span has an end.
func (s span) bounded() bool { return s.last != noLast }

// logEnds are the offsets of one partition that bounds are resolved against. atTime gives the first
// offset at or after a time, or end when there is none.
type logEnds struct {
	start, end int64
	atTime     func(time.Time) int64
}

// resolve places the range in one partition.
func (r offsetRange) resolve(e logEnds) span {
	s := span{last: noLast}
	s.first = r.from.resolve(e)
	if r.to.kind != boundNone {
		s.last = r.to.resolve(e)
	}
	s.position = min(max(s.first, e.start), e.end)
	return s
}

// What stands for the start and for the end of a log as they are found once its partition has a leader.
const (
	positionEnd   = -1
	positionStart = -2
)

// onceLed is the span of a partition that has no leader now and so tells no offsets; ok is false where these are needed.
func (r offsetRange) onceLed() (s span, ok bool) {
	s.last = noLast
	switch {
	case r.to.kind != boundNone:
		return s, false
	case r.from.kind == boundStart:
		s.position = positionStart
	case r.from.kind == boundEnd:
		s.position = positionEnd
	case r.from.kind == boundExact:
		s.first, s.position = r.from.n, r.from.n
	default:
		return s, false
	}
	return s, true
}

func (b offsetBound) resolve(e logEnds) int64 {
	switch b.kind {
	case boundEnd:
		return e.end
	case boundExact:
		return b.n
	case boundAfterStart:
		if b.n > math.MaxInt64-e.start {
			return e.end
		}
		return e.start + b.n
	case boundBeforeEnd:
		return max(e.start, e.end-b.n)
	case boundTime:
		return e.atTime(b.t)
	}
	return e.start
}

// times lists the instants that must be looked up before resolve can be called.
func (r offsetRange) times() []time.Time {
	var out []time.Time
	for _, b := range []offsetBound{r.from, r.to} {
		if b.kind == boundTime {
			out = append(out, b.t)
		}
	}
	return out
}
