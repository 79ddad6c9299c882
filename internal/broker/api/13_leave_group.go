package api

import (
	"time"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// LeaveGroup (key 13), versions 0 to 5.
//
// Removes classic members from a group: the one that goes, or those that an administrator names by
// their instance ids.
//
//	v3  several members, each with an error of its own (KIP-345)
//	v5  a reason, for the log
var _ = register(kmsg.KeyLeaveGroup, (*Broker).leaveGroup)

// leaveMembersVersion is the first version with several members.
const leaveMembersVersion = 3

func (b *Broker) leaveGroup(c *Call, req *kmsg.LeaveGroupRequest) {
	if c.Version < leaveMembersVersion {
		req.Members = []kmsg.LeaveGroupRequestMemberIdentity{{MemberId: req.MemberId}}
	}
	b.onMembersGroup(c, req.GroupId, func(m *group.Machine, now time.Time) coord.Result {
		return m.LeaveGroup(now, c.groupContext(), req, func(r *kmsg.LeaveGroupResponse) {
			if c.Version < leaveMembersVersion && r.ErrorCode == 0 && len(r.Members) > 0 {
				r.ErrorCode = r.Members[0].ErrorCode
			}
			c.Reply(r)
		})
	}, func(err error) {
		resp := kmsg.NewLeaveGroupResponse()
		resp.ErrorCode = c.code(err)
		c.Reply(&resp)
	})
}
