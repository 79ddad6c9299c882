package storage

import (
	"bytes"
	"context"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// damageWorld is a store that was stopped by a crash, whose only log has everything up to stable
// below its recovery point.
func damageWorld(t *testing.T, records, stable int) (w *world, all []string) {
	t.Helper()
	w = newWorld(t)
	l := w.create(smallSegments())
	all = singles(t, l, stable)
	w.store.Checkpoint()
	all = append(all, singles(t, l, records-stable)...)
	waitSynced(t, l, l.EndOffset())
	return w, all
}

// edit changes a file behind the store's back.
func edit(t *testing.T, fs vfs.FS, name string, change func([]byte) []byte) {
	t.Helper()
	data, err := vfs.ReadFile(fs, name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := vfs.WriteFile(fs, name, change(slices.Clone(data))); err != nil {
		t.Fatal(err)
	}
}

func dirNames(t *testing.T, fs vfs.FS, dir string) (names []string) {
	t.Helper()
	entries, err := fs.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// dropJournal has the next start find no journal, as if its files had long been used again.
func dropJournal(t *testing.T, fs vfs.FS) {
	t.Helper()
	for _, name := range dirNames(t, fs, "/data") {
		if strings.HasPrefix(name, journalPrefix) {
			if err := fs.Remove(path.Join("/data", name)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// reopenDamaged starts a store over a copy of the files in which change has done something.
func (w *world) reopenDamaged(change func(fs vfs.FS)) []Damage {
	w.t.Helper()
	mem, _ := w.opts.FS.(*vfs.Mem)
	clone := mem.CrashClone(vfs.CrashOptions{KeepUnsynced: 1})
	_ = w.store.Close()
	change(clone)
	var seen []Damage
	w.opts.FS, w.fs = clone, clone
	w.opts.Events.Damage = func(d Damage) { seen = append(seen, d) }
	s, err := Open(context.Background(), w.opts)
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = s
	_ = s.Close() // so that the events are through
	w.open()
	return seen
}

func TestDamageInTheMiddle(t *testing.T) {
	file := path.Join("/data", tp0.String(), segmentName(0)+logSuffix)
	tests := []struct {
		name   string
		change func([]byte) []byte
		lost   []int // records
	}{
		{"flipped bit in a record", func(b []byte) []byte { b[700] ^= 4; return b }, nil},
		{"flipped bit in the first length", func(b []byte) []byte { b[10] ^= 4; return b }, []int{0}},
		{"zeros", func(b []byte) []byte { clear(b[300:900]); return b }, nil},
		{"bytes missing", func(b []byte) []byte { return slices.Delete(b, 400, 500) }, nil},
		{"the end missing", func(b []byte) []byte { return b[:len(b)-90] }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, all := damageWorld(t, 60, 60)
			var before []byte
			damage := w.reopenDamaged(func(fs vfs.FS) {
				dropJournal(t, fs)
				edit(t, fs, file, func(b []byte) []byte { before = tt.change(b); return before })
				// Below the recovery point nothing is looked at without a reason; this is one.
				epochs := path.Join("/data", tp0.String(), epochCheckpointFile)
				edit(t, fs, epochs, func([]byte) []byte { return []byte("garbage") })
			})
			got := readAll(t, w.log(), 0, 700)
			for _, r := range got {
				if !slices.Contains(all, r) {
					t.Fatalf("read %q, which was never written", r)
				}
			}
			if len(got) == len(all) || len(got) < len(all)-10 {
				t.Fatalf("%d of %d records are left", len(got), len(all))
			}
			if len(damage) != 1 {
				t.Fatalf("damage %v, want one", damage)
			}
			d := damage[0]
			if d.File != file || d.Position == 0 && tt.lost == nil || d.Expected == "" || d.Found == "" || d.Next <= d.First {
				t.Fatalf("damage %+v", d)
			}
			kept, err := vfs.ReadFile(w.fs, d.Kept, 1<<20)
			if err != nil || !bytes.Equal(kept, before) {
				t.Fatalf("the copy in %s is not the damaged file: %v", d.Kept, err)
			}
			lost := slices.DeleteFunc(slices.Clone(all), func(r string) bool { return slices.Contains(got, r) })
			if int64(len(lost)) > d.Next-d.First {
				t.Fatalf("%d records are lost, the report says offsets %d to %d", len(lost), d.First, d.Next-1)
			}
		})
	}
}

// TestJournalRepairs: what is damaged in a segment and still in the journal is put right.
func TestJournalRepairs(t *testing.T) {
	w := newWorld(t)
	l := w.create(DefaultLogConfig()) // no roll, so only the journal can have made it stable
	all := singles(t, l, 60)
	waitSynced(t, l, 60)
	damage := w.reopenDamaged(func(fs vfs.FS) {
		edit(t, fs, path.Join("/data", tp0.String(), segmentName(0)+logSuffix), func(b []byte) []byte { clear(b[300:900]); return b })
	})
	if got := readAll(t, w.log(), 0, 700); !slices.Equal(got, all) || len(damage) > 0 {
		t.Fatalf("read %d of %d records, damage %v", len(got), len(all), damage)
	}
}

// TestDamageAfterCleanStop: a log that does not end as a clean stop left it is checked in full, and
// the others start.
func TestDamageAfterCleanStop(t *testing.T) {
	w := newWorld(t)
	all := singles(t, w.create(smallSegments()), 60)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.fs.Remove("/data/" + manifestFile); err != nil {
		t.Fatal(err)
	}
	base := w.log().active().base
	edit(t, w.fs, path.Join("/data", tp0.String(), segmentName(base)+logSuffix), func(b []byte) []byte {
		clear(b[len(b)-200 : len(b)-100])
		return b
	})
	w.open()
	got := readAll(t, w.log(), 0, 700)
	if len(got) >= len(all) || len(got) < len(all)-4 || got[len(got)-1] != all[len(all)-1] || len(w.log().Damage()) != 1 {
		t.Fatalf("read %d of %d records, damage %v", len(got), len(all), w.log().Damage())
	}
}

// TestTornTail: what was never stable is cut without a report, and kept aside only if there are
// whole batches in it.
func TestTornTail(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func([]byte) []byte
		kept   bool
	}{
		{"cut in a batch", func(b []byte) []byte { return b[:len(b)-5] }, false},
		{"zeros behind", func(b []byte) []byte { return append(b, make([]byte, 5000)...) }, false},
		{"a lost block before the last batch", func(b []byte) []byte { clear(b[len(b)-150 : len(b)-100]); return b }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, all := damageWorld(t, 20, 10)
			file := path.Join("/data", tp0.String(), segmentName(0)+logSuffix)
			damage := w.reopenDamaged(func(fs vfs.FS) {
				dropJournal(t, fs)
				edit(t, fs, file, tt.change)
			})
			if len(damage) > 0 {
				t.Fatalf("damage %v", damage)
			}
			got := readAll(t, w.log(), 0, 700)
			if len(got) < 10 || !slices.Equal(got, all[:len(got)]) {
				t.Fatalf("%d records are left, 10 were stable", len(got))
			}
			kept := slices.ContainsFunc(dirNames(t, w.fs, path.Join("/data", tp0.String())), func(n string) bool {
				return strings.Contains(n, damagedInfix)
			})
			if kept != tt.kept {
				t.Fatalf("kept aside: %v, want %v", kept, tt.kept)
			}
			singles(t, w.log(), 3)
		})
	}
}

// TestIndexDamaged: an index is only a help; whatever is in it, the same records are read.
func TestIndexDamaged(t *testing.T) {
	for _, suffix := range []string{indexSuffix, timeSuffix, txnSuffix} {
		for name, change := range map[string]func([]byte) []byte{
			"removed": nil,
			"empty":   func([]byte) []byte { return nil },
			"odd":     func(b []byte) []byte { return append(b, 7) },
			"garbage": func(b []byte) []byte { return bytes.Repeat([]byte{0xa5}, len(b)+40) },
			"zeros":   func(b []byte) []byte { return append(b, make([]byte, 4096)...) },
		} {
			t.Run(suffix+" "+name, func(t *testing.T) {
				w := newWorld(t)
				l := w.create(smallSegments())
				all := singles(t, l, 100)
				if err := w.store.Close(); err != nil {
					t.Fatal(err)
				}
				for _, n := range dirNames(t, w.fs, path.Join("/data", tp0.String())) {
					file := path.Join("/data", tp0.String(), n)
					switch {
					case !strings.HasSuffix(n, suffix):
					case change == nil:
						if err := w.fs.Remove(file); err != nil {
							t.Fatal(err)
						}
					default:
						edit(t, w.fs, file, change)
					}
				}
				w.open()
				for range 2 {
					l = w.log()
					for off := range int64(100) {
						if got := readAll(t, l, off, 200)[0]; got != all[off] {
							t.Fatalf("offset %d: read %q, want %q", off, got, all[off])
						}
						ts, ok, err := l.OffsetForTimestamp(epoch0.UnixMilli(), 100)
						if err != nil || !ok || ts.Offset != 0 {
							t.Fatalf("by time: %+v %v %v", ts, ok, err)
						}
					}
					w.reopen()
				}
			})
		}
	}
}

// TestDamageOnRead: a header that makes no sense is named and not served; the directory stays.
func TestDamageOnRead(t *testing.T) {
	w := newWorld(t)
	l := w.create(DefaultLogConfig())
	singles(t, l, 200)
	w.reopen()
	l = w.log()
	file := path.Join("/data", tp0.String(), segmentName(0)+logSuffix)
	edit(t, w.fs, file, func(b []byte) []byte { clear(b[1000:1400]); return b })
	for off := range int64(200) {
		r, err := l.Read(off, 100, 200, true)
		if err == nil {
			r.Release()
			continue
		}
		if l.Offline() || len(l.Damage()) != 1 || l.Damage()[0].File != file {
			t.Fatalf("offset %d: %v; damage %v, offline %v", off, err, l.Damage(), l.Offline())
		}
		return
	}
	t.Fatal("every read went well")
}
