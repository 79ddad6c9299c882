package storage

import (
	"errors"
	"io/fs"
	"path"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
)

// trash is a file or directory that is out of use and waits to be removed.
type trash struct {
	path string
	due  time.Time
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// discard has a path removed after delay.
func (s *Store) discard(p string, delay time.Duration) {
	due := s.opts.Clock.Now().Add(delay)
	s.trashMu.Lock()
	s.trash = append(s.trash, trash{p, due})
	s.trashMu.Unlock()
}

// emptyTrash removes what is due.
func (s *Store) emptyTrash(now time.Time) {
	var due []trash
	s.trashMu.Lock()
	kept := s.trash[:0]
	for _, t := range s.trash {
		if t.due.After(now) {
			kept = append(kept, t)
		} else {
			due = append(due, t)
		}
	}
	s.trash = kept
	s.trashMu.Unlock()
	for _, t := range due {
		if err := s.opts.FS.RemoveAll(t.path); err != nil && !isNotExist(err) {
			s.log.Warn("cannot remove deleted files; they are tried again at the next start", "path", t.path, "err", err)
		}
	}
}

// Delete takes a log out of use at once: its directory is renamed to Kafka's "-delete" name and
// removed after FileDeleteDelay. Appends and reads that come later are refused; ranges that were
// given out stay readable until they are released.
func (s *Store) Delete(tp base.TopicPartition) error {
	s.mu.Lock()
	l, ok := s.mu.logs[tp]
	if ok {
		delete(s.mu.logs, tp)
		s.mu.perDir[l.dir]--
	}
	s.mu.Unlock()
	if !ok {
		return refuse(kerr.UnknownTopicOrPartition, "there is no log of %s", tp)
	}
	s.cancelMove(tp)
	return l.remove(deleteDirSuffix)
}

// SetAside takes a log out of use and keeps its files: its directory is renamed to Kafka's "-stray"
// name, which nothing reads and nothing removes. It returns the new path.
func (s *Store) SetAside(tp base.TopicPartition) (string, error) {
	s.mu.Lock()
	l, ok := s.mu.logs[tp]
	if ok {
		delete(s.mu.logs, tp)
		s.mu.perDir[l.dir]--
	}
	s.mu.Unlock()
	if !ok {
		return "", refuse(kerr.UnknownTopicOrPartition, "there is no log of %s", tp)
	}
	s.cancelMove(tp)
	err := l.remove(strayDirSuffix)
	return l.Path(), err
}

// remove ends the log under a directory name with the suffix.
func (l *Log) remove(suffix string) error {
	l.mu.Lock()
	gone := l.deleted
	l.deleted = true
	l.mu.Unlock()
	if gone {
		return nil
	}
	if err := l.dir.offline(); err != nil {
		return offlineError(l.dir.path, err)
	}
	// From here on nothing is appended, so that the note ends what the journal has of the log.
	if err := l.note(entryGone, 0); err != nil {
		return err
	}
	return l.rename(path.Join(l.dir.path, suffixedDirName(l.tp, suffix)), suffix == deleteDirSuffix)
}

// rename moves the log's directory; discard has it removed after FileDeleteDelay.
func (l *Log) rename(to string, discard bool) error {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.store.opts.FS.Rename(l.home(), to); err != nil {
		return l.dir.fail(err)
	}
	l.path.Store(&to)
	for _, s := range l.segs {
		s.sealed.Store(true)
		l.store.files.drop(s)
	}
	if discard {
		l.store.discard(to, l.cfg.Load().FileDeleteDelay)
	}
	return nil
}
