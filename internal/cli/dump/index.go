package dump

import (
	"encoding/binary"
	"fmt"
)

// OffsetRow is an entry of an offset index: the batch that ends at Offset begins at BatchPosition.
type OffsetRow struct {
	Offset        int64 `json:"offset"`
	BatchPosition int32 `json:"batch_position"`
}

// TimeRow is an entry of a time index: no record up to Offset is younger than Timestamp.
type TimeRow struct {
	Timestamp int64 `json:"timestamp"`
	Offset    int64 `json:"offset"`
}

// Aborted is an entry of a transaction index.
type Aborted struct {
	ProducerID       int64 `json:"producer_id"`
	FirstOffset      int64 `json:"first_offset"`
	LastOffset       int64 `json:"last_offset"`
	LastStableOffset int64 `json:"last_stable_offset"`
}

const (
	offsetEntry = 8
	timeEntry   = 12
	txnEntry    = 34
)

// dumpIndex visits an offset index. An index is reserved at its full size and filled from the front:
// zeros after the first entry are the part not yet used.
func dumpIndex(data []byte, base int64, emit func(Item) error) error {
	var last OffsetRow
	for pos := 0; pos+offsetEntry <= len(data); pos += offsetEntry {
		rel := int32(binary.BigEndian.Uint32(data[pos:]))
		row := OffsetRow{Offset: base + int64(rel), BatchPosition: int32(binary.BigEndian.Uint32(data[pos+4:]))}
		if rel == 0 && row.BatchPosition == 0 && pos > 0 {
			return nil
		}
		it := Item{Kind: "offset", Position: int64(pos), Offset: &row}
		if pos > 0 && (row.Offset <= last.Offset || row.BatchPosition <= last.BatchPosition) {
			it.Problem = "entries do not rise"
		}
		last = row
		if err := emit(it); err != nil {
			return err
		}
	}
	return tail(data, offsetEntry, emit)
}

func dumpTimeIndex(data []byte, base int64, emit func(Item) error) error {
	var last TimeRow
	for pos := 0; pos+timeEntry <= len(data); pos += timeEntry {
		rel := int32(binary.BigEndian.Uint32(data[pos+8:]))
		row := TimeRow{Timestamp: int64(binary.BigEndian.Uint64(data[pos:])), Offset: base + int64(rel)}
		if row.Timestamp == 0 && rel == 0 {
			return nil
		}
		it := Item{Kind: "time", Position: int64(pos), Time: &row}
		if pos > 0 && (row.Timestamp < last.Timestamp || row.Offset < last.Offset) {
			it.Problem = "entries do not rise"
		}
		last = row
		if err := emit(it); err != nil {
			return err
		}
	}
	return tail(data, timeEntry, emit)
}

func dumpTxnIndex(data []byte, emit func(Item) error) error {
	for pos := 0; pos+txnEntry <= len(data); pos += txnEntry {
		e := data[pos:]
		row := Aborted{
			ProducerID: int64(binary.BigEndian.Uint64(e[2:])), FirstOffset: int64(binary.BigEndian.Uint64(e[10:])),
			LastOffset: int64(binary.BigEndian.Uint64(e[18:])), LastStableOffset: int64(
				binary.BigEndian.Uint64(e[26:])),
		}
		it := Item{Kind: "aborted", Position: int64(pos), Aborted: &row}
		if v := binary.BigEndian.Uint16(e); v != 0 {
			it.Problem = fmt.Sprintf("version %d, want 0", v)
		} else if row.FirstOffset > row.LastOffset {
			it.Problem = "it ends before it begins"
		}
		if err := emit(it); err != nil {
			return err
		}
	}
	return tail(data, txnEntry, emit)
}

// tail reports bytes that are no whole entry.
func tail(data []byte, entry int, emit func(Item) error) error {
	if n := len(data) % entry; n != 0 {
		return emit(Item{Kind: "damage", Position: int64(len(data) - n),
			Problem: fmt.Sprintf("%d bytes at the end are no whole entry", n)})
	}
	return nil
}
