package group

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// kafkaRecords reads the records that Apache Kafka wrote.
func kafkaRecords(t *testing.T) []coord.Record {
	t.Helper()
	f, err := os.Open("testdata/kafka-records.hex")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unhex := func(s string) []byte {
		if s == "null" {
			return nil
		}
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var out []coord.Record
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), " "); ok && !strings.HasPrefix(key, "#") {
			out = append(out, coord.Record{Key: unhex(key), Value: unhex(value)})
		}
	}
	return out
}

// TestKafkaRecords replays what Apache Kafka wrote and writes it again from the state: same bytes.
func TestKafkaRecords(t *testing.T) {
	m := New(Options{Config: DefaultConfig()})
	kinds := map[int16]int{}
	for i, rec := range kafkaRecords(t) {
		if err := m.Replay(int64(i), coord.NoTxn, rec); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		kind, _ := kmsg.KeyType(rec.Key)
		kinds[kind]++
		var out output
		if rec.Value == nil {
			continue
		}
		rewrite(t, m, rec, &out)
		if got := out.records[0]; !bytes.Equal(got.Key, rec.Key) || !bytes.Equal(got.Value, rec.Value) {
			t.Errorf("record %d of type %d\nwrote key %x value %x\nKafka key %x value %x",
				i, kind, got.Key, got.Value, rec.Key, rec.Value)
		}
	}
	if len(m.groups) != 0 || m.offsets.count() != 0 {
		t.Errorf("all groups were deleted, but there is\n%s", dump(m))
	}
	for _, kind := range []int16{
		recordOffset, recordClassic, recordConsumerEpoch, recordConsumerTopics, recordConsumerMember,
		recordConsumerTargets, recordConsumerTarget, recordConsumerCurrent, recordConsumerRegex,
	} {
		if kinds[kind] == 0 {
			t.Errorf("no record of type %d was compared", kind)
		}
	}
}

// rewrite writes the part of the state that a record describes.
func rewrite(t *testing.T, m *Machine, rec coord.Record, out *output) {
	t.Helper()
	kind, _ := kmsg.KeyType(rec.Key)
	key := func(k kmsg.Record) {
		if err := kmsg.ReadKey(rec.Key, k); err != nil {
			t.Fatal(err)
		}
	}
	switch kind {
	case recordOffset:
		var k kmsg.OffsetCommitKey
		key(&k)
		tp := base.TopicPartition{Topic: k.Topic, Partition: k.Partition}
		out.putOffset(k.Group, tp, m.offsets.get(k.Group, tp))
	case recordClassic:
		var k kmsg.GroupMetadataKey
		key(&k)
		if g := m.classic(k.Group); g.generation == 0 {
			out.putEmptyClassic(g)
		} else {
			out.putClassic(g, (*classicMember).assigned)
		}
	case recordConsumerEpoch:
		var k kmsg.ConsumerGroupMetadataKey
		key(&k)
		g := m.consumer(k.GroupId)
		out.putEpoch(g.id, g.epoch, g.hash)
	case recordConsumerMember:
		var k kmsg.ConsumerGroupMemberMetadataKey
		key(&k)
		out.putMember(k.GroupId, m.consumer(k.GroupId).members[k.MemberId])
	case recordConsumerTargets:
		var k kmsg.ConsumerGroupTargetAssignmentMetadataKey
		key(&k)
		g := m.consumer(k.GroupId)
		out.putTargetEpoch(g.id, g.targetEpoch, g.targetAt)
	case recordConsumerTarget:
		var k kmsg.ConsumerGroupTargetAssignmentMemberKey
		key(&k)
		out.putTarget(k.GroupId, k.MemberId, m.consumer(k.GroupId).target[k.MemberId])
	case recordConsumerCurrent:
		var k kmsg.ConsumerGroupCurrentMemberAssignmentKey
		key(&k)
		out.putCurrent(k.GroupId, m.consumer(k.GroupId).members[k.MemberId])
	case recordConsumerRegex:
		var k kmsg.ConsumerGroupRegularExpressionKey
		key(&k)
		out.putRegex(k.GroupId, k.RegularExpression, m.consumer(k.GroupId).regexes[k.RegularExpression])
	default:
		t.Fatalf("record of type %d has a value", kind)
	}
}

// TestMetadataHash compares with the hash that Apache Kafka put into those records.
func TestMetadataHash(t *testing.T) {
	id := func(s string) base.TopicID {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return base.TopicID(b)
	}
	topics := &fakeTopics{byName: map[string]Topic{
		"gold1-t":  {Name: "gold1-t", ID: id("ce9afe3c8789431eae00f72176a77d6f"), Partitions: 4},
		"gold1-t2": {Name: "gold1-t2", ID: id("d811e76ce35d43d3920107c45192fd9b"), Partitions: 2},
	}}
	got, want := uint64(metadataHash([]string{"gold1-t", "gold1-t2", "gone"}, topics)), uint64(0xb21bec2258a20ee9)
	if got != want {
		t.Errorf("hash %#x, Kafka's is %#x", got, want)
	}
	if got := metadataHash([]string{"gone"}, topics); got != 0 {
		t.Errorf("hash without topics is %#x, want 0", got)
	}
}
