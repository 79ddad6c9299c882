package batch_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logstead/logstead/internal/proto/batch"
)

// The files in testdata/kafka-4.3.1 are log segments of Apache Kafka 4.3.1, written by its Java
// producer: 50 records in one batch of each codec, then two large ones; "lat" on a topic with
// LogAppendTime; "txn" with one committed and one aborted transaction.

func segment(t testing.TB, name string) []batch.Batch {
	t.Helper()
	buf, err := os.ReadFile(filepath.Join("testdata", "kafka-4.3.1", name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	var out []batch.Batch
	for len(buf) > 0 {
		b, rest, err := batch.Next(buf)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := b.CheckCRC(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out, buf = append(out, b), rest
	}
	return out
}

// goldenRecord is record i as the Java program made it.
func goldenRecord(i int) (key, value []byte, headers []batch.Header, ts int64) {
	if i >= 50 {
		return []byte(fmt.Sprintf("big%d", i)), []byte(strings.Repeat("0123456789", 7000) + fmt.Sprint(i)), nil,
			1700000001000 + int64(i)
	}
	if i%5 != 0 {
		key = []byte(fmt.Sprintf("key-%d", i%7))
	}
	switch {
	case i == 7:
		value = []byte{}
	case i%11 != 10:
		value = []byte(fmt.Sprintf("value %d%s%s", i, strings.Repeat(" ", i%13), strings.Repeat("abcabcabc", i%5)))
	}
	if i%4 == 1 {
		headers = []batch.Header{{Key: fmt.Sprintf("h%d", i), Value: []byte(fmt.Sprintf("hv%d", i))}, {Key: ""}}
	}
	return key, value, headers, 1700000000000 + int64(i)*3
}

func sameBytes(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

func checkGolden(t *testing.T, b batch.Batch, r *batch.Record, i int) {
	t.Helper()
	key, value, headers, ts := goldenRecord(i)
	if !sameBytes(r.Key, key) || !sameBytes(r.Value, value) || len(r.Headers) != len(headers) {
		t.Fatalf("record %d: key %q value %.40q headers %v", i, r.Key, r.Value, r.Headers)
	}
	for j, h := range headers {
		if r.Headers[j].Key != h.Key || !sameBytes(r.Headers[j].Value, h.Value) {
			t.Fatalf("record %d header %d: %v", i, j, r.Headers[j])
		}
	}
	if b.TimestampType() == batch.CreateTime && b.Timestamp(r) != ts {
		t.Fatalf("record %d: timestamp %d, want %d", i, b.Timestamp(r), ts)
	}
	if b.Offset(r) != int64(i) {
		t.Fatalf("record %d: offset %d", i, b.Offset(r))
	}
}

func TestReadsKafka(t *testing.T) {
	for name, codec := range map[string]batch.Codec{
		"none": batch.None, "gzip": batch.Gzip, "snappy": batch.Snappy, "lz4": batch.LZ4, "zstd": batch.Zstd, "lat": batch.LZ4,
	} {
		t.Run(name, func(t *testing.T) {
			i := 0
			for _, b := range segment(t, name) {
				if b.Codec() != codec {
					t.Fatalf("codec %v, want %v", b.Codec(), codec)
				}
				if (b.TimestampType() == batch.LogAppendTime) != (name == "lat") {
					t.Fatalf("timestamp type %d", b.TimestampType())
				}
				for r, err := range b.Records(batch.Limits{}) {
					if err != nil {
						t.Fatal(err)
					}
					checkGolden(t, b, &r, i)
					i++
				}
			}
			if want := map[bool]int{true: 50, false: 52}[name == "none" || name == "lat"]; i != want {
				t.Fatalf("%d records, want %d", i, want)
			}
		})
	}
}

// TestWritesAsKafka rebuilds Kafka's uncompressed batch byte by byte, and each compressed one up to
// the compressor's own choices.
func TestWritesAsKafka(t *testing.T) {
	for _, name := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		want := segment(t, name)[0]
		b := batch.NewBuilder(batch.Options{
			BaseOffset: want.BaseOffset(), LeaderEpoch: want.LeaderEpoch(), Codec: want.Codec(),
			Producer: &batch.Producer{ID: want.ProducerID(), Epoch: want.ProducerEpoch(), Sequence: want.BaseSequence()},
		})
		for i := range int(want.Count()) {
			key, value, headers, ts := goldenRecord(i)
			b.Append(ts, key, value, headers...)
		}
		got, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		if name == "none" && !bytes.Equal(got, want) {
			t.Fatalf("\n got %x\nwant %x", got, want)
		}
		if !bytes.Equal(got[21:batch.HeaderSize], want[21:batch.HeaderSize]) {
			t.Fatalf("%s header\n got %x\nwant %x", name, got[:batch.HeaderSize], want[:batch.HeaderSize])
		}
		if len(got) > len(want)*5/4 {
			t.Errorf("%s: %d bytes, Kafka needs %d", name, len(got), len(want))
		}
	}
}

func TestMarkersAsKafka(t *testing.T) {
	batches := segment(t, "txn")
	kinds := []batch.ControlKind{batch.Commit, batch.Abort}
	seen := 0
	for _, want := range batches {
		if !want.IsTransactional() {
			t.Fatalf("%v is not transactional", want)
		}
		if !want.IsControl() {
			continue
		}
		kind, epoch, ok := want.Control()
		if !ok || kind != kinds[seen] {
			t.Fatalf("marker %d: kind %d, %v", seen, kind, ok)
		}
		got := batch.ControlBatch(kind, want.ProducerID(), want.ProducerEpoch(), epoch, want.BaseTimestamp(), want.LeaderEpoch())
		got.SetBaseOffset(want.BaseOffset())
		if !bytes.Equal(got, want) {
			t.Fatalf("marker\n got %x\nwant %x", got, want)
		}
		seen++
	}
	if seen != 2 {
		t.Fatalf("%d markers", seen)
	}
}
