package batch

import "encoding/binary"

// ControlKind is the type of a control record.
type ControlKind int16

// The control records that a partition's log holds; the metadata log has more.
const (
	Abort             ControlKind = 0
	Commit            ControlKind = 1
	LeaderChange      ControlKind = 2
	SnapshotHeader    ControlKind = 3
	SnapshotFooter    ControlKind = 4
	KRaftVersion      ControlKind = 5
	KRaftVoters       ControlKind = 6
	unknownControl    ControlKind = -1
	controlKeyBytes               = 4
	markerValueBytes              = 6
	controlKeyVersion             = 0
)

// ControlBatch is the marker that ends a transaction in a partition: one record, no sequence. The
// time is in ms. Its base offset is 0 until the log assigns one.
func ControlBatch(kind ControlKind, producerID int64, producerEpoch int16, coordinatorEpoch int32,
	now int64, leaderEpoch int32,
) Batch {
	key := binary.BigEndian.AppendUint16(make([]byte, 0, controlKeyBytes), controlKeyVersion)
	key = binary.BigEndian.AppendUint16(key, uint16(kind))
	value := binary.BigEndian.AppendUint16(make([]byte, 0, markerValueBytes), 0) // version
	value = binary.BigEndian.AppendUint32(value, uint32(coordinatorEpoch))
	b := NewBuilder(Options{
		LeaderEpoch: leaderEpoch, Transactional: true, Control: true,
		Producer: &Producer{ID: producerID, Epoch: producerEpoch, Sequence: -1},
	})
	b.Append(now, key, value)
	out, _ := b.Build() // without a codec it cannot fail
	return out
}

// Control says what marker a control record is; ok is false for a key that is none.
func (r *Record) Control() (kind ControlKind, ok bool) {
	if len(r.Key) < controlKeyBytes || int16(binary.BigEndian.Uint16(r.Key)) < 0 {
		return unknownControl, false
	}
	return ControlKind(binary.BigEndian.Uint16(r.Key[2:])), true
}

// CoordinatorEpoch is the epoch in the value of an Abort or Commit marker.
func (r *Record) CoordinatorEpoch() (epoch int32, ok bool) {
	if len(r.Value) < markerValueBytes {
		return -1, false
	}
	return int32(binary.BigEndian.Uint32(r.Value[2:])), true
}

// Control says what marker a control batch holds: the kind of its first record.
func (b Batch) Control() (kind ControlKind, coordinatorEpoch int32, ok bool) {
	if !b.IsControl() {
		return unknownControl, -1, false
	}
	r, err := NewReader(b, Limits{})
	if err != nil {
		return unknownControl, -1, false
	}
	rec, ok, err := r.Next()
	if err != nil || !ok {
		return unknownControl, -1, false
	}
	if kind, ok = rec.Control(); !ok {
		return unknownControl, -1, false
	}
	coordinatorEpoch, _ = rec.CoordinatorEpoch() // -1 where the kind has none
	return kind, coordinatorEpoch, true
}
