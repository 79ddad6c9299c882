package storage

import (
	"context"
	"encoding/json"
	"errors"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logstead/logstead/internal/kit/base"
)

// startWorkers begins the goroutines that live from Open to Close: those that commit appends and
// those that tell about it.
func (s *Store) startWorkers() {
	if s.opts.ByHand {
		return
	}
	s.workers.Go(func() { s.notify.work(s.stopNotify) })
	for _, d := range s.dirs {
		s.commits.Go(func() { d.commits.work(s.stop, (*Log).commit) })
		if d.journal != nil {
			d.journal.start()
		}
	}
	s.commits.Go(func() { s.behind.work(s.stop, (*Log).writeBack) })
	s.commits.Go(func() {
		s.flusher.work(s.stop, func(l *Log) { _ = l.checkpoint(false) }) // an error has taken the directory offline
	})
}

// Work does, in a store that is driven by hand, what waits for the goroutines that it does not have.
func (s *Store) Work() {
	for _, d := range s.dirs {
		for _, l := range d.commits.take(nil) {
			l.commit()
		}
	}
	for _, l := range s.behind.take(nil) {
		l.writeBack()
	}
	for _, l := range s.flusher.take(nil) {
		_ = l.checkpoint(false) // an error has taken the directory offline
	}
	if m := s.nextMove(); m != nil {
		s.finishMove(m, m.run(context.Background()))
	}
	s.notify.once(nil)
}

// Run does what has to be done from time to time: retention, flushes, checkpoints, expiry of
// producers, removal of deleted files. It blocks until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	every := func(d time.Duration, do func(now time.Time)) {
		wg.Go(func() {
			t := time.NewTicker(d)
			defer t.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-t.C:
					do(s.opts.Clock.Now())
				}
			}
		})
	}
	every(s.opts.RetentionInterval, s.RetainAll)
	every(s.opts.FlushInterval, s.tick)
	every(s.opts.CheckpointInterval, func(time.Time) { s.Checkpoint() })
	every(s.opts.ProducerInterval, s.expireProducers)
	s.runCleaners(ctx, &wg)
	wg.Go(func() { s.runMoves(ctx) })
	if s.opts.Scrub.Interval > 0 {
		wg.Go(func() { s.runScrubber(ctx) })
	}
	wg.Wait()
	return nil
}

// tick flushes what is older than its topic allows and removes what is due.
func (s *Store) tick(now time.Time) {
	for _, l := range s.all() {
		switch {
		case l.flushDue(now):
			_ = l.Sync() // an error has taken the directory offline
		case l.stuck():
			l.dir.commits.add(l)
		}
	}
	s.emptyTrash(now)
}

// stuck: a sync found no free descriptor and must be tried again.
func (l *Log) stuck() bool {
	if l.cfg.Load().Durability != Fsync || l.synced.Load() == l.end.Load() || l.dir.offline() != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.direct > l.flushed
}

func (l *Log) flushDue(now time.Time) bool {
	every := l.cfg.Load().FlushInterval
	if every == Forever {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unflushed > 0 && now.Sub(l.lastFlush) >= every
}

// RetainAll applies retention to every log once.
func (s *Store) RetainAll(now time.Time) {
	for _, l := range s.all() {
		_, _ = l.Retain(now) // an error has taken the directory offline
	}
	s.emptyTrash(now)
}

func (s *Store) expireProducers(now time.Time) {
	for _, l := range s.all() {
		l.mu.Lock()
		l.prod.expire(now, l.cfg.Load().ProducerExpiration)
		l.mu.Unlock()
	}
}

// Checkpoint moves the recovery point of every log to its end and writes the offset checkpoints.
func (s *Store) Checkpoint() {
	for _, l := range s.Logs() {
		_ = l.checkpoint(false) // an error has taken the directory offline
	}
	for _, d := range s.dirs {
		if err := d.writeCheckpoints(); err != nil {
			_ = d.fail(err)
		}
	}
}

// logsOf lists the logs of one directory.
func (s *Store) logsOf(d *logDir) []*Log {
	var list []*Log
	for _, l := range s.Logs() {
		if l.dir == d {
			list = append(list, l)
		}
	}
	return list
}

// writeCheckpoints writes the offset checkpoints of the directory.
func (d *logDir) writeCheckpoints() error {
	if d.offline() != nil {
		return nil
	}
	d.checkpointMu.Lock()
	defer d.checkpointMu.Unlock()
	logs := d.store.logsOf(d)
	err := d.writeOffsets(recoveryCheckpointFile, logs, func(l *Log) (int64, bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.recovery, true
	})
	if err == nil {
		err = d.writeOffsets(hwCheckpointFile, logs, func(l *Log) (int64, bool) { return l.hw.Load(), true })
	}
	if err == nil {
		err = d.writeStartsOf(logs)
	}
	if err == nil {
		d.known = make(map[base.TopicPartition]struct{}, len(logs))
		for _, l := range logs {
			d.known[l.tp] = struct{}{}
		}
	}
	return err
}

// noteKnown notes who is in the checkpoint files that were found.
func (d *logDir) noteKnown(files ...offsets) {
	d.checkpointMu.Lock()
	defer d.checkpointMu.Unlock()
	d.known = make(map[base.TopicPartition]struct{})
	for _, f := range files {
		for tp := range f {
			d.known[tp] = struct{}{}
		}
	}
}

// forget makes sure that no checkpoint speaks of an earlier log of the same name.
func (d *logDir) forget(tp base.TopicPartition) error {
	d.checkpointMu.Lock()
	_, known := d.known[tp]
	d.checkpointMu.Unlock()
	if !known {
		return nil
	}
	err := d.writeCheckpoints()
	if err == nil {
		err = d.writeCleaned()
	}
	if err != nil {
		return d.fail(err)
	}
	return nil
}

// writeStarts writes the log start offsets.
func (d *logDir) writeStarts() error {
	if d.offline() != nil {
		return nil
	}
	d.checkpointMu.Lock()
	defer d.checkpointMu.Unlock()
	return d.writeStartsOf(d.store.logsOf(d))
}

// writeStartsOf writes every start but 0: also one that the first segment's name tells, for the
// segments below it may come back after a crash.
func (d *logDir) writeStartsOf(logs []*Log) error {
	return d.writeOffsets(startCheckpointFile, logs, func(l *Log) (int64, bool) {
		start := max(l.start.Load(), l.startNoted.Load())
		if start > 0 {
			d.known[l.tp] = struct{}{}
		}
		return start, start > 0
	})
}

// Close ends the store in order: everything is synced, the checkpoints and the clean-shutdown mark
// are written. A directory where that fails gets no mark and is recovered at the next start.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		return nil
	}
	s.mu.closed = true
	s.mu.Unlock()
	s.closing.Store(true)
	close(s.stop)
	s.commits.Wait()
	s.emptyTrash(s.opts.Clock.Now())
	var errs []error
	for _, d := range s.dirs {
		if err := d.close(); err != nil {
			errs = append(errs, err)
		}
	}
	close(s.stopNotify)
	s.workers.Wait()
	for _, l := range s.Logs() {
		l.mu.Lock()
		l.deleted = true
		for _, seg := range l.segs {
			s.files.drop(seg)
		}
		l.mu.Unlock()
	}
	for _, d := range s.dirs {
		d.unlock()
	}
	return errors.Join(errs...)
}

// close brings the directory to rest and marks it clean.
func (d *logDir) close() error {
	if d.journal != nil {
		d.journal.stop()
	}
	if err := d.offline(); err != nil {
		return offlineError(d.path, err)
	}
	if err := d.settleLogs(); err != nil {
		return err
	}
	if err := d.writeCheckpoints(); err != nil {
		return d.fail(err)
	}
	if d.journal != nil {
		if err := d.journal.retire(); err != nil {
			return d.condemn(err)
		}
	}
	return d.markClean()
}

// closeWorkers checkpoint logs side by side: their syncs wait for the device, which takes many at once.
const closeWorkers = 16

// settleLogs checkpoints every log for the last time.
func (d *logDir) settleLogs() error {
	logs := d.store.logsOf(d)
	var next atomic.Int64
	var first atomic.Pointer[error]
	var wg sync.WaitGroup
	workers := min(closeWorkers, len(logs))
	if d.store.opts.ByHand {
		workers = min(1, len(logs))
	}
	for range workers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(logs)) && first.Load() == nil; i = next.Add(1) - 1 {
				if err := logs[i].checkpoint(true); err != nil {
					first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	return nil
}

// cleanShutdown is the content of .kafka_cleanshutdown.
type cleanShutdown struct {
	Version     int    `json:"version"`
	BrokerEpoch int64  `json:"brokerEpoch"`
	Manifest    string `json:"manifest,omitempty"` // ours; Kafka ignores it
}

func (d *logDir) markClean() error {
	id, err := d.writeManifest()
	if err != nil {
		return d.fail(err)
	}
	c := cleanShutdown{BrokerEpoch: -1, Manifest: id.String()}
	if fn := d.store.opts.BrokerEpoch; fn != nil {
		c.BrokerEpoch = fn()
	}
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	fsys := d.store.opts.FS
	if err = writeSynced(fsys, path.Join(d.path, cleanShutdownFile), data); err == nil {
		err = fsys.SyncDir(d.path)
	}
	if err != nil {
		return d.fail(err)
	}
	return nil
}
