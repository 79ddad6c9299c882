package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
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

// TestDamagedUnit: a batch whose bytes changed between its check and the disk is named and left out of the replay;
// what is around it in the journal is not.
func TestDamagedUnit(t *testing.T) {
	for _, tt := range []struct {
		name string
		left []int // records of the log that has the damaged batch
		keep float64
	}{{"segments are left", []int{0, 1, 2}, 1}, {"nothing but the journal is left", []int{0, 2}, 0}} {
		t.Run(tt.name, func(t *testing.T) {
			mem := vfs.NewMem()
			w := newWorld(t, func(o *Options) { o.FS = mem })
			l := w.create(DefaultLogConfig())
			other, err := w.store.Create(base.TopicPartition{Topic: "t", Partition: 1}, base.TopicID{1, 2, 3}, DefaultLogConfig(), "")
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				value := strings.Repeat(string(rune('a'+i)), 2*combineBytes)
				for _, log := range []*Log{l, other} {
					appendSpec(t, log, spec{values: []string{value}})
					waitSynced(t, log, int64(i)+1)
				}
			}
			want, wantOther := readAll(t, l, 0, 1<<20), readAll(t, other, 0, 1<<20)
			left := mem.CrashClone(vfs.CrashOptions{KeepUnsynced: tt.keep})
			name := "/data/" + journalPrefix + "0"
			flipBit(t, left, name, int64(find(t, left, name, "bbbb")+combineBytes), 1)
			_ = w.store.Close()
			var log strings.Builder
			w.opts.FS, w.fs, w.opts.Logger = left, left, slog.New(slog.NewTextHandler(&log, nil))
			w.open()
			o, _ := w.store.Log(other.tp)
			if got := readAll(t, o, 0, 1<<20); !slices.Equal(got, wantOther) {
				t.Errorf("%d of %d records of the other log", len(got), len(wantOther))
			}
			if !strings.Contains(log.String(), "a batch in the journal is damaged") || !strings.Contains(log.String(), "unit 2 at byte") {
				t.Errorf("the log says %s", log.String())
			}
			wantLeft := []string{}
			for _, i := range tt.left {
				wantLeft = append(wantLeft, want[i])
			}
			if got := readAll(t, w.log(), 0, 1<<20); !slices.Equal(got, wantLeft) {
				t.Errorf("%d records of the log with the damaged batch, want %d", len(got), len(wantLeft))
			}
		})
	}
}

// find is where a text stands in the first MiB of a file.
func find(t *testing.T, fs vfs.FS, name, text string) int {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1<<20)
	if _, err = f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte(text))
	if at < 0 {
		t.Fatalf("%q is not in the first MiB of %s", text, name)
	}
	return at
}
