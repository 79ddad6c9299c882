package peer

import (
	"encoding/binary"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// EnvelopeResponse is Kafka's, with a tagged field of ours beside it: where the metadata log ended when
// the controller answered. Whoever passes the answer on waits until it knows the metadata up to there,
// so that a client that was told of a topic finds it on the broker it asked.
type EnvelopeResponse struct {
	kmsg.EnvelopeResponse
	EndOffset int64 // -1 for not known
}

// endOffsetTag is far outside of what Kafka numbers.
const endOffsetTag = 10_000

// Default implements kmsg.Message.
func (m *EnvelopeResponse) Default() {
	m.EnvelopeResponse.Default()
	m.EndOffset = -1
}

// Append implements kmsg.Message.
func (m *EnvelopeResponse) Append(w *kmsg.Writer, version int16) {
	m.EnvelopeResponse.Append(w, version)
	if m.EndOffset < 0 {
		return
	}
	w.Buf = w.Buf[:len(w.Buf)-1] // the number of tagged fields, which is 0
	w.Uvarint(1)
	w.Uvarint(endOffsetTag)
	w.Uvarint(8)
	w.Int64(m.EndOffset)
}

// Read implements kmsg.Message.
func (m *EnvelopeResponse) Read(r *kmsg.Reader, version int16) error {
	m.EndOffset = -1
	before := r.Rest()
	if err := m.EnvelopeResponse.Read(r, version); err != nil {
		return err
	}
	// The codec has skipped the tagged fields. Ours, where it is there, is the last thing in them.
	field := before[:len(before)-len(r.Rest())]
	const size = 1 + 2 + 1 + 8 // count, tag, length, value
	if len(field) <= size {
		return nil
	}
	field = field[len(field)-size:]
	tag := kmsg.NewReader(field[1:])
	if field[0] == 1 && tag.Uvarint() == endOffsetTag && tag.Uvarint() == 8 {
		m.EndOffset = int64(binary.BigEndian.Uint64(tag.Rest()))
	}
	return nil
}
