package storage

import (
	"path"

	"github.com/logstead/logstead/internal/proto/batch"
)

// commitLocked makes an appended batch count as stored, or has it made so. What goes to the journal
// must follow on something that is in the journal or synced, or else a replay would leave a hole.
// left says that the journal has it and nobody writes it until Settle is called; that only
// happens where waits says that the appender waits. direct wants it synced in its segment; it holds for all that
// is appended until then.
func (l *Log) commitLocked(b batch.Batch, h *header, pos int64, direct bool, cfg *LogConfig, waits bool) (left bool) {
	l.unflushed += int64(h.count)
	j, end := l.dir.journal, h.last+1
	switch {
	case cfg.Durability == Replicated:
		l.direct = end
		l.raiseSynced(end, l.cuts.Load())
		if l.unflushed >= cfg.FlushMessages {
			l.store.flusher.add(l)
		}
	case l.store.opts.Journal.Inline:
		l.direct = end
		l.raiseSynced(end, l.cuts.Load())
		l.store.notify.log(l)
	default:
		if j != nil && !direct && l.direct <= l.flushed {
			added, left := j.add(l, l.active().base, pos, h, b, waits)
			if added {
				l.journaled = true
				return left
			}
		}
		l.direct = end
		l.dir.commits.add(l)
	}
	return false
}

// direct says whether what was written at once, one batch or several, is better synced in its segment.
func (d *logDir) direct(batches, bytes int) bool {
	switch {
	case d.journal == nil:
		return true
	case batches == 1:
		return bytes >= d.journal.opts.DirectBytes
	}
	return bytes >= directRun*d.journal.opts.DirectBytes
}

// directRun is how many times as large a run of batches must be. A follower has as much again to sync at the same
// time, of other partitions, which the journal takes together: with three at a time of 1 MiB the segments cost half
// of what the journal does (0.81 and 1.51 s/GiB, 194 and 117 MB/s), of 512 KiB as much, of 256 KiB they are slower.
const directRun = 3

// commit syncs the segments of a log whose appends wait for that, and tells who waits.
func (l *Log) commit() {
	l.flushMu.Lock()
	rose, err := l.syncSegments()
	l.flushMu.Unlock()
	if err == nil && rose {
		l.tellSynced()
	}
}

// writeBackBytes is how much may gather before the kernel is asked to begin writing. Steady writing
// in such portions is faster than what the kernel does by itself once too much is dirty
// (docs/performance.md), and leaves a later sync less to wait for.
const writeBackBytes = 8 << 20

// writeBack asks the kernel to begin writing what the active segment has gathered.
func (l *Log) writeBack() {
	l.mu.Lock()
	s := l.active()
	from, to := s.backed, s.size
	s.backed = to
	ok := l.usableLocked() == nil && s.exists && to > from
	l.mu.Unlock()
	if !ok {
		return
	}
	h, err := l.acquire(s)
	if err != nil {
		return // only a hint
	}
	_ = h.f.WriteBack(from, to-from) // a failed write shows in the sync
	h.release()
}

// Sync puts everything appended so far on stable storage before it returns.
func (l *Log) Sync() error {
	l.flushMu.Lock()
	rose, err := l.syncSegments()
	l.flushMu.Unlock()
	if rose {
		l.store.notify.log(l)
	}
	return err
}

// syncPlan is what a sync has to do, fixed under Log.mu.
type syncPlan struct {
	end      int64
	segs     []*segment
	names    bool // new files in the directory
	identity bool // the directory and its partition.metadata are new
}

func (l *Log) planSyncLocked() syncPlan {
	p := syncPlan{end: l.end.Load(), identity: !l.durable}
	for i := len(l.segs) - 1; i >= 0; i-- {
		s := l.segs[i]
		if !s.dirty && s.sealed.Load() {
			break // what is older was synced before
		}
		if s.dirty {
			s.dirty = false
			p.segs = append(p.segs, s)
		}
		if s.newName {
			s.newName, p.names = false, true
		}
	}
	return p
}

// syncSegments syncs what was written to the segments, oldest first, and raises the synced end.
// flushMu is held. An error has taken the directory offline.
func (l *Log) syncSegments() (rose bool, err error) {
	l.mu.Lock()
	if err = l.usableLocked(); err != nil {
		l.mu.Unlock()
		return false, err
	}
	p := l.planSyncLocked()
	l.mu.Unlock()
	if err = l.runSync(&p); err != nil {
		if !ranOut(err) {
			return false, l.dir.condemn(err)
		}
		l.undoPlan(&p)
		return false, l.dir.fail(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.identity && (p.names || len(p.segs) > 0) {
		l.durable = true
	}
	l.flushed = max(l.flushed, p.end)
	l.unflushed, l.lastFlush = 0, l.store.opts.Clock.Now()
	return l.raiseSynced(p.end, l.cuts.Load()), nil
}

// undoPlan marks as unsynced again what a sync could not open; Store.tick has it tried again.
func (l *Log) undoPlan(p *syncPlan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range p.segs {
		s.dirty, s.newName = true, true
	}
	l.direct = max(l.direct, p.end)
}

func (l *Log) runSync(p *syncPlan) error {
	for i := len(p.segs) - 1; i >= 0; i-- {
		h, err := l.acquire(p.segs[i])
		if err != nil {
			return err
		}
		err = h.f.SyncData()
		h.release()
		if err != nil {
			return err
		}
	}
	if !p.names && len(p.segs) == 0 {
		return nil
	}
	return l.syncNames(p.identity, p.names)
}

// syncNames makes the names of new files durable, and those of the directory itself if it is new.
func (l *Log) syncNames(identity, names bool) error {
	fsys := l.store.opts.FS
	if identity {
		if err := l.syncIdentity(); err != nil {
			return err
		}
	}
	if identity || names {
		if err := fsys.SyncDir(l.home()); err != nil {
			return err
		}
	}
	if identity {
		return fsys.SyncDir(l.dir.path)
	}
	return nil
}

func (l *Log) syncIdentity() error {
	if l.TopicID().IsZero() {
		return nil
	}
	f, err := l.store.opts.FS.OpenReadWrite(path.Join(l.home(), partitionMetadataFile))
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
