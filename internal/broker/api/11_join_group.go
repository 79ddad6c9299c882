package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// JoinGroup (key 11), versions 0 to 9.
//
// Lets a member with the classic protocol into a group or into its next generation. The answer comes
// when the join phase ends, which may take minutes.
//
//	v1  the rebalance timeout, before that the session timeout
//	v4  MEMBER_ID_REQUIRED on the first try (KIP-394)
//	v5  static members (KIP-345)
//	v8  a reason, for the log
//	v9  SkipAssignment (KIP-814)
var _ = register(kmsg.KeyJoinGroup, (*Broker).joinGroup)

func (b *Broker) joinGroup(c *Call, req *kmsg.JoinGroupRequest) {
	b.onMembersGroup(c, req.GroupId, func(m *group.Machine, now time.Time) coord.Result {
		return m.JoinGroup(now, c.groupContext(), req, func(r *kmsg.JoinGroupResponse) { c.Reply(r) })
	}, func(err error) {
		resp := kmsg.NewJoinGroupResponse()
		if resp.ErrorCode = c.code(err); err == error(kerr.InvalidGroupID) {
			resp.MemberId = req.MemberId
		}
		if c.Version >= 7 {
			resp.ProtocolName = nil
		}
		c.Reply(&resp)
	})
}
