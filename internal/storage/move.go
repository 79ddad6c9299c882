package storage

import (
	"context"
	"errors"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
)

// A move takes a log to another log directory of this broker (KIP-113). One goroutine of Run makes
// them, one after the other:
//
//  1. the segments are copied to "<topic>-<partition>.<id>-future" in the other directory, until
//     little is left;
//  2. the log takes no appends for a moment: whatever is left is copied, all of it is on stable
//     storage in both places, and both journals know that nothing of the log is to be replayed;
//  3. the copy gets the log's name, the old directory a "-delete" name, and a new Log takes the place
//     of the old one.
//
// The future directory is there as soon as the move is wanted: where the next start finds one, after a stop
// or a crash, it begins that move again, from nothing, as Apache Kafka goes on with it. A stop in order leaves it empty,
// for a part of a log is nothing that another program may take for a whole one. A crash in 3 may leave both under the
// log's name: nothing was appended since they became equal, so the next start keeps either one.
type moves struct {
	wake chan struct{}
	mu   struct {
		sync.Mutex
		wanted map[base.TopicPartition]*move
		queue  []*move
	}
}

// move is one log on its way.
type move struct {
	l        *Log
	to       *logDir
	home     string // of the copy
	canceled atomic.Bool
	bytes    atomic.Int64 // copied
	end      atomic.Int64 // offset up to which the copy is whole
	copies   map[*segment]*segmentCopy
	made     bool
	frozen   bool // the log takes no appends: nothing is paced
}

// segmentCopy is how far a segment has been copied.
type segmentCopy struct {
	size    int64
	indexes bool // they are copied and do not change any more
}

// MoveStatus describes a log on its way to another directory.
type MoveStatus struct {
	TopicPartition base.TopicPartition
	Dir            string // where it goes
	Bytes          int64  // copied so far
	Lag            int64  // offsets that are still to be copied
}

const (
	// freezeBytes is how little must be left to copy before appends are held back.
	freezeBytes = 1 << 20
	// mostFreezeBytes is how much that may be where a log grows as fast as it is copied: it is doubled with each round after
	// patientRounds, or a move from a busy log to a slow disk would never end.
	mostFreezeBytes = 64 << 20
	patientRounds   = 4
	// moveRounds bounds the rounds in which a move catches up with its log.
	moveRounds = 1000
)

var (
	errMoveCanceled = errors.New("the move was canceled")
	errMoveStopped  = errors.New("the store stops; the next start moves the log")
	errMoveChanged  = errors.New("the log has changed since it was copied")
)

// Move has a log moved to another log directory, in the background, also by the next run where this one ends before. A log
// that is there already stays, and a move of it to anywhere else ends. One that is not here yet is an error, and is made
// there when it comes.
func (s *Store) Move(tp base.TopicPartition, dir string) error {
	to, err := s.target(tp, dir)
	if err != nil {
		return err
	}
	l, ok := s.want(tp, to)
	if !ok {
		return refuse(kerr.ReplicaNotAvailable, "there is no log of %s; when it comes it will be in %s", tp, to.path)
	}
	if l.dir.offline() != nil {
		return refuse(kerr.KafkaStorageError, "the log of %s is offline", tp)
	}
	if s.settled(l, to) {
		return nil
	}
	for _, d := range s.dirs {
		if d.offline() != nil { // what lies there is not known: the log may be there as well
			return refuse(kerr.KafkaStorageError, "log directory %s is offline, nothing is moved until it is back", d.path)
		}
	}
	m := &move{l: l, to: to, home: path.Join(to.path, futureDirName(tp)), copies: map[*segment]*segmentCopy{}}
	if err := s.opts.FS.MkdirAll(m.home); err != nil {
		return to.fail(err)
	}
	m.made = true
	m.end.Store(l.start.Load())
	s.moves.mu.Lock()
	defer s.moves.mu.Unlock()
	s.cancelMoveLocked(tp) // one that was wanted meanwhile
	s.moves.mu.wanted[tp] = m
	s.moves.mu.queue = append(s.moves.mu.queue, m)
	select {
	case s.moves.wake <- struct{}{}:
	default:
	}
	return nil
}

// settled says that a log is in a directory or on its way there. A move of it to elsewhere ends.
func (s *Store) settled(l *Log, to *logDir) bool {
	s.moves.mu.Lock()
	defer s.moves.mu.Unlock()
	if m := s.moves.mu.wanted[l.tp]; m != nil && m.to == to {
		return true
	}
	s.cancelMoveLocked(l.tp)
	return l.dir == to
}

// cancelMove ends the move of a log, if there is one.
func (s *Store) cancelMove(tp base.TopicPartition) {
	s.moves.mu.Lock()
	defer s.moves.mu.Unlock()
	s.cancelMoveLocked(tp)
}

func (s *Store) cancelMoveLocked(tp base.TopicPartition) {
	m := s.moves.mu.wanted[tp]
	if m == nil {
		return
	}
	m.canceled.Store(true)
	delete(s.moves.mu.wanted, tp)
	if i := slices.Index(s.moves.mu.queue, m); i >= 0 { // it has not begun, and its directory is nobody else's
		s.moves.mu.queue = slices.Delete(s.moves.mu.queue, i, i+1)
		m.removeCopy()
	}
}

// resumeMoves begins the moves again that the last run has not finished.
func (s *Store) resumeMoves() {
	for _, d := range s.dirs {
		for _, name := range d.futures {
			left := path.Join(d.path, name)
			tp, ok := parseFutureDir(name)
			if _, here := s.Log(tp); !ok || !here {
				s.discard(left, 0)
				continue
			}
			err := s.Move(tp, d.path)
			if err != nil {
				s.log.Warn("a move that the last run has not finished cannot go on", "log", tp.String(), "wanted_dir", d.path, "err", err)
			}
			if errors.Is(err, kerr.KafkaStorageError) {
				continue // a directory is offline: the start after it is back finds what was wanted
			}
			s.discard(left, 0)
		}
		d.futures = nil
	}
}

// want finds a log, or notes where it is to be made.
func (s *Store) want(tp base.TopicPartition, to *logDir) (*Log, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.mu.logs[tp]
	if !ok {
		s.mu.wanted[tp] = to
	}
	return l, ok
}

func (s *Store) target(tp base.TopicPartition, dir string) (*logDir, error) {
	if len(tp.String()) > maxNameBytes-len(futureDirName(base.TopicPartition{})) {
		return nil, refuse(kerr.InvalidTopicException, "the topic's name is too long to be moved")
	}
	i := slices.IndexFunc(s.dirs, func(d *logDir) bool { return d.path == path.Clean(dir) })
	if i < 0 {
		return nil, refuse(kerr.LogDirNotFound, "%s is not one of the log directories", dir)
	}
	if err := s.dirs[i].offline(); err != nil {
		return nil, offlineError(s.dirs[i].path, err)
	}
	return s.dirs[i], nil
}

// Moves lists the logs that are being moved.
func (s *Store) Moves() []MoveStatus {
	s.moves.mu.Lock()
	defer s.moves.mu.Unlock()
	list := make([]MoveStatus, 0, len(s.moves.mu.wanted))
	for tp, m := range s.moves.mu.wanted {
		list = append(list, MoveStatus{tp, m.to.path, m.bytes.Load(), max(m.l.end.Load()-m.end.Load(), 0)})
	}
	return list
}

// runMoves moves logs until ctx ends.
func (s *Store) runMoves(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.moves.wake:
		}
		for m := s.nextMove(); m != nil && ctx.Err() == nil; m = s.nextMove() {
			s.finishMove(m, m.run(ctx))
		}
	}
}

func (s *Store) nextMove() *move {
	s.moves.mu.Lock()
	defer s.moves.mu.Unlock()
	if len(s.moves.mu.queue) == 0 {
		return nil
	}
	m := s.moves.mu.queue[0]
	s.moves.mu.queue = s.moves.mu.queue[1:]
	return m
}

func (s *Store) finishMove(m *move, err error) {
	tp := m.l.tp
	s.moves.mu.Lock()
	if s.moves.mu.wanted[tp] == m {
		delete(s.moves.mu.wanted, tp)
	}
	s.moves.mu.Unlock()
	if err == nil {
		for _, d := range []*logDir{m.to, m.l.dir} {
			if err := errors.Join(d.writeCheckpoints(), d.writeCleaned()); err != nil {
				_ = d.fail(err)
			}
		}
		s.log.Info("log moved", "log", tp.String(), "from", m.l.dir.path, "to", m.to.path, "bytes", m.bytes.Load())
		return
	}
	if m.made {
		m.removeCopy()
	}
	if errors.Is(err, errMoveStopped) {
		if err := s.opts.FS.MkdirAll(m.home); err != nil {
			_ = m.to.fail(err)
		}
		s.log.Info("log is moved by the next start", "log", tp.String(), "from", m.l.dir.path, "to", m.to.path)
		return
	}
	s.log.Warn("log stays in its directory", "log", tp.String(), "dir", m.l.dir.path, "wanted_dir", m.to.path, "err", err)
}

// removeCopy removes what there is of an unfinished copy.
func (m *move) removeCopy() {
	s := m.l.store
	if err := s.opts.FS.RemoveAll(m.home); err != nil && !isNotExist(err) {
		s.log.Warn("cannot remove an unfinished copy; the next start moves the log", "path", m.home, "err", err)
	}
}

// ended is why a move does not go on: it was canceled, or the store stops; nil where it does.
func (m *move) ended(ctx context.Context) error {
	switch {
	case m.canceled.Load():
		return errMoveCanceled
	case ctx.Err() != nil || m.l.store.closing.Load():
		return errMoveStopped
	}
	return nil
}

// run moves the log.
func (m *move) run(ctx context.Context) error {
	if err := m.to.forget(m.l.tp); err != nil {
		return err
	}
	few := int64(freezeBytes)
	for round := range moveRounds {
		copied, err := m.copy(ctx)
		if err != nil {
			return err
		}
		if copied > few {
			if round >= patientRounds {
				few = min(2*few, mostFreezeBytes)
			}
			continue
		}
		if err = m.switchOver(ctx); !errors.Is(err, errMoveChanged) {
			return err
		}
	}
	return errMoveChanged
}

// copy brings the copy up to what the log holds now. It returns the bytes it copied.
func (m *move) copy(ctx context.Context) (copied int64, err error) {
	l := m.l
	if err = l.checkpoint(false); err != nil {
		return 0, err
	}
	segs, sizes, end := m.plan()
	for s := range m.copies {
		if !slices.Contains(segs, s) {
			if err = m.drop(s); err != nil {
				return copied, m.to.fail(err)
			}
		}
	}
	for i, s := range segs {
		n, err := m.copySegment(ctx, s, sizes[i])
		copied += n
		if err != nil {
			return copied, err
		}
	}
	m.end.Store(end)
	return copied, nil
}

// plan fixes what there is to copy.
func (m *move) plan() (segs []*segment, sizes []int64, end int64) {
	l := m.l
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segs {
		if s.exists {
			segs, sizes = append(segs, s), append(sizes, s.size)
		}
	}
	return segs, sizes, l.end.Load()
}

// drop removes the copy of a segment that the log no longer has.
func (m *move) drop(s *segment) error {
	m.bytes.Add(-m.copies[s].size)
	delete(m.copies, s)
	for _, suffix := range [...]string{logSuffix, indexSuffix, timeSuffix, txnSuffix} {
		if err := m.l.store.opts.FS.Remove(path.Join(m.home, segmentName(s.base)+suffix)); err != nil && !isNotExist(err) {
			return err
		}
	}
	return nil
}

func (m *move) copySegment(ctx context.Context, s *segment, size int64) (copied int64, err error) {
	c := m.copies[s]
	if c == nil {
		c = &segmentCopy{}
		m.copies[s] = c
	}
	if c.size < size {
		from := c.size
		if err = m.copyRecords(ctx, s, c, size); err != nil {
			return c.size - from, err
		}
		copied = size - from
	}
	if c.indexes {
		return copied, nil
	}
	m.l.flushMu.Lock()
	defer m.l.flushMu.Unlock()
	m.l.mu.Lock()
	x := s.idx.Load()
	final := s.sealed.Load() && s.indexed && (x == nil || x.written())
	m.l.mu.Unlock()
	for _, suffix := range [...]string{indexSuffix, timeSuffix, txnSuffix} {
		if err = m.copyFile(segmentName(s.base) + suffix); err != nil {
			return copied, m.failed(err)
		}
	}
	c.indexes = final
	return copied, nil
}

// copyRecords copies a segment's file from where the copy ends, and syncs it.
func (m *move) copyRecords(ctx context.Context, s *segment, c *segmentCopy, size int64) error {
	h, err := m.l.acquire(s)
	if err != nil {
		return m.failed(err)
	}
	defer h.release()
	f, err := m.l.store.opts.FS.OpenReadWrite(path.Join(m.home, segmentName(s.base)+logSuffix))
	if err != nil {
		return m.to.fail(err)
	}
	defer f.Close()
	buf := make([]byte, min(copyChunk, size-c.size))
	for c.size < size {
		if err = m.ended(ctx); err != nil {
			return err
		}
		b := buf[:min(int64(len(buf)), size-c.size)]
		if _, err = h.f.ReadAt(b, c.size); err != nil {
			return m.l.readFailed(err)
		}
		if _, err = f.WriteAt(b, c.size); err != nil {
			return m.to.fail(err)
		}
		c.size += int64(len(b))
		m.bytes.Add(int64(len(b)))
		m.pace(ctx, len(b))
	}
	if err = f.Sync(); err != nil {
		return m.to.condemn(err)
	}
	return nil
}

// movePaceStep is how long a paced move sleeps at once: then it looks whether it is still wanted, and at what rate.
const movePaceStep = 50 * time.Millisecond

// pace waits for as long as n bytes take at replica.alter.log.dirs.io.max.bytes.per.second.
func (m *move) pace(ctx context.Context, n int) {
	rate := m.l.store.opts.MoveBytesPerSecond
	if rate == nil || m.frozen {
		return
	}
	t := time.NewTimer(0)
	defer t.Stop()
	for left := float64(n); left > 0 && !m.canceled.Load() && !m.l.store.closing.Load(); {
		perSecond := rate()
		if perSecond <= 0 {
			return
		}
		wait := min(time.Duration(left/perSecond*float64(time.Second)), movePaceStep)
		t.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		left -= max(perSecond*wait.Seconds(), 1)
	}
}

// copyFile copies a small file as it is, if there is one.
func (m *move) copyFile(name string) error {
	fsys := m.l.store.opts.FS
	data, exists, err := readOptional(fsys, path.Join(m.l.home(), name), maxCheckpointBytes)
	if err != nil {
		return err
	}
	if !exists {
		if err = fsys.Remove(path.Join(m.home, name)); isNotExist(err) {
			return nil
		}
		return err
	}
	return writeSynced(fsys, path.Join(m.home, name), data)
}

// failed tells what an error of the file system means that may concern either directory: a file of the
// log that has gone meanwhile is only a reason to look again.
func (m *move) failed(err error) error {
	if isNotExist(err) {
		return errMoveChanged
	}
	return m.to.fail(err)
}

// switchOver does steps 2 and 3. errMoveChanged means that the log goes on as it was and has more to copy.
func (m *move) switchOver(ctx context.Context) error {
	l := m.l
	if err := l.freeze(true); err != nil {
		return err
	}
	done := make(chan struct{})
	l.switching.Store(&done)
	m.frozen = true
	defer func() { // those who wait look for the new log, or go on with the old one
		m.frozen = false
		l.switching.Store(nil)
		_ = l.freeze(false)
		close(done)
	}()
	if _, err := m.copy(ctx); err != nil {
		return err
	}
	snaps, err := m.copyState()
	if err != nil {
		return err
	}
	n := newLog(l.store, m.to, l.tp, l.Config())
	id, start, end := l.TopicID(), l.start.Load(), l.end.Load()
	n.id.Store(&id)
	if err := m.noteEnds(n, start, end); err != nil {
		return err
	}
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return err
	}
	if err := m.ended(ctx); err != nil {
		return err
	}
	if l.start.Load() != start || l.recovery != end || len(l.due) > 0 || !slices.Equal(l.snaps, snaps) || !m.wholeLocked() {
		return errMoveChanged
	}
	m.fillLocked(n)
	return m.replaceLocked(n)
}

// noteEnds tells both journals that nothing of the log is to be replayed. The old one must not hear that the
// log is gone: until the names are changed a crash leaves it where it is, and a move may yet be given up. The
// new one may hold what it was told when the log was there before, up to an end that was cut since.
func (m *move) noteEnds(n *Log, start, end int64) error {
	if err := m.l.note(entryStable, end); err != nil {
		return err
	}
	for _, e := range []struct {
		kind   entryKind
		offset int64
	}{{entryCut, end}, {entryStart, start}, {entryStable, end}} {
		if err := n.note(e.kind, e.offset); err != nil {
			return err
		}
	}
	return nil
}

// copyState copies what a log has besides its segments. It returns the snapshots that it copied.
func (m *move) copyState() (snaps []int64, err error) {
	m.l.flushMu.Lock()
	defer m.l.flushMu.Unlock()
	m.l.mu.Lock()
	snaps = slices.Clone(m.l.snaps)
	m.l.mu.Unlock()
	names := []string{partitionMetadataFile, epochCheckpointFile}
	for _, off := range snaps {
		names = append(names, segmentName(off)+snapshotSuffix)
	}
	for _, name := range names {
		if err = m.copyFile(name); err != nil {
			return nil, m.failed(err)
		}
	}
	for _, dir := range []string{m.home, m.to.path} {
		if err = m.l.store.opts.FS.SyncDir(dir); err != nil {
			return nil, m.to.condemn(err)
		}
	}
	return snaps, nil
}

// wholeLocked: the copy has every segment as it is, and nothing else.
func (m *move) wholeLocked() bool {
	have := 0
	for _, s := range m.l.segs {
		c := m.copies[s]
		if !s.exists {
			continue
		}
		have++
		x := s.idx.Load()
		if c == nil || c.size != s.size || s.dirty || x != nil && !x.written() {
			return false
		}
	}
	return have == len(m.copies)
}

// fillLocked gives the new log the state of the old one, which has no use for it any more.
func (m *move) fillLocked(n *Log) {
	l := m.l
	for _, s := range l.segs {
		n.segs = append(n.segs, s.moved())
	}
	n.start.Store(l.start.Load())
	n.end.Store(l.end.Load())
	n.synced.Store(l.end.Load())
	n.hw.Store(l.hw.Load())
	n.unstable.Store(l.unstable.Load())
	n.bytes.Store(l.bytes.Load())
	n.prod, n.prodLoaded = l.prod, l.prodLoaded
	l.prod = producers{end: l.prod.end}
	n.epochs = epochCache{entries: slices.Clone(l.epochs.entries), dirty: l.epochs.dirty}
	n.snaps = slices.Clone(l.snaps)
	n.damage = slices.Clone(l.damage)
	n.flushed, n.recovery, n.direct, n.cleaned = l.end.Load(), l.recovery, l.end.Load(), l.cleaned
	n.lastFlush, n.durable = l.lastFlush, true
}

// moved is the segment in the new log.
func (s *segment) moved() *segment {
	c := &segment{
		base: s.base, size: s.size, next: s.next, maxTS: s.maxTS, maxTSOffset: s.maxTSOffset, firstTS: s.firstTS,
		created: s.created, jitter: s.jitter, modified: s.modified, sinceIndex: s.sinceIndex, indexed: s.indexed, exists: s.exists,
	}
	c.sealed.Store(s.sealed.Load())
	c.suspect(s.size)
	if x := s.idx.Load(); x != nil {
		y := x.clone()
		c.idx.Store(&y)
	}
	return c
}

// replaceLocked is step 3: names, then the table of logs, then those who use the log.
func (m *move) replaceLocked(n *Log) error {
	l, s := m.l, m.l.store
	gone := path.Join(l.dir.path, deleteDirName(l.tp))
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.mu.logs[l.tp] != l:
		return errMoveCanceled
	case s.mu.closed:
		return errMoveStopped
	}
	if err := s.opts.FS.Rename(m.home, n.home()); err != nil {
		return m.to.fail(err)
	}
	m.home = n.home()
	if err := s.opts.FS.SyncDir(m.to.path); err != nil {
		m.made = false // the next start finds two logs that are equal
		return m.to.condemn(err)
	}
	if err := s.opts.FS.Rename(l.home(), gone); err != nil {
		return l.dir.condemn(err) // the copy is removed, the old log was not touched
	}
	if err := s.opts.FS.SyncDir(l.dir.path); err != nil {
		_ = l.dir.condemn(err) // its name may come back after a power cut; the copy is whole and goes on
	}
	l.path.Store(&gone)
	l.deleted = true
	for _, seg := range l.segs {
		seg.sealed.Store(true)
		s.files.drop(seg)
	}
	s.discard(gone, l.cfg.Load().FileDeleteDelay)
	s.mu.perDir[l.dir]--
	s.addLocked(n)
	if fn := s.opts.Events.Moved; fn != nil {
		fn(n)
	}
	s.notify.log(n) // all of it is on stable storage now
	return nil
}

// Switched is closed when a log that takes no appends has been replaced by its copy, or takes them
// again; nil where neither is to be waited for.
func (l *Log) Switched() <-chan struct{} {
	if ch := l.switching.Load(); ch != nil {
		return *ch
	}
	return nil
}

// dropEqualCopy settles a start that finds a log in two directories: a crash at the end of a move left
// both, and they are equal. The one that is not in use yet goes.
func (l *Log) dropEqualCopy(other *Log) bool {
	if l.TopicID() != other.TopicID() || l.end.Load() != other.end.Load() || l.start.Load() != other.start.Load() ||
		l.Size() != other.Size() {
		return false
	}
	l.store.log.Warn("log is in two directories after a move that was cut short; keeping one",
		"log", l.tp.String(), "kept", other.home(), "removed", l.home())
	l.deleted = true
	return l.rename(path.Join(l.dir.path, deleteDirName(l.tp)), true) == nil
}

// dropLeftover settles a start that finds a log in two directories, of which this one holds nothing: the directory failed
// while the log was made in it, and it was made in another one then.
func (l *Log) dropLeftover(kept *Log) bool {
	if id := l.TopicID(); l.Size() > 0 || l.end.Load() > 0 || !id.IsZero() && id != kept.TopicID() {
		return false
	}
	l.store.log.Warn("empty log is in a second directory, where it could not be made; it is removed",
		"log", l.tp.String(), "kept", kept.home(), "removed", l.home())
	l.deleted = true
	return l.rename(path.Join(l.dir.path, deleteDirName(l.tp)), true) == nil
}
