package api

import (
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// DeleteTopics (key 20), versions 1 to 6.
//
// The topic is gone for clients when it is answered; its files go later (file.delete.delay.ms).
//
//	v5  errors have a text
//	v6  topics by name or id
var _ = register(kmsg.KeyDeleteTopics, (*Broker).deleteTopics)

func (b *Broker) deleteTopics(c *Call, req *kmsg.DeleteTopicsRequest) {
	failed := func(e itemError) *kmsg.DeleteTopicsResponse {
		resp := kmsg.NewDeleteTopicsResponse()
		for i := range req.TopicNames {
			resp.Responses = append(resp.Responses, kmsg.DeleteTopicsResponseDeletableTopicResult{
				Name: &req.TopicNames[i], ErrorCode: e.code, ErrorMessage: e.text,
			})
		}
		for _, t := range req.Topics {
			resp.Responses = append(resp.Responses, kmsg.DeleteTopicsResponseDeletableTopicResult{
				Name: t.Name, TopicId: t.TopicId, ErrorCode: e.code, ErrorMessage: e.text,
			})
		}
		return &resp
	}
	if req.TimeoutMs <= 0 {
		c.Reply(failed(outOfTime))
		return
	}
	r := c.mutations(5)
	decide(c, func(m *controller.Machine) ([]kmsg.Record, *kmsg.DeleteTopicsResponse) {
		return m.DeleteTopics(c.permit(r), req)
	}, failed)
}
