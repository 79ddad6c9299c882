package storage

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"sync"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// journal is the group commit of a log directory. Appends copy their batch into the unit that is
// being filled; one goroutine writes units to pre-written, recycled files, directly where the file
// system can, each time with whatever has queued while the last write was under way. A file is
// recycled once the segments of every log that has entries in it are synced.
//
// A lone append costs no hand-over: while the writer has nothing to do, whoever waits for an append
// takes its place for one unit (settle.go).
//
// Lock order: add may hold Log.mu. It waits for the device only, never for a segment's sync: while
// no journal file is free it refuses, and the append is synced in its segment instead. Whoever
// waits for a note holds no lock.
type journal struct {
	d       *logDir
	opts    JournalOptions
	maxUnit int

	mu struct {
		sync.Mutex
		fill    *unit
		spare   *unit
		written uint64 // number of the last unit that is on stable storage
		idle    bool   // the writer waits for work
		last    int    // entries of the last unit: with many, a hand-over gathers more and is the cheaper way
		settles bool   // an appender has the writer's place, and its fields, for one unit
		stalled bool   // the writer waits for a file
		closed  bool
		failed  error
	}
	work  *sync.Cond // for the writer
	moved *sync.Cond // for those who wait for room or for a unit

	// Of the writer.
	cur   *journalFile
	next  uint64 // generation of the next file
	files int
	zeros []byte

	sealed chan *journalFile // to the goroutine that syncs behind
	free   chan *journalFile
	broken chan struct{} // closed when a segment could not be synced
	volume vfs.Volume    // nil: segments are synced one by one; of the goroutine that syncs behind
	done   sync.WaitGroup
}

// journalFile is one file in use.
type journalFile struct {
	name       string
	f          vfs.File
	direct     bool
	generation uint64
	units      uint64
	pos        int64
	filled     int64 // bytes that were written before, so that writing again moves no metadata
	logs       map[*Log]struct{}
}

// unit is a group of entries that is written at once.
type unit struct {
	number  uint64
	buf     []byte // head and entries; aligned
	entries uint32
	logs    []unitLog
	sums    []batchSum // of the large batches in it
}

// unitLog is what a unit commits for one log.
type unitLog struct {
	l   *Log
	end int64
	cut uint32 // Log.cuts when the entry was made
}

const (
	firstUnitBytes = 64 << 10
	maxUnitBytes   = 2 << 20
	prefillBytes   = 1 << 20
)

func newJournal(d *logDir, opts JournalOptions, generation uint64, files []*journalFile) *journal {
	j := &journal{d: d, opts: opts, next: generation}
	j.maxUnit = int(min(maxUnitBytes, opts.FileBytes/4))
	j.work, j.moved = sync.NewCond(&j.mu), sync.NewCond(&j.mu)
	j.mu.fill, j.mu.spare = newUnit(1), newUnit(2)
	j.sealed = make(chan *journalFile, max(opts.Files, len(files)))
	j.free = make(chan *journalFile, max(opts.Files, len(files)))
	j.broken = make(chan struct{})
	j.files = len(files)
	for _, f := range files {
		j.free <- f
	}
	return j
}

func newUnit(number uint64) *unit {
	return &unit{number: number, buf: alignedBuffer(firstUnitBytes)[:unitHeadBytes]}
}

func (u *unit) reset(number uint64) {
	u.number, u.buf, u.entries = number, u.buf[:unitHeadBytes], 0
	clear(u.logs)
	u.logs, u.sums = u.logs[:0], u.sums[:0]
}

// grow makes room for n more bytes and the padding.
func (u *unit) grow(n int) {
	need := int(roundUp(int64(len(u.buf)+n), journalBlock))
	if need <= cap(u.buf) {
		return
	}
	b := alignedBuffer(max(need, 2*cap(u.buf)))[:len(u.buf)]
	copy(b, u.buf)
	u.buf = b
}

func (j *journal) start() {
	j.done.Go(j.write)
	j.done.Go(j.syncBehind)
}

// add queues an appended batch. It reports false if the segment must be synced instead. Log.mu is
// held, which keeps a log's entries in order. left says that nobody has been told of the entry: an
// appender that waits must call settle.
func (j *journal) add(l *Log, segment, pos int64, h *header, data []byte, waits bool) (added, left bool) {
	need := entryHeadBytes + entryDataBytes + len(l.tp.Topic) + len(data)
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.roomLocked(need) {
		return false, false
	}
	u := j.mu.fill
	u.grow(need)
	u.buf = appendData(u.buf, l, segment, pos, h, data)
	u.sumOf(data)
	u.entries++
	u.commits(l, h.last+1)
	if waits && j.mu.idle && len(u.buf) <= settleBytes {
		return true, true
	}
	j.wakeLocked()
	return true, false
}

// commits notes that the unit carries l up to end.
func (u *unit) commits(l *Log, end int64) {
	if i := l.unitIndex; l.unitNumber == u.number && i < len(u.logs) && u.logs[i].l == l {
		u.logs[i].end = end
		return
	}
	l.unitNumber, l.unitIndex = u.number, len(u.logs)
	u.logs = append(u.logs, unitLog{l, end, l.cuts.Load()})
}

// roomLocked waits until need bytes fit the unit being filled; false if they never will or the
// writer cannot go on.
func (j *journal) roomLocked(need int) bool {
	for {
		switch {
		case j.mu.failed != nil, j.mu.closed, j.mu.stalled, need > j.maxUnit-unitHeadBytes:
			return false
		case len(j.mu.fill.buf)+need <= j.maxUnit:
			return true
		}
		j.wakeLocked() // what fills it may have been left to an appender
		j.moved.Wait()
	}
}

func (j *journal) wakeLocked() {
	if j.mu.idle {
		j.mu.idle = false
		j.work.Signal()
	}
}

// note queues an entry that says what must not be replayed, and waits until it is durable. No lock
// may be held.
func (j *journal) note(kind entryKind, l *Log, offset int64) error {
	number, err := j.post(kind, l, offset)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.mu.written < number && j.mu.failed == nil {
		j.moved.Wait()
	}
	return j.mu.failed
}

// post queues a note and returns the number of the unit that will carry it.
func (j *journal) post(kind entryKind, l *Log, offset int64) (uint64, error) {
	need := entryHeadBytes + len(l.tp.Topic)
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.mu.fill.buf)+need > j.maxUnit && j.mu.failed == nil && !j.mu.closed {
		j.wakeLocked()
		j.moved.Wait()
	}
	switch {
	case j.mu.failed != nil:
		return 0, j.mu.failed
	case j.mu.closed:
		return 0, errClosed
	}
	u := j.mu.fill
	u.grow(need)
	u.buf = appendNote(u.buf, kind, l, offset)
	u.entries++
	j.wakeLocked()
	return u.number, nil
}

// write is the goroutine that writes units, until the journal closes and nothing is queued.
func (j *journal) write() {
	defer close(j.sealed)
	for {
		u := j.take()
		if u == nil {
			return
		}
		if err := j.writeUnit(u); err != nil {
			j.fail(err)
			return
		}
		j.complete(u, nil)
	}
}

// take waits for a unit with entries; nil means that the journal is closed and empty, or has failed.
func (j *journal) take() *unit {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.mu.settles || j.mu.fill.entries == 0 {
		if !j.mu.settles && (j.mu.closed || j.mu.failed != nil) {
			return nil
		}
		j.mu.idle = !j.mu.settles
		j.work.Wait()
	}
	if j.mu.failed != nil {
		return nil
	}
	j.mu.idle = false
	return j.swapLocked()
}

// swapLocked takes the unit that was filled.
func (j *journal) swapLocked() *unit {
	u := j.mu.fill
	j.mu.fill, j.mu.spare = j.mu.spare, nil
	j.mu.fill.reset(u.number + 1)
	j.moved.Broadcast()
	return u
}

// complete notes that a unit is written. The logs that rose are appended to told as far as it has
// room, for the caller to tell; the notifier tells the others.
func (j *journal) complete(u *unit, told []*Log) []*Log {
	for _, c := range u.logs {
		switch {
		case !c.l.raiseSynced(c.end, c.cut):
		case len(told) < cap(told):
			told = append(told, c.l)
		default:
			j.d.store.notify.log(c.l)
		}
	}
	j.mu.Lock()
	j.mu.written, j.mu.last = u.number, int(u.entries)
	j.mu.spare = u
	j.moved.Broadcast()
	j.mu.Unlock()
	return told
}

func (j *journal) fail(err error) {
	err = j.d.condemn(err)
	j.mu.Lock()
	j.mu.failed = err
	j.moved.Broadcast()
	j.mu.Unlock()
}

// writeUnit brings a unit to stable storage.
func (j *journal) writeUnit(u *unit) error {
	length := len(u.buf)
	padded := int(roundUp(int64(length), journalBlock))
	if err := j.place(int64(padded)); err != nil {
		return err
	}
	c := j.cur
	putUnitHead(u.buf, c.generation, c.units, u.entries, u.sums)
	clear(u.buf[length:padded])
	if err := c.put(u.buf[:padded], c.pos); err != nil {
		return err
	}
	c.pos += int64(padded)
	c.filled = max(c.filled, c.pos)
	c.units++
	for _, l := range u.logs {
		c.logs[l.l] = struct{}{}
	}
	return nil
}

// put writes to stable storage.
func (f *journalFile) put(b []byte, pos int64) error {
	if _, err := f.f.WriteAt(b, pos); err != nil {
		return err
	}
	if f.direct {
		return nil
	}
	return f.f.SyncData()
}

// place makes sure that n bytes fit the current file and were written before.
func (j *journal) place(n int64) error {
	if j.cur == nil || j.cur.pos+n > j.opts.FileBytes {
		if err := j.rotate(); err != nil {
			return err
		}
	}
	c := j.cur
	for c.filled < c.pos+n {
		if j.zeros == nil {
			j.zeros = alignedBuffer(prefillBytes)
		}
		if err := c.put(j.zeros[:min(prefillBytes, j.opts.FileBytes-c.filled)], c.filled); err != nil {
			return err
		}
		c.filled += min(prefillBytes, j.opts.FileBytes-c.filled)
	}
	return nil
}

// rotate takes a free file, or makes one, or waits until one is free.
func (j *journal) rotate() error {
	if j.cur != nil {
		j.sealed <- j.cur
		j.cur = nil
	}
	f, err := j.nextFile()
	if err != nil {
		return err
	}
	f.generation, f.units, f.pos = j.next, 0, journalBlock
	f.logs = make(map[*Log]struct{})
	j.next++
	head := alignedBuffer(journalBlock)
	putJournalHead(head, f.generation, true)
	if err = f.put(head, 0); err != nil {
		return err
	}
	f.filled = max(f.filled, journalBlock)
	j.cur = f
	return nil
}

func (j *journal) nextFile() (*journalFile, error) {
	select {
	case f := <-j.free:
		return f, nil
	default:
	}
	if j.files < j.opts.Files {
		return j.newFile()
	}
	j.stall(true)
	defer j.stall(false)
	select {
	case f := <-j.free:
		return f, nil
	case <-j.broken:
		return nil, fmt.Errorf("journal of %s: the segments behind it cannot be synced", j.d.path)
	}
}

func (j *journal) stall(on bool) {
	j.mu.Lock()
	j.mu.stalled = on
	j.moved.Broadcast()
	j.mu.Unlock()
}

func (j *journal) newFile() (*journalFile, error) {
	fsys := j.d.store.opts.FS
	name := path.Join(j.d.path, fmt.Sprintf("%s%d", journalPrefix, j.files))
	f, direct, err := fsys.OpenDirect(name)
	if err != nil {
		return nil, err
	}
	if err = fsys.SyncDir(j.d.path); err != nil {
		_ = f.Close()
		return nil, err
	}
	j.files++
	return &journalFile{name: name, f: f, direct: direct}, nil
}

// syncBehind is the goroutine that syncs the segments behind full files and frees them.
func (j *journal) syncBehind() {
	defer close(j.free)
	if err := j.openVolume(); err != nil {
		j.d.store.log.Warn("cannot sync the volume as a whole; segments are synced one by one", "dir", j.d.path, "err", err)
	}
	defer func() {
		if j.volume != nil {
			_ = j.volume.Close() // nothing was written through it
		}
	}()
	down := false
	for f := range j.sealed {
		if !j.syncTogether(f.logs) {
			for l := range f.logs {
				l.commit()
			}
		}
		if j.d.startsMoved.Swap(false) {
			if err := j.d.writeStarts(); err != nil {
				_ = j.d.condemn(err)
			}
		}
		switch {
		case down:
			_ = f.f.Close()
		case j.d.offline() != nil:
			_ = f.f.Close()
			close(j.broken)
			down = true
		default:
			f.logs = nil
			j.free <- f
		}
	}
}

// stop writes what is queued and ends the goroutines.
func (j *journal) stop() {
	j.mu.Lock()
	j.mu.closed = true
	j.work.Signal()
	j.moved.Broadcast()
	j.mu.Unlock()
	j.done.Wait()
}

// retire marks every file as holding nothing of use; all that is in them must be synced in the
// segments. It closes them.
func (j *journal) retire() error {
	list := []*journalFile{}
	if j.cur != nil {
		list = append(list, j.cur)
	}
	for f := range j.free {
		list = append(list, f)
	}
	// Oldest first: a newer file may hold the note that forbids an older one's entries.
	slices.SortFunc(list, func(a, b *journalFile) int { return cmp.Compare(a.generation, b.generation) })
	var first error
	for _, f := range list {
		if err := f.retire(); err != nil && first == nil {
			first = err
		}
		if err := f.f.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// retire overwrites the header block; a file that was never used has none.
func (f *journalFile) retire() error {
	if f.filled < journalBlock {
		return nil
	}
	head := alignedBuffer(journalBlock)
	putJournalHead(head, f.generation, false)
	return f.put(head, 0)
}
