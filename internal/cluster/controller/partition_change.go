package controller

import (
	"slices"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// election says how far a change may go to give a partition a leader.
type election int8

const (
	electOnline    election = iota // keep the leader, or take one that misses nothing
	electFirst                     // the first replica before the leader that there is
	electOrUnclean                 // rather one that misses records than none
)

const (
	noLeader       int32 = -1
	noLeaderChange int32 = -2 // in a PartitionChangeRecord
	noBroker       int32 = -1

	recovered int8 = 0
)

// partitionChange works out the record that takes a partition from what it is to what is wanted,
// with the election, the eligible leader replicas and the end of a reassignment that follow from it
// (KIP-455, 866, 966). The rules are those of Kafka's PartitionChangeBuilder, but for two: who is no replica any more
// is not eligible, and where a partition without a leader loses the one replica that was in sync, that one is the last
// known leader.
type partitionChange struct {
	topic base.TopicID
	index int32
	p     *meta.Partition // as it is

	// What is wanted.
	isr, replicas, removing, adding []int32
	recovery                        int8
	dirs                            map[int32]base.TopicID // replicas that move to another directory
	election                        election
	unclean                         int32 // a replica that may have lost what it had, noBroker for none

	acceptable func(id int32) bool // who could lead
	minISR     int
	elrEnabled bool
	level      int16 // metadata.version
	defaultDir func(id int32) base.TopicID

	elr, lastELR []int32
}

// change begins a change of one partition that changes nothing yet.
func (m *Machine) change(t *meta.Topic, index int32) *partitionChange {
	p := t.Partitions[index]
	return &partitionChange{
		topic: t.ID, index: index, p: p,
		isr: p.ISR, replicas: p.Replicas, removing: p.Removing, adding: p.Adding, recovery: p.RecoveryState,
		unclean: noBroker, elr: p.ELR, lastELR: p.LastELR,
		acceptable: func(id int32) bool { return m.canLead(p, id) },
		minISR:     m.minISR(t), elrEnabled: m.keepsELR(p), level: m.image().Feature(MetadataVersion),
		defaultDir: m.defaultDir,
	}
}

// record is the change, nil if there is none.
func (c *partitionChange) record() *kmsg.PartitionChangeRecord {
	r := kmsg.NewPartitionChangeRecord()
	r.TopicId, r.PartitionId = c.topic, c.index
	c.isr = c.completeReassignment(c.isr)
	c.findELR()
	c.elect(&r)
	if r.Leader == noLeaderChange && !containsAll(c.replicas, c.p.Replicas) {
		r.Leader = c.p.Leader // a replica that leaves must be fenced by a new epoch
	}
	c.setELR(&r)
	if r.Isr == nil && (len(c.isr) > 0 || c.elrEnabled) && !slices.Equal(c.isr, c.p.ISR) {
		r.Isr = list(c.isr)
	}
	if c.level < levelELR && r.Leader == noLeaderChange && r.Isr != nil && !containsAll(r.Isr, c.p.ISR) {
		r.Leader = c.p.Leader // brokers of that level take a smaller set only with a new epoch
	}
	c.setLastKnownLeader(&r)
	c.setAssignment(&r)
	if r.LeaderRecoveryState < 0 && c.recovery != c.p.RecoveryState {
		r.LeaderRecoveryState = c.recovery
	}
	if isNoChange(&r) {
		return nil
	}
	return &r
}

func isNoChange(r *kmsg.PartitionChangeRecord) bool {
	return r.Isr == nil && r.EligibleLeaderReplicas == nil && r.LastKnownElr == nil && r.Leader == noLeaderChange &&
		r.Replicas == nil && r.RemovingReplicas == nil && r.AddingReplicas == nil && r.LeaderRecoveryState < 0 &&
		r.Directories == nil
}

// completeReassignment drops the replicas that are to go, from the in-sync set too, once all that were added are in that set. Where
// more go than come it waits until all that stay are in it: else 0,1,2,3,4 to 2,3,4,5 with 0, 1 and 5 in sync would leave 5 alone.
func (c *partitionChange) completeReassignment(isr []int32) []int32 {
	if len(c.adding)+len(c.removing) == 0 {
		return isr
	}
	left, replicas := without(isr, c.removing...), without(c.replicas, c.removing...)
	if len(left) == 0 || !containsAll(left, c.adding) || len(c.adding) < len(c.removing) && !containsAll(left, replicas) {
		return isr
	}
	c.replicas, c.removing, c.adding = replicas, nil, nil
	return left
}

// findELR is who has left the in-sync set since it fell below min.insync.replicas and misses
// nothing that was acknowledged.
func (c *partitionChange) findELR() {
	if !c.elrEnabled {
		return
	}
	if len(c.isr) >= c.minISR {
		c.elr, c.lastELR = nil, nil
		return
	}
	candidates := slices.Clone(c.p.ELR)
	for _, id := range c.p.ISR {
		if !slices.Contains(candidates, id) {
			candidates = append(candidates, id)
		}
	}
	c.elr = nil
	for _, id := range candidates {
		if !slices.Contains(c.isr, id) && id != c.unclean && slices.Contains(c.replicas, id) {
			c.elr = append(c.elr, id)
		}
	}
	slices.Sort(c.elr)
}

// isClean says whether a replica could lead without a loss.
func (c *partitionChange) isClean(id int32) bool {
	return (slices.Contains(c.isr, id) || len(c.isr) == 0 && slices.Contains(c.elr, id)) && c.acceptable(id)
}

// choose is the leader that the partition should have, and whether it may miss records.
func (c *partitionChange) choose() (id int32, unclean bool) {
	if c.election == electFirst && c.isClean(c.replicas[0]) {
		return c.replicas[0], false
	}
	if c.isClean(c.p.Leader) {
		return c.p.Leader, false
	}
	for _, id := range c.replicas {
		if c.isClean(id) {
			return id, false
		}
	}
	if c.elrEnabled && len(c.elr) == 0 && len(c.isr) == 0 && len(c.p.LastELR) == 1 && c.acceptable(c.p.LastELR[0]) &&
		slices.Contains(c.replicas, c.p.LastELR[0]) {
		return c.p.LastELR[0], true // nobody has more than the last leader
	}
	if c.election == electOrUnclean {
		for _, id := range c.replicas {
			if c.acceptable(id) {
				return id, true
			}
		}
	}
	return noLeader, false
}

func (c *partitionChange) elect(r *kmsg.PartitionChangeRecord) {
	id, unclean := c.choose()
	if id == c.p.Leader {
		return
	}
	r.Leader = id
	switch {
	case slices.Contains(c.elr, id):
		c.isr, c.elr = []int32{id}, without(c.elr, id)
		if len(c.isr) >= c.minISR {
			c.elr = nil // min.insync.replicas was lowered while nobody led: this one commits alone, and the others miss it
		}
	case unclean:
		r.Isr = []int32{id}
		if c.p.RecoveryState != recovering {
			r.LeaderRecoveryState = recovering
		}
	default:
		return
	}
	// It is in sync now, which may have been all that a reassignment waited for. Kafka looks when the set changes next, for which
	// a replica has to come back that may be gone for ever.
	c.completeReassignment([]int32{id})
	c.elr = without(c.elr, without(c.elr, c.replicas...)...)
}

func (c *partitionChange) setELR(r *kmsg.PartitionChangeRecord) {
	if r.Isr != nil || !c.elrEnabled { // an unclean election makes all that was known of others void
		c.elr = nil
	}
	if !slices.Equal(c.elr, c.p.ELR) {
		r.EligibleLeaderReplicas = list(c.elr)
	}
	if !c.elrEnabled && len(c.p.LastELR) > 0 {
		r.LastKnownElr = []int32{}
	}
}

// setLastKnownLeader remembers who led last when nobody is left in sync, for a recovery without one
// who certainly has everything.
func (c *partitionChange) setLastKnownLeader(r *kmsg.PartitionChangeRecord) {
	if !c.elrEnabled {
		return
	}
	last := c.p.Leader
	if last < 0 && len(c.p.ISR) == 1 {
		last = c.p.ISR[0]
	}
	switch {
	case r.Isr != nil && len(r.Isr) == 0 && last >= 0:
		if !slices.Equal(c.p.LastELR, []int32{last}) {
			r.LastKnownElr = []int32{last}
		}
	case (r.Leader >= 0 || c.p.Leader != noLeader && r.Leader != noLeader) && len(c.p.LastELR) > 0,
		len(without(c.p.LastELR, c.replicas...)) > 0: // who is no replica any more may come back with nothing
		r.LastKnownElr = []int32{}
	}
}

func (c *partitionChange) setAssignment(r *kmsg.PartitionChangeRecord) {
	if c.level >= levelDirectories {
		dirs := make([]base.TopicID, len(c.replicas))
		for i, id := range c.replicas {
			dirs[i] = c.directory(id)
		}
		if !slices.Equal(dirs, c.p.Directories) {
			r.Directories = dirs
		}
	}
	if !slices.Equal(c.replicas, c.p.Replicas) {
		r.Replicas = list(c.replicas)
	}
	if !slices.Equal(c.removing, c.p.Removing) {
		r.RemovingReplicas = list(c.removing)
	}
	if !slices.Equal(c.adding, c.p.Adding) {
		r.AddingReplicas = list(c.adding)
	}
}

// directory is where a replica lies after the change.
func (c *partitionChange) directory(id int32) base.TopicID {
	if dir, ok := c.dirs[id]; ok {
		return dir
	}
	if i := slices.Index(c.p.Replicas, id); i >= 0 && i < len(c.p.Directories) {
		return c.p.Directories[i]
	} else if i >= 0 {
		return meta.DirMigrating
	}
	return c.defaultDir(id)
}

// list is a copy that is not nil: in a record, nil is "as before".
func list(ids []int32) []int32 { return append([]int32{}, ids...) }

func without(ids []int32, gone ...int32) []int32 {
	var out []int32
	for _, id := range ids {
		if !slices.Contains(gone, id) {
			out = append(out, id)
		}
	}
	return out
}

func containsAll(ids, of []int32) bool {
	for _, id := range of {
		if !slices.Contains(ids, id) {
			return false
		}
	}
	return true
}
