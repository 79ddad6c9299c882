package main

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// Each anomaly is planted once, and found as what it is.
func TestJudge(t *testing.T) {
	at := place{"t", 0}
	cases := []struct {
		kind string
		plot func(h *History) (final []Record)
	}{
		{"lost-write", func(h *History) []Record {
			h.Settle(h.Begin(0, "t", 0), acked, 0)
			return nil
		}},
		{"duplicate", func(h *History) []Record {
			k := h.Begin(0, "t", 0)
			h.Settle(k, open, -1)
			return []Record{{at, 0, k}, {at, 1, k}}
		}},
		{"inconsistent-offsets", func(h *History) []Record {
			a, b := h.Begin(0, "t", 0), h.Begin(1, "t", 0)
			h.Saw(at, 0, a)
			h.Saw(at, 0, b)
			return []Record{{at, 0, a}, {at, 1, b}}
		}},
		{"inconsistent-offsets", func(h *History) []Record {
			k := h.Begin(0, "t", 0)
			h.Settle(k, acked, 7)
			return []Record{{at, 3, k}}
		}},
		{"invented", func(*History) []Record { return []Record{{at, 0, key{3, 3}}} }},
		{"nonmonotonic-send", func(h *History) []Record {
			a, b := h.Begin(0, "t", 0), h.Begin(0, "t", 0)
			return []Record{{at, 0, b}, {at, 1, a}}
		}},
		{"nonmonotonic-send", func(h *History) []Record {
			h.GivesUp(0)
			a, b := h.Begin(0, "t", 0), h.Begin(0, "t", 0)
			h.Settle(a, acked, 1)
			h.Settle(b, acked, 0)
			return []Record{{at, 0, b}, {at, 1, a}}
		}},
		{"nonmonotonic-send", func(h *History) []Record {
			h.GivesUp(1)
			a, b := h.Begin(0, "t", 0), h.Begin(0, "t", 0)
			h.Settle(a, unknown, -1)
			return []Record{{at, 0, b}, {at, 1, a}}
		}},
		{"aborted-read", func(h *History) []Record {
			k := h.Begin(0, "t", 0)
			h.Settle(k, forbidden, -1)
			return []Record{{at, 0, k}}
		}},
		{"dirty-read", func(h *History) []Record {
			k := h.Begin(0, "t", 0)
			h.Saw(at, 0, k)
			return nil
		}},
		{"torn-transaction", func(h *History) []Record {
			k := h.Begin(0, "t", 0)
			h.Torn([]Record{{at, 0, k}}, 2, func(key) int { return 0 })
			return []Record{{at, 0, k}}
		}},
	}
	for _, c := range cases {
		h := NewHistory()
		h.Judge("t", c.plot(h), true)
		var found []string
		h.Found(func(kind string, n int, _ []string) bool {
			if n > 0 {
				found = append(found, kind)
			}
			return true
		})
		if !slices.Equal(found, []string{c.kind}) {
			t.Errorf("planted %s, found %v", c.kind, found)
		}
	}
}

// A history in which all went well has no anomaly, whatever stayed open.
func TestJudgeQuiet(t *testing.T) {
	h, at := NewHistory(), place{"t", 0}
	a, b, c := h.Begin(0, "t", 0), h.Begin(0, "t", 0), h.Begin(0, "t", 0)
	h.Settle(a, acked, 0)
	h.Settle(c, acked, 2)
	h.Saw(at, 0, a)
	h.GivesUp(1)
	d, e := h.Begin(1, "t", 0), h.Begin(1, "t", 0)
	h.Settle(d, unknown, -1)
	h.Settle(e, acked, 3)
	h.Judge("t", []Record{{at, 0, a}, {at, 1, b}, {at, 2, c}, {at, 3, e}, {at, 4, d}}, true)
	h.Judge("other", nil, true)
	h.Found(func(kind string, n int, examples []string) bool {
		if n > 0 {
			t.Errorf("%s: %v", kind, examples)
		}
		return true
	})
}

func TestValue(t *testing.T) {
	for _, k := range []key{{0, 0}, {12, 3456789}} {
		if got, err := parseValue(value(k)); err != nil || got != k {
			t.Errorf("%v: got %v, %v", k, got, err)
		}
	}
	if _, err := parseValue([]byte("x")); err == nil {
		t.Error("a strange value was taken")
	}
}

func TestGaps(t *testing.T) {
	g, t0 := newGaps(), time.Unix(0, 0)
	at := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	g.ack(0, at(0))
	g.begin(at(10))
	g.ack(0, at(40))
	g.ack(0, at(50))
	if w := g.end(at(60)); w.worst != 30*time.Millisecond {
		t.Errorf("worst gap %v, want 30ms", w.worst)
	}
	if w := g.end(at(150)); w.worst != 100*time.Millisecond {
		t.Errorf("a gap that goes on: %v, want 100ms", w.worst)
	}
}

func TestRules(t *testing.T) {
	r := newRules(1)
	if v := r.decide(1, 2, [2]uint16{}); v.n != 1 || v.after[0] != 0 {
		t.Errorf("no rule: %+v", v)
	}
	r.set(1, 2, link{Cut: true})
	if r.decide(1, 2, [2]uint16{}).n != 0 || r.decide(2, 1, [2]uint16{}).n != 1 || r.bitten() != 1 {
		t.Error("one direction is to be cut, and one only")
	}
	r.both(1, 3, link{Delay: time.Second, Dup: 1})
	if v := r.decide(3, 1, [2]uint16{}); v.n != 2 || v.after[1] != time.Second {
		t.Errorf("delayed and doubled: %+v", v)
	}
	r.heal()
	if r.decide(1, 2, [2]uint16{}).n != 1 || r.bitten() != 0 {
		t.Error("healed links pass everything")
	}
}

// TestCommits: what was acknowledged does not go back, but to a commit that the client gave up, which may come late.
func TestCommits(t *testing.T) {
	var c commits
	if c.regressed(-1) {
		t.Error("nothing was committed, and is missed")
	}
	c.sent(1, time.Millisecond, nil)
	c.sent(7, 2*time.Second, nil)
	c.sent(13, time.Millisecond, errors.New("no answer"))
	c.sent(19, time.Millisecond, nil)
	for read, want := range map[int64]bool{-1: true, 1: true, 7: false, 8: true, 13: false, 19: false, 25: false} {
		if got := c.regressed(read); got != want {
			t.Errorf("%d is read after 19 was committed: regressed is %v, want %v", read, got, want)
		}
	}
}

// TestWindow: a time above its limit is the machine's only where that stood still, and for as long as the time is above it.
func TestWindow(t *testing.T) {
	g, t0 := newGaps(), time.Unix(0, 0)
	g.begin(t0)
	for _, late := range []time.Duration{starved - 1, 100 * time.Millisecond, 300 * time.Millisecond} {
		g.overslept(late)
	}
	w := g.end(t0)
	if !w.noisy() || w.lost != 400*time.Millisecond {
		t.Errorf("noisy is %v and %v were lost, want true and 400ms", w.noisy(), w.lost)
	}
	if !w.excuses(2300*time.Millisecond, 2*time.Second) || w.excuses(2500*time.Millisecond, 2*time.Second) {
		t.Error("400ms excuse 300ms above a limit, and not 500ms")
	}
	if (window{lost: time.Minute, late: tooLate}).excuses(3*time.Second, 2*time.Second) {
		t.Error("a process that ran often enough excuses nothing")
	}
}
