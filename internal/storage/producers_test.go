package storage

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// TestSequences walks one producer through Kafka's rules, batch after batch in one log.
func TestSequences(t *testing.T) {
	w := newWorld(t)
	l := w.create(DefaultLogConfig())
	appendSpec(t, l, spec{}) // the log is not empty
	one := func(epoch int16, seq int32) spec { return spec{pid: 7, pepoch: epoch, seq: seq} }
	steps := []struct {
		name string
		s    spec
		want error
		dup  int64 // offset of the batch that this one repeats, -1: none
	}{
		{"first sequence of an unknown producer is taken as it is", one(0, 7), nil, -1},
		{"the next one", one(0, 8), nil, -1},
		{"the same again", one(0, 8), nil, 2},
		{"the one before again", one(0, 7), nil, 1},
		{"a gap", one(0, 10), kerr.OutOfOrderSequenceNumber, -1},
		{"9", one(0, 9), nil, -1},
		{"10", one(0, 10), nil, -1},
		{"11", one(0, 11), nil, -1},
		{"12 pushes 7 out of the last five", one(0, 12), nil, -1},
		{"older than the last five", one(0, 7), kerr.OutOfOrderSequenceNumber, -1},
		{"new epoch, wrong sequence", one(1, 5), kerr.OutOfOrderSequenceNumber, -1},
		{"new epoch", one(1, 0), nil, -1},
		{"old epoch", one(0, 13), kerr.InvalidProducerEpoch, -1},
		{"old epoch is no duplicate", one(0, 12), kerr.InvalidProducerEpoch, -1},
	}
	for _, st := range steps {
		info, err := l.Append(makeBatch(st.s), AppendOptions{Now: epoch0})
		if st.want != nil {
			if !errors.Is(err, st.want) {
				t.Fatalf("%s: %v, want %v", st.name, err, st.want)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", st.name, err)
		}
		if info.Duplicate != (st.dup >= 0) || info.Duplicate && (info.BaseOffset != st.dup || info.AppendTime != epoch0.UnixMilli()) {
			t.Fatalf("%s: %+v", st.name, info)
		}
	}
}

// A producer has three batches in flight to a leader that is deposed. The third is sent when it has heard of the new one,
// and comes there first; the others follow when the old one has refused them. It is a client's to try again in order: it
// must not be that the third is taken and the first never.
func TestFirstSequenceOfAnEmptyLog(t *testing.T) {
	w := newWorld(t)
	l := w.create(DefaultLogConfig())
	send := func(seq int32) error {
		_, err := l.Append(makeBatch(spec{pid: 7, seq: seq}), AppendOptions{Now: epoch0})
		return err
	}
	for _, seq := range []int32{2, 1, 2} {
		if err := send(seq); !errors.Is(err, kerr.OutOfOrderSequenceNumber) {
			t.Fatalf("sequence %d in an empty log: %v, want %v", seq, err, kerr.OutOfOrderSequenceNumber)
		}
	}
	for seq := range int32(3) {
		if err := send(seq); err != nil {
			t.Fatalf("sequence %d: %v", seq, err)
		}
	}
	// Where records were, and were deleted, a producer may have been forgotten with them.
	l.SetHighWatermark(3)
	if _, err := l.DeleteRecords(3); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(makeBatch(spec{pid: 8, seq: 5}), AppendOptions{Now: epoch0}); err != nil {
		t.Fatalf("a producer of which nothing is known, after all was deleted: %v", err)
	}
}

func TestSequenceWraps(t *testing.T) {
	w := newWorld(t)
	l := w.create(DefaultLogConfig())
	top := int32(1<<31 - 1)
	appendSpec(t, l, spec{})                                                      // the log is not empty
	appendSpec(t, l, spec{pid: 7, seq: top - 1, values: []string{"a", "b", "c"}}) // top-1, top, 0
	if info := appendSpec(t, l, spec{pid: 7, seq: 1}); info.Duplicate {
		t.Fatal("sequence 1 after a wrap is a duplicate")
	}
	if info := appendSpec(t, l, spec{pid: 7, seq: top - 1, values: []string{"a", "b", "c"}}); !info.Duplicate || info.BaseOffset != 1 {
		t.Fatalf("the batch that wraps, again: %+v", info)
	}
}

// marker appends an end-of-transaction marker as the coordinator.
func endTxn(l *Log, pid int64, epoch int16, commit bool, coordEpoch int32, version int16) (AppendInfo, error) {
	return l.Append(makeMarker(pid, epoch, commit, coordEpoch, epoch0.UnixMilli()),
		AppendOptions{Now: epoch0, Origin: Coordinator, TxnVersion: version})
}

func TestTransactions(t *testing.T) {
	w := newWorld(t)
	l := w.create(DefaultLogConfig())
	unstable := func(want int64) {
		t.Helper()
		if first, ok := l.FirstUnstableOffset(); ok != (want >= 0) || ok && first != want {
			t.Fatalf("first unstable offset %d %v, want %d", first, ok, want)
		}
	}
	unstable(-1)
	appendSpec(t, l, spec{pid: 1, seq: 0, txn: true})                             // 0
	appendSpec(t, l, spec{pid: 2, seq: 0, txn: true, values: []string{"a", "b"}}) // 1, 2
	unstable(0)
	if first, epoch, ok := l.HasOpenTxn(2); !ok || first != 1 || epoch != 0 {
		t.Fatalf("open transaction of producer 2: %d %d %v", first, epoch, ok)
	}
	if _, err := l.Append(makeBatch(spec{pid: 1, seq: 1}), AppendOptions{Now: epoch0}); !errors.Is(err, kerr.InvalidTxnState) {
		t.Fatalf("a batch outside of the open transaction: %v", err)
	}
	if _, err := endTxn(l, 1, 0, false, 3, 0); err != nil { // 3: abort
		t.Fatal(err)
	}
	unstable(0) // the marker is above the high watermark
	l.SetHighWatermark(4)
	unstable(1)
	if _, err := endTxn(l, 2, 0, true, 3, 0); err != nil { // 4: commit
		t.Fatal(err)
	}
	l.SetHighWatermark(5)
	unstable(-1)
	want := []AbortedTxn{{ProducerID: 1, FirstOffset: 0, LastOffset: 3}}
	if got := l.AbortedTxns(0, 5); !reflect.DeepEqual(got, want) {
		t.Fatalf("aborted %v, want %v", got, want)
	}
	if got := l.AbortedTxns(4, 5); len(got) > 0 {
		t.Fatalf("aborted from 4 on: %v", got)
	}
	if _, err := endTxn(l, 2, 0, true, 2, 0); !errors.Is(err, kerr.TransactionCoordinatorFenced) {
		t.Fatalf("marker of an older coordinator: %v", err)
	}
	w.reopen()
	l = w.log()
	if got := l.AbortedTxns(0, 5); !reflect.DeepEqual(got, want) {
		t.Fatalf("after a restart: aborted %v, want %v", got, want)
	}
	unstable(-1)
	p := l.Producers()
	if len(p) != 2 || p[0] != (ProducerInfo{1, 0, 0, epoch0.UnixMilli(), 3, -1}) {
		t.Fatalf("producers %+v", p)
	}
}

// TestMarkerEpochs: with transactions v2 a marker needs a newer epoch, but for a repeated one.
func TestMarkerEpochs(t *testing.T) {
	tests := []struct {
		name    string
		version int16
		epoch   int16
		open    bool
		want    error
	}{
		{"v1, same epoch", 1, 5, true, nil},
		{"v1, older epoch", 1, 4, true, kerr.InvalidProducerEpoch},
		{"v2, newer epoch", 2, 6, true, nil},
		{"v2, same epoch, open", 2, 5, true, kerr.InvalidProducerEpoch},
		{"v2, same epoch, nothing open: a retry", 2, 5, false, nil},
		{"v2, older epoch", 2, 4, false, kerr.InvalidProducerEpoch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			l := w.create(DefaultLogConfig())
			appendSpec(t, l, spec{pid: 1, pepoch: 5, seq: 0, txn: tt.open})
			if _, err := endTxn(l, 1, tt.epoch, true, 1, tt.version); !errors.Is(err, tt.want) {
				t.Fatalf("%v, want %v", err, tt.want)
			}
		})
	}
}

func TestVerification(t *testing.T) {
	w := newWorld(t)
	cfg := DefaultLogConfig()
	cfg.VerifyTransactions = true
	l := w.create(cfg)
	first := spec{pid: 1, seq: 0, txn: true}
	if _, err := l.Append(makeBatch(first), AppendOptions{Now: epoch0}); !errors.Is(err, kerr.InvalidTxnState) {
		t.Fatalf("without a guard: %v", err)
	}
	g, err := l.StartVerification(1, 0, 0, true, epoch0)
	if err != nil || g == NoGuard {
		t.Fatalf("guard %d, %v", g, err)
	}
	if again, _ := l.StartVerification(1, 1, 0, true, epoch0); again != g {
		t.Fatalf("a second batch in flight got guard %d, want %d", again, g)
	}
	// The marker comes in between: the answer that the coordinator gives now is too late.
	if _, err := endTxn(l, 1, 1, false, 1, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(makeBatch(first), AppendOptions{Now: epoch0, Guard: g}); !errors.Is(err, kerr.InvalidProducerEpoch) {
		t.Fatalf("with a guard from before the marker: %v", err)
	}
	next := spec{pid: 1, pepoch: 1, seq: 0, txn: true}
	if _, err := l.Append(makeBatch(next), AppendOptions{Now: epoch0, Guard: g}); !errors.Is(err, kerr.InvalidTxnState) {
		t.Fatalf("the next transaction with the old guard: %v", err)
	}
	g, err = l.StartVerification(1, 0, 1, true, epoch0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(makeBatch(next), AppendOptions{Now: epoch0, Guard: g}); err != nil {
		t.Fatalf("with its guard: %v", err)
	}
	if g, err = l.StartVerification(1, 1, 1, true, epoch0); err != nil || g != NoGuard {
		t.Fatalf("an open transaction needs no guard: %d, %v", g, err)
	}
	next.seq = 1
	if _, err := l.Append(makeBatch(next), AppendOptions{Now: epoch0}); err != nil {
		t.Fatalf("the second batch: %v", err)
	}
	if _, err := l.StartVerification(1, 0, 0, true, epoch0); !errors.Is(err, kerr.InvalidProducerEpoch) {
		t.Fatalf("a stale epoch: %v", err)
	}
}

func TestProducerExpiry(t *testing.T) {
	w := newWorld(t)
	l := w.create(DefaultLogConfig())
	appendSpec(t, l, spec{pid: 1, seq: 0})
	appendSpec(t, l, spec{pid: 2, seq: 0, txn: true})
	w.clock.Advance(25 * time.Hour)
	w.store.expireProducers(w.clock.Now())
	if p := l.Producers(); len(p) != 1 || p[0].ProducerID != 2 {
		t.Fatalf("producers after a day: %+v", p)
	}
	if info := appendSpec(t, l, spec{pid: 1, seq: 99}); info.Duplicate {
		t.Fatal("an expired producer's batch is a duplicate")
	}
}

func TestSnapshotRoundTrip(t *testing.T) {
	var s producers
	apply := func(sp spec, at int64) {
		b := makeBatch(sp)
		b.SetBaseOffset(at)
		h, err := parseHeader(b, int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		s.apply(&h, marker{})
	}
	apply(spec{pid: 4, pepoch: 2, seq: 10, values: []string{"a", "b"}}, 100)
	apply(spec{pid: 1, seq: 0, txn: true}, 102)
	data := s.encode()
	var got producers
	if err := got.decode(data, 103, epoch0, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.encode(), data) || got.firstUnstable() != 102 || got.end != 103 {
		t.Fatalf("read back %+v", got)
	}
	for i := range data {
		bad := slices.Clone(data)
		bad[i] ^= 1
		if err := got.decode(bad, 103, epoch0, time.Hour); err == nil {
			t.Fatalf("byte %d changed and nobody noticed", i)
		}
	}
}

// TestSnapshotGolden is a snapshot as Apache Kafka 4.3.1 wrote it, read and written again.
func TestSnapshotGolden(t *testing.T) {
	golden, err := os.ReadFile("testdata/kafka-4.3.1/producers.snapshot")
	if err != nil {
		t.Fatal(err)
	}
	list, err := parseSnapshot(golden)
	if err != nil || len(list) != 1 {
		t.Fatalf("%d producers, %v", len(list), err)
	}
	s := producers{byID: map[int64]*producer{list[0].id: &list[0]}}
	if got := s.encode(); !slices.Equal(got, golden) {
		t.Fatalf("encoded\n%x, Kafka wrote\n%x", got, golden)
	}
}
