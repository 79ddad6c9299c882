package storage

// settleBytes is up to what size a unit may be left to an appender. A larger write would keep its
// connection from reading ahead for longer than a hand-over to the writer costs.
const settleBytes = 16 << 10

// settleTells bounds how many logs an appender tells of a unit it wrote; the notifier tells the rest.
const settleTells = 4

// Settle ends appends that said Unsettled, once their locks are let go; own is how many the caller
// has waiting, in this and other logs. The caller writes the journal's next unit itself where nobody
// else has anything in it, had in the last one, or is writing, and where it needs nothing but a write;
// then it runs the OnSynced callbacks, too. Else the writer is woken, as with own 0. Either way the
// appends are on their way, and SyncedOffset tells whether they have arrived.
func (l *Log) Settle(own int) {
	if j := l.dir.journal; j != nil {
		j.settle(own)
	}
}

// Settlement gathers what several AppendReplica have left to whoever appends, so that one write of the journal
// carries all of it. The zero value is ready; it is used by one goroutine.
type Settlement struct {
	left []leftEntries
}

// leftEntries are of one journal.
type leftEntries struct {
	j *journal
	n int
}

func (s *Settlement) add(j *journal) {
	if n := len(s.left); n > 0 && s.left[n-1].j == j {
		s.left[n-1].n++
		return
	}
	s.left = append(s.left, leftEntries{j, 1})
}

// Settle is Log.Settle for all that was gathered. It must follow on the appends, whether they failed or not; no lock
// may be held.
func (s *Settlement) Settle() {
	for i, l := range s.left {
		l.j.settle(l.n)
		s.left[i] = leftEntries{}
	}
	s.left = s.left[:0]
}

func (j *journal) settle(own int) {
	u := j.takeOver(own)
	if u == nil {
		return
	}
	var room [settleTells]*Log
	told := room[:0]
	err := j.writeUnit(u)
	if err == nil {
		told = j.complete(u, told)
	} else {
		j.fail(err)
	}
	j.handBack()
	// Only now: a callback may need the lock of a log whose append waits for room in the journal.
	for _, l := range told {
		l.tellSynced()
	}
}

// takeOver takes the writer's place and the unit that was filled. It gives nil where there is
// nothing to do, or the writer does it.
func (j *journal) takeOver(own int) *unit {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case !j.mu.idle || j.mu.fill.entries == 0:
		return nil // the writer has been told, or somebody has taken it
	case int(j.mu.fill.entries) > own || j.mu.last > own || j.mu.closed || j.mu.failed != nil || !j.readyLocked():
		j.wakeLocked()
		return nil
	}
	j.mu.idle, j.mu.settles = false, true
	return j.swapLocked()
}

// readyLocked reports whether the unit being filled needs a write and nothing else: no other file,
// for which one may have to wait, and no bytes that were not written before. The writer is idle.
func (j *journal) readyLocked() bool {
	n := roundUp(int64(len(j.mu.fill.buf)), journalBlock)
	return j.cur != nil && n <= settleBytes && j.cur.pos+n <= j.cur.filled
}

// handBack gives the writer its place, and work if some has come.
func (j *journal) handBack() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.settles = false
	if j.mu.fill.entries > 0 || j.mu.closed || j.mu.failed != nil {
		j.work.Signal()
		return
	}
	j.mu.idle = true
}
