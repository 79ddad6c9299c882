package controller

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/raft"
)

// told is what a controller of a static quorum says of itself to the active one (UpdateRaftVoter).
type told struct {
	voter  raft.Voter
	levels Feature // of kraft.version
}

// votersUpgrade is the change of a static quorum into one of kraft.version 1, until every voter has it.
type votersUpgrade struct {
	epoch int32
	done  []func(error)
}

// noteVoter takes in what a voter of a static quorum says of itself.
func (c *Controller) noteVoter(v raft.Voter, levels Feature, done func(error)) error {
	return c.Submit(func(*Machine, time.Time) Outcome {
		switch {
		case !c.core.Ruling():
			done(kerr.NotController)
		case !slices.ContainsFunc(c.core.Voters(), func(o raft.Voter) bool { return o.ID == v.ID }):
			done(refuse(kerr.VoterNotFound, "%s is not part of the set of voters.", nameVoter(v)))
		default:
			if c.told == nil {
				c.told = map[int32]told{}
			}
			c.told[v.ID] = told{v, levels}
			done(nil)
		}
		return Outcome{}
	})
}

// upgradedVoters are the voters of a static quorum with their directories and endpoints, or why they cannot all go over
// to kraft.version 1 now. One that is down is waited for: until it has the batch it would take whoever has its
// neighbour's id for its neighbour.
func (c *Controller) upgradedVoters() ([]raft.Voter, error) {
	var list []raft.Voter
	now := c.opts.Clock.Now()
	for _, p := range c.core.Progress() {
		id := p.Voter.ID
		t, ok := c.told[id]
		switch {
		case !ok:
			return nil, fmt.Errorf("Controller %d has not told this one its directory and listener: it is down, or of a version "+ //nolint:staticcheck // a sentence of the answer
				"that does not support this feature.", id)
		case outside(1, featureRange(t.levels)) != "":
			return nil, fmt.Errorf("Controller %d %s", id, outside(1, featureRange(t.levels))) //nolint:staticcheck // as above
		case p.LastHeard.IsZero():
			return nil, fmt.Errorf("Controller %d has not answered this one yet: all have to be up.", id) //nolint:staticcheck // as above
		case now.Sub(p.LastHeard) > 2*c.opts.Quorum.Election:
			return nil, fmt.Errorf("Controller %d has not answered for %v: all have to be up.", id, now.Sub(p.LastHeard).Round(time.Millisecond)) //nolint:staticcheck // as above
		case c.core.HeardOn(id) != t.voter.DirectoryID:
			return nil, fmt.Errorf("Controller %d has told the directory %s and speaks from %s: try again.", id, t.voter.DirectoryID, c.core.HeardOn(id)) //nolint:staticcheck // as above
		}
		list = append(list, raft.Voter{ID: id, DirectoryID: t.voter.DirectoryID, Endpoints: t.voter.Endpoints})
	}
	if len(list) == 0 {
		return nil, kerr.NotController
	}
	return list, nil
}

// upgradeVoters has the quorum go over to kraft.version 1; dry only looks whether it can.
func (c *Controller) upgradeVoters(dry bool) error {
	list, err := c.upgradedVoters()
	switch {
	case err != nil || dry:
		return err
	case c.upgrading != nil:
		return nil // it is under way
	}
	if err := c.core.ProposeUpgrade(list, c.opts.Clock.Now()); err != nil {
		return err
	}
	_, epoch := c.core.Leader()
	c.upgrading = &votersUpgrade{epoch: epoch}
	return nil
}

// AwaitUpgrade waits for an upgrade of kraft.version, until it is committed and every voter has it in its log. Only then
// may the directory of one be replaced: a voter without it could be taken in by the new one.
func (c *Controller) AwaitUpgrade(ctx context.Context) error {
	result := make(chan error, 1)
	err := c.Submit(func(*Machine, time.Time) Outcome {
		c.whenUpgraded(func(err error) { result <- err })
		return Outcome{}
	})
	if err != nil {
		return err
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return refuse(kerr.RequestTimedOut, "kraft.version 1 is not stored by every controller yet: see that all are up, and do "+
			"not replace the directory of one before the upgrade, asked for again, succeeds.")
	case <-c.stopped:
		return kerr.NotController
	}
}

// whenUpgraded has done told when an upgrade that is under way has ended, or at once where none is.
func (c *Controller) whenUpgraded(done func(error)) {
	if c.upgrading == nil && c.core.Ruling() && raft.Dynamic(c.core.Voters()) && !c.core.UpgradeStored() {
		_, epoch := c.core.Leader()
		c.upgrading = &votersUpgrade{epoch: epoch} // a leader before this one has committed it
	}
	if c.upgrading == nil {
		done(nil)
		return
	}
	c.upgrading.done = append(c.upgrading.done, done)
}

// settleUpgrade answers for an upgrade that has ended.
func (c *Controller) settleUpgrade() {
	u := c.upgrading
	if u == nil {
		return
	}
	_, epoch := c.core.Leader()
	var err error
	switch {
	case c.core.UpgradeStored():
	case !c.core.IsLeader() || epoch != u.epoch:
		err = kerr.NotController
	default:
		return
	}
	c.upgrading = nil
	tell(u.done, err)
}
