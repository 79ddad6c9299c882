package storage

import (
	"slices"
	"testing"
)

func TestEpochs(t *testing.T) {
	var c epochCache
	for _, e := range []epochEntry{{1, 0}, {2, 10}, {2, 15}, {5, 20}} {
		c.assign(e.epoch, e.start)
	}
	if want := []epochEntry{{1, 0}, {2, 10}, {5, 20}}; !slices.Equal(c.entries, want) {
		t.Fatalf("%v, want %v", c.entries, want)
	}
	for _, tt := range []struct {
		ask, epoch int32
		end        int64
	}{{0, 0, 0}, {1, 1, 10}, {2, 2, 20}, {3, 2, 20}, {4, 2, 20}, {5, 5, 99}, {6, -1, -1}, {-1, -1, -1}} {
		if epoch, end := c.end(tt.ask, 99); epoch != tt.epoch || end != tt.end {
			t.Errorf("end of epoch %d is %d at %d, want %d at %d", tt.ask, epoch, end, tt.epoch, tt.end)
		}
	}
	for _, tt := range []struct {
		offset int64
		epoch  int32
	}{{0, 1}, {9, 1}, {10, 2}, {19, 2}, {20, 5}, {1000, 5}} {
		if epoch, ok := c.at(tt.offset); !ok || epoch != tt.epoch {
			t.Errorf("epoch at %d is %d, want %d", tt.offset, epoch, tt.epoch)
		}
	}
	c.truncateStart(12)
	if want := []epochEntry{{2, 12}, {5, 20}}; !slices.Equal(c.entries, want) {
		t.Fatalf("from 12 on: %v, want %v", c.entries, want)
	}
	c.truncateEnd(20)
	if want := []epochEntry{{2, 12}}; !slices.Equal(c.entries, want) {
		t.Fatalf("up to 20: %v, want %v", c.entries, want)
	}
	c.assign(4, 12) // nothing was written in epoch 2
	if want := []epochEntry{{4, 12}}; !slices.Equal(c.entries, want) {
		t.Fatalf("a new epoch at the same offset: %v, want %v", c.entries, want)
	}
}

func TestEpochsSurvive(t *testing.T) {
	w := newWorld(t)
	l := w.create(smallSegments())
	for epoch := range int32(5) {
		l.AssignEpoch(epoch)
		if _, err := l.Append(makeBatch(spec{}), AppendOptions{Now: epoch0, LeaderEpoch: epoch}); err != nil {
			t.Fatal(err)
		}
	}
	waitSynced(t, l, 5)
	for _, restart := range []func(){w.reopen, func() { w.crash(noUnsynced) }} {
		restart()
		for epoch := range int32(4) {
			if got, end := w.log().EpochEnd(epoch); got != epoch || end != int64(epoch)+1 {
				t.Fatalf("epoch %d ends as %d at %d", epoch, got, end)
			}
		}
	}
}

// TestEpochsOfWhatWasCut: a crash leaves the file that tells of an epoch whose records were cut since. What took their place was written
// in an epoch before it.
func TestEpochsOfWhatWasCut(t *testing.T) {
	w := newWorld(t)
	l := w.create(smallSegments())
	write := func(epochs ...int32) {
		t.Helper()
		for _, epoch := range epochs {
			if _, err := l.Append(makeBatch(spec{}), AppendOptions{Now: epoch0, LeaderEpoch: epoch}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(4, 4, 5)
	waitSynced(t, l, 3)
	w.store.Checkpoint()
	if err := l.Truncate(2); err != nil {
		t.Fatal(err)
	}
	write(4, 6)
	waitSynced(t, l, 4)
	want := []epochEntry{{4, 0}, {6, 3}}
	for _, restart := range []func(){func() {}, func() { w.crash(noUnsynced) }, w.reopen} {
		restart()
		if l = w.log(); !slices.Equal(l.epochs.entries, want) {
			t.Errorf("leader epochs begin at %v, want %v", l.epochs.entries, want)
		}
	}
}

// TestEpochsRecovered: what a batch says of its epoch is believed, and what agrees with it stays.
func TestEpochsRecovered(t *testing.T) {
	for _, c := range []struct {
		name             string
		file, read, want []epochEntry
	}{
		{"nothing known", nil, []epochEntry{{1, 0}, {1, 3}, {2, 5}}, []epochEntry{{1, 0}, {2, 5}}},
		{"all known", []epochEntry{{1, 0}, {2, 5}}, []epochEntry{{1, 3}, {2, 5}, {2, 7}}, []epochEntry{{1, 0}, {2, 5}}},
		{"batches that compaction took", []epochEntry{{1, 0}, {2, 5}}, []epochEntry{{1, 3}, {2, 7}}, []epochEntry{{1, 0}, {2, 5}}},
		{"of an older epoch", []epochEntry{{1, 0}, {3, 5}}, []epochEntry{{1, 3}, {1, 5}, {4, 6}}, []epochEntry{{1, 0}, {4, 6}}},
		{"all of older epochs", []epochEntry{{3, 0}}, []epochEntry{{0, 0}, {2, 5}}, []epochEntry{{0, 0}, {2, 5}}},
		{"from within a batch", []epochEntry{{1, 0}, {3, 6}}, []epochEntry{{1, 4}, {1, 8}, {2, 9}}, []epochEntry{{1, 0}, {2, 9}}},
		{"later than it began", []epochEntry{{1, 0}, {3, 9}}, []epochEntry{{1, 4}, {3, 6}, {3, 9}}, []epochEntry{{1, 0}, {3, 6}}},
	} {
		cache := epochCache{entries: slices.Clone(c.file)}
		for _, b := range c.read {
			cache.recovered(b.epoch, b.start)
		}
		if !slices.Equal(cache.entries, c.want) {
			t.Errorf("%s: %v, want %v", c.name, cache.entries, c.want)
		}
	}
}
