package storage

import (
	"fmt"
	"slices"
	"testing"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// TestDamagedTopicIDAfterCrash turns a bit of partition.metadata after a crash: where the journal has bytes that
// stand in the directory's segments, the directory is of the journal's topic, and nothing is set aside.
func TestDamagedTopicIDAfterCrash(t *testing.T) {
	for at := range int64(len("version: 0\ntopic_id: ") + 22) {
		t.Run(fmt.Sprint("byte ", at), func(t *testing.T) {
			mem := vfs.NewMem()
			w := newWorld(t, func(o *Options) { o.FS = mem })
			l := w.create(smallSegments())
			want := singles(t, l, 20)
			waitSynced(t, l, 20)
			left := mem.CrashClone(vfs.CrashOptions{KeepUnsynced: 1})
			flipBit(t, left, "/data/t-0/"+partitionMetadataFile, at, 0x10)
			_ = w.store.Close()
			w.opts.FS, w.fs = left, left
			w.open()
			if got := readAll(t, w.log(), 0, 500); !slices.Equal(got, want) || w.log().TopicID() != (base.TopicID{1, 2, 3}) {
				t.Fatalf("%d of %d records, topic id %v", len(got), len(want), w.log().TopicID())
			}
		})
	}
}
