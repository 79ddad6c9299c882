package partition

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/storage"
)

// FollowerState is where a follower goes on fetching.
type FollowerState struct {
	Offset   int64 // end of its log
	Epoch    int32 // newest leader epoch in its log; -1 for none
	LogStart int64
	Stored   bool // all of it may be reported to the leader
}

// FollowerState tells the fetcher where to go on.
func (p *Partition) FollowerState() FollowerState {
	log := p.Log()
	epoch, _ := log.LatestEpoch()
	end := log.EndOffset()
	return FollowerState{end, epoch, log.StartOffset(), p.StoredOffset() >= end}
}

// lockFollower takes the follower's lock if the replica still follows in this leader epoch.
func (p *Partition) lockFollower(epoch int32) error {
	p.follow.Lock()
	if p.closed.Load() || p.leads.Load() || p.epoch.Load() != epoch {
		p.follow.Unlock()
		return kerr.FencedLeaderEpoch
	}
	return nil
}

// AppendAsFollower writes what the leader of the epoch sent, as it is: whole batches of magic 2 that go
// on from the end of the log. A batch cut off at the end is left for the next fetch. What fails its
// checksum is not written. The caller settles afterwards what it gives a Settlement for.
func (p *Partition) AppendAsFollower(records []byte, epoch int32, hw, logStart int64, now time.Time, s *storage.Settlement) error {
	if err := p.lockFollower(epoch); err != nil {
		return err
	}
	defer p.follow.Unlock()
	good, end, bad := sound(records, epoch)
	// A high watermark that has passed what is new here has not waited for this replica: it is not in sync.
	o := storage.AppendOptions{LeaderEpoch: epoch, Now: now, Behind: end <= hw}
	if err := p.appendReplica(good, o, s); err != nil {
		return err
	}
	p.copiedIn.Add(int64(len(good)))
	if bad != nil {
		return fmt.Errorf("%s: what the leader sent for offset %d: %w", p.TP, p.Log().EndOffset(), bad)
	}
	p.raiseFollower(hw, logStart)
	return nil
}

// sound is what of a leader's records may be written: all before a batch that was cut off, one that was written after
// the leader of the epoch was deposed (this log may differ before it), or, with the error, one that is damaged. end is
// the offset behind it.
func sound(records []byte, epoch int32) (good []byte, end int64, bad error) {
	for left := records; len(left) > 0; {
		b, rest, err := batch.Next(left)
		if errors.Is(err, batch.ErrShort) || err == nil && b.LeaderEpoch() > epoch {
			return records[:len(records)-len(left)], end, nil
		}
		if err == nil {
			err = b.CheckCRC()
		}
		if err != nil {
			return records[:len(records)-len(left)], end, err
		}
		left, end = rest, b.LastOffset()+1
	}
	return records, end, nil
}

// appendReplica writes to the log; what a move has it wait with goes to the one that comes after.
func (p *Partition) appendReplica(records []byte, o storage.AppendOptions, s *storage.Settlement) error {
	return p.onLog(func(log *storage.Log) error {
		n, err := log.AppendReplica(records, o, s)
		records = records[n:]
		return err
	})
}

// raiseFollower takes the leader's high watermark and log start, as far as this log has come.
func (p *Partition) raiseFollower(hw, logStart int64) {
	log := p.Log()
	before := log.HighWatermark()
	log.SetHighWatermark(hw)
	if to := min(logStart, log.HighWatermark()); to > log.StartOffset() {
		_, _ = log.DeleteRecords(to) // tried again with the next fetch
	}
	if log.HighWatermark() > before {
		p.fireRaised()
	}
}

// TruncateDiverged cuts what the leader does not have: it said that the leader epoch (the newest that
// both know at most) ends at end in its log. Where this log has nothing of that epoch it goes back to
// the end of an older one, and the next fetch goes on from there (KIP-101, KIP-279).
func (p *Partition) TruncateDiverged(epoch, leaderEpoch int32, leaderEnd int64) error {
	if err := p.lockFollower(epoch); err != nil {
		return err
	}
	defer p.follow.Unlock()
	log := p.Log()
	if leaderEnd < 0 {
		return log.Truncate(log.HighWatermark())
	}
	to := min(leaderEnd, log.EndOffset())
	if _, end := log.EpochEnd(leaderEpoch); end >= 0 {
		to = min(to, end)
	}
	return log.Truncate(to)
}

// TruncateTo cuts the log at offset, where the leader's ends.
func (p *Partition) TruncateTo(epoch int32, offset int64) error {
	if err := p.lockFollower(epoch); err != nil {
		return err
	}
	defer p.follow.Unlock()
	return p.Log().Truncate(offset)
}

// RestartAt drops every record and goes on at the leader's log start.
func (p *Partition) RestartAt(epoch int32, start int64) error {
	if err := p.lockFollower(epoch); err != nil {
		return err
	}
	defer p.follow.Unlock()
	return p.Log().TruncateFully(start)
}
