package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
)

// Store is all logs of a node.
type Store struct {
	opts   Options
	log    *slog.Logger
	files  fileSet
	dirs   []*logDir
	guards atomic.Uint64

	notify  *notifier
	flusher *logQueue
	behind  *logQueue      // logs with much that the kernel should begin to write
	workers sync.WaitGroup // the notifier
	commits sync.WaitGroup // those that write

	stop, stopNotify chan struct{}
	closing          atomic.Bool

	cleaning  cleaning
	moves     moves
	scrubbing scrubbing

	trashMu sync.Mutex
	trash   []trash // what is to be removed later

	mu struct {
		sync.RWMutex
		logs     map[base.TopicPartition]*Log
		perDir   map[*logDir]int
		wanted   map[base.TopicPartition]*logDir // where a log that is not here yet is to be made
		cordoned func(dir string) bool           // nil: none
		closed   bool
	}
}

// Open locks and reads the log directories and recovers what the last run left. After a clean
// shutdown no log is opened or scanned. A directory that fails goes offline; Open fails if none is
// left, if one is locked, or if one belongs to another node or cluster.
func Open(ctx context.Context, opts Options) (*Store, error) {
	opts.setDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	s := &Store{opts: opts, log: opts.Logger, stop: make(chan struct{}), stopNotify: make(chan struct{})}
	s.files.fs, s.files.max = opts.FS, opts.MaxOpenFiles
	s.mu.logs = make(map[base.TopicPartition]*Log)
	s.mu.perDir = make(map[*logDir]int)
	s.mu.wanted = make(map[base.TopicPartition]*logDir)
	s.moves.mu.wanted, s.moves.wake = make(map[base.TopicPartition]*move), make(chan struct{}, 1)
	s.notify, s.flusher, s.behind = newNotifier(), newLogQueue(queueFlush), newLogQueue(queueWriteBack)
	if err := s.open(ctx); err != nil {
		s.abandon()
		return nil, err
	}
	s.startWorkers()
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	for _, p := range s.opts.Dirs {
		d := &logDir{path: path.Clean(p), store: s, commits: newLogQueue(queueCommit), lastEpoch: -1}
		s.dirs = append(s.dirs, d)
		if err := d.claim(&s.opts); err != nil {
			return err
		}
	}
	if err := s.identify(); err != nil {
		return err
	}
	for _, d := range s.dirs {
		if d.offline() != nil {
			continue
		}
		if err := d.load(ctx); err != nil {
			if ctx.Err() != nil || !isIO(err) {
				return fmt.Errorf("load log directory %s: %w", d.path, err)
			}
			_ = d.condemn(err)
		}
	}
	s.resumeMoves()
	for _, d := range s.dirs {
		if d.offline() == nil {
			return nil
		}
	}
	return fmt.Errorf("no log directory is usable: %w", s.dirs[0].offline())
}

// identify makes sure that all directories belong to one cluster, and formats the new ones.
func (s *Store) identify() error {
	cluster := s.opts.ClusterID
	for _, d := range s.dirs {
		switch id := d.meta.ClusterID; {
		case id == "":
		case cluster == "":
			cluster = id
		case cluster != id:
			return fmt.Errorf("log directory %s belongs to cluster %s, expected %s; fix log.dirs or the cluster id",
				d.path, id, cluster)
		}
	}
	if cluster == "" {
		cluster = base.NewTopicID().String()
	}
	s.opts.ClusterID = cluster
	for _, d := range s.dirs {
		if d.offline() != nil || d.meta.ClusterID != "" && !d.meta.DirectoryID.IsZero() {
			continue
		}
		d.meta = MetaProperties{ClusterID: cluster, NodeID: s.opts.NodeID, DirectoryID: base.NewTopicID()}
		if err := WriteMeta(s.opts.FS, d.path, d.meta); err != nil {
			_ = d.condemn(err)
		}
	}
	return nil
}

// abandon undoes a failed Open.
func (s *Store) abandon() {
	for _, d := range s.dirs {
		d.unlock()
	}
}

// ClusterID is the cluster that the directories belong to.
func (s *Store) ClusterID() string { return s.opts.ClusterID }

// PreviousEpoch is the broker epoch under which the last run ended in order in every log directory, as
// their clean-shutdown marks say; -1 where one of them has none, names another epoch or is offline: what
// that run had in the page cache may be lost (KIP-966).
func (s *Store) PreviousEpoch() int64 {
	epoch := s.dirs[0].lastEpoch
	for _, d := range s.dirs {
		if d.offline() != nil || d.lastEpoch != epoch {
			return -1
		}
	}
	return epoch
}

// Log finds a log.
func (s *Store) Log(tp base.TopicPartition) (*Log, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	l, ok := s.mu.logs[tp]
	return l, ok
}

// all lists all logs in no order.
func (s *Store) all() []*Log {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]*Log, 0, len(s.mu.logs))
	for _, l := range s.mu.logs {
		list = append(list, l)
	}
	return list
}

// Logs lists all logs, by topic and partition.
func (s *Store) Logs() []*Log {
	list := s.all()
	slices.SortFunc(list, func(a, b *Log) int {
		if c := strings.Compare(a.tp.Topic, b.tp.Topic); c != 0 {
			return c
		}
		return int(a.tp.Partition) - int(b.tp.Partition)
	})
	return list
}

// Dirs describes the log directories, in the order of Options.Dirs.
func (s *Store) Dirs() []DirStatus {
	list := make([]DirStatus, len(s.dirs))
	for i, d := range s.dirs {
		list[i] = d.status()
		s.mu.RLock()
		list[i].Logs = s.mu.perDir[d]
		s.mu.RUnlock()
	}
	return list
}

// OpenFiles is how many segment files are open.
func (s *Store) OpenFiles() int { return s.files.open() }

// Cordon has Create pass over the log directories of which f says so (KIP-1066), while there are others.
func (s *Store) Cordon(f func(dir string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.cordoned = f
}

// Create makes an empty log in the log directory dir; if dir is empty, where a Move wanted it before it was here,
// or else where there are fewest logs. A log of the same partition and topic id is returned as it is; of another id it is an
// error, for it must be deleted first.
func (s *Store) Create(tp base.TopicPartition, id base.TopicID, cfg LogConfig, dir string) (*Log, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if _, ok := s.Log(tp); !ok {
		for _, d := range s.dirs {
			if err := d.forget(tp); err != nil {
				return nil, err
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return nil, errClosed
	}
	if l, ok := s.mu.logs[tp]; ok {
		return l, l.adopt(id, cfg)
	}
	d := s.mu.wanted[tp]
	if dir != "" || d == nil || d.offline() != nil {
		var err error
		if d, err = s.pickLocked(dir); err != nil {
			return nil, err
		}
	}
	delete(s.mu.wanted, tp)
	l := newLog(s, d, tp, cfg)
	if err := s.opts.FS.MkdirAll(l.home()); err != nil {
		return nil, d.fail(err)
	}
	if !id.IsZero() {
		if err := writeTopicID(s.opts.FS, l.home(), id); err != nil {
			return nil, d.fail(err)
		}
		l.id.Store(&id)
	}
	l.segs = []*segment{newSegment(0, s.opts.Clock.Now(), l.jitter())}
	l.prodLoaded = true
	s.addLocked(l)
	return l, nil
}

var errClosed = errors.New("the store is closed")

func (s *Store) addLocked(l *Log) {
	s.mu.logs[l.tp] = l
	s.mu.perDir[l.dir]++
}

// pickLocked is the directory called dir, or the usable one with the fewest logs, of those that are not cordoned if
// there are any.
func (s *Store) pickLocked(dir string) (*logDir, error) {
	var best *logDir
	cordoned := func(d *logDir) bool { return s.mu.cordoned != nil && s.mu.cordoned(d.path) }
	for _, d := range s.dirs {
		if dir != "" && d.path != path.Clean(dir) {
			continue
		}
		if err := d.offline(); err != nil {
			if dir != "" {
				return nil, offlineError(d.path, err)
			}
			continue
		}
		if best == nil || cordoned(best) && !cordoned(d) || cordoned(best) == cordoned(d) && s.mu.perDir[d] < s.mu.perDir[best] {
			best = d
		}
	}
	switch {
	case best != nil:
		return best, nil
	case dir != "":
		return nil, refuse(kerr.LogDirNotFound, "%s is not one of the log directories", dir)
	default:
		return nil, refuse(kerr.KafkaStorageError, "every log directory is offline")
	}
}

func newLog(s *Store, d *logDir, tp base.TopicPartition, cfg LogConfig) *Log {
	l := &Log{tp: tp, store: s, dir: d, cleaned: -1, lastFlush: s.opts.Clock.Now()}
	home := path.Join(d.path, tp.String())
	l.path.Store(&home)
	l.cfg.Store(&cfg)
	l.unstable.Store(noUnstable)
	return l
}

// adopt gives an existing log the topic id and settings that Create was asked for.
func (l *Log) adopt(id base.TopicID, cfg LogConfig) error {
	have := l.TopicID()
	switch {
	case have.IsZero() && !id.IsZero():
		if err := writeTopicID(l.store.opts.FS, l.home(), id); err != nil {
			return l.dir.fail(err)
		}
		l.id.Store(&id)
	case have != id && !id.IsZero():
		return refuse(kerr.InconsistentTopicID, "the log of %s has topic id %s, not %s", l.tp, have, id)
	}
	l.SetConfig(cfg)
	return nil
}
