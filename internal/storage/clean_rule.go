package storage

import (
	"github.com/logstead/logstead/internal/proto/batch"
)

// lastOfProducer is what must stay in the log for a producer: the batch with its last sequence, or,
// if its last batch is a marker, a marker with its epoch.
type lastOfProducer struct {
	dataOffset int64 // -1: none
	epoch      int16
}

// cleanRule decides what stays of a batch. It is pure: everything it knows is given to it.
type cleanRule struct {
	keys      *offsetMap
	txns      *cleanTxns
	producers map[int64]lastOfProducer
	now       int64 // ms
	retention int64 // delete.retention.ms

	discard bool // the records of the batch at hand go
}

// cleanStats are counted for the log line of a round.
type cleanStats struct {
	batchesRead, recordsRead, bytesRead int64
	recordsKept, bytesKept              int64
	keyless                             int64
}

// batch says how to filter one batch; drop means that nothing of it stays. last is the last batch of
// a new segment: it stays at least as an empty one, so that no offset range of the log is without a
// batch and recovery can tell a segment that was cut short from one that was cleaned. (Kafka keeps
// only the last of a round.)
func (r *cleanRule) batch(b batch.Batch, last bool) (o batch.FilterOptions, drop bool) {
	var free bool // no longer needed: aborted data, or a marker without data
	if b.IsControl() {
		free = r.txns.marker(b)
		r.discard = free && b.HasDeleteHorizon() && b.BaseTimestamp() <= r.now
	} else {
		free = r.txns.data(b)
		r.discard = free
	}
	o.SetHorizon = r.now + r.retention
	o.ForceHorizon = free && b.IsControl()
	o.RetainEmpty = last || r.isLastOfProducer(b)
	return o, r.discard && !o.RetainEmpty
}

func (r *cleanRule) isLastOfProducer(b batch.Batch) bool {
	pid := b.ProducerID()
	if pid < 0 {
		return false
	}
	last, ok := r.producers[pid]
	switch {
	case !ok:
		return false
	case last.dataOffset >= 0:
		return b.LastOffset() == last.dataOffset
	default:
		return b.IsControl() && b.ProducerEpoch() == last.epoch
	}
}

// record decides whether one record of the batch stays.
func (r *cleanRule) record(b batch.Batch, offset int64, rec *batch.Record, stats *cleanStats) bool {
	switch {
	case r.discard:
		return false
	case b.IsControl(), offset > r.keys.latest:
		return true
	case rec.Key == nil:
		stats.keyless++
		return false
	case r.keys.get(rec.Key) > offset:
		return false
	case rec.Value != nil:
		return true
	}
	// A tombstone outlives its horizon by nothing; without one it gets one now.
	return !b.HasDeleteHorizon() || r.now < b.BaseTimestamp()
}
