package storage

import (
	"slices"
	"testing"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// TestSnapshotOfWhatWasCut: the producers' state of records that were cut does not come back with a crash, once others have
// taken their place: a transaction that has ended since would be open, and what comes next be read as its end.
func TestSnapshotOfWhatWasCut(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Journal.Disabled = true })
	l := w.create(DefaultLogConfig())
	appendSpec(t, l, spec{values: []string{"a"}, pid: 7, attrs: attrTransactional})
	appendSpec(t, l, spec{values: []string{"b"}, pid: -1})
	if err := l.Sync(); err != nil { // its names are on stable storage, so that a sync of records later on is one of its files alone
		t.Fatal(err)
	}
	if err := l.checkpoint(true); err != nil { // it leaves a snapshot at 2
		t.Fatal(err)
	}
	if !slices.Contains(l.snaps, 2) {
		t.Fatalf("snapshots at %v, want one at 2", l.snaps)
	}
	if err := l.Truncate(1); err != nil {
		t.Fatal(err)
	}
	left := w.opts.FS.(*vfs.Mem).CrashClone(vfs.CrashOptions{})
	if names := dirNames(t, left, l.home()); slices.Contains(names, segmentName(2)+snapshotSuffix) {
		t.Errorf("a power cut after the log was cut to 1 leaves %v: the snapshot at 2 is of records that are no more", names)
	}
}
