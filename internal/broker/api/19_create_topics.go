package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// CreateTopics (key 19), versions 2 to 7.
//
// Each topic succeeds or fails alone. A topic that is answered exists: its partitions take records.
//
//	v4  -1 partitions and replicas are the broker's defaults
//	v5  the answer has the topic's configs
//	v7  and its id
var _ = register(kmsg.KeyCreateTopics, (*Broker).createTopics)

func (b *Broker) createTopics(c *Call, req *kmsg.CreateTopicsRequest) {
	failed := func(e itemError) *kmsg.CreateTopicsResponse {
		resp := kmsg.NewCreateTopicsResponse()
		for _, t := range req.Topics {
			res := kmsg.NewCreateTopicsResponseCreatableTopicResult()
			res.Name, res.ErrorCode, res.ErrorMessage = t.Name, e.code, e.text
			resp.Topics = append(resp.Topics, res)
		}
		return &resp
	}
	if req.TimeoutMs <= 0 {
		c.Reply(failed(outOfTime))
		return
	}
	r := c.mutations(6)
	decide(c, func(m *controller.Machine) ([]kmsg.Record, *kmsg.CreateTopicsResponse) {
		return m.CreateTopics(c.permit(r), req)
	}, failed)
}

// autoCreate makes topics that somebody needs and nobody has made, and waits until they exist. It
// returns why some do not. The caller has asked whether who needs them may create them here; another node that is the active
// controller asks again.
func (b *Broker) autoCreate(r controller.Request, of onBehalf, names ...string) map[string]error {
	failed := map[string]error{}
	settings, _ := b.Admin.Conf().Broker().Capped(len(b.Image().Brokers()))
	req := kmsg.NewCreateTopicsRequest()
	for _, name := range names {
		if err := controller.CheckTopicName(name); err != nil {
			failed[name] = err
			continue
		}
		req.Topics = append(req.Topics, controller.AutoTopic(name, settings))
	}
	if len(req.Topics) == 0 {
		return failed
	}
	resp, err := b.createNow(r, of, &req)
	for _, t := range req.Topics {
		if err != nil {
			failed[t.Name] = err
		}
	}
	if err == nil {
		for _, t := range resp.Topics {
			if t.ErrorCode != 0 && t.ErrorCode != kerr.TopicAlreadyExists.Code {
				failed[t.Name] = kerr.ErrorForCode(t.ErrorCode)
			}
		}
	}
	return failed
}

// createNow creates topics and waits until they exist here.
func (b *Broker) createNow(
	r controller.Request, of onBehalf, req *kmsg.CreateTopicsRequest,
) (*kmsg.CreateTopicsResponse, error) {
	return decideFor(b, of, req, func(m *controller.Machine) ([]kmsg.Record, *kmsg.CreateTopicsResponse) {
		return m.CreateTopics(r, req)
	})
}
