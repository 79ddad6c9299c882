package storage

import "errors"

// restoreProducers brings back the producer state at the end of the log, and with it the entries
// of the transaction index that were not on disk when the power went: what is above the recovery
// point is replayed from the state as it was there, and each abort met on the way is noted.
func (r *recoverer) restoreProducers() error {
	l := r.l
	end := l.end.Load()
	if r.clean {
		return l.restoreProducersLocked(end)
	}
	if err := l.snapshotBelowLocked(min(r.point, end)); err != nil {
		return err
	}
	var failed error
	err := l.replayLocked(l.prod.end, end, func(h *header, m marker) {
		done, lso, ended := l.prod.apply(h, m)
		if ended && done.aborted && failed == nil {
			failed = r.noteAborted(txnEntry{AbortedTxn{done.pid, done.first, done.last}, lso})
		}
	})
	return errors.Join(err, failed)
}

// noteAborted adds an aborted transaction to the index of the segment that holds its marker, unless
// it is there. What is below the recovery point is on disk.
func (r *recoverer) noteAborted(e txnEntry) error {
	s := r.l.segs[r.l.segmentAt(e.LastOffset)]
	if e.LastOffset < r.point {
		return nil
	}
	x, err := r.l.indexesOf(s)
	if err != nil {
		return err
	}
	if n := len(x.txns); n == 0 || x.txns[n-1].LastOffset < e.LastOffset {
		c := x.clone() // those of a sealed segment are replaced, not changed
		c.txns = append(c.txns, e)
		s.idx.Store(&c)
	}
	return nil
}
