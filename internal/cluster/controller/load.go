package controller

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// readChunk is how much of the log is read at a time while it is replayed.
const readChunk = 1 << 20

// replayer builds an image from a snapshot and the log after it.
type replayer struct {
	edit   *meta.Edit
	inTxn  bool // between the records that begin and end a metadata transaction (KIP-868)
	parked []kmsg.Record
	last   int64
	epoch  int32
}

func (r *replayer) apply(rec kmsg.Record) error {
	switch rec.(type) {
	case *kmsg.BeginTransactionRecord:
		r.inTxn = true
	case *kmsg.AbortTransactionRecord:
		r.inTxn, r.parked = false, nil
	case *kmsg.EndTransactionRecord:
		for _, p := range r.parked {
			if err := r.edit.Apply(p); err != nil {
				return err
			}
		}
		r.inTxn, r.parked = false, nil
	default:
		if r.inTxn {
			r.parked = append(r.parked, rec)
			return nil
		}
		return r.edit.Apply(rec)
	}
	return nil
}

// loadImage is the image as of the end of the log. bytes is how much of the log came after the
// snapshot.
func (c *Controller) loadImage() (im *meta.Image, bytes int64, err error) {
	ids, err := listSnapshots(c.opts.FS, c.dir)
	if err != nil {
		return nil, 0, err
	}
	var damaged []error
	for _, id := range append(ids, snapshotID{}) {
		if id.end < c.log.StartOffset() {
			break
		}
		im, bytes, err = c.loadFrom(id)
		if err == nil {
			c.snapshotEnd = id.end
			return im, bytes, nil
		}
		// An older snapshot does as well, while the log goes back to it.
		c.opts.Logger.Error("metadata could not be loaded", "snapshot", id.fileName(), "err", err)
		damaged = append(damaged, err)
	}
	if len(damaged) > 0 {
		return nil, 0, fmt.Errorf("load metadata in %s: %w", c.dir, errors.Join(damaged...))
	}
	return nil, 0, fmt.Errorf("load metadata in %s: the log begins at offset %d and no snapshot reaches that far",
		c.dir, c.log.StartOffset())
}

func (c *Controller) loadFrom(id snapshotID) (*meta.Image, int64, error) {
	r := &replayer{edit: meta.Empty(c.opts.ClusterID).Edit(), last: id.end - 1, epoch: id.epoch}
	if id.end == 0 {
		r.epoch = -1
	}
	if id.end > 0 {
		if err := readSnapshot(c.opts.FS, path.Join(c.dir, id.fileName()), r.apply); err != nil {
			return nil, 0, err
		}
	}
	bytes, err := r.replay(c.log, id.end)
	if err != nil {
		return nil, 0, err
	}
	if level := r.edit.Peek().Feature(MetadataVersion); level > latestMetadata {
		return nil, 0, fmt.Errorf("metadata.version is %d, of a newer Apache Kafka: this version reads up to %d",
			level, latestMetadata)
	}
	im, _ := r.edit.Image(r.last, r.epoch)
	return im, bytes, nil
}

// replay applies the log from an offset to its end.
func (r *replayer) replay(log *storage.Log, from int64) (bytes int64, err error) {
	end := log.EndOffset()
	buf := make([]byte, 0, readChunk)
	for from < end {
		rng, err := log.Read(from, readChunk, end, true)
		if err != nil {
			return bytes, err
		}
		if rng == nil {
			return bytes, fmt.Errorf("%s: nothing to read at offset %d of %d", log.Path(), from, end)
		}
		if buf, err = readRange(buf, rng); err != nil {
			return bytes, err
		}
		bytes += int64(len(buf))
		for rest := buf; len(rest) > 0; {
			var b batch.Batch
			if b, rest, err = batch.Next(rest); err != nil {
				return bytes, fmt.Errorf("%s: at offset %d: %w", log.Path(), from, err)
			}
			if b.LastOffset() >= from {
				if err := r.batch(b); err != nil {
					return bytes, fmt.Errorf("%s: %w", log.Path(), err)
				}
			}
			from = b.LastOffset() + 1
		}
	}
	return bytes, nil
}

// batch takes in one batch. Records keep no part of its bytes: its buffer is used again.
func (r *replayer) batch(b batch.Batch) error {
	whole := append(batch.Batch(nil), b...)
	err := eachRecord(whole, func(_ int64, rec kmsg.Record) error { return r.apply(rec) })
	r.last, r.epoch = b.LastOffset(), b.LeaderEpoch()
	return err
}

func readRange(buf []byte, rng *storage.FileRange) ([]byte, error) {
	defer rng.Release()
	n := rng.Len()
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	_, err := rng.ReadAt(buf, 0)
	return buf, err
}

// firstRecords are what a new cluster begins with: what the directory was formatted with, or our
// own levels.
func (c *Controller) firstRecords() ([]kmsg.Record, error) {
	var records []kmsg.Record
	name := path.Join(path.Dir(c.dir), bootstrapFile)
	err := readSnapshot(c.opts.FS, name, func(rec kmsg.Record) error {
		records = append(records, rec)
		return nil
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return bootstrapRecords(), nil
	case err != nil:
		return nil, fmt.Errorf("read what the directory was formatted with: %w", err)
	case len(records) == 0:
		return bootstrapRecords(), nil
	}
	return records, nil
}

// removeSnapshots removes those that a newer one has replaced.
func removeSnapshots(fsys vfs.FS, dir string, before int64) error {
	ids, err := listSnapshots(fsys, dir)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if id.end < before {
			if err := fsys.Remove(path.Join(dir, id.fileName())); err != nil {
				return err
			}
		}
	}
	return nil
}
