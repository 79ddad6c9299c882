package group

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
)

// reconciling is what a member's next assignment follows from.
type reconciling struct {
	group       *consumerGroup
	member      *consumerMember
	targetEpoch int32
	target      assignment
	topics      map[base.TopicID]struct{} // what the member subscribes to, as ids
	resubscribe bool                      // that has just changed
	owned       owned
}

// next moves a member one step towards its target: first it gives up what it may not keep, and only
// when it has said so does it move to the target's epoch; then it gets partitions as their former
// owners let go of them. The member itself comes back if nothing changes.
func (r *reconciling) next() (*consumerMember, *failure) {
	m := r.member
	switch m.state {
	case memberStable:
		if m.epoch != r.targetEpoch {
			return r.advance(m.epoch), nil
		}
		if r.resubscribe {
			return r.drop(), nil
		}
		return m, nil
	case memberUnrevoked:
		if !r.owned.intersects(m.revoking) {
			return r.advance(m.epoch), nil
		}
		if r.resubscribe {
			return r.drop(), nil
		}
		return m, nil
	case memberUnreleased:
		return r.advance(m.epoch), nil
	}
	// A newer coordinator put the member into a state that this one does not know. Only a member
	// that owns nothing can start over.
	if !r.owned.known || len(r.owned.partitions) > 0 {
		return nil, failf(kerr.FencedMemberEpoch,
			"member %s of group %s is in a state this coordinator does not know; give up all partitions and rejoin",
			m.id, r.group.id)
	}
	return r.advance(r.targetEpoch), nil
}

// split is a member's partitions sorted by what is to become of them.
type split struct {
	keep, revoke epochs
	gain         assignment // free and wanted
	blocked      bool       // some that are wanted are not free yet
}

func (r *reconciling) split() split {
	s := split{keep: epochs{}, revoke: epochs{}, gain: assignment{}}
	for t, ps := range r.member.assigned {
		wanted := map[int32]struct{}{}
		if _, ok := r.topics[t]; ok {
			for _, p := range r.target[t] {
				wanted[p] = struct{}{}
			}
		}
		for p, epoch := range ps {
			if _, ok := wanted[p]; ok {
				put(s.keep, t, p, epoch)
			} else {
				put(s.revoke, t, p, epoch)
			}
		}
	}
	for t, ps := range r.target {
		if _, ok := r.topics[t]; !ok {
			continue
		}
		for _, p := range ps {
			if _, ok := r.member.assigned.get(t, p); ok {
				continue
			}
			_, taken := r.group.ownerEpoch(t, p)
			if _, mine := r.member.revoking.get(t, p); taken && !mine {
				s.blocked = true
			} else {
				s.gain[t] = append(s.gain[t], p)
			}
		}
	}
	return s
}

func put(e epochs, t base.TopicID, p, epoch int32) {
	if e[t] == nil {
		e[t] = map[int32]int32{}
	}
	e[t][p] = epoch
}

// advance computes the member's next assignment; epoch is the one it stays at while it revokes.
func (r *reconciling) advance(epoch int32) *consumerMember {
	s := r.split()
	if len(s.revoke) > 0 && r.owned.intersects(s.revoke) {
		return r.member.moved(epoch, memberUnrevoked, s.keep, s.revoke)
	}
	for t, ps := range s.gain {
		for _, p := range ps {
			put(s.keep, t, p, r.targetEpoch)
		}
	}
	state := memberStable
	if s.blocked {
		state = memberUnreleased
	}
	return r.member.moved(r.targetEpoch, state, s.keep, nil)
}

// drop takes away at once the partitions of topics that the member no longer subscribes to. The rest
// waits for the next target.
func (r *reconciling) drop() *consumerMember {
	m := r.member
	keep, revoke := epochs{}, epochs{}
	for t, ps := range m.revoking {
		for p, epoch := range ps {
			put(revoke, t, p, epoch)
		}
	}
	changed := false
	for t, ps := range m.assigned {
		if _, ok := r.topics[t]; ok {
			keep[t] = ps
			continue
		}
		changed = true
		for p, epoch := range ps {
			put(revoke, t, p, epoch)
		}
	}
	switch {
	case !changed:
		return m
	case r.owned.intersects(revoke):
		return m.moved(m.epoch, memberUnrevoked, keep, revoke)
	}
	return m.moved(m.epoch, m.state, keep, m.revoking)
}
