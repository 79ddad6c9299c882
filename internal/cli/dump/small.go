package dump

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// Producer is what a snapshot holds of one producer.
type Producer struct {
	ProducerID       int64 `json:"producer_id"`
	ProducerEpoch    int16 `json:"producer_epoch"`
	LastSequence     int32 `json:"last_sequence"`
	LastOffset       int64 `json:"last_offset"`
	OffsetDelta      int32 `json:"offset_delta"`
	LastTimestamp    int64 `json:"last_timestamp"`
	CoordinatorEpoch int32 `json:"coordinator_epoch"`
	TxnStartOffset   int64 `json:"txn_start_offset"` // -1: no transaction open
}

const (
	snapshotHead  = 10
	snapshotEntry = 46
)

// dumpSnapshot visits a producer snapshot: version, checksum, count, then 46 bytes a producer.
func dumpSnapshot(data []byte, emit func(Item) error) error {
	if len(data) < snapshotHead {
		return emit(Item{Kind: "damage", Problem: fmt.Sprintf("%d bytes are less than the head of a snapshot",
			len(data))})
	}
	if v := binary.BigEndian.Uint16(data); v != 1 {
		return emit(Item{Kind: "damage", Problem: fmt.Sprintf("version %d, want 1", v)})
	}
	stored, computed := binary.BigEndian.Uint32(data[2:]), crc32.Checksum(data[6:], crc32.MakeTable(crc32.Castagnoli))
	if stored != computed {
		if err := emit(Item{Kind: "damage", Position: 2, Problem: fmt.Sprintf("checksum %08x, computed %08x", stored,
			computed)}); err != nil {
			return err
		}
	}
	n := int(binary.BigEndian.Uint32(data[6:]))
	if have := (len(data) - snapshotHead) / snapshotEntry; n > have || len(data) != snapshotHead+n*snapshotEntry {
		if err := emit(Item{Kind: "damage", Position: 6, Problem: fmt.Sprintf(
			"it promises %d producers and has room for %d", n, have)}); err != nil {
			return err
		}
		n = min(max(n, 0), have)
	}
	for i := range n {
		pos := snapshotHead + i*snapshotEntry
		if err := emit(Item{Kind: "producer", Position: int64(pos), Producer: producerAt(data[pos:])}); err != nil {
			return err
		}
	}
	return nil
}

func producerAt(b []byte) *Producer {
	return &Producer{
		ProducerID: int64(binary.BigEndian.Uint64(b)), ProducerEpoch: int16(binary.BigEndian.Uint16(b[8:])),
		LastSequence: int32(binary.BigEndian.Uint32(b[10:])), LastOffset: int64(binary.BigEndian.Uint64(b[14:])),
		OffsetDelta: int32(binary.BigEndian.Uint32(b[22:])), LastTimestamp: int64(binary.BigEndian.Uint64(b[26:])),
		CoordinatorEpoch: int32(binary.BigEndian.Uint32(b[34:])), TxnStartOffset: int64(
			binary.BigEndian.Uint64(b[38:])),
	}
}

// Line is an entry of a text file: a checkpoint's fields, or a property.
type Line struct {
	Fields []string `json:"fields"`
}

// dumpLines visits a checkpoint (version, count, entries) or a properties file.
func dumpLines(kind Kind, data []byte, emit func(Item) error) error {
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if kind == Checkpoint {
		return dumpCheckpoint(lines, emit)
	}
	pos := int64(0)
	for _, l := range lines {
		if t := strings.TrimSpace(l); t != "" && t[0] != '#' {
			if err := emit(Item{Kind: "line", Position: pos, Line: &Line{Fields: []string{t}}}); err != nil {
				return err
			}
		}
		pos += int64(len(l)) + 1
	}
	return nil
}

func dumpCheckpoint(lines []string, emit func(Item) error) error {
	if len(lines) == 1 && lines[0] == "" {
		return nil // Kafka creates them empty
	}
	if lines[0] != "0" {
		return emit(Item{Kind: "damage", Problem: fmt.Sprintf("version line %q, want 0", lines[0])})
	}
	if len(lines) < 2 {
		return emit(Item{Kind: "damage", Problem: "the count line is missing"})
	}
	if n, err := strconv.Atoi(lines[1]); err != nil || n != len(lines)-2 {
		if err := emit(Item{Kind: "damage", Position: 2, Problem: fmt.Sprintf("count line %q, %d entries follow",
			lines[1], len(lines)-2)}); err != nil {
			return err
		}
	}
	pos := int64(len(lines[0]) + len(lines[1]) + 2)
	for _, l := range lines[2:] {
		if err := emit(Item{Kind: "line", Position: pos, Line: &Line{Fields: strings.Fields(l)}}); err != nil {
			return err
		}
		pos += int64(len(l)) + 1
	}
	return nil
}
