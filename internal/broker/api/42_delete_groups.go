package api

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// DeleteGroups (key 42), versions 0 to 2.
//
// Deletes groups of any kind that have no members, with the offsets that they committed.
var _ = register(kmsg.KeyDeleteGroups, (*Broker).deleteGroups)

func (b *Broker) deleteGroups(c *Call, req *kmsg.DeleteGroupsRequest) {
	ids := make([]string, 0, len(req.GroupsNames))
	for _, id := range req.GroupsNames {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	ids, refused := splitAuthorized(ids, func(id string) bool { return c.mayGroup(auth.Delete, id) })
	failed := func(id string, err error) group.DeletedGroup {
		return group.DeletedGroup{GroupId: id, ErrorCode: c.code(err)}
	}
	askGroups(b, ids, failed, func(results []group.DeletedGroup) {
		resp := kmsg.NewDeleteGroupsResponse()
		resp.Results = results
		for _, id := range refused {
			resp.Results = append(resp.Results, failed(id, kerr.GroupAuthorizationFailed))
		}
		c.Reply(&resp)
	}, func(m *group.Machine, now time.Time, ids []string, answer func([]group.DeletedGroup, error)) coord.Result {
		return m.DeleteGroups(now, ids, answer)
	})
}
