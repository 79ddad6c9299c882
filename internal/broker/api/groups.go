package api

import (
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
)

func (c *Call) groupContext() group.Context {
	return group.Context{ClientID: c.ClientID, ClientHost: c.Conn.Host(), Version: c.Version, CanDescribe: c.canDescribe()}
}

// onGroup runs op on the shard that a group lives in. fail is called instead if it is not here.
func (b *Broker) onGroup(id string, op func(*group.Machine, time.Time) coord.Result, fail func(error)) {
	b.Groups.Submit(b.Groups.PartitionFor(id), op, fail)
}

// onMembersGroup is onGroup for what members do, who may read it; it needs a name, wherever the group would live.
func (b *Broker) onMembersGroup(c *Call, id string, op func(*group.Machine, time.Time) coord.Result, fail func(error)) {
	if !c.mayGroup(auth.Read, id) {
		fail(kerr.GroupAuthorizationFailed)
		return
	}
	if err := invalidGroupID(id); err != nil {
		fail(err)
		return
	}
	b.onGroup(id, op, fail)
}

// groupAnswers collects one answer for each of several group ids, in the order of the ids, from the
// shards that the groups live in.
type groupAnswers[T any] struct {
	mu      sync.Mutex
	out     []T
	pending int
	done    func([]T)
}

// askGroups puts the ids to their shards. ask is called once for each shard with the ids that live
// there; what it is answered, or what failed makes of an error, goes into the list. done is called
// once with the whole list.
func askGroups[T any](b *Broker, ids []string, failed func(id string, err error) T, done func([]T),
	ask func(m *group.Machine, now time.Time, ids []string, answer func([]T, error)) coord.Result,
) {
	a := &groupAnswers[T]{out: make([]T, len(ids)), done: done}
	places := map[int32][]int{}
	for i, id := range ids {
		shard := b.Groups.PartitionFor(id)
		places[shard] = append(places[shard], i)
	}
	a.pending = len(places) + 1
	for shard, at := range places {
		here := make([]string, len(at))
		for i, place := range at {
			here[i] = ids[place]
		}
		answer := func(found []T, err error) {
			if err != nil {
				found = make([]T, len(here))
				for i, id := range here {
					found[i] = failed(id, err)
				}
			}
			a.put(at, found)
		}
		b.Groups.Submit(shard, func(m *group.Machine, now time.Time) coord.Result {
			return ask(m, now, here, answer)
		}, func(err error) { answer(nil, err) })
	}
	a.put(nil, nil)
}

func (a *groupAnswers[T]) put(at []int, found []T) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, place := range at {
		a.out[place] = found[i]
	}
	if a.pending--; a.pending == 0 {
		a.done(a.out)
	}
}

// invalidGroupID is what most requests answer that name no group.
func invalidGroupID(id string) error {
	if id == "" {
		return kerr.InvalidGroupID
	}
	return nil
}

// splitAuthorized keeps the order of both parts.
func splitAuthorized(ids []string, may func(string) bool) (yes, no []string) {
	for _, id := range ids {
		if may(id) {
			yes = append(yes, id)
		} else {
			no = append(no, id)
		}
	}
	return yes, no
}
