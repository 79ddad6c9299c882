package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/logstead/logstead/internal/kit/base"
)

// dirState is what the files of a log directory say about the last run.
type dirState struct {
	clean    bool   // it ended in order
	epoch    int64  // of the broker that ended it; -1: not known
	manifest string // the manifest that it wrote; empty: none
	recovery offsets
	hw       offsets
	start    offsets
	cleaner  offsets
	noted    map[base.TopicPartition]journalState
}

// journalState is what the journal tells of one log, for one topic id.
type journalState struct {
	id     base.TopicID
	start  int64 // log start
	stable int64 // end of the last batch
}

// load reads every log of the directory. After a clean shutdown that this program wrote, the
// manifest says all and no log is touched; otherwise each log's directory is read, and what is
// above the recovery point is scanned, several logs at a time.
func (d *logDir) load(ctx context.Context) error {
	st, err := d.readState()
	if err != nil {
		return err
	}
	d.lastEpoch = st.epoch
	journal, err := d.replayJournal(&st)
	if err != nil {
		return err
	}
	if err = d.loadAll(ctx, &st); err != nil {
		return err
	}
	if !st.clean {
		if err = d.writeCheckpoints(); err != nil {
			return err
		}
	}
	return d.openJournal(journal)
}

// loadAll takes every log from the manifest, or reads its directory.
func (d *logDir) loadAll(ctx context.Context, st *dirState) error {
	known, err := d.readManifest(st.manifest)
	if err != nil {
		return err
	}
	entries, err := d.store.opts.FS.ReadDir(d.path)
	if err != nil {
		return err
	}
	if err = d.dropCleanMark(st.clean); err != nil {
		return err
	}
	byName := make(map[string]*Log, len(known))
	for _, l := range known {
		byName[l.tp.String()] = l
	}
	var todo []base.TopicPartition
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if l := byName[e.Name()]; l != nil {
			if err := d.add(l, st); err != nil {
				return fmt.Errorf("log %s: %w", l.tp, err)
			}
			continue
		}
		switch {
		case strings.HasSuffix(e.Name(), deleteDirSuffix):
			d.store.discard(path.Join(d.path, e.Name()), 0)
			continue
		case strings.HasSuffix(e.Name(), futureDirSuffix):
			d.futures = append(d.futures, e.Name())
			continue
		}
		if tp, ok := parsePartitionDir(e.Name()); ok {
			todo = append(todo, tp)
		}
	}
	return d.loadLogs(ctx, todo, st)
}

// readState reads the checkpoints. One that cannot be read counts as absent: it costs scanning, not
// records; but a failing disk is an error.
func (d *logDir) readState() (st dirState, err error) {
	fsys := d.store.opts.FS
	st.noted = map[base.TopicPartition]journalState{}
	for _, c := range []struct {
		file string
		to   *offsets
	}{
		{recoveryCheckpointFile, &st.recovery},
		{hwCheckpointFile, &st.hw},
		{startCheckpointFile, &st.start},
		{cleanerCheckpointFile, &st.cleaner},
	} {
		*c.to, err = readOffsets(fsys, d.path, c.file)
		if err != nil && isIO(err) {
			return st, err
		}
		if err != nil {
			d.store.log.Warn("checkpoint is damaged and ignored", "err", err)
		}
	}
	d.noteKnown(st.recovery, st.hw, st.start, st.cleaner)
	data, exists, err := readOptional(fsys, path.Join(d.path, cleanShutdownFile), maxMetaBytes)
	if err != nil {
		return st, err
	}
	c := cleanShutdown{BrokerEpoch: -1}
	if st.clean, st.epoch = exists, -1; exists && json.Unmarshal(data, &c) == nil {
		st.manifest, st.epoch = c.Manifest, c.BrokerEpoch
	}
	return st, nil
}

// dropCleanMark removes the clean-shutdown mark, so that a crash from here on is seen as one.
func (d *logDir) dropCleanMark(present bool) error {
	if !present {
		return nil
	}
	if err := d.store.opts.FS.Remove(path.Join(d.path, cleanShutdownFile)); err != nil {
		return err
	}
	return d.store.opts.FS.SyncDir(d.path)
}

// progressStep is how many recovered logs make a line in the log.
const progressStep = 500

// loadLogs reads the logs with RecoveryThreads goroutines.
func (d *logDir) loadLogs(ctx context.Context, todo []base.TopicPartition, st *dirState) error {
	var (
		wg     sync.WaitGroup
		next   atomic.Int64
		done   atomic.Int64
		failed atomic.Pointer[error]
	)
	if !st.clean && len(todo) > 0 {
		d.store.log.Info("recovering logs after an unclean shutdown", "dir", d.path, "logs", len(todo))
	}
	for range min(d.store.opts.RecoveryThreads, len(todo)) {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(len(todo)) || ctx.Err() != nil || failed.Load() != nil {
					return
				}
				if err := d.loadLog(ctx, todo[i], st); err != nil {
					err = fmt.Errorf("log %s: %w", todo[i], err)
					failed.CompareAndSwap(nil, &err)
					return
				}
				if n := done.Add(1); n%progressStep == 0 {
					d.store.log.Info("reading logs", "dir", d.path, "done", n, "of", len(todo))
				}
			}
		})
	}
	wg.Wait()
	if p := failed.Load(); p != nil {
		return *p
	}
	return ctx.Err()
}

// loadLog reads one log's directory and adds the log to the store. If it meets damage where all
// should be sound, it begins again and checks every byte.
func (d *logDir) loadLog(ctx context.Context, tp base.TopicPartition, st *dirState) error {
	l, err := d.recoverLog(ctx, tp, st, false)
	var damaged *damagedError
	if errors.As(err, &damaged) {
		d.store.log.Warn("a log is not what it should be; checking all of it", "log", tp.String(), "err", err)
		l, err = d.recoverLog(ctx, tp, st, true)
	}
	if err != nil {
		return err
	}
	return d.add(l, st)
}

// recoverLog reads one log; full checks all of it.
func (d *logDir) recoverLog(ctx context.Context, tp base.TopicPartition, st *dirState, full bool) (*Log, error) {
	l := newLog(d.store, d, tp, d.store.opts.Defaults)
	r := recoverer{
		l: l, clean: st.clean && !full, point: st.recovery[tp], stable: st.recovery[tp], startPoint: st.start[tp],
		noted: st.noted[tp], cleaned: -1,
	}
	if full {
		r.point = 0
	}
	if cleaned, ok := st.cleaner[tp]; ok {
		r.cleaned = cleaned
	}
	err := r.run(ctx)
	if err != nil {
		for _, s := range l.segs {
			d.store.files.drop(s)
		}
	}
	return l, err
}

// add gives a log what the checkpoints say of it and puts it into the store.
func (d *logDir) add(l *Log, st *dirState) error {
	if cleaned, ok := st.cleaner[l.tp]; ok {
		l.cleaned = cleaned
	}
	l.hw.Store(max(min(st.hw[l.tp], l.end.Load()), l.start.Load()))
	if l.prodLoaded {
		l.prod.onHighWatermark(l.hw.Load())
		l.setUnstableLocked()
	} else {
		l.unstable.Store(unstableUnknown)
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	if other, ok := d.store.mu.logs[l.tp]; ok {
		switch {
		case l.dropEqualCopy(other), l.dropLeftover(other):
			return nil
		case other.dropLeftover(l):
			d.store.mu.perDir[other.dir]--
			d.store.addLocked(l)
			return nil
		}
		return errors.New("it is also in log directory " + other.dir.path + "; remove one of them")
	}
	d.store.addLocked(l)
	return nil
}
