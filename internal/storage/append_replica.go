package storage

import "github.com/logstead/logstead/internal/proto/batch"

// AppendReplica appends what a leader sent: batches of magic 2 as they are, whose checksums hold. What lies side by
// side in a segment is written at once. n is how much of b was appended, with an error all before the batch that it is about.
// Where the caller settles afterwards it gives a Settlement; nil leaves the journal to its writer.
func (l *Log) AppendReplica(b []byte, o AppendOptions, s *Settlement) (n int, err error) {
	o.Origin, o.Waits = Replica, s != nil
	l.mu.Lock()
	defer l.mu.Unlock()
	for n < len(b) {
		run, err := l.appendRunLocked(b[n:], &o, s)
		if err != nil {
			return n, err
		}
		n += run
	}
	return n, nil
}

// appendRunLocked appends one batch, and those after it that need no more than to lie behind it.
func (l *Log) appendRunLocked(b []byte, o *AppendOptions, st *Settlement) (n int, err error) {
	h, err := parseHeader(b, int64(len(b)))
	if err != nil || h.control() { // an error is put into words there
		n = len(b)
		if err == nil {
			n = int(h.size)
		}
		info, err := l.appendLocked(batch.Batch(b[:n]), o)
		if info.Unsettled != nil {
			st.add(l.dir.journal)
		}
		return n, err
	}
	if err = l.appendableLocked(); err != nil {
		return 0, err
	}
	cfg := l.cfg.Load()
	if h, err = l.place(batch.Batch(b[:h.size]), o, cfg); err != nil {
		return 0, err
	}
	s, err := l.segmentFor(&h, o.Now, cfg)
	if err != nil {
		return 0, err
	}
	run, count, ids := s.run(b, h, o, cfg)
	if ids {
		if err = l.loadProducersLocked(); err != nil {
			return 0, err
		}
	}
	uncached := false
	if o.Behind && cfg.Durability == Fsync {
		uncached, err = l.writeBehind(s, run, cfg)
	} else {
		err = l.write(s, run, cfg)
	}
	if err != nil {
		return 0, err
	}
	direct := uncached || l.dir.direct(count, len(run))
	for n < len(run) {
		h, err := parseHeader(run[n:], int64(len(run)-n))
		if err != nil {
			return n, err // not possible: it was read before
		}
		pos := s.size
		l.noteLocked(s, &h, pos, o.Now, cfg)
		l.applyLocked(&h, marker{})
		if l.commitLocked(batch.Batch(run[n:n+int(h.size)]), &h, pos, direct, cfg, o.Waits) {
			st.add(l.dir.journal)
		}
		n += int(h.size)
	}
	return n, nil
}

// run is the part of b, whose first batch has the header h, that can be written to the segment at once: count batches.
// ids says whether one of them has a producer id. Markers stay out: they are read before anything is written.
func (s *segment) run(b []byte, h header, o *AppendOptions, cfg *LogConfig) (run []byte, count int, ids bool) {
	firstTS := s.firstTS
	if s.size == 0 {
		firstTS = h.maxTimestamp
	}
	n := h.size
	count, ids = 1, h.pid >= 0
	for n < int64(len(b)) {
		next, err := parseHeader(b[n:], int64(len(b))-n)
		if err != nil || next.magic != 2 || next.control() || next.base <= h.last ||
			!s.takes(&next, s.size+n, firstTS, count, o.Now, cfg) {
			break
		}
		h, n, count = next, n+next.size, count+1
		ids = ids || h.pid >= 0
	}
	return b[:n], count, ids
}
