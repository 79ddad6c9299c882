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

// ConsumerGroupHeartbeat (key 68), versions 0 and 1.
//
// The whole of the consumer protocol (KIP-848): a member joins, takes and gives up partitions, and
// leaves by it.
//
//	v1  clients make their own member ids, and may subscribe to a regular expression
var _ = register(kmsg.KeyConsumerGroupHeartbeat, (*Broker).consumerGroupHeartbeat)

// consumerProtocol reports whether the cluster has the consumer protocol switched on.
func (b *Broker) consumerProtocol() bool { return b.Image().Feature("group.version") >= 1 }

func (b *Broker) consumerGroupHeartbeat(c *Call, req *kmsg.ConsumerGroupHeartbeatRequest) {
	fail := func(err error) {
		resp := kmsg.NewConsumerGroupHeartbeatResponse()
		resp.ErrorCode = c.code(err)
		if ke := kafkaError(err); ke != nil {
			resp.ErrorMessage = &ke.Description
		}
		c.Reply(&resp)
	}
	if !b.consumerProtocol() {
		fail(kerr.UnsupportedVersion)
		return
	}
	if !c.mayGroup(auth.Read, req.GroupId) {
		fail(unauthorized(auth.Group))
		return
	}
	for i, name := range req.SubscribedTopicNames {
		if !slices.Contains(req.SubscribedTopicNames[:i], name) && !c.mayTopic(auth.Describe, name) {
			resp := kmsg.NewConsumerGroupHeartbeatResponse()
			resp.ErrorCode = kerr.TopicAuthorizationFailed.Code
			c.Reply(&resp)
			return
		}
	}
	b.onGroup(req.GroupId, func(m *group.Machine, now time.Time) coord.Result {
		return m.ConsumerGroupHeartbeat(now, c.groupContext(), req,
			func(r *kmsg.ConsumerGroupHeartbeatResponse) { c.Reply(r) })
	}, fail)
}
