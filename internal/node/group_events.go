package node

import (
	"sync/atomic"

	"github.com/logstead/logstead/internal/broker/group"
)

// groupEvents counts what happens to groups. The shards count from their own goroutines.
type groupEvents struct {
	rebalances, fenced, expired atomic.Int64
}

// groupEventFuncs makes log lines and counts of what the coordinators tell. Each is about a whole group or
// a member that is gone, never about a request, so there are few of them.
func (n *Node) groupEventFuncs() group.Events {
	c := &n.groupEvents
	return group.Events{
		Rebalance: func(id, reason string) {
			c.rebalances.Add(1)
			n.log.Info("group rebalances", "group", id, "reason", reason)
		},
		Fenced: func(id, member, reason string) {
			c.fenced.Add(1)
			n.log.Info("member removed from its group", "group", id, "member", member, "reason", reason)
		},
		Expired: func(offsets int) {
			c.expired.Add(int64(offsets))
			n.log.Info("committed offsets expired", "offsets", offsets)
		},
	}
}
