package storage

import (
	"testing"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// TestPreviousEpoch: a stop in order tells the next start under which broker epoch it was made (KIP-966), if it was
// the same in every log directory; after a crash nothing is told.
func TestPreviousEpoch(t *testing.T) {
	epoch := int64(41)
	w := newWorld(t, func(o *Options) {
		o.Dirs = []string{"/data", "/more"}
		o.BrokerEpoch = func() int64 { return epoch }
	})
	want := func(when string, want int64) {
		t.Helper()
		if got := w.store.PreviousEpoch(); got != want {
			t.Fatalf("%s: the epoch before is %d, want %d", when, got, want)
		}
	}
	mark := func(dir, content string) {
		t.Helper()
		if err := w.store.Close(); err != nil {
			t.Fatal(err)
		}
		var err error
		if name := dir + "/" + cleanShutdownFile; content == "" {
			err = w.fs.Remove(name)
		} else {
			err = vfs.WriteFile(w.fs, name, []byte(content))
		}
		if err != nil {
			t.Fatal(err)
		}
		w.open()
	}
	want("new", -1)
	w.reopen()
	want("after a stop", 41)
	w.crash(noUnsynced)
	want("after a crash", -1)
	w.reopen()
	want("after another stop", 41)
	mark("/more", "")
	want("one directory without a mark", -1)
	mark("/data", `{"version":0,"brokerEpoch":40}`)
	want("directories that differ", -1)
	mark("/more", "not JSON")
	want("a mark of old", -1)
	mark("/more", `{"version":0,"brokerEpoch":41}`)
	want("a mark of Apache Kafka's", 41)
	mark("/more", `{"version":0}`)
	want("a mark without an epoch", -1)
}
