package partition

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/storage"
)

// Isolation is a consumer's isolation level.
type Isolation int8

// The isolation levels, with their values on the wire.
const (
	ReadUncommitted Isolation = 0
	ReadCommitted   Isolation = 1
)

// ReadRequest asks for whole batches from Offset on.
type ReadRequest struct {
	Offset      int64
	MaxBytes    int32
	MinOne      bool // give one batch even if it is larger than MaxBytes (KIP-74)
	Isolation   Isolation
	LeaderEpoch int32 // the client's view, -1 for none
	ToEnd       bool  // read up to the end of the log (followers and replica tools)
	AnyReplica  bool  // a follower may answer (KIP-392)
}

// ReadResult is what a fetch of one partition says. Range is nil when there is nothing to read; the
// caller releases it.
type ReadResult struct {
	Range            *storage.FileRange
	HighWatermark    int64
	LastStableOffset int64
	LogStart         int64
	AtEnd            bool // there is nothing to read at the offset yet
	Aborted          []storage.AbortedTxn
}

// readLog reads the log, or the one that has taken its place meanwhile.
func (p *Partition) readLog(offset int64, maxBytes int32, upTo int64, minOne bool) (*storage.FileRange, error) {
	for {
		log := p.Log()
		rng, err := log.Read(offset, maxBytes, upTo, minOne)
		if err == nil || p.Log() == log {
			return rng, err
		}
	}
}

func (p *Partition) checkRead(r ReadRequest) error {
	if r.AnyReplica {
		return p.CheckEpoch(r.LeaderEpoch)
	}
	return p.CheckLeader(r.LeaderEpoch)
}

// Read never blocks: it fixes the upper bound and returns a range of a file, not bytes.
func (p *Partition) Read(r ReadRequest) (ReadResult, error) {
	res := ReadResult{HighWatermark: -1, LastStableOffset: -1, LogStart: -1}
	if err := p.checkRead(r); err != nil {
		return res, err
	}
	epoch := p.epoch.Load()
	// The stable offset is read first: it may only lag what the watermark read next allows.
	lso := p.LastStableOffset()
	hw := p.Log().HighWatermark()
	start := p.Log().StartOffset()
	if r.Offset < start || r.Offset > p.Log().EndOffset() {
		return res, kerr.OffsetOutOfRange
	}
	bound := hw
	if r.Isolation == ReadCommitted {
		bound = lso
	}
	if r.ToEnd {
		bound = p.Log().EndOffset()
	}
	res.HighWatermark, res.LastStableOffset, res.LogStart, res.AtEnd = hw, lso, start, r.Offset >= bound
	if res.AtEnd || r.MaxBytes <= 0 && !r.MinOne {
		return res, nil
	}
	rng, err := p.readLog(r.Offset, r.MaxBytes, bound, r.MinOne)
	if err != nil {
		return ReadResult{HighWatermark: -1, LastStableOffset: -1, LogStart: -1}, err
	}
	if rng == nil {
		return res, nil
	}
	if r.ToEnd && p.epoch.Load() != epoch {
		rng.Release() // what lies above the high watermark may be another leader's by now
		return ReadResult{HighWatermark: -1, LastStableOffset: -1, LogStart: -1}, kerr.NotLeaderForPartition
	}
	if r.Isolation == ReadCommitted {
		res.Aborted = p.Log().AbortedTxns(r.Offset, min(bound, rng.NextOffset))
	}
	res.Range = rng
	return res, nil
}

// Watermarks is what Read says beside records.
func (p *Partition) Watermarks(leaderEpoch int32) (ReadResult, error) {
	if err := p.CheckEpoch(leaderEpoch); err != nil {
		return ReadResult{HighWatermark: -1, LastStableOffset: -1, LogStart: -1}, err
	}
	lso := p.LastStableOffset()
	return ReadResult{HighWatermark: p.HighWatermark(), LastStableOffset: lso, LogStart: p.Log().StartOffset()}, nil
}

// DeleteRecords moves the log start up to offset (-1: to the high watermark) and returns the new
// start.
func (p *Partition) DeleteRecords(offset int64) (int64, error) {
	if err := p.CheckLeader(-1); err != nil {
		return -1, err
	}
	hw := p.Log().HighWatermark()
	if offset == -1 {
		offset = hw
	}
	if offset < 0 || offset > hw {
		return -1, kerr.OffsetOutOfRange
	}
	start, err := p.Log().DeleteRecords(offset)
	if err != nil {
		return -1, err
	}
	p.fireTails()
	return start, nil
}

// LowWatermark is the lowest log start of this replica and of those others that are alive: what is below is deleted for
// good, whoever leads next.
func (p *Partition) LowWatermark(alive func(broker int32) bool) (int64, error) {
	if err := p.CheckLeader(-1); err != nil {
		return -1, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	low := p.Log().StartOffset()
	for _, m := range p.mu.repl.remotes {
		if alive(m.id) {
			low = min(low, m.start)
		}
	}
	return low, nil
}

// TimestampAt is the timestamp of the batch that holds offset, for telling the age of unread
// records; ok is false where there is nothing at offset or it cannot be read.
func (p *Partition) TimestampAt(offset int64) (ms int64, ok bool) {
	rng, err := p.Log().Read(offset, 0, p.Log().HighWatermark(), true)
	if err != nil || rng == nil {
		return 0, false
	}
	defer rng.Release()
	header := make([]byte, batch.HeaderSize)
	if _, err := rng.ReadAt(header, 0); err != nil {
		return 0, false
	}
	return batch.Batch(header).BaseTimestamp(), true
}

// Diverges says whether a log that ends at offset, with records of a last leader epoch (-1: it has none, or
// does not tell), differs from this one: then this log has the epoch, or the newest one before it,
// up to end (KIP-595).
func (p *Partition) Diverges(lastEpoch int32, offset int64) (epoch int32, end int64, diverges bool, err error) {
	if lastEpoch < 0 {
		return -1, -1, false, nil
	}
	epoch, end = p.Log().EpochEnd(lastEpoch)
	if epoch < 0 || end < 0 {
		return -1, -1, false, kerr.OffsetOutOfRange
	}
	return epoch, end, epoch < lastEpoch || end < offset, nil
}
