package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// DescribeGroups (key 15), versions 0 to 6.
//
// Describes classic groups. A group that does not exist, or is of another kind, is Dead.
//
//	v3  what the client may do with the group
//	v4  instance ids of static members
//	v6  GROUP_ID_NOT_FOUND (KIP-1043), before that no error
var _ = register(kmsg.KeyDescribeGroups, (*Broker).describeGroups)

func (b *Broker) describeGroups(c *Call, req *kmsg.DescribeGroupsRequest) {
	failed := func(id string, err error) group.DescribedGroup {
		d := kmsg.NewDescribeGroupsResponseDescribedGroup()
		d.GroupId, d.ErrorCode = id, c.code(err)
		return d
	}
	ids, refused := splitAuthorized(req.Groups, func(id string) bool { return c.mayGroup(auth.Describe, id) })
	askGroups(b, ids, failed, func(found []group.DescribedGroup) {
		resp := kmsg.NewDescribeGroupsResponse()
		for _, id := range refused {
			resp.Groups = append(resp.Groups, failed(id, kerr.GroupAuthorizationFailed))
		}
		resp.Groups = append(resp.Groups, found...)
		if c.Version >= 3 && req.IncludeAuthorizedOperations {
			for i := range found {
				if found[i].ErrorCode == 0 {
					resp.Groups[len(refused)+i].AuthorizedOperations = c.authorizedOperations(auth.Group, found[i].GroupId)
				}
			}
		}
		c.Reply(&resp)
	}, func(m *group.Machine, now time.Time, ids []string, answer func([]group.DescribedGroup, error)) coord.Result {
		return m.DescribeGroups(now, c.groupContext(), ids, answer)
	})
}
