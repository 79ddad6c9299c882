package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// SyncGroup (key 14), versions 0 to 5.
//
// Hands the leader's assignment to the members of a classic group. Members that come before the
// leader wait for it.
//
//	v3  static members (KIP-345)
//	v5  the protocol type and name, which must be right
var _ = register(kmsg.KeySyncGroup, (*Broker).syncGroup)

func (b *Broker) syncGroup(c *Call, req *kmsg.SyncGroupRequest) {
	fail := func(err error) {
		resp := kmsg.NewSyncGroupResponse()
		resp.ErrorCode = c.code(err)
		c.Reply(&resp)
	}
	if c.Version >= 5 && (req.ProtocolType == nil || req.ProtocolName == nil) {
		fail(kerr.InconsistentGroupProtocol)
		return
	}
	b.onMembersGroup(c, req.GroupId, func(m *group.Machine, now time.Time) coord.Result {
		return m.SyncGroup(now, c.groupContext(), req, func(r *kmsg.SyncGroupResponse) { c.Reply(r) })
	}, fail)
}
