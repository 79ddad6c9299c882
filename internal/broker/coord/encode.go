package coord

import (
	"bytes"
	"fmt"
	"time"

	"github.com/logstead/logstead/internal/proto/batch"
)

// build makes one batch of records; it is valid until the next build.
func (s *session[M]) build(now time.Time, records []Record, txn Txn) (batch.Batch, error) {
	o := batch.Options{Codec: s.sh.rt.o.Codec}
	if txn.Transactional() {
		o.Transactional = true
		o.Producer = &batch.Producer{ID: txn.ProducerID, Epoch: txn.ProducerEpoch, Sequence: -1}
	}
	s.builder.Reset(o)
	ms := now.UnixMilli()
	for _, r := range records {
		s.builder.Append(ms, r.Key, r.Value)
	}
	b, err := s.builder.Build()
	if err != nil {
		return nil, fmt.Errorf("build a batch of %d records: %w", len(records), err)
	}
	return b, nil
}

// BuildMarker makes the control batch of a marker.
func BuildMarker(now time.Time, m Marker) batch.Batch {
	kind := batch.Abort
	if m.Commit {
		kind = batch.Commit
	}
	return batch.ControlBatch(kind, m.ProducerID, m.ProducerEpoch, m.CoordinatorEpoch, now.UnixMilli(), -1)
}

// eachRecord reads a batch of the log. Values are copied, because machines may keep them.
func eachRecord(b batch.Batch, r *batch.Reader, fn func(offset int64, rec *batch.Record) error) error {
	if err := r.Reset(b, batch.Limits{}); err != nil {
		return err
	}
	for {
		rec, ok, err := r.Next()
		if err != nil {
			return fmt.Errorf("read %v: %w", b, err)
		}
		if !ok {
			return nil
		}
		rec.Value = bytes.Clone(rec.Value)
		if err := fn(b.Offset(&rec), &rec); err != nil {
			return fmt.Errorf("record at offset %d: %w", b.Offset(&rec), err)
		}
	}
}
