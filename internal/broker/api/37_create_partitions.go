package api

import (
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// CreatePartitions (key 37), versions 0 to 3.
//
// Topics only grow; the count is the total that is wanted.
var _ = register(kmsg.KeyCreatePartitions, (*Broker).createPartitions)

func (b *Broker) createPartitions(c *Call, req *kmsg.CreatePartitionsRequest) {
	failed := func(e itemError) *kmsg.CreatePartitionsResponse {
		resp := kmsg.NewCreatePartitionsResponse()
		for _, t := range req.Topics {
			resp.Results = append(resp.Results, kmsg.CreatePartitionsResponseCreatePartitionsTopicResult{
				Name: t.Name, ErrorCode: e.code, ErrorMessage: e.text,
			})
		}
		return &resp
	}
	if req.TimeoutMs <= 0 {
		c.Reply(failed(outOfTime))
		return
	}
	r := c.mutations(3)
	decide(c, func(m *controller.Machine) ([]kmsg.Record, *kmsg.CreatePartitionsResponse) {
		return m.CreatePartitions(c.permit(r), req)
	}, failed)
}
