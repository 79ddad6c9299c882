package batch

import "github.com/logstead/logstead/internal/kit/base"

// FilterOptions say how a batch is rewritten when records go.
type FilterOptions struct {
	// RetainEmpty keeps the header when no record is left, because it holds the producer's last
	// sequence or the log's last offset.
	RetainEmpty bool
	// SetHorizon gives the batch this delete horizon in ms, if it has none yet and keeps a
	// tombstone, or if ForceHorizon is set and it keeps anything.
	SetHorizon   int64
	ForceHorizon bool
	Limits       Limits
}

// Filtered is what is left of a batch.
type Filtered struct {
	// Batch is nil if nothing is left, the given one if nothing went, and otherwise valid until
	// the next Apply.
	Batch Batch
	Kept  int
	Read  int
}

// Filter rewrites batches with fewer records. Offsets, timestamps, producer fields, leader epoch
// and the covered offset range stay as they were.
type Filter struct {
	reader  Reader
	builder Builder
	kept    []bool
	rec     Record // what keep is asked about: a variable of choose would move to the heap for each
}

// Apply asks keep for each record, which is valid until keep returns, and builds what is left.
func (f *Filter) Apply(b Batch, o FilterOptions, keep func(offset int64, r *Record) bool) (Filtered, error) {
	res, tombstone, err := f.choose(b, &o, keep)
	if err != nil {
		return Filtered{}, err
	}
	horizon := !b.HasDeleteHorizon() && (tombstone || o.ForceHorizon)
	switch {
	case res.Kept == 0 && o.RetainEmpty:
		res.Batch, err = f.empty(b)
	case res.Kept == 0:
	case res.Kept == res.Read && !horizon:
		res.Batch = b
	default:
		res.Batch, err = f.rebuild(b, &o, horizon)
	}
	return res, err
}

// choose asks keep for each record.
func (f *Filter) choose(b Batch, o *FilterOptions, keep func(int64, *Record) bool) (
	res Filtered, tombstone bool, err error,
) {
	f.kept = f.kept[:0]
	if err := f.reader.Reset(b, o.Limits); err != nil {
		return res, false, err
	}
	for {
		var ok bool
		var err error
		if f.rec, ok, err = f.reader.Next(); err != nil {
			return res, false, err
		}
		if !ok {
			f.rec = Record{}
			return res, tombstone, nil
		}
		kept := keep(b.Offset(&f.rec), &f.rec)
		f.kept = append(f.kept, kept)
		res.Read++
		if kept {
			res.Kept++
			tombstone = tombstone || f.rec.Value == nil
		}
	}
}

// header is the options that make a batch with b's header.
func (f *Filter) header(b Batch) Options {
	return Options{
		BaseOffset: b.BaseOffset(), LeaderEpoch: b.LeaderEpoch(), Codec: b.Codec(),
		Producer:      &Producer{ID: b.ProducerID(), Epoch: b.ProducerEpoch(), Sequence: b.BaseSequence()},
		Transactional: b.IsTransactional(), Control: b.IsControl(),
		TimestampType: b.TimestampType(), AppendTime: b.MaxTimestamp(),
	}
}

// empty keeps the header alone; its greatest timestamp stays.
func (f *Filter) empty(b Batch) (Batch, error) {
	f.builder.Reset(f.header(b))
	f.builder.ExtendTo(b.LastOffset())
	out, err := f.builder.Build()
	if err != nil {
		return nil, err
	}
	out.SetBaseTimestamp(base.NoTimestamp)
	out.SetMaxTimestamp(b.MaxTimestamp())
	out.UpdateCRC()
	return out, nil
}

// rebuild writes the records that are kept.
func (f *Filter) rebuild(b Batch, o *FilterOptions, horizon bool) (Batch, error) {
	header := f.header(b)
	if horizon {
		header.DeleteHorizon = &o.SetHorizon
	} else if b.HasDeleteHorizon() {
		at := b.BaseTimestamp()
		header.DeleteHorizon = &at
	}
	f.builder.Reset(header)
	if err := f.reader.rewind(b); err != nil {
		return nil, err
	}
	for _, kept := range f.kept {
		rec, _, err := f.reader.Next()
		if err != nil {
			return nil, err
		}
		if !kept {
			continue
		}
		// The delta counts from the base timestamp also where the append time is what readers see.
		if err := f.builder.AppendAt(b.Offset(&rec), b.BaseTimestamp()+rec.TimestampDelta, rec); err != nil {
			return nil, err
		}
	}
	f.builder.ExtendTo(b.LastOffset())
	return f.builder.Build()
}
