package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// ConsumerGroupDescribe (key 69), versions 0 and 1.
//
// Describes consumer groups (KIP-848): epochs, and what each member has and should have.
//
//	v1  whether a member speaks the classic or the consumer protocol
var _ = register(kmsg.KeyConsumerGroupDescribe, (*Broker).consumerGroupDescribe)

func (b *Broker) consumerGroupDescribe(c *Call, req *kmsg.ConsumerGroupDescribeRequest) {
	failed := func(id string, err error) group.DescribedConsumerGroup {
		d := kmsg.NewConsumerGroupDescribeResponseDescribedGroup()
		d.GroupId, d.ErrorCode = id, c.code(err)
		return d
	}
	reply := func(found []group.DescribedConsumerGroup) {
		resp := kmsg.NewConsumerGroupDescribeResponse()
		resp.Groups = found
		c.Reply(&resp)
	}
	if !b.consumerProtocol() {
		found := make([]group.DescribedConsumerGroup, len(req.GroupIds))
		for i, id := range req.GroupIds {
			found[i] = failed(id, kerr.UnsupportedVersion)
		}
		reply(found)
		return
	}
	ids, refused := splitAuthorized(req.GroupIds, func(id string) bool { return c.mayGroup(auth.Describe, id) })
	askGroups(b, ids, failed, func(found []group.DescribedConsumerGroup) {
		all := make([]group.DescribedConsumerGroup, 0, len(req.GroupIds))
		for _, id := range refused {
			all = append(all, failed(id, kerr.GroupAuthorizationFailed))
		}
		for _, g := range found {
			if req.IncludeAuthorizedOperations && g.ErrorCode == 0 {
				g.AuthorizedOperations = c.authorizedOperations(auth.Group, g.GroupId)
			}
			if !c.mayKnowTopics(&g) {
				g = failed(g.GroupId, kerr.TopicAuthorizationFailed)
				g.ErrorMessage = new("The group has described topic(s) that the client is not authorized to describe.")
			}
			all = append(all, g)
		}
		reply(all)
	}, func(m *group.Machine, now time.Time, ids []string,
		answer func([]group.DescribedConsumerGroup, error),
	) coord.Result {
		return m.ConsumerGroupDescribe(now, ids, answer)
	})
}

// mayKnowTopics says whether the client may describe every topic that members of the group have or should have.
func (c *Call) mayKnowTopics(g *group.DescribedConsumerGroup) bool {
	if c.broker.Authorizer == nil {
		return true
	}
	known := map[string]bool{}
	for i := range g.Members {
		m := &g.Members[i]
		for _, a := range []*kmsg.ConsumerGroupDescribeResponseAssignment{&m.Assignment, &m.TargetAssignment} {
			for _, t := range a.TopicPartitions {
				if !known[t.TopicName] && !c.mayTopic(auth.Describe, t.TopicName) {
					return false
				}
				known[t.TopicName] = true
			}
		}
	}
	return true
}
