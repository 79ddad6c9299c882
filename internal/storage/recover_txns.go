package storage

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
	return l.replayLocked(l.prod.end, end, func(h *header, m marker) {
		if done, lso, ended := l.prod.apply(h, m); ended && done.aborted {
			l.noteAborted(txnEntry{AbortedTxn{done.pid, done.first, done.last}, lso})
		}
	})
}

// noteAborted adds an aborted transaction to the index of the segment that holds its marker, unless
// it is there. Segments whose indexes are not in memory were below the recovery point.
func (l *Log) noteAborted(e txnEntry) {
	x := l.segs[l.segmentAt(e.LastOffset)].idx.Load()
	if x == nil {
		return
	}
	if n := len(x.txns); n == 0 || x.txns[n-1].LastOffset < e.LastOffset {
		x.txns = append(x.txns, e)
	}
}
