package storage

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"time"
)

// A producer snapshot (<offset>.snapshot) is the producer state after every batch below offset:
// int16 version 1, uint32 CRC-32C of what follows, int32 count, then 46 bytes a producer. Only the
// last batch of each producer is in it.
const (
	snapshotVersion    = 1
	snapshotHeadBytes  = 10
	snapshotEntryBytes = 46
	maxSnapshotBytes   = 1 << 30
)

// encode writes the snapshot of the state as it is, producers in ascending order of id.
func (s *producers) encode() []byte {
	ids := make([]int64, 0, len(s.byID))
	for id := range s.byID {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	b := make([]byte, snapshotHeadBytes, snapshotHeadBytes+len(ids)*snapshotEntryBytes)
	binary.BigEndian.PutUint16(b, snapshotVersion)
	binary.BigEndian.PutUint32(b[6:], uint32(len(ids)))
	for _, id := range ids {
		b = s.byID[id].append(b)
	}
	binary.BigEndian.PutUint32(b[2:], crc32.Checksum(b[6:], castagnoli))
	return b
}

func (p *producer) append(b []byte) []byte {
	last := producerBatch{lastOffset: -1, lastSeq: -1}
	if p.n > 0 {
		last = p.batches[p.n-1]
	}
	b = binary.BigEndian.AppendUint64(b, uint64(p.id))
	b = binary.BigEndian.AppendUint16(b, uint16(p.epoch))
	b = binary.BigEndian.AppendUint32(b, uint32(last.lastSeq))
	b = binary.BigEndian.AppendUint64(b, uint64(last.lastOffset))
	b = binary.BigEndian.AppendUint32(b, uint32(last.delta))
	b = binary.BigEndian.AppendUint64(b, uint64(p.timestamp))
	b = binary.BigEndian.AppendUint32(b, uint32(p.coordEpoch))
	return binary.BigEndian.AppendUint64(b, uint64(p.txnFirst))
}

// decode replaces the state by a snapshot taken at end. Producers that have expired are left out.
func (s *producers) decode(b []byte, end int64, now time.Time, expiration time.Duration) error {
	list, err := parseSnapshot(b)
	if err != nil {
		return err
	}
	s.reset(end)
	limit := now.UnixMilli() - expiration.Milliseconds()
	for i := range list {
		p := &list[i]
		if p.txnFirst < 0 && p.timestamp <= limit {
			continue
		}
		if s.byID == nil {
			s.byID = make(map[int64]*producer, len(list))
		}
		s.byID[p.id] = p
		if p.txnFirst >= 0 {
			s.open = append(s.open, txn{pid: p.id, first: p.txnFirst, last: -1})
		}
	}
	slices.SortFunc(s.open, func(a, b txn) int { return int(min(max(a.first-b.first, -1), 1)) })
	return nil
}

// parseSnapshot reads a snapshot file.
func parseSnapshot(b []byte) ([]producer, error) {
	if len(b) < snapshotHeadBytes {
		return nil, fmt.Errorf("producer snapshot: %d bytes, want at least %d", len(b), snapshotHeadBytes)
	}
	if v := binary.BigEndian.Uint16(b); v != snapshotVersion {
		return nil, fmt.Errorf("producer snapshot: version %d, want %d", v, snapshotVersion)
	}
	if want, got := binary.BigEndian.Uint32(b[2:]), crc32.Checksum(b[6:], castagnoli); want != got {
		return nil, fmt.Errorf("producer snapshot: checksum %08x over bytes whose checksum is %08x", want, got)
	}
	n := int64(int32(binary.BigEndian.Uint32(b[6:])))
	if n < 0 || int64(len(b)) != snapshotHeadBytes+n*snapshotEntryBytes {
		return nil, fmt.Errorf("producer snapshot: %d entries in %d bytes", n, len(b))
	}
	list := make([]producer, n)
	for i := range list {
		list[i].parse(b[snapshotHeadBytes+i*snapshotEntryBytes:])
	}
	return list, nil
}

func (p *producer) parse(b []byte) {
	p.id = int64(binary.BigEndian.Uint64(b))
	p.epoch = int16(binary.BigEndian.Uint16(b[8:]))
	last := producerBatch{
		lastSeq:    int32(binary.BigEndian.Uint32(b[10:])),
		lastOffset: int64(binary.BigEndian.Uint64(b[14:])),
		delta:      int32(binary.BigEndian.Uint32(b[22:])),
		timestamp:  int64(binary.BigEndian.Uint64(b[26:])),
	}
	p.timestamp = last.timestamp
	p.coordEpoch = int32(binary.BigEndian.Uint32(b[34:]))
	p.txnFirst = max(int64(binary.BigEndian.Uint64(b[38:])), -1)
	if last.lastOffset >= 0 {
		p.add(last)
	}
}
