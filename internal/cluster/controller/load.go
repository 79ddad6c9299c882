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
)

// replayer takes in records that were decided before, from a snapshot or the log.
type replayer struct {
	into   func(kmsg.Record) error
	inTxn  bool // between the records that begin and end a metadata transaction (KIP-868)
	parked []kmsg.Record
}

func (r *replayer) apply(rec kmsg.Record) error {
	switch rec.(type) {
	case *kmsg.BeginTransactionRecord:
		r.inTxn = true
	case *kmsg.AbortTransactionRecord:
		r.inTxn, r.parked = false, nil
	case *kmsg.EndTransactionRecord:
		for _, p := range r.parked {
			if err := r.into(p); err != nil {
				return err
			}
		}
		r.inTxn, r.parked = false, nil
	default:
		if r.inTxn {
			r.parked = append(r.parked, rec)
			return nil
		}
		return r.into(rec)
	}
	return nil
}

// loadImage is the image of the newest snapshot that can be read, of those the log follows on from.
func (c *Controller) loadImage(from int64) (*meta.Image, error) {
	ids, err := listSnapshots(c.opts.FS, c.dir)
	if err != nil {
		return nil, err
	}
	var damaged []error
	for _, id := range append(ids, snapshotID{}) {
		if id.end < from {
			break
		}
		if id.end > c.log.EndOffset() {
			continue
		}
		im, err := c.loadFrom(id)
		if err == nil {
			c.snapshotEnd = id.end
			return im, nil
		}
		// An older snapshot does as well, while the log goes back to it.
		c.opts.Logger.Error("metadata could not be loaded", "snapshot", id.fileName(), "err", err)
		damaged = append(damaged, err)
	}
	if len(damaged) > 0 {
		return nil, fmt.Errorf("load metadata in %s: %w", c.dir, errors.Join(damaged...))
	}
	return nil, fmt.Errorf("load metadata in %s: the log begins at offset %d and no snapshot reaches that far",
		c.dir, from)
}

func (c *Controller) loadFrom(id snapshotID) (*meta.Image, error) {
	edit := meta.Empty(c.opts.ClusterID).Edit()
	epoch := int32(-1)
	if id.end > 0 {
		r := replayer{into: func(rec kmsg.Record) error { return edit.Apply(rec) }}
		if err := readSnapshot(c.opts.FS, path.Join(c.dir, id.fileName()), r.apply); err != nil {
			return nil, err
		}
		epoch = id.epoch
	}
	if err := checkLevel(edit.Peek()); err != nil {
		return nil, err
	}
	im, _ := edit.Image(id.end-1, epoch)
	return im, nil
}

func checkLevel(im *meta.Image) error {
	if level := im.Feature(MetadataVersion); level > latestMetadata {
		return fmt.Errorf("metadata.version is %d, of a newer Apache Kafka: this version reads up to %d", level, latestMetadata)
	}
	return nil
}

// batch takes in one batch. Records keep parts of its bytes.
func (r *replayer) batch(b batch.Batch) error {
	return eachRecord(b, func(_ int64, rec kmsg.Record) error { return r.apply(rec) })
}

// firstRecords are what a new cluster begins with: what the directory was formatted with, or our
// own levels.
func (c *Controller) firstRecords() ([]kmsg.Record, error) {
	records, err := c.formattedWith()
	return append(records, firstMinISR(records, c.opts.Config.Static)...), err
}

// formattedWith is what the directory was formatted with.
func (c *Controller) formattedWith() ([]kmsg.Record, error) {
	var records []kmsg.Record
	name := path.Join(path.Dir(c.dir), bootstrapFile)
	err := readSnapshot(c.opts.FS, name, func(rec kmsg.Record) error {
		records = append(records, rec)
		return nil
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return bootstrapRecords(newestLevels()), nil
	case err != nil:
		return nil, fmt.Errorf("read what the directory was formatted with: %w", err)
	case len(records) == 0:
		return bootstrapRecords(newestLevels()), nil
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
