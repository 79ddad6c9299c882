package kmsg

import (
	"bytes"
	"math/rand/v2"
	"testing"

	theirs "github.com/twmb/franz-go/pkg/kmsg"
)

// eachVersion runs fn for every message at every version, some times with different random values.
func eachVersion(t *testing.T, fn func(t *testing.T, m messageInfo, f filler)) {
	for _, m := range allMessages {
		for v := m.min; v <= m.max; v++ {
			for seed := range uint64(30) {
				rnd := rand.New(rand.NewPCG(seed, uint64(v)))
				fn(t, m, filler{rnd: rnd, version: v, wide: seed%3 == 0})
				if t.Failed() {
					t.Fatalf("%s v%d, seed %d", m.name, v, seed)
				}
			}
		}
	}
}

func encode(m Message, version int16) []byte {
	var w Writer
	m.Append(&w, version)
	return w.Buf
}

func TestRoundTrip(t *testing.T) {
	eachVersion(t, func(t *testing.T, info messageInfo, f filler) {
		want := info.new()
		f.message(want)
		b := encode(want, f.version)
		dirty := info.new()
		f.message(dirty)
		for _, got := range []Message{info.new(), dirty} {
			for _, unsafe := range []bool{false, true} {
				r := NewReader(b)
				r.Unsafe = unsafe
				if err := got.Read(&r, f.version); err != nil {
					t.Fatal(err)
				}
				if len(r.Rest()) != 0 {
					t.Fatalf("%d bytes left over", len(r.Rest()))
				}
				if d := diffMessages(want, got); d != "" {
					t.Fatalf("%s", d)
				}
				if !bytes.Equal(b, encode(got, f.version)) {
					t.Fatal("second encoding differs")
				}
			}
		}
	})
}

// TestTruncated cuts every message at every place: the reader must report it.
func TestTruncated(t *testing.T) {
	for _, info := range allMessages {
		for v := info.min; v <= info.max; v++ {
			m := info.new()
			filler{rnd: rand.New(rand.NewPCG(1, uint64(v))), version: v}.message(m)
			b := encode(m, v)
			for i := range b {
				r := NewReader(b[:i])
				if err := info.new().Read(&r, v); err == nil {
					t.Fatalf("%s v%d: no error after %d of %d bytes", info.name, v, i, len(b))
				}
			}
		}
	}
}

// TestUnknownTags puts a tagged field that nobody knows at the end of each flexible message.
func TestUnknownTags(t *testing.T) {
	for _, info := range allMessages {
		if info.flex < 0 {
			continue
		}
		m := info.new()
		m.Default()
		b := encode(m, info.max)
		if b[len(b)-1] != 0 {
			t.Fatalf("%s: defaults are written as tags", info.name)
		}
		b = append(b[:len(b)-1], 2, 100, 3, 'x', 'y', 'z', 101, 0)
		r := NewReader(b)
		got := info.new()
		if err := got.Read(&r, info.max); err != nil {
			t.Fatal(err)
		}
		if d := diffMessages(m, got); d != "" || len(r.Rest()) != 0 {
			t.Fatalf("%s: %s, %d bytes left", info.name, d, len(r.Rest()))
		}
	}
}

// TestVersionsOutside reads versions that the message does not have.
func TestVersionsOutside(t *testing.T) {
	for _, info := range allMessages {
		if rec, ok := info.new().(Record); ok && info.max == 0 {
			if k, _ := NewGroupKey(rec.RecordType()); k != nil {
				continue // keys have one version and a type where others have the version
			}
		}
		for _, v := range []int16{info.min - 1, info.max + 1} {
			r := NewReader(make([]byte, 1000))
			if err := info.new().Read(&r, v); err == nil {
				t.Errorf("%s: reads version %d", info.name, v)
			}
		}
	}
}

// differs lists where franz-go's codec is known to write other bytes, with the reason.
var differs = map[string]string{}

// TestAgainstFranz has an independent codec decode what this one encoded and encode it again.
func TestAgainstFranz(t *testing.T) {
	n := 0
	eachVersion(t, func(t *testing.T, info messageInfo, f filler) {
		if differs[info.name] != "" {
			return
		}
		m := info.new()
		f.message(m)
		b := encode(m, f.version)
		x, ok := m.(Request)
		if !ok {
			return
		}
		got := reencode(t, x, info.name, b, f.version)
		if got != nil && !bytes.Equal(b, got) {
			t.Fatalf("franz-go wrote\n%x, this package\n%x\nof %+v", got, b, m)
		}
		if got != nil {
			n++
		}
	})
	if n < 10_000 {
		t.Fatalf("only %d encodings were compared", n)
	}
}

func reencode(t *testing.T, m Request, name string, b []byte, version int16) []byte {
	t.Helper()
	var (
		req  = theirs.RequestForKey(m.Key())
		resp = theirs.ResponseForKey(m.Key())
	)
	if req == nil || version > req.MaxVersion() {
		return nil
	}
	if name[len(name)-len("Request"):] == "Request" {
		req.SetVersion(version)
		if err := req.ReadFrom(b); err != nil {
			t.Fatalf("franz-go: %v", err)
		}
		return req.AppendTo([]byte{})
	}
	resp.SetVersion(version)
	if err := resp.ReadFrom(b); err != nil {
		t.Fatalf("franz-go: %v", err)
	}
	return resp.AppendTo([]byte{})
}
