package cli

import (
	"runtime"
	"testing"
)

// TestTuneRuntime: a process that starts a server more than once has as many processors as with one.
func TestTuneRuntime(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	before := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	tuneRuntime(0)
	want := runtime.GOMAXPROCS(0)
	if want < 4 {
		t.Errorf("a server has %d processors, want 4 at least", want)
	}
	tuneRuntime(0)
	if got := runtime.GOMAXPROCS(0); got != want {
		t.Errorf("the second server of a process has %d processors, the first %d", got, want)
	}
}
