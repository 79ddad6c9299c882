package raft

import (
	"path"
	"strings"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/storage"
)

// damage flips a bit of the log of a member that is down, in its last batch but one, which is committed.
func (c *cluster) damage(m *member, file string, at int64) {
	c.t.Helper()
	f, err := m.disk.OpenReadWrite(file)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		c.t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b, at); err != nil {
		c.t.Fatal(err)
	}
}

// TestDamageOfWhatWasSynced ends a follower as kill -9 does and damages a batch that it had acknowledged, also its very
// last one. It does not start as if that had been the torn end of its last write, and with a new directory it is healed.
func TestDamageOfWhatWasSynced(t *testing.T) {
	for _, back := range []int64{20, 400} {
		c := newCluster(t, 71, 3)
		c.run(5*time.Second, func() { c.propose() })
		c.run(time.Second, nil)
		m := c.members[0]
		if m == c.leader() {
			m = c.members[1]
		}
		file := path.Join(m.core.store.dir, "00000000000000000000.log")
		left := m.disk.CrashClone(vfs.CrashOptions{KeepUnsynced: 1})
		c.stop(m)
		m.disk = left
		f, err := m.disk.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		size, err := f.Size()
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		c.damage(m, file, size-back)
		if err := c.boot(m); err == nil || !strings.Contains(err.Error(), "was on stable storage up to index") {
			t.Fatalf("%d bytes from its end: %v", back, err)
		}
		c.stop(m)
		c.change(func(voters []Voter) []Voter { return append(voters[:0:0], c.without(voters, m)...) })
		again := &member{self: c.voter(m.self.ID), disk: vfs.NewMem()}
		c.members = append(c.members, again)
		c.start(again)
		c.change(func(voters []Voter) []Voter { return append(voters, again.self) })
		c.settle()
	}
}

func (c *cluster) without(voters []Voter, m *member) (rest []Voter) {
	for _, v := range voters {
		if !v.Is(m.self) {
			rest = append(rest, v)
		}
	}
	return rest
}

// BenchmarkMark is what an entry of the metadata log costs on a disk, and the mark of it beside.
func BenchmarkMark(b *testing.B) {
	dir := b.TempDir()
	st, err := storage.Open(b.Context(), storage.Options{FS: vfs.OS{}, Dirs: []string{dir}, NodeID: 1, Journal: storage.JournalOptions{Disabled: true}})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	log, err := st.Create(base.TopicPartition{Topic: "__cluster_metadata"}, base.TopicID{1}, storage.DefaultLogConfig(), "")
	if err != nil {
		b.Fatal(err)
	}
	build := batch.NewBuilder(batch.Options{})
	build.Append(1, nil, make([]byte, 100))
	entry, err := build.Build()
	if err != nil {
		b.Fatal(err)
	}
	s := &store{fs: vfs.OS{}, dir: dir, log: log}
	b.Run("entry", func(b *testing.B) {
		for b.Loop() {
			if _, err := log.Append(entry, storage.AppendOptions{Origin: storage.Coordinator}); err != nil {
				b.Fatal(err)
			}
			if err := log.Sync(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("mark", func(b *testing.B) {
		for b.Loop() {
			if err := s.setMark(s.mark + 1); err != nil {
				b.Fatal(err)
			}
		}
	})
}
