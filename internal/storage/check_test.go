package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// bitField is a place in a batch whose change must be found.
type bitField struct {
	name string
	at   int
	mask byte
}

var bitFields = []bitField{
	{"base offset up", 6, 1}, {"base offset by one", 7, 1}, {"base offset by eight", 7, 8}, {"length", 11, 4},
	{"length far", 9, 1}, {"leader epoch", 15, 4}, {"magic", 16, 2}, {"checksum", 18, 16},
	{"last offset delta", 26, 1}, {"producer id", 50, 1}, {"record", minBatchBytes + 8, 1},
}

// flipBit changes a stored file behind the store's back.
func flipBit(t *testing.T, fsys vfs.FS, name string, at int64, mask byte) {
	t.Helper()
	f, err := fsys.OpenReadWrite(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= mask
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// placed is where a batch is stored.
type placed struct {
	file       string
	pos, size  int64
	base, last int64
}

func placesOf(t *testing.T, l *Log) (list []placed) {
	t.Helper()
	for _, s := range l.segmentsFrom(0) {
		h, err := l.acquire(s)
		if err != nil {
			t.Fatal(err)
		}
		sc := newScanner(h.f, s.size)
		if _, err := sc.seek(0, func(b *header) bool {
			list = append(list, placed{l.filePath(s, logSuffix), sc.pos, b.size, b.base, b.last})
			return false
		}); err != nil {
			t.Fatal(err)
		}
		sc.free()
		h.release()
	}
	return list
}

// readAround reads every offset on its own: what is given, and the offsets that answer CORRUPT_MESSAGE.
func readAround(t *testing.T, l *Log) (given []string, refused []int64) {
	t.Helper()
	for o := l.StartOffset(); o < l.EndOffset(); o++ {
		r, err := l.Read(o, 1, l.EndOffset(), true)
		if errors.Is(err, kerr.CorruptMessage) {
			refused = append(refused, o)
			continue
		}
		if err != nil || r == nil {
			t.Fatalf("read at %d: %v, %v", o, r, err)
		}
		b := make([]byte, r.Len())
		_, _ = r.ReadAt(b, 0)
		r.Release()
		h, err := parseHeader(b, int64(len(b)))
		if err == nil {
			err = checkCRC(b[:h.size])
		}
		if err != nil {
			t.Fatalf("read at %d gave damaged bytes: %v", o, err)
		}
		for _, v := range recordsOf(t, b[:h.size], &h) {
			if strings.HasPrefix(v, fmt.Sprint(o, "=")) {
				given = append(given, v)
			}
		}
	}
	return given, refused
}

// rotWorld is a log of several segments whose batches hold three records each, found on disk.
func rotWorld(t *testing.T) (w *world, places []placed, want []string) {
	t.Helper()
	w = newWorld(t)
	cfg := DefaultLogConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 2000, 300
	l := w.create(cfg)
	for i := range 40 {
		vals := []string{fmt.Sprint("a", i), fmt.Sprint("b", i), fmt.Sprint("c", i)}
		appendSpec(t, l, spec{values: vals, pid: 7, seq: int32(3 * i)})
		for k, v := range vals {
			want = append(want, fmt.Sprintf("%d=%s", 3*i+k, v))
		}
	}
	places = placesOf(t, l)
	return w, places, want
}

// TestFlippedBitIsFoundOnRead stops the store in order, turns one bit and starts it: the batch is named and
// not given, every other one is.
func TestFlippedBitIsFoundOnRead(t *testing.T) {
	for _, f := range bitFields {
		for _, at := range []int{0, 5, 17, 38, 39} {
			t.Run(fmt.Sprintf("%s of batch %d", f.name, at), func(t *testing.T) {
				w, places, want := rotWorld(t)
				p := places[at]
				if err := w.store.Close(); err != nil {
					t.Fatal(err)
				}
				flipBit(t, w.fs, p.file, p.pos+int64(f.at), f.mask)
				w.open()
				judgeRot(t, w.log(), p, want, f)
			})
		}
	}
}

// judgeRot checks that exactly the batch at p is lost, and named.
func judgeRot(t *testing.T, l *Log, p placed, want []string, f bitField) {
	t.Helper()
	got, refused := readAround(t, l)
	got2, refused2 := readAround(t, l) // what is known by now changes nothing
	if !slices.Equal(got, got2) || !slices.Equal(refused, refused2) {
		t.Fatalf("a second reading gives %d records, the first one gave %d", len(got2), len(got))
	}
	var lost []int64
	var sound []string
	for i, v := range want {
		if o := int64(i); o >= p.base && o <= p.last {
			lost = append(lost, o)
			continue
		}
		sound = append(sound, v)
	}
	if f.name == "leader epoch" && p.last == int64(len(want)-1) {
		return // nothing behind it says otherwise
	}
	if !slices.Equal(refused, lost) || !slices.Equal(got, sound) {
		t.Fatalf("offsets %v are refused, want %v; %d records given, want %d", refused, lost, len(got), len(sound))
	}
	d := l.Damage()
	if len(d) != 1 || d[0].File != p.file || d[0].Position != p.pos || d[0].First != p.base || d[0].Next != p.last+1 ||
		d[0].Expected == "" || d[0].Found == "" {
		t.Fatalf("damage %+v, want %+v", d, p)
	}
}

// TestScrub finds bits that turn after the bytes were written or read, in sealed segments and in the active one.
func TestScrub(t *testing.T) {
	for _, f := range bitFields {
		for _, at := range []int{0, 17, 38} {
			t.Run(fmt.Sprintf("%s of batch %d", f.name, at), func(t *testing.T) {
				w, places, want := rotWorld(t)
				w.store.Scrub(context.Background())
				if n := w.store.DamagedPlaces(); n != 0 {
					t.Fatalf("%d damaged places in a sound log: %v", n, w.log().Damage())
				}
				flipBit(t, w.fs, places[at].file, places[at].pos+int64(f.at), f.mask)
				w.store.Scrub(context.Background())
				w.store.Scrub(context.Background())
				if n := w.store.DamagedPlaces(); n != 1 {
					t.Fatalf("%d damaged places found, want 1: %v", n, w.log().Damage())
				}
				if st := w.store.ScrubStats(); st.Passes != 3 || st.Bytes < 2*w.log().Size() {
					t.Fatalf("%+v of a log of %d bytes", st, w.log().Size())
				}
				judgeRot(t, w.log(), places[at], want, f)
			})
		}
	}
}

// TestCheckedBytesAreRemembered: what was checked once costs nothing any more.
func TestCheckedBytesAreRemembered(t *testing.T) {
	w, _, want := rotWorld(t)
	w.reopen()
	l := w.log()
	for _, s := range l.segmentsFrom(0) {
		if s.size > 0 && s.doubt.Load() == nil {
			t.Fatalf("segment %d was found on disk and is not in doubt", s.base)
		}
	}
	if got := readAll(t, l, 0, 1000); !slices.Equal(got, want) {
		t.Fatalf("read %d records, want %d", len(got), len(want))
	}
	for _, s := range l.segmentsFrom(0) {
		if s.doubt.Load() != nil {
			t.Fatalf("segment %d is in doubt after it was read: %+v", s.base, s.doubt.Load())
		}
	}
	appendSpec(t, l, spec{})
	if got := readAll(t, l, 0, 1<<20); len(got) != len(want)+1 {
		t.Fatalf("read %d records", len(got))
	}
}

// TestLargeBatchIsChecked reads a batch that is larger than the buffer it is checked through.
func TestLargeBatchIsChecked(t *testing.T) {
	w := newWorld(t)
	l := w.create(DefaultLogConfig())
	appendSpec(t, l, spec{})
	appendSpec(t, l, spec{values: []string{strings.Repeat("x", 3*copyChunk)}})
	appendSpec(t, l, spec{})
	p := placesOf(t, l)[1]
	w.reopen()
	if got := readAll(t, w.log(), 0, 1000); len(got) != 3 {
		t.Fatalf("read %d records", len(got))
	}
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	flipBit(t, w.fs, p.file, p.pos+p.size-5, 1)
	w.open()
	if _, refused := readAround(t, w.log()); !slices.Equal(refused, []int64{1}) {
		t.Fatalf("offsets %v are refused, want 1", refused)
	}
}

// TestDoubt checks the list of checked places against a bitmap.
func TestDoubt(t *testing.T) {
	const n = 64
	for seed := range uint64(300) {
		d := &doubt{until: n}
		var known [n]bool
		for step := uint64(0); step < 20; step++ {
			x := binary.BigEndian.Uint64(slices.Concat([]byte{}, binary.BigEndian.AppendUint64(nil, (seed*31+step+1)*0x9e3779b97f4a7c15)))
			from := int64(x>>8) & (n - 1)
			to := min(from+1+int64(x>>20)&15, n)
			d.vouch(from, to)
			for i := from; i < to; i++ {
				known[i] = true
			}
			for a := int64(0); a < n; a += 3 {
				all := true
				for b := a + 1; b <= n; b++ {
					all = all && known[b-1]
					if d.covers(a, b) != all {
						t.Fatalf("seed %d: covers(%d, %d) is %v: %v", seed, a, b, !all, d.sound)
					}
				}
			}
		}
		if d.gone() != !slices.Contains(known[:], false) {
			t.Fatalf("gone is %v: %v", d.gone(), d.sound)
		}
	}
}
