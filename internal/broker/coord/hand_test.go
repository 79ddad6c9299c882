package coord

import (
	"errors"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/kit/clock"
)

// TestByHand: without goroutines everything happens in Step.
func TestByHand(t *testing.T) {
	clk, p := clock.NewManual(time.Unix(1_700_000_000, 0)), &fakePartition{}
	s := New[*fakeMachine](Options{Clock: clk, ByHand: true, Partitions: func() int32 { return 1 }})
	s.Load(0, p, newFakeMachine)
	var o outcome
	submit := func(name string) {
		s.Submit(0, func(*fakeMachine, time.Time) Result {
			r := put(name, "v")
			r.Done = append(r.Done, o.done(name))
			return r
		}, o.done(name))
	}
	expect := func(want string) {
		t.Helper()
		if got := o.take(); got != want {
			t.Errorf("answers %q, want %q", got, want)
		}
	}
	submit("a")
	expect("a!COORDINATOR_LOAD_IN_PROGRESS")
	s.Step()
	p.set(func() { p.mu.manual = true })
	submit("b")
	s.Step()
	expect("")
	p.commit()
	s.Step()
	expect("b")
	p.set(func() { p.mu.fail = errors.New("broken") })
	submit("c")
	s.Step()
	expect("c!NOT_COORDINATOR")
	p.set(func() { p.mu.fail, p.mu.manual = nil, false })
	s.Step()
	submit("d")
	expect("d!NOT_COORDINATOR") // it is loaded again after a pause
	clk.Advance(minRetryBackoff)
	s.Step()
	submit("e")
	s.Step()
	expect("e")
	s.Unload(0)
	s.Step()
	submit("f")
	expect("f!NOT_COORDINATOR")
	if p.mu.scans != 2 || p.mu.appends != 3 {
		t.Errorf("%d scans and %d appends, want 2 and 3", p.mu.scans, p.mu.appends)
	}
}
