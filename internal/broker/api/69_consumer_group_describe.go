package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

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
	askGroups(b, req.GroupIds, failed, func(found []group.DescribedConsumerGroup) {
		if req.IncludeAuthorizedOperations {
			for i := range found {
				if found[i].ErrorCode == 0 {
					found[i].AuthorizedOperations = groupOperations
				}
			}
		}
		reply(found)
	}, func(m *group.Machine, now time.Time, ids []string,
		answer func([]group.DescribedConsumerGroup, error),
	) coord.Result {
		return m.ConsumerGroupDescribe(now, ids, answer)
	})
}
