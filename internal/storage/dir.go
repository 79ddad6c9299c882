package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// logDir is one log directory. It goes offline when a file of it fails and stays so until the next
// start.
type logDir struct {
	path  string
	store *Store
	meta  MetaProperties
	lock  io.Closer
	cause atomic.Pointer[error]

	lastEpoch int64    // the broker epoch that its clean-shutdown mark named; -1 without a mark
	futures   []string // what a start finds of unfinished moves, until they begin again

	commits *logQueue // logs that wait for a sync of their segments
	journal *journal  // nil: off

	refused     atomic.Int64              // what was refused for want of space or descriptors since that was told
	refusedTold atomic.Pointer[time.Time] // when that was
	cachedOnly  atomic.Bool               // its files cannot be written past the page cache
	startsMoved atomic.Bool               // a log start is in the journal and not in its checkpoint

	checkpointMu sync.Mutex                       // one writer of the checkpoint files at a time
	known        map[base.TopicPartition]struct{} // who is in the checkpoint files; guarded by checkpointMu
	lastWritten  map[string]uint64                // hashes of the checkpoint files' content; guarded by checkpointMu
}

// DirStatus describes a log directory.
type DirStatus struct {
	Path        string
	DirectoryID base.TopicID
	Online      bool
	Err         error // why it is offline
	TotalBytes  int64 // of the volume; -1 if unknown
	UsableBytes int64
	Logs        int
}

// offline is why the directory is offline, or nil.
func (d *logDir) offline() error {
	if p := d.cause.Load(); p != nil {
		return *p
	}
	return nil
}

// fail turns an error of the file system into the answer for the caller. It takes the directory
// offline, unless the error says only that something has run out: space or descriptors.
func (d *logDir) fail(err error) error {
	if ranOut(err) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		d.tellRanOut(err)
		return refuse(kerr.KafkaStorageError, "%v", err)
	}
	return d.condemn(err)
}

// ranOutInterval is how often it is told that something has run out.
const ranOutInterval = 30 * time.Second

// tellRanOut says that writes are refused, and how many were since that was last told: nothing else shows it on a broker whose clients
// try again and again.
func (d *logDir) tellRanOut(err error) {
	d.refused.Add(1)
	now := d.store.opts.Clock.Now()
	if told := d.refusedTold.Load(); told != nil && now.Sub(*told) < ranOutInterval || !d.refusedTold.CompareAndSwap(told, &now) {
		return
	}
	free := int64(-1)
	if u, err := d.store.opts.FS.Usage(d.path); err == nil {
		free = u.FreeBytes
	}
	d.store.log.Error("log directory refuses writes until there is room again", "dir", d.path, "refused", d.refused.Swap(0),
		"free_bytes", free, "err", err)
}

// ranOut reports whether there were no descriptors left; nothing was done then.
func ranOut(err error) bool { return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) }

// condemn takes the directory offline: a write or sync whose outcome is unknown must not be built on.
func (d *logDir) condemn(err error) error {
	if d.cause.CompareAndSwap(nil, &err) {
		d.store.log.Error("log directory is offline", "dir", d.path, "err", err)
		if fn := d.store.opts.Events.DirOffline; fn != nil {
			d.store.notify.call(func() { fn(d.path, err) })
		}
	}
	return offlineError(d.path, err)
}

// isIO reports whether err came from the file system and not from the content of a file.
func isIO(err error) bool {
	var p *fs.PathError
	var l *os.LinkError
	var s *os.SyscallError
	return errors.As(err, &p) || errors.As(err, &l) || errors.As(err, &s)
}

func (d *logDir) status() DirStatus {
	st := DirStatus{Path: d.path, DirectoryID: d.meta.DirectoryID, Online: true, TotalBytes: -1, UsableBytes: -1}
	if err := d.offline(); err != nil {
		st.Online, st.Err = false, err
		return st
	}
	if u, err := d.store.opts.FS.Usage(d.path); err == nil {
		st.TotalBytes, st.UsableBytes = u.TotalBytes, u.FreeBytes
	}
	return st
}

// claim creates, locks and identifies the directory. Any error makes it offline but for a lock that
// another process holds, which must stop the start.
func (d *logDir) claim(o *Options) (fatal error) {
	if err := makeDir(o.FS, d.path); err != nil {
		_ = d.condemn(err)
		return nil
	}
	lock, err := o.FS.Lock(d.path + "/" + lockFile)
	if err != nil {
		return fmt.Errorf("lock log directory %s: %w; another process may be using it", d.path, err)
	}
	d.lock = lock
	meta, ok, err := ReadMeta(o.FS, d.path)
	switch {
	case err != nil && isIO(err):
		_ = d.condemn(err)
	case err != nil:
		return err
	case ok && meta.NodeID != o.NodeID:
		return fmt.Errorf("log directory %s belongs to node.id %d, this node is %d; fix node.id or log.dirs",
			d.path, meta.NodeID, o.NodeID)
	case ok:
		d.meta = meta
	}
	return nil
}

// makeDir creates a directory and its parents, with names that survive a power cut.
func makeDir(fsys vfs.FS, dir string) error {
	var missing []string
	for p := dir; ; p = path.Dir(p) {
		if _, err := fsys.Stat(p); err == nil || p == path.Dir(p) {
			break
		}
		missing = append(missing, p)
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	for _, p := range missing {
		if err := fsys.SyncDir(path.Dir(p)); err != nil {
			return err
		}
	}
	return nil
}

func (d *logDir) unlock() {
	if d.lock != nil {
		_ = d.lock.Close()
		d.lock = nil
	}
}

// Offline says whether the log's directory has failed.
func (l *Log) Offline() bool { return l.dir.offline() != nil }
