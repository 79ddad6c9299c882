package api

import (
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// AlterConfigs (key 33), versions 0 to 2.
//
// The older way: a resource gets exactly the configs in the request, and what is not there goes back
// to its default. Broker loggers cannot be altered so.
var _ = register(kmsg.KeyAlterConfigs, (*Broker).alterConfigs)

func (b *Broker) alterConfigs(c *Call, req *kmsg.AlterConfigsRequest) {
	failed := func(e itemError) *kmsg.AlterConfigsResponse {
		resp := kmsg.NewAlterConfigsResponse()
		for _, r := range req.Resources {
			resp.Responses = append(resp.Responses, kmsg.AlterConfigsResponseAlterConfigsResourceResponse{
				ErrorCode: e.code, ErrorMessage: e.text, ResourceType: r.ResourceType, ResourceName: r.ResourceName,
			})
		}
		return &resp
	}
	decide(c, func(m *controller.Machine) ([]kmsg.Record, *kmsg.AlterConfigsResponse) {
		return m.AlterConfigs(req)
	}, failed)
}
