package api

import (
	"time"

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
	askGroups(b, req.Groups, failed, func(found []group.DescribedGroup) {
		resp := kmsg.NewDescribeGroupsResponse()
		resp.Groups = found
		if c.Version >= 3 && req.IncludeAuthorizedOperations {
			for i := range found {
				if found[i].ErrorCode == 0 {
					found[i].AuthorizedOperations = groupOperations
				}
			}
		}
		c.Reply(&resp)
	}, func(m *group.Machine, now time.Time, ids []string, answer func([]group.DescribedGroup, error)) coord.Result {
		return m.DescribeGroups(now, c.groupContext(), ids, answer)
	})
}
