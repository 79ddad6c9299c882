package controller

import (
	"errors"
	"path"
	"time"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/cluster/raft"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// snapshotting is a snapshot on its way to the disk: of a large cluster that takes longer than an
// election, and the quorum goes on meanwhile.
type snapshotting struct {
	id      snapshotID
	im      *meta.Image
	voters  []raft.Voter // as of the image
	since   int64        // bytes of the log up to its end
	ended   chan error   // capacity 1
	written bool         // what is left is to let the log begin behind it
}

// due says whether it is time for a snapshot.
func (c *Controller) due(now time.Time) bool {
	return c.opts.SnapshotBytes > 0 && c.sinceSnapshot >= c.opts.SnapshotBytes ||
		c.opts.SnapshotInterval > 0 && c.sinceSnapshot > 0 && now.Sub(c.snapshotTime) >= c.opts.SnapshotInterval
}

// maybeSnapshot begins a snapshot if one is due; inline says to write it here.
func (c *Controller) maybeSnapshot(inline bool) {
	now := c.opts.Clock.Now()
	if !c.due(now) || c.snapshotting != nil || c.round != nil || c.writing != nil || c.core.Changing() {
		return
	}
	im := c.image.Load()
	s := &snapshotting{
		id: snapshotID{im.Offset + 1, im.Epoch}, im: im, voters: c.core.Voters(), since: c.sinceSnapshot,
		ended: make(chan error, 1),
	}
	c.snapshotTime, c.snapshotting = now, s
	if inline {
		s.ended <- c.writeSnapshot(s, now)
		c.settleSnapshot()
		return
	}
	c.beside.Go(func() { s.ended <- c.writeSnapshot(s, now) })
}

func (c *Controller) writeSnapshot(s *snapshotting, now time.Time) error {
	data, err := encodeSnapshot(s.im.Records, s.im.Feature(MetadataVersion), s.voters, s.im.Epoch, now)
	if err != nil {
		return err
	}
	return vfs.WriteFile(c.opts.FS, path.Join(c.dir, s.id.fileName()), data)
}

// snapshotEnded says how the writing of a snapshot ended; nil where none is written.
func (c *Controller) snapshotEnded() chan error {
	if c.snapshotting == nil {
		return nil
	}
	return c.snapshotting.ended
}

// settleSnapshot lets the log begin behind a snapshot that is in place, as soon as the quorum can. A failure is
// logged: the log has everything.
func (c *Controller) settleSnapshot() {
	s := c.snapshotting
	if s == nil {
		return
	}
	if !s.written {
		select {
		case err := <-s.ended:
			c.snapshotWritten(err)
		default:
			return
		}
	}
	if c.snapshotting == nil {
		return
	}
	if err := c.compact(s); !errors.Is(err, raft.ErrBusy) {
		c.snapshotting = nil
		c.snapshotFailed(err)
	}
}

// snapshotWritten takes in that the goroutine has ended.
func (c *Controller) snapshotWritten(err error) {
	s := c.snapshotting
	if err != nil || s.id.end <= c.log.StartOffset() { // one from the active controller has taken its place
		c.snapshotting = nil
		c.snapshotFailed(err)
		return
	}
	s.written = true
	c.sinceSnapshot -= s.since
	c.snapshotEnd = max(c.snapshotEnd, s.id.end)
}

func (c *Controller) snapshotFailed(err error) {
	if err != nil {
		c.opts.Logger.Error("metadata snapshot failed", "dir", c.dir, "err", err)
	}
}

func (c *Controller) compact(s *snapshotting) error {
	if s.id.end <= c.log.StartOffset() {
		return nil
	}
	if err := c.core.Compact(s.id.end, s.voters); err != nil {
		return err
	}
	return removeSnapshots(c.opts.FS, c.dir, s.id.end)
}
