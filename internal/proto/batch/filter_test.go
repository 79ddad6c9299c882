package batch_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/logstead/logstead/internal/proto/batch"
)

func tombstones(t *testing.T, codec batch.Codec) batch.Batch {
	t.Helper()
	bd := batch.NewBuilder(batch.Options{
		BaseOffset: 100, LeaderEpoch: 3, Codec: codec, Producer: &batch.Producer{ID: 1, Epoch: 2, Sequence: 3}, Transactional: true,
	})
	bd.Append(nowMs, []byte("a"), []byte("1"), batch.Header{Key: "h", Value: []byte("v")})
	bd.Append(nowMs+10, []byte("b"), nil)
	bd.Append(nowMs+5, []byte("c"), []byte("3"))
	b, err := bd.Build()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func list(t *testing.T, b batch.Batch) string {
	t.Helper()
	var out []string
	for r, err := range b.Records(batch.Limits{}) {
		if err != nil {
			t.Fatal(err)
		}
		v := "null"
		if r.Value != nil {
			v = string(r.Value)
		}
		out = append(out, strings.Join([]string{
			itoa(b.Offset(&r)), itoa(b.Timestamp(&r) - nowMs), string(r.Key), v, itoa(int64(len(r.Headers))),
		}, ":"))
	}
	return strings.Join(out, " ")
}

func itoa(v int64) string {
	if v < 0 {
		return "-" + itoa(-v)
	}
	if v < 10 {
		return string(rune('0' + v))
	}
	return itoa(v/10) + itoa(v%10)
}

func TestFilter(t *testing.T) {
	for _, codec := range codecs {
		b := tombstones(t, codec)
		var f batch.Filter
		dropA := func(_ int64, r *batch.Record) bool { return string(r.Key) != "a" }
		res, err := f.Apply(b, batch.FilterOptions{SetHorizon: nowMs + 500}, dropA)
		if err != nil {
			t.Fatal(err)
		}
		out := res.Batch
		if got := list(t, out); got != "101:10:b:null:0 102:5:c:3:0" {
			t.Fatalf("%v: %s", codec, got)
		}
		if !out.HasDeleteHorizon() || out.BaseTimestamp() != nowMs+500 || out.MaxTimestamp() != nowMs+10 || out.CheckCRC() != nil {
			t.Fatalf("%v: horizon %v at %d", codec, out.HasDeleteHorizon(), out.BaseTimestamp()-nowMs)
		}
		if out.BaseOffset() != 100 || out.LastOffset() != 102 || out.LeaderEpoch() != 3 || out.ProducerID() != 1 ||
			out.BaseSequence() != 3 || out.LastSequence() != 5 || !out.IsTransactional() || out.Count() != 2 || res.Kept != 2 {
			t.Fatalf("%v: header %v", codec, out)
		}
		// A horizon that is set stays as it is.
		out = append(batch.Batch(nil), out...)
		res, err = f.Apply(out, batch.FilterOptions{SetHorizon: nowMs + 900}, func(_ int64, r *batch.Record) bool { return r.Value == nil })
		if err != nil || res.Batch.BaseTimestamp() != nowMs+500 || list(t, res.Batch) != "101:10:b:null:0" {
			t.Fatalf("%v: second pass: %s, %v", codec, list(t, res.Batch), err)
		}
		res, err = f.Apply(out, batch.FilterOptions{SetHorizon: nowMs + 900}, func(int64, *batch.Record) bool { return true })
		if err != nil || &res.Batch[0] != &out[0] {
			t.Fatalf("%v: nothing went, but the batch was rewritten (%v)", codec, err)
		}
	}
}

func TestFilterEmpty(t *testing.T) {
	b := tombstones(t, batch.LZ4)
	var f batch.Filter
	none := func(int64, *batch.Record) bool { return false }
	res, err := f.Apply(b, batch.FilterOptions{}, none)
	if err != nil || res.Batch != nil || res.Read != 3 {
		t.Fatalf("%+v, %v", res, err)
	}
	res, err = f.Apply(b, batch.FilterOptions{RetainEmpty: true}, none)
	if err != nil {
		t.Fatal(err)
	}
	out := res.Batch
	if len(out) != batch.HeaderSize || out.Count() != 0 || out.LastOffset() != 102 || out.LastSequence() != 5 ||
		out.BaseTimestamp() != -1 || out.MaxTimestamp() != nowMs+10 || out.Codec() != batch.None || out.CheckCRC() != nil {
		t.Fatalf("empty batch %v %x", out, []byte(out))
	}
	if again, err := f.Apply(bytes.Clone(out), batch.FilterOptions{RetainEmpty: true}, none); err != nil || len(again.Batch) != len(out) {
		t.Fatalf("an empty batch again: %+v, %v", again, err)
	}
}

func TestFilterMarker(t *testing.T) {
	b := batch.ControlBatch(batch.Abort, 1, 2, 3, nowMs, 4)
	var f batch.Filter
	all := func(int64, *batch.Record) bool { return true }
	res, err := f.Apply(b, batch.FilterOptions{SetHorizon: nowMs + 7}, all)
	if err != nil || res.Batch.HasDeleteHorizon() {
		t.Fatalf("a marker of a transaction with records got a horizon: %v", err)
	}
	res, err = f.Apply(b, batch.FilterOptions{SetHorizon: nowMs + 7, ForceHorizon: true}, all)
	if err != nil || !res.Batch.HasDeleteHorizon() || res.Batch.BaseTimestamp() != nowMs+7 || !res.Batch.IsControl() {
		t.Fatalf("%v, %v", res.Batch, err)
	}
	if kind, epoch, ok := res.Batch.Control(); kind != batch.Abort || epoch != 3 || !ok {
		t.Fatalf("marker %d epoch %d", kind, epoch)
	}
}
