package api

import (
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// ListGroups (key 16), versions 0 to 5.
//
// Lists the groups whose shards are on this broker; clients ask every broker.
//
//	v4  by state (KIP-518)
//	v5  by type (KIP-848)
var _ = register(kmsg.KeyListGroups, (*Broker).listGroups)

// groupList collects the rows of all shards.
type groupList struct {
	mu      sync.Mutex
	resp    kmsg.ListGroupsResponse
	pending int
	call    *Call
	all     bool // also groups that the client may not describe
}

func (b *Broker) listGroups(c *Call, req *kmsg.ListGroupsRequest) {
	l := &groupList{resp: kmsg.NewListGroupsResponse(), call: c}
	l.resp.Groups = []group.ListedGroup{}
	shards, loading := b.Groups.Loaded()
	if loading {
		l.resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
		c.Reply(&l.resp)
		return
	}
	l.all = c.seesCluster(auth.Describe)
	l.pending = len(shards) + 1
	for _, shard := range shards {
		b.Groups.Submit(shard,
			func(m *group.Machine, now time.Time) coord.Result {
				return m.ListGroups(now, req.StatesFilter, req.TypesFilter, l.add)
			},
			func(err error) { l.add(nil, err) })
	}
	l.add(nil, nil)
}

// add takes the rows of one shard. A shard that has moved away is another broker's to list.
func (l *groupList) add(rows []group.ListedGroup, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		if !l.all {
			rows = slices.DeleteFunc(rows, func(g group.ListedGroup) bool {
				return !l.call.sees(auth.Describe, auth.Group, g.GroupId)
			})
		}
		l.resp.Groups = append(l.resp.Groups, rows...)
	} else if err != error(kerr.NotCoordinator) {
		l.resp.ErrorCode = l.call.code(err)
	}
	if l.pending--; l.pending == 0 {
		if l.resp.ErrorCode != 0 {
			l.resp.Groups = []group.ListedGroup{}
		}
		l.call.Reply(&l.resp)
	}
}
