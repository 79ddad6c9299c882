package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Heartbeat (key 12), versions 0 to 4.
//
// Keeps a classic member's session alive and tells it to rejoin. While the group's shard is loading
// all is well: the sessions start afresh when it has been loaded.
//
//	v3  static members (KIP-345)
var _ = register(kmsg.KeyHeartbeat, (*Broker).heartbeat)

func (b *Broker) heartbeat(c *Call, req *kmsg.HeartbeatRequest) {
	b.onMembersGroup(c, req.GroupId, func(m *group.Machine, now time.Time) coord.Result {
		return m.Heartbeat(now, c.groupContext(), req, func(r *kmsg.HeartbeatResponse) { c.Reply(r) })
	}, func(err error) {
		resp := kmsg.NewHeartbeatResponse()
		if err != error(kerr.CoordinatorLoadInProgress) {
			resp.ErrorCode = c.code(err)
		}
		c.Reply(&resp)
	})
}
