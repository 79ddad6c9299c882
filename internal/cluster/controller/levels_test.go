package controller

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// TestLevels begins clusters at levels as kafka-storage format of 4.3.1 does.
func TestLevels(t *testing.T) {
	for _, c := range []struct {
		release string
		set     map[string]int16
		dynamic bool
		want    string // the levels above 0, or a part of the error
	}{
		{"", nil, false, "eligible.leader.replicas.version=1 group.version=1 metadata.version=30 transaction.version=2"},
		{"", nil, true, "eligible.leader.replicas.version=1 group.version=1 kraft.version=1 metadata.version=30 transaction.version=2"},
		{"3.3-IV3", nil, false, "metadata.version=7"},
		{"3.7", nil, true, "kraft.version=1 metadata.version=19"},
		{"3.9", nil, false, "metadata.version=21"},
		{"4.0-IV0", nil, false, "group.version=1 metadata.version=22"},
		{"4.0-IV1", nil, false, "group.version=1 metadata.version=23"},
		{"4.0-IV2", nil, false, "group.version=1 metadata.version=24 transaction.version=2"},
		{"4.2", nil, false, "eligible.leader.replicas.version=1 group.version=1 metadata.version=29 transaction.version=2"},
		{"3.9", map[string]int16{TransactionVersion: 2}, false, "metadata.version=21 transaction.version=2"},
		{"", map[string]int16{TransactionVersion: 1, GroupVersion: 0}, false, "eligible.leader.replicas.version=1 metadata.version=30 transaction.version=1"},
		{"", map[string]int16{MetadataVersion: 21}, false, "metadata.version=21"},
		{"", map[string]int16{KRaftVersion: 0}, false, "eligible.leader.replicas.version=1 group.version=1 metadata.version=30 transaction.version=2"},
		{"4.1-IV0", nil, false, "eligible.leader.replicas.version=1 group.version=1 metadata.version=26 transaction.version=2"},
		{"4.0", map[string]int16{elrVersion: 1}, false, "eligible.leader.replicas.version=1 group.version=1 metadata.version=25 transaction.version=2"},
		{"", map[string]int16{elrVersion: 0}, false, "group.version=1 metadata.version=30 transaction.version=2"},
		{"4.0-IV0", map[string]int16{elrVersion: 1}, false, "eligible.leader.replicas.version could not be set to 1 because it depends on metadata.version level 23"},
		{"3.3-IV2", nil, false, "Unknown metadata.version '3.3-IV2'. Supported metadata.version are: 3.3-IV3, "},
		{"4.4", nil, false, "Unknown metadata.version"},
		{"3.9", map[string]int16{MetadataVersion: 21}, false, "to avoid ambiguity"},
		{"", map[string]int16{MetadataVersion: 6}, false, "valid feature levels are from 7 to 30"},
		{"", map[string]int16{TransactionVersion: 3}, false, "no feature transaction.version with feature level 3"},
		{"", map[string]int16{TransactionVersion: -1}, false, "no feature transaction.version with feature level -1"},
		{"", map[string]int16{"foo.version": 1}, false, "unsupported feature: foo.version. Supported features are: "},
		{"", map[string]int16{KRaftVersion: 1}, false, "cannot set kraft.version to 1 unless controller.quorum.voters is empty"},
		{"", map[string]int16{KRaftVersion: 0}, true, "cannot set kraft.version to 0 if controller.quorum.voters is empty"},
	} {
		levels, err := Levels(c.release, c.set, c.dynamic)
		var got []string
		for _, name := range slices.Sorted(maps.Keys(levels)) {
			if levels[name] > 0 {
				got = append(got, fmt.Sprintf("%s=%d", name, levels[name]))
			}
		}
		text := strings.Join(got, " ")
		if err != nil {
			if text = err.Error(); strings.Contains(text, c.want) {
				continue
			}
		}
		if text != c.want {
			t.Errorf("release %q with %v, dynamic %v: %s, want %s", c.release, c.set, c.dynamic, text, c.want)
		}
	}
}

// TestReleases goes through every metadata version by its name.
func TestReleases(t *testing.T) {
	for level := oldestMetadata; level <= latestMetadata; level++ {
		if got, err := ParseRelease(ReleaseName(level)); got != level || err != nil {
			t.Errorf("%s is level %d (%v), want %d", ReleaseName(level), got, err, level)
		}
	}
	for name, want := range map[string]int16{"3.3": 7, "3.5": 11, "3.7": 19, "4.0": 25, "4.1": 27, "": latestMetadata} {
		if got, err := ParseRelease(name); got != want || err != nil {
			t.Errorf("%q is level %d (%v), want %d", name, got, err, want)
		}
	}
}

// TestFormatAtLevels formats directories at older metadata versions, and starts on them: what is decided must be what a
// later start reads back, although records of those levels lack what newer ones have.
func TestFormatAtLevels(t *testing.T) {
	for _, metadata := range []int16{oldestMetadata, levelMigration, levelDirectories, levelELR, levelCordoned - 1, latestMetadata} {
		t.Run(ReleaseName(metadata), func(t *testing.T) {
			levels, err := Levels(ReleaseName(metadata), map[string]int16{TransactionVersion: 1}, false)
			if err != nil {
				t.Fatal(err)
			}
			fsys := vfs.NewMem()
			if _, err := Format(fsys, FormatOptions{Dirs: []string{"/data"}, NodeID: 1, Levels: levels}, start); err != nil {
				t.Fatal(err)
			}
			n := open(t, fsys, nil)
			n.register(t)
			n.create(t, "t")
			im := n.Image()
			if im.Feature(MetadataVersion) != metadata || im.Feature(TransactionVersion) != 1 ||
				(im.Feature(GroupVersion) > 0) != (metadata >= 22) {
				t.Errorf("features %v", im.Features())
			}
			told := func(im *meta.Image) string {
				return fmt.Sprintf("%+v %+v", *im.Broker(1), *im.Topic("t").Partitions[0])
			}
			decided := told(im)
			if err := n.stop(); err != nil {
				t.Fatal(err)
			}
			n = open(t, fsys, nil)
			if again := told(n.Image()); again != decided {
				t.Errorf("decided %s\nread    %s", decided, again)
			}
			if err := n.stop(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
