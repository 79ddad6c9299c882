package txn

import (
	"bytes"
	"encoding/hex"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
)

// TestKafkaRecords reads what Apache Kafka wrote and writes the same bytes again.
func TestKafkaRecords(t *testing.T) {
	text, err := os.ReadFile("golden/records.hex")
	if err != nil {
		t.Fatal(err)
	}
	states := map[State]int{}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		k, v, _ := strings.Cut(line, " ")
		key, err := hex.DecodeString(k)
		if err != nil {
			t.Fatal(err)
		}
		id, ok, err := decodeKey(key)
		if err != nil || !ok || !bytes.Equal(encodeKey(id), key) {
			t.Errorf("key %s: id %q, %v", k, id, err)
		}
		if v == "-" {
			continue
		}
		value, err := hex.DecodeString(v)
		if err != nil {
			t.Fatal(err)
		}
		m, ok, err := decode(value)
		if err != nil || !ok {
			t.Errorf("value %s: %v", v, err)
			continue
		}
		states[m.state]++
		got := encode(id, &m, 2).Value
		if topics(&m) > 1 { // Kafka writes them in the order of a hash table
			if again, _, err := decode(got); err == nil && reflect.DeepEqual(again, m) && len(got) == len(value) {
				continue
			}
		}
		if !bytes.Equal(got, value) {
			t.Errorf("%+v\n read from %x\n written as %x", m, value, got)
		}
	}
	for _, s := range []State{Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort} {
		if states[s] == 0 {
			t.Errorf("no record in state %v", s)
		}
	}
}

func topics(m *meta) int {
	names := map[string]bool{}
	for _, tp := range m.partitions {
		names[tp.Topic] = true
	}
	return len(names)
}

func TestOldValueVersion(t *testing.T) {
	m := meta{
		producerID: 5, prevProducerID: 5, nextProducerID: -1, epoch: 3, timeoutMs: 60000, state: Ongoing,
		partitions: []base.TopicPartition{{Topic: "a", Partition: 1}, {Topic: "b", Partition: 0}, {Topic: "b", Partition: 2}},
		startMs:    10, updatedMs: 20,
	}
	value := encode("id", &m, 0).Value
	want := "0000" + "0000000000000005" + "0003" + "0000ea60" + "01" +
		"00000002" + "000161" + "00000001" + "00000001" + "000162" + "00000002" + "00000000" + "00000002" +
		"0000000000000014" + "000000000000000a"
	if got := hex.EncodeToString(value); got != want {
		t.Errorf("written as\n %s, want\n %s", got, want)
	}
	got, ok, err := decode(value)
	if err != nil || !ok {
		t.Fatal(err)
	}
	got.prevProducerID = m.prevProducerID // the old version does not hold it
	if string(encode("id", &got, 2).Value) != string(encode("id", &m, 2).Value) {
		t.Errorf("read back as %+v", got)
	}
}

func TestUnknownRecordsAreIgnored(t *testing.T) {
	h := newHarness(t)
	if err := h.m.Replay(0, coord.NoTxn, coord.Record{Key: []byte{0, 9, 1, 2}, Value: []byte{0, 0}}); err != nil {
		t.Errorf("a key of a later release: %v", err)
	}
	if err := h.m.Replay(1, coord.NoTxn, coord.Record{Key: encodeKey("a"), Value: []byte{0, 7, 1}}); err != nil {
		t.Errorf("a value of a later release: %v", err)
	}
	for name, rec := range map[string]coord.Record{
		"empty key":       {Key: nil, Value: []byte{0, 1}},
		"short key":       {Key: []byte{0, 0, 0, 9, 'a'}, Value: []byte{0, 1}},
		"short value":     {Key: encodeKey("a"), Value: []byte{0, 1, 0, 0}},
		"empty value":     {Key: encodeKey("a"), Value: []byte{}},
		"unknown status":  {Key: encodeKey("a"), Value: badStatus()},
		"negative status": {Key: encodeKey("a"), Value: func() []byte { v := badStatus(); v[16] = 0xff; return v }()},
	} {
		if err := h.m.Replay(2, coord.NoTxn, rec); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if len(h.m.txns) != 0 {
		t.Errorf("%d ids out of nothing", len(h.m.txns))
	}
}

func badStatus() []byte {
	m := meta{state: Empty}
	v := encode("a", &m, 0).Value
	v[2+8+2+4] = 99
	return v
}

func FuzzReplay(f *testing.F) {
	m := meta{state: Ongoing, partitions: []base.TopicPartition{{Topic: "t", Partition: 1}}}
	rec := encode("a", &m, 2)
	f.Add(rec.Key, rec.Value)
	rec = encode("a", &m, 0)
	f.Add(rec.Key, rec.Value)
	f.Fuzz(func(t *testing.T, key, value []byte) {
		h := newHarness(t)
		if h.m.Replay(0, coord.NoTxn, coord.Record{Key: key, Value: value}) != nil {
			return
		}
		h.step(h.m.Loaded(h.now))
	})
}
