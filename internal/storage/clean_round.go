package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/logstead/logstead/internal/proto/batch"
)

// cleanRound is one compaction of one log.
type cleanRound struct {
	*cleaner
	ctx   context.Context
	l     *Log
	job   cleanJob
	now   time.Time
	cut   uint32 // Log.cuts at the beginning
	segs  []*segment
	ends  []int64 // where each of segs ends: the next one's base
	stats cleanStats
}

// clean does one round: it learns the last offset of each key from the dirty part, then rewrites
// the log from its beginning without the records that have a successor.
func (c *cleaner) clean(ctx context.Context, l *Log, j cleanJob, now time.Time) error {
	r := &cleanRound{cleaner: c, ctx: ctx, l: l, job: j, now: now, cut: l.cuts.Load()}
	began := time.Now()
	r.collect()
	if len(r.segs) == 0 {
		return errCleanStopped
	}
	if err := r.learnKeys(); err != nil {
		return r.blame(err)
	}
	end := c.keys.latest + 1
	defer c.keys.reset()
	if err := r.rewrite(end); err != nil {
		return r.blame(err)
	}
	if l.cuts.Load() != r.cut {
		return errCleanStopped
	}
	if err := l.SetCleanerOffset(end); err != nil {
		return err
	}
	c.s.log.Info("compacted", "log", l.tp.String(), "from", j.firstDirty, "to", end, "keys", c.keys.used,
		"records_before", r.stats.recordsRead, "records_after", r.stats.recordsKept,
		"bytes_before", r.stats.bytesRead, "bytes_after", r.stats.bytesKept, "took", time.Since(began))
	if r.stats.keyless > 0 {
		c.s.log.Warn("records without a key were dropped from a compacted log", "log", l.tp.String(),
			"records", r.stats.keyless)
	}
	return nil
}

// collect fixes the segments that the round may touch: whole ones below the first fixed offset.
func (r *cleanRound) collect() {
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	segs := r.l.segs
	for i, s := range segs[:len(segs)-1] {
		if segs[i+1].base > r.job.firstFixed {
			return
		}
		r.segs, r.ends = append(r.segs, s), append(r.ends, segs[i+1].base)
	}
}

// blame tells a log that changed under the round from one that is damaged.
func (r *cleanRound) blame(err error) error {
	if r.l.cuts.Load() != r.cut || errors.Is(err, errStaleSegments) || isNotExist(err) {
		return errCleanStopped
	}
	var d *damagedError
	if errors.As(err, &d) {
		return r.l.readFailed(err)
	}
	return err
}

// learnKeys fills the map with the keys of the dirty part, as far as they fit.
func (r *cleanRound) learnKeys() error {
	r.keys.reset()
	txns := newCleanTxns(nil)
	txns.add(r.l.abortedEntries(r.job.firstDirty, r.ends[len(r.ends)-1]))
	for i, s := range r.segs {
		if r.ends[i] <= r.job.firstDirty {
			continue
		}
		full, err := r.learnSegment(s, txns)
		if err != nil || full {
			return err
		}
		r.keys.covers(r.ends[i] - 1)
	}
	return nil
}

// learnSegment reports true when the map was full before the segment's end.
func (r *cleanRound) learnSegment(s *segment, txns *cleanTxns) (full bool, err error) {
	x, err := r.l.indexesOf(s)
	if err != nil {
		return false, err
	}
	err = r.reader.each(r.l, s, x.floor(r.job.firstDirty-s.base), func(b batch.Batch, _ bool) error {
		if err := r.pace.spend(r.ctx, len(b)); err != nil {
			return err
		}
		full, err = r.learnBatch(b, txns)
		if err == nil && full {
			err = errStopReading
		}
		return err
	})
	return full, err
}

func (r *cleanRound) learnBatch(b batch.Batch, txns *cleanTxns) (full bool, err error) {
	switch {
	case b.IsControl():
		txns.marker(b)
	case txns.data(b):
		// Aborted records are nobody's last value.
	default:
		if err := r.reader.records.Reset(b, batch.Limits{}); err != nil {
			return false, err
		}
		for {
			rec, ok, err := r.reader.records.Next()
			if err != nil {
				return false, err
			}
			if !ok {
				break
			}
			if off := b.Offset(&rec); rec.Key != nil && off >= r.job.firstDirty && !r.keys.put(rec.Key, off) {
				if r.keys.latest < 0 {
					return false, fmt.Errorf("the key map (log.cleaner.dedupe.buffer.size) has no room for the keys of %v", b)
				}
				return true, nil
			}
		}
	}
	if b.LastOffset() >= r.job.firstDirty {
		r.keys.covers(b.LastOffset())
	}
	return false, nil
}

// rewrite replaces the segments that begin below end, group by group.
func (r *cleanRound) rewrite(end int64) error {
	n := 0
	for n < len(r.segs) && r.segs[n].base < end {
		n++
	}
	cfg := r.l.cfg.Load()
	v, err := r.l.cleanView(cfg)
	if err != nil {
		return err
	}
	if len(v.segs) < n || v.segs[0].base != r.segs[0].base {
		return errCleanStopped
	}
	txns := newCleanTxns(nil)
	at := 0
	for _, group := range groupSegments(v.segs[:n], cfg, r.ends[n-1]) {
		olds := r.segs[at : at+len(group)]
		txns.add(r.l.abortedEntries(olds[0].base, r.ends[at+len(group)-1]))
		at += len(group)
		if err := r.replace(olds, txns); err != nil {
			return err
		}
	}
	return nil
}

// replace puts one new segment in the place of the old ones.
func (r *cleanRound) replace(olds []*segment, txns *cleanTxns) error {
	c, err := r.l.newCleaned(olds[0].base)
	if err != nil {
		return err
	}
	txns.kept = c.addAborted
	if err = r.fill(c, olds, txns); err == nil {
		err = c.seal(olds[len(olds)-1].modified)
	}
	if err == nil && r.l.cuts.Load() != r.cut {
		err = errStaleSegments
	}
	if err == nil {
		err = r.l.replaceSegments([]*cleanedSegment{c}, olds)
	}
	if err != nil {
		c.discard()
	}
	return err
}

// fill writes what stays of the old segments.
func (r *cleanRound) fill(to *cleanedSegment, olds []*segment, txns *cleanTxns) error {
	rule := &cleanRule{
		keys: r.keys, txns: txns, producers: r.l.lastOfProducers(), now: r.now.UnixMilli(),
		retention: r.l.cfg.Load().DeleteRetention.Milliseconds(),
	}
	for i, s := range olds {
		err := r.reader.each(r.l, s, 0, func(b batch.Batch, last bool) error {
			if err := r.pace.spend(r.ctx, len(b)); err != nil {
				return err
			}
			return r.put(to, rule, b, last && i == len(olds)-1)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *cleanRound) put(to *cleanedSegment, rule *cleanRule, b batch.Batch, last bool) error {
	st := &r.stats
	st.batchesRead++
	st.bytesRead += int64(len(b))
	st.recordsRead += int64(b.Count())
	o, drop := rule.batch(b, last)
	if drop {
		return nil
	}
	res, err := r.reader.filter.Apply(b, o, func(off int64, rec *batch.Record) bool { return rule.record(b, off, rec, st) })
	if err != nil || res.Batch == nil {
		return err
	}
	st.recordsKept += int64(res.Kept)
	st.bytesKept += int64(len(res.Batch))
	return to.append(res.Batch)
}

// lastOfProducers is what the log must keep for the producers it remembers.
func (l *Log) lastOfProducers() map[int64]lastOfProducer {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[int64]lastOfProducer, len(l.prod.byID))
	for id, p := range l.prod.byID {
		last := lastOfProducer{dataOffset: -1, epoch: p.epoch}
		if p.n > 0 {
			last.dataOffset = p.batches[p.n-1].lastOffset
		}
		out[id] = last
	}
	return out
}

// abortedEntries lists the index entries of aborted transactions that overlap [from, to).
func (l *Log) abortedEntries(from, to int64) (list []txnEntry) {
	for _, s := range l.segmentsFrom(from) {
		x, err := l.indexesOf(s)
		if err != nil {
			return list // the reader of the batches will meet the same error
		}
		l.mu.Lock()
		txns := x.txns
		l.mu.Unlock()
		for _, t := range txns {
			if t.LastOffset >= from && t.FirstOffset < to {
				list = append(list, t)
			}
		}
	}
	return list
}

// segmentReader reads whole segments, batch by batch.
type segmentReader struct {
	buf     []byte
	records batch.Reader
	filter  batch.Filter
}

const segmentReadBytes = 512 << 10

// errStopReading ends a walk early, without an error.
var errStopReading = errors.New("stop reading")

// each calls fn for every batch of the segment from position pos on, after checking its checksum.
// The batch is valid during the call; last is the segment's last one.
func (sr *segmentReader) each(l *Log, s *segment, pos int64, fn func(b batch.Batch, last bool) error) error {
	f, err := l.acquire(s)
	if err != nil {
		return err
	}
	defer f.release()
	if sr.buf == nil {
		sr.buf = make([]byte, segmentReadBytes)
	}
	for pos < s.size {
		n := int(min(int64(len(sr.buf)), s.size-pos))
		if got, err := f.f.ReadAt(sr.buf[:n], pos); err != nil && !(errors.Is(err, io.EOF) && got == n) {
			return l.readFailed(err)
		}
		used, err := sr.batches(f.f.Name(), sr.buf[:n], pos, s.size, fn)
		if errors.Is(err, errStopReading) {
			return nil
		}
		if err != nil {
			return err
		}
		if used == 0 && int64(n) == s.size-pos {
			return &damagedError{f.f.Name(), pos, batch.ErrShort}
		}
		if used == 0 {
			sr.buf = make([]byte, 2*len(sr.buf))
		}
		pos += int64(used)
	}
	if len(sr.buf) > 8*segmentReadBytes {
		sr.buf = nil
	}
	return nil
}

// batches calls fn for the whole batches in buf and returns how many bytes they are.
func (sr *segmentReader) batches(name string, buf []byte, pos, size int64, fn func(batch.Batch, bool) error) (
	used int, err error,
) {
	for used < len(buf) {
		b, _, err := batch.Next(buf[used:])
		if errors.Is(err, batch.ErrShort) {
			return used, nil
		}
		if err == nil {
			err = b.CheckCRC()
		}
		if err != nil {
			return used, &damagedError{name, pos + int64(used), err}
		}
		used += len(b)
		if err := fn(b, pos+int64(used) == size); err != nil {
			return used, err
		}
	}
	return used, nil
}
