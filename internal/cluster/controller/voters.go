package controller

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/raft"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// voterFresh is how long ago a node that is to become a voter may have had all of the log.
const voterFresh = 3 * time.Second

// voterChange is a change of the voters that the quorum has not committed.
type voterChange struct {
	epoch int32
	want  []raft.Voter
	done  func(error)
}

// resolveVoters finds out whether the voters are static, and who they are in a log that begins: those of
// the configuration, those that the directory was formatted with, or else this node alone.
func (c *Controller) resolveVoters() error {
	q := &c.opts.Quorum
	if q.Static || len(q.Voters) > 0 {
		return nil
	}
	known, found, err := raft.KnownVoters(c.opts.FS, c.dir)
	if err == nil && !found {
		known, err = c.formattedVoters()
	}
	switch {
	case err != nil:
		return err
	case found && len(known) == 0: // it waits to be added
	case len(known) == 0:
		known = []raft.Voter{{ID: c.opts.Config.NodeID}}
	}
	q.Voters = known
	return nil
}

// formattedVoters are those of the newest snapshot that names voters; none where none does.
func (c *Controller) formattedVoters() ([]raft.Voter, error) {
	ids, err := listSnapshots(c.opts.FS, c.dir)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		voters, err := readVoters(c.opts.FS, path.Join(c.dir, id.fileName()))
		if err != nil || len(voters) > 0 {
			return voters, err
		}
	}
	return nil, nil
}

// readVoters are the voters that the head of a snapshot names.
func readVoters(fsys vfs.FS, name string) ([]raft.Voter, error) {
	data, err := vfs.ReadFile(fsys, name, maxSnapshotBytes)
	if err != nil {
		return nil, err
	}
	for rest := data; len(rest) > 0; {
		var b batch.Batch
		if b, rest, err = batch.Next(rest); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if !b.IsControl() {
			break
		}
		voters, err := votersIn(b)
		if err != nil || len(voters) > 0 {
			return voters, err
		}
	}
	return nil, nil
}

func votersIn(b batch.Batch) ([]raft.Voter, error) {
	if err := b.CheckCRC(); err != nil {
		return nil, err
	}
	for rec, err := range b.Records(recordLimits) {
		if err != nil {
			return nil, err
		}
		if kind, ok := rec.Control(); ok && kind == batch.KRaftVoters {
			return raft.ReadRecord(rec.Value)
		}
	}
	return nil, nil
}

// Voters are the voters as of what is committed. They must not be changed.
func (c *Controller) Voters() []raft.Voter { return *c.voters.Load() }

// IsVoter says whether this node is one of the voters.
func (c *Controller) IsVoter() bool {
	self := raft.Voter{ID: c.opts.Config.NodeID, DirectoryID: c.opts.Quorum.DirectoryID}
	return slices.ContainsFunc(c.Voters(), func(v raft.Voter) bool { return v.Covers(self) })
}

// Directory is the id of this node's metadata directory.
func (c *Controller) Directory() base.TopicID { return c.opts.Quorum.DirectoryID }

// Upgraded says that the quorum began as a static one and this node's log has the batch that ended that; for its start.
func (c *Controller) Upgraded() bool { return c.core.Upgraded() }

// DynamicVoters says whether voters can change (kraft.version 1).
func (c *Controller) DynamicVoters() bool {
	return len(c.Voters()) == 0 || raft.Dynamic(c.Voters())
}

// KRaftVersion is the level of the feature kraft.version.
func (c *Controller) KRaftVersion() int16 {
	if c.DynamicVoters() {
		return 1
	}
	return 0
}

// AddVoter adds a node to the quorum once it has caught up with the log, as an observer with that
// directory; it waits for that, and for the change to be committed, until ctx ends.
func (c *Controller) AddVoter(ctx context.Context, v raft.Voter) error {
	for {
		err := awaitChange(ctx, c, func(done func(error)) error { return c.startAdding(v, done) })
		if !errors.Is(err, errLagging) {
			return err
		}
		if wait(ctx, voterPause); ctx.Err() != nil {
			return refuse(kerr.RequestTimedOut, "Aborted add voter operation for %s: it does not follow the metadata log, or lags behind; "+
				"is it up, and is that its directory?", nameVoter(v))
		}
	}
}

func (c *Controller) startAdding(v raft.Voter, done func(error)) error {
	return c.startChange("adding voter", func(voters []raft.Voter) ([]raft.Voter, error) {
		if slices.ContainsFunc(voters, func(o raft.Voter) bool { return o.ID == v.ID }) {
			return nil, refuse(kerr.DuplicateVoter, "The voter id for %s is already part of the set of voters.", nameVoter(v))
		}
		if !c.observers.caughtUp(v, c.opts.Clock.Now()) {
			return nil, errLagging
		}
		return append(slices.Clone(voters), v), nil
	}, done)
}

// voterPause is between two looks at whether a node has caught up.
const voterPause = 50 * time.Millisecond

var errLagging = errors.New("the node has not caught up")

func nameVoter(v raft.Voter) string {
	return fmt.Sprintf("node %d with directory %s", v.ID, v.DirectoryID)
}

// RemoveVoter takes a node out of the quorum. An active controller that is removed steps down then.
func (c *Controller) RemoveVoter(ctx context.Context, v raft.Voter) error {
	return awaitChange(ctx, c, func(done func(error)) error { return c.startRemoving(v, done) })
}

func (c *Controller) startRemoving(v raft.Voter, done func(error)) error {
	return c.startChange("removing voter", func(voters []raft.Voter) ([]raft.Voter, error) {
		rest := slices.DeleteFunc(slices.Clone(voters), v.Is)
		switch {
		case len(rest) == len(voters):
			return nil, refuse(kerr.VoterNotFound, "Cannot remove voter %s because it is not in the set of voters.", nameVoter(v))
		case len(rest) == 0:
			return nil, refuse(kerr.VoterNotFound, "Cannot remove voter %s because it is the only one.", nameVoter(v))
		}
		return rest, nil
	}, done)
}

// UpdateVoter changes the endpoints of a voter. In a static quorum the active controller notes what it is told, for the
// time that it is that.
func (c *Controller) UpdateVoter(ctx context.Context, v raft.Voter, levels Feature) error {
	return awaitChange(ctx, c, func(done func(error)) error { return c.startUpdating(v, levels, done) })
}

func (c *Controller) startUpdating(v raft.Voter, levels Feature, done func(error)) error {
	if !c.DynamicVoters() {
		return c.noteVoter(v, levels, done)
	}
	return c.startChange("updating voter", func(voters []raft.Voter) ([]raft.Voter, error) {
		i := slices.IndexFunc(voters, v.Is)
		if i < 0 {
			return nil, refuse(kerr.VoterNotFound, "%s is not part of the set of voters.", nameVoter(v))
		}
		list := slices.Clone(voters)
		list[i] = v
		return list, nil
	}, done)
}

// awaitChange starts a change of the voters and waits until that is committed, or refused.
func awaitChange(ctx context.Context, c *Controller, start func(done func(error)) error) error {
	result := make(chan error, 1)
	if err := start(func(err error) { result <- err }); err != nil {
		return err
	}
	// A refusal is told even to whoever has no time to wait.
	decided := make(chan struct{})
	if err := c.Submit(func(*Machine, time.Time) Outcome { close(decided); return Outcome{} }); err == nil {
		<-decided // whatever was submitted is called, one after the other
	}
	select {
	case err := <-result:
		return err
	default:
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return refuse(kerr.RequestTimedOut, "The change of the voters was not committed in time.")
	case <-c.stopped:
		return kerr.NotController
	}
}

// startChange proposes what decide makes of the voters. done hears once how that ended, if the controller goes on for so
// long; an error means that it is not called.
func (c *Controller) startChange(what string, decide func([]raft.Voter) ([]raft.Voter, error), done func(error)) error {
	return c.Submit(func(_ *Machine, now time.Time) Outcome {
		err := error(kerr.NotController)
		if c.core.Ruling() {
			err = c.proposeVoters(what, decide, now, done)
		}
		if err != nil {
			done(err)
		}
		return Outcome{}
	})
}

func (c *Controller) proposeVoters(what string, decide func([]raft.Voter) ([]raft.Voter, error), now time.Time, done func(error)) error {
	if !c.DynamicVoters() {
		return refuse(kerr.UnsupportedVersion, "Cluster doesn't support %s because the kraft.version feature is 0", what)
	}
	if c.changing != nil || c.core.Changing() {
		return refuse(kerr.RequestTimedOut, "Request timed out waiting for leader to handle previous voter change request.")
	}
	want, err := decide(c.core.Voters())
	if err != nil {
		return err
	}
	if err := c.core.ProposeVoters(want, now); err != nil {
		return err
	}
	_, epoch := c.core.Leader()
	c.changing = &voterChange{epoch: epoch, want: want, done: done}
	return nil
}

// settleVoters makes the voters known, and answers for a change that is committed or lost.
func (c *Controller) settleVoters() {
	now := c.core.Voters()
	if old := c.voters.Load(); old == nil || !sameVoters(*old, now) {
		c.voters.Store(&now)
	}
	c.settleUpgrade()
	ch := c.changing
	if ch == nil {
		return
	}
	_, epoch := c.core.Leader()
	switch {
	case sameVoters(ch.want, now) && !c.core.Changing():
		ch.done(nil)
	case !c.core.IsLeader() || epoch != ch.epoch:
		ch.done(kerr.NotController)
	default:
		return
	}
	c.changing = nil
}

func sameVoters(a, b []raft.Voter) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(v raft.Voter) bool {
		return !slices.ContainsFunc(b, func(o raft.Voter) bool {
			return o.Is(v) && slices.Equal(o.Endpoints, v.Endpoints)
		})
	})
}

// caughtUp says whether a node has all of the log, or had it a moment ago.
func (o *observers) caughtUp(v raft.Voter, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	at, ok := o.seen[v.ID]
	return ok && at.Directory == v.DirectoryID && !at.LastCaughtUp.IsZero() && now.Sub(at.LastCaughtUp) < voterFresh
}

// formatVoters puts the voters that a quorum begins with where Apache Kafka has them: into a snapshot of
// nothing else, at the beginning of the log.
func formatVoters(fsys vfs.FS, dir string, voters []raft.Voter, now time.Time) error {
	dir = path.Join(dir, MetadataTopic+"-0")
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	none := func(func(kmsg.Record) bool) {}
	data, err := encodeSnapshot(none, latestMetadata, voters, 0, now)
	if err != nil {
		return err
	}
	return vfs.WriteFile(fsys, path.Join(dir, snapshotID{}.fileName()), data)
}

func formatJoiner(fsys vfs.FS, dir string) error {
	dir = path.Join(dir, MetadataTopic+"-0")
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	return raft.FormatJoiner(fsys, dir)
}
