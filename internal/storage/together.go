package storage

import "errors"

// Behind a journal file that many logs have entries in, one sync of the whole volume takes the place
// of several for each log: the file system commits once, and the cost follows the bytes written and
// not the number of partitions. It also waits for what others have written to that volume, so a few
// logs are synced one by one.

// covered is what a sync of the volume will have made durable of one log, as of before it.
type covered struct {
	l        *Log
	end      int64
	cuts     uint32
	from, to int // of the list of segments
}

// coveredSegment is a segment that was not synced, with what it held.
type coveredSegment struct {
	s    *segment
	size int64
}

// openVolume readies the journal for syncs of the whole volume, where there are such.
func (j *journal) openVolume() error {
	v, err := j.d.store.opts.FS.OpenVolume(j.d.path)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	j.volume = v
	return err
}

// syncTogether syncs the logs by way of their volume. It reports false if that is not worth it or
// cannot be done. An error has taken the directory offline.
func (j *journal) syncTogether(logs map[*Log]struct{}) bool {
	if j.volume == nil || len(logs) < j.opts.TogetherLogs || j.d.offline() != nil {
		return false
	}
	list := make([]covered, 0, len(logs))
	segs := make([]coveredSegment, 0, len(logs))
	for l := range logs {
		c := covered{l: l, from: len(segs)}
		if segs = l.cover(&c, segs); c.to > c.from {
			list = append(list, c)
		}
	}
	if err := j.volume.Sync(); err != nil {
		_ = j.d.condemn(err)
		return true
	}
	for i := range list {
		c := &list[i]
		switch rose, same := c.l.coveredNow(c, segs[c.from:c.to]); {
		case !same:
			c.l.commit()
		case rose:
			c.l.tellSynced()
		}
	}
	return true
}

// cover notes what of the log is not synced. What it notes stays marked as
// not synced until the sync is through: a checkpoint meanwhile must not count on it.
func (l *Log) cover(c *covered, segs []coveredSegment) []coveredSegment {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.usableLocked() == nil {
		c.end, c.cuts = l.end.Load(), l.cuts.Load()
		for i := len(l.segs) - 1; i >= 0; i-- {
			s := l.segs[i]
			if !s.dirty && s.sealed.Load() {
				break // what is older was synced before
			}
			if s.exists && (s.dirty || s.newName) {
				segs = append(segs, coveredSegment{s, s.size})
			}
		}
	}
	c.to = len(segs)
	return segs
}

// coveredNow notes that what was covered is durable. A segment that was written to meanwhile stays
// marked; same is false if the log was cut, after which its sizes say nothing.
func (l *Log) coveredNow(c *covered, segs []coveredSegment) (rose, same bool) {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.usableLocked() != nil {
		return false, true
	}
	if l.cuts.Load() != c.cuts {
		return false, false
	}
	for _, s := range segs {
		s.s.newName = false
		if s.s.size == s.size {
			s.s.dirty = false
		}
	}
	l.durable = true
	l.flushed = max(l.flushed, c.end)
	if l.end.Load() == c.end {
		l.unflushed, l.lastFlush = 0, l.store.opts.Clock.Now()
	}
	return l.raiseSynced(c.end, c.cuts), true
}
