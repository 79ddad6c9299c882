package storage

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
)

var epoch0 = time.UnixMilli(1_700_000_000_000)

// spec describes a batch for makeBatch; the zero value is one record "v" without a producer.
type spec struct {
	values []string
	ts     int64 // of the first record; each later one is a millisecond later
	pid    int64 // 0: none
	pepoch int16
	seq    int32
	txn    bool
	attrs  int16
}

// makeBatch encodes an uncompressed batch by hand, so that the tests of the log do not lean on the
// encoder of package batch.
func makeBatch(s spec) batch.Batch {
	if len(s.values) == 0 {
		s.values = []string{"v"}
	}
	if s.ts == 0 {
		s.ts = epoch0.UnixMilli()
	}
	if s.pid == 0 {
		s.pid, s.pepoch, s.seq = -1, -1, -1
	}
	if s.txn {
		s.attrs |= attrTransactional
	}
	b := make([]byte, minBatchBytes)
	for i, v := range s.values {
		var r []byte
		r = append(r, 0)
		r = binary.AppendVarint(r, int64(i)) // timestamp delta
		r = binary.AppendVarint(r, int64(i)) // offset delta
		r = binary.AppendVarint(r, -1)       // key
		r = binary.AppendVarint(r, int64(len(v)))
		r = append(r, v...)
		r = binary.AppendVarint(r, 0)
		b = binary.AppendVarint(b, int64(len(r)))
		b = append(b, r...)
	}
	return sealBatch(b, s, int32(len(s.values)))
}

func sealBatch(b []byte, s spec, count int32) batch.Batch {
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-logEntryOverhead))
	binary.BigEndian.PutUint32(b[12:], 0xffffffff)
	b[16] = 2
	binary.BigEndian.PutUint16(b[21:], uint16(s.attrs))
	binary.BigEndian.PutUint32(b[23:], uint32(count-1))
	binary.BigEndian.PutUint64(b[27:], uint64(s.ts))
	binary.BigEndian.PutUint64(b[35:], uint64(s.ts+int64(count-1)))
	binary.BigEndian.PutUint64(b[43:], uint64(s.pid))
	binary.BigEndian.PutUint16(b[51:], uint16(s.pepoch))
	binary.BigEndian.PutUint32(b[53:], uint32(s.seq))
	binary.BigEndian.PutUint32(b[57:], uint32(count))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
	return b
}

// makeMarker encodes an end-of-transaction marker.
func makeMarker(pid int64, pepoch int16, commit bool, coordEpoch int32, ts int64) batch.Batch {
	kind := byte(controlAbort)
	if commit {
		kind = controlCommit
	}
	var r []byte
	r = append(r, 0)
	r = binary.AppendVarint(r, 0)
	r = binary.AppendVarint(r, 0)
	r = binary.AppendVarint(r, 4)
	r = append(r, 0, 0, 0, kind)
	r = binary.AppendVarint(r, 6)
	r = append(r, 0, 0)
	r = binary.BigEndian.AppendUint32(r, uint32(coordEpoch))
	r = binary.AppendVarint(r, 0)
	b := make([]byte, minBatchBytes)
	b = binary.AppendVarint(b, int64(len(r)))
	b = append(b, r...)
	return sealBatch(b, spec{pid: pid, pepoch: pepoch, seq: -1, ts: ts, attrs: attrTransactional | attrControl}, 1)
}

var tp0 = base.TopicPartition{Topic: "t", Partition: 0}

// world is a store over a file system that a test can crash.
type world struct {
	t     testing.TB
	fs    vfs.FS
	clock *clock.Manual
	opts  Options
	store *Store
}

func newWorld(t testing.TB, change ...func(*Options)) *world {
	t.Helper()
	w := &world{t: t, fs: vfs.NewMem(), clock: clock.NewManual(epoch0)}
	w.opts = Options{FS: w.fs, Clock: w.clock, Dirs: []string{"/data"}, NodeID: 1}
	for _, c := range change {
		c(&w.opts)
	}
	w.fs = w.opts.FS
	w.open()
	t.Cleanup(func() { _ = w.store.Close() })
	return w
}

func (w *world) open() {
	w.t.Helper()
	s, err := Open(context.Background(), w.opts)
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = s
}

func (w *world) reopen() {
	w.t.Helper()
	if err := w.store.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
}

// crash opens what a power cut would have left.
func (w *world) crash(o vfs.CrashOptions) {
	w.t.Helper()
	mem, ok := w.opts.FS.(*vfs.Mem)
	if !ok {
		w.t.Fatal("crash needs a vfs.Mem")
	}
	clone := mem.CrashClone(o)
	_ = w.store.Close()
	w.opts.FS, w.fs = clone, clone
	w.open()
}

func (w *world) create(cfg LogConfig) *Log {
	w.t.Helper()
	l, err := w.store.Create(tp0, base.TopicID{1, 2, 3}, cfg, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *world) log() *Log {
	w.t.Helper()
	l, ok := w.store.Log(tp0)
	if !ok {
		w.t.Fatalf("there is no log of %s", tp0)
	}
	return l
}

func appendSpec(t *testing.T, l *Log, s spec) AppendInfo {
	t.Helper()
	info, err := l.Append(makeBatch(s), AppendOptions{Now: l.store.opts.Clock.Now(), LeaderEpoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// tester is a testing.T or a rapid.T.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// readAll reads the log from offset on, batch by batch, and returns "offset=value" of each record.
func readAll(t tester, l *Log, offset int64, maxBytes int32) []string {
	t.Helper()
	var out []string
	for offset < l.EndOffset() {
		r, err := l.Read(offset, maxBytes, l.EndOffset(), true)
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			break
		}
		b := make([]byte, r.Len())
		if _, err := r.ReadAt(b, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		next := r.NextOffset
		r.Release()
		for len(b) > 0 {
			h, err := parseHeader(b, int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			if err := checkCRC(b[:h.size]); err != nil {
				t.Fatal(err)
			}
			if h.last >= offset {
				out = append(out, recordsOf(t, b[:h.size], &h)...)
			}
			if h.last >= next {
				t.Fatalf("a range up to offset %d holds offset %d", next, h.last)
			}
			offset, b = max(offset, h.last+1), b[h.size:]
		}
	}
	return out
}

func recordsOf(t tester, b []byte, h *header) []string {
	t.Helper()
	var out []string
	r := varReader{b: b[minBatchBytes:]}
	for range h.count {
		r.varint()
		r.skip(1)
		r.varint()
		off := r.varint()
		r.bytes()
		out = append(out, fmt.Sprintf("%d=%s", h.base+off, r.bytes()))
		r.varint()
		if r.bad {
			t.Fatalf("batch at %d: bad record", h.base)
		}
	}
	return out
}

// waitSynced waits until the log's synced end has reached want.
func waitSynced(t tester, l *Log, want int64) {
	t.Helper()
	done := make(chan struct{}, 1)
	l.OnSynced(func(synced int64) {
		if synced >= want {
			select {
			case done <- struct{}{}:
			default:
			}
		}
	})
	if l.SyncedOffset() >= want {
		return
	}
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("synced end is %d, want %d", l.SyncedOffset(), want)
	}
}
