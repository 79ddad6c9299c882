package api

import (
	"slices"
	"testing"
	"time"
)

// lookTest is a session of parts 0 to n-1 and the numbers of those that its last fetch looked at.
type lookTest struct {
	t     *testing.T
	s     session
	now   time.Time
	every time.Duration
	kind  lookKind
	list  []*fetchPart
}

func newLookTest(t *testing.T, n int) *lookTest {
	l := &lookTest{t: t, now: time.Unix(1_700_000_000, 0), every: time.Second, kind: lookKind{replica: 1}}
	l.s.parts = someParts(n)
	return l
}

func (l *lookTest) begin(want ...int32) {
	l.t.Helper()
	l.list = l.s.look.begin(l.s.parts, l.now, l.every, l.kind)
	l.looks(want...)
}

func (l *lookTest) looks(want ...int32) {
	l.t.Helper()
	var got []int32
	for _, p := range l.list {
		got = append(got, p.key.part)
	}
	if !slices.Equal(got, want) {
		l.t.Errorf("looks at %v, want %v", got, want)
	}
}

// end ends the fetch: it gave records of some, had no room for others, and the rest is at rest.
func (l *lookTest) end(gave, left []int32) {
	for _, p := range l.list {
		p.given, p.settled = slices.Contains(gave, p.key.part), false
		p.told()
		if !p.given {
			p.settled = !slices.Contains(left, p.key.part)
		}
	}
	l.s.look.end(l.list, true)
}

// TestSessionLookOrder: a fetch looks at what an earlier one had no room for first, then at what has changed, last at what gave
// records; and at what is at rest not at all.
func TestSessionLookOrder(t *testing.T) {
	l := newLookTest(t, 6)
	l.begin(0, 1, 2, 3, 4, 5)
	l.end([]int32{0}, []int32{2, 3})
	l.s.look.note(l.s.parts[5])
	l.s.look.note(l.s.parts[0]) // the client has taken its records
	l.begin(2, 3, 5, 0)
	l.end([]int32{2}, []int32{3})
	l.begin(3, 2)
	l.end(nil, nil)
	l.begin()
	l.end(nil, nil)
}

// TestSessionLookSweep: all are looked at once the time has passed, and where another kind of fetch goes on with the session.
func TestSessionLookSweep(t *testing.T) {
	l := newLookTest(t, 3)
	l.begin(0, 1, 2)
	l.end(nil, nil)
	l.now = l.now.Add(l.every - 1)
	l.begin()
	l.end(nil, nil)
	l.now = l.now.Add(1)
	l.begin(0, 1, 2)
	l.end([]int32{1}, nil)
	l.kind.epoch++
	l.begin(0, 2, 1)
	l.end(nil, nil)
	l.every = 0
	l.begin(0, 1, 2)
}

// TestSessionLookUntold: what no answer says stays to be said.
func TestSessionLookUntold(t *testing.T) {
	l := newLookTest(t, 2)
	l.begin(0, 1)
	l.list[1].settled = true
	l.s.look.end(l.list, false)
	l.begin(0, 1)
	l.end(nil, nil)
	l.begin()
}

// TestSessionLookWaits: while a fetch waits it drops what is at rest, and takes in what changes.
func TestSessionLookWaits(t *testing.T) {
	l := newLookTest(t, 3)
	l.begin(0, 1, 2)
	for _, p := range l.list {
		p.settled = true
		p.told()
	}
	l.list[1].res.HighWatermark = 7 // news that wakes nobody
	l.list = l.s.look.rest(l.list)
	l.looks(1)
	changed := false
	if l.list, changed = l.s.look.more(l.list); changed {
		t.Error("nothing was marked")
	}
	l.s.look.note(l.s.parts[0])
	l.s.look.note(l.s.parts[1])
	l.list, _ = l.s.look.more(l.list)
	l.looks(1, 0)
	l.end(nil, nil)
	l.begin()
}

// TestSessionLookForgotten: what the client has forgotten is not looked at.
func TestSessionLookForgotten(t *testing.T) {
	l := newLookTest(t, 3)
	l.s.index = map[fetchKey]*fetchPart{}
	for _, p := range l.s.parts {
		l.s.index[p.key] = p
	}
	l.begin(0, 1, 2)
	l.end([]int32{1, 2}, nil)
	l.s.forget(fetchKey{part: 1})
	l.s.look.note(l.s.parts[0])
	l.begin(0, 2)
}
