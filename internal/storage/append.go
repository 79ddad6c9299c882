package storage

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/batch"
)

// Origin says who appends.
type Origin int8

const (
	// Client is a producer: sequences are checked, offsets are assigned.
	Client Origin = iota
	// Coordinator is this broker's own writing (group and transaction state, markers, metadata):
	// offsets are assigned, sequences are not checked.
	Coordinator
	// Replica is what a leader sent: offsets and epochs stay as they are.
	Replica
)

// AppendOptions are the circumstances of an append.
type AppendOptions struct {
	LeaderEpoch int32
	Now         time.Time
	Origin      Origin
	// TxnVersion is the transaction version that a marker is written under (0, 1 or 2).
	TxnVersion int16
	// Guard is what StartVerification gave for the first batch of a transaction.
	Guard Guard
	// Behind says that the replica has fallen behind: what it appends was acknowledged without it, and is not about to
	// be read from here.
	Behind bool
	// Waits says that the appender waits until the batch is stored, and calls Log.Settle where the
	// append asks for it: that saves the journal two hand-overs to other goroutines.
	Waits bool
}

// AppendInfo says where a batch is.
type AppendInfo struct {
	BaseOffset, LastOffset int64
	StartOffset            int64 // of the log
	AppendTime             int64 // ms; -1 with CreateTime, unless Duplicate
	// SyncedOffset is the log's synced end after the append.
	SyncedOffset int64
	// Duplicate: the batch was in the log already, at these offsets.
	Duplicate bool
	// Unsettled is the log whose Settle the appender must call, without any lock held; nil in most cases.
	Unsettled *Log
}

// Append writes one whole batch at the end of the log in one write, after the producer rules. Base
// offset and leader epoch are set in b (they are outside its checksum) unless the origin is
// Replica. Validation of the content has been done (batch.Validate). A *kerr.Error in the chain
// says why nothing was appended.
func (l *Log) Append(b batch.Batch, o AppendOptions) (AppendInfo, error) {
	l.mu.Lock()
	info, err := l.appendLocked(b, &o)
	l.mu.Unlock()
	return info, err
}

func (l *Log) appendLocked(b batch.Batch, o *AppendOptions) (AppendInfo, error) {
	if err := l.appendableLocked(); err != nil {
		return AppendInfo{}, err
	}
	if o.Origin != Replica && l.fence != 0 && l.fence != int64(o.LeaderEpoch)+1 {
		return AppendInfo{}, refuse(kerr.NotLeaderForPartition, "the log of %s takes no writes of leader epoch %d", l.tp, o.LeaderEpoch)
	}
	cfg := l.cfg.Load()
	h, err := l.place(b, o, cfg)
	if err != nil {
		return AppendInfo{}, err
	}
	var m marker
	if h.pid >= 0 {
		if err = l.loadProducersLocked(); err != nil {
			return AppendInfo{}, err
		}
		if h.control() {
			if m, err = parseMarker(b, &h); err != nil {
				return AppendInfo{}, refuse(kerr.InvalidRecord, "%v", err)
			}
		}
		dup, err := l.prod.check(&h, m, o, cfg.VerifyTransactions)
		if err != nil {
			return AppendInfo{}, err
		}
		if dup != nil {
			return l.duplicateInfo(dup), nil
		}
	}
	s, err := l.segmentFor(&h, o.Now, cfg)
	if err != nil {
		return AppendInfo{}, err
	}
	if err = l.write(s, b, cfg); err != nil {
		return AppendInfo{}, err
	}
	l.noteLocked(s, &h, s.size, o.Now, cfg)
	l.applyLocked(&h, m)
	info := AppendInfo{BaseOffset: h.base, LastOffset: h.last, StartOffset: l.start.Load(), AppendTime: base.NoTimestamp}
	if l.commitLocked(b, &h, l.active().size-h.size, l.dir.direct(1, len(b)), cfg, o.Waits) {
		info.Unsettled = l
	}
	if cfg.TimestampType == LogAppendTime {
		info.AppendTime = h.maxTimestamp
	}
	info.SyncedOffset = l.synced.Load()
	return info, nil
}

// appendableLocked says why nothing can be appended now.
func (l *Log) appendableLocked() error {
	if err := l.usableLocked(); err != nil {
		return err
	}
	if l.frozen || l.store.closing.Load() {
		return refuse(kerr.NotLeaderForPartition, "the log of %s takes no writes now", l.tp)
	}
	return nil
}

func (l *Log) duplicateInfo(dup *producerBatch) AppendInfo {
	return AppendInfo{
		BaseOffset: dup.firstOffset(), LastOffset: dup.lastOffset, StartOffset: l.start.Load(),
		AppendTime: dup.timestamp, SyncedOffset: l.synced.Load(), Duplicate: true,
	}
}

// place sets the batch's offsets and epoch, or checks those of a replica's batch, and reads its header.
func (l *Log) place(b batch.Batch, o *AppendOptions, cfg *LogConfig) (header, error) {
	end := l.end.Load()
	if len(b) < minBatchBytes {
		return header{}, refuse(kerr.CorruptMessage, "batch of %d bytes, want at least %d", len(b), minBatchBytes)
	}
	if o.Origin != Replica {
		b.SetBaseOffset(end)
		b.SetLeaderEpoch(o.LeaderEpoch)
	}
	h, err := parseHeader(b, int64(len(b)))
	switch {
	case err != nil:
		return h, refuse(kerr.CorruptMessage, "%v", err)
	case h.magic != 2:
		return h, refuse(kerr.UnsupportedForMessageFormat, "batch has magic %d, want 2", h.magic)
	case h.size != int64(len(b)):
		return h, refuse(kerr.CorruptMessage, "batch of %d bytes says it has %d", len(b), h.size)
	case h.base < end:
		return h, refuse(kerr.OffsetOutOfRange, "batch begins at offset %d, the log ends at %d", h.base, end)
	case h.size > int64(cfg.SegmentBytes):
		return h, refuse(kerr.RecordListTooLarge, "batch of %d bytes does not fit a segment of %d (segment.bytes)",
			h.size, cfg.SegmentBytes)
	}
	return h, nil
}

// write brings the bytes into the file of the segment, which exists from then on.
func (l *Log) write(s *segment, b []byte, cfg *LogConfig) error {
	f, err := l.acquireToWrite(s, cfg)
	if err != nil {
		return err
	}
	defer f.release()
	if _, err = f.f.WriteAt(b, s.size); err != nil {
		return l.dir.fail(err)
	}
	return nil
}

// acquireToWrite opens the file of the active segment, which exists from then on.
func (l *Log) acquireToWrite(s *segment, cfg *LogConfig) (*handle, error) {
	f, err := l.acquire(s)
	if err != nil {
		return nil, l.dir.fail(err)
	}
	if !s.exists {
		if err = l.created(s, f, cfg); err != nil {
			f.release()
			return nil, l.dir.fail(err)
		}
	}
	return f, nil
}

// noteLocked takes in a batch that was written at pos of the active segment.
func (l *Log) noteLocked(s *segment, h *header, pos int64, now time.Time, cfg *LogConfig) {
	l.recent.add(h, pos)
	s.note(h, pos, cfg.IndexIntervalBytes)
	s.dirty, s.modified = true, now.UnixMilli()
	if s.size-s.backed >= writeBackBytes {
		l.store.behind.add(l)
	}
	l.epochs.assign(h.epoch, h.base)
	l.bytes.Add(h.size)
	l.end.Store(h.last + 1)
}

// applyLocked takes a written batch into the producer state and the transaction index.
func (l *Log) applyLocked(h *header, m marker) {
	if !l.prodLoaded {
		return // no producer id has been seen since the start, and this batch has none
	}
	openBefore := len(l.prod.open)
	done, lso, ended := l.prod.apply(h, m)
	if ended && done.aborted {
		x := l.active().idx.Load()
		x.txns = append(x.txns, txnEntry{AbortedTxn{done.pid, done.first, done.last}, lso})
	}
	if ended || len(l.prod.open) != openBefore {
		l.setUnstableLocked()
	}
}

// recentBatches remembers where the last batches of the active segment are, so that those who read
// the tail need no search in the file.
type recentBatches struct {
	ring []recentBatch // allocated on the first append
	n    int           // valid entries
	head int           // where the next one goes
}

type recentBatch struct {
	base, last int64
	pos, size  int64
}

const recentKept = 64

func (r *recentBatches) add(h *header, pos int64) {
	if r.ring == nil {
		r.ring = make([]recentBatch, recentKept)
	}
	r.ring[r.head] = recentBatch{h.base, h.last, pos, h.size}
	r.head = (r.head + 1) % recentKept
	r.n = min(r.n+1, recentKept)
}

func (r *recentBatches) clear() { r.n, r.head = 0, 0 }

// at is the i-th oldest entry.
func (r *recentBatches) at(i int) *recentBatch {
	return &r.ring[(r.head-r.n+i+2*recentKept)%recentKept]
}
