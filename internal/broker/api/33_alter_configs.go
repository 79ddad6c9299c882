package api

import (
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// AlterConfigs (key 33), versions 0 to 2.
//
// The older way: a resource gets exactly the configs in the request, and what is not there goes back
// to its default. Broker loggers cannot be altered so. A broker's are altered by that broker alone.
var _ = register(kmsg.KeyAlterConfigs, (*Broker).alterConfigs)

type legacyResult = kmsg.AlterConfigsResponseAlterConfigsResourceResponse

func (b *Broker) alterConfigs(c *Call, req *kmsg.AlterConfigsRequest) {
	rest := *req
	rest.Resources = nil
	var own []legacyResult
	times := timesNamed(req.Resources, legacyName)
	for i := range req.Resources {
		r := &req.Resources[i]
		ops := make([]conf.Op, len(r.Configs))
		for j, x := range r.Configs {
			ops[j] = conf.Op{Name: x.Name, Value: x.Value}
		}
		var err error
		if res := legacyName(*r); times[res] == 1 {
			err = b.checkAlter(c, res, ops, (*conf.Live).Replace)
		}
		if err == nil {
			rest.Resources = append(rest.Resources, *r)
			continue
		}
		own = append(own, legacyResult{
			ErrorCode: c.code(err), ErrorMessage: message(err), ResourceType: r.ResourceType, ResourceName: r.ResourceName,
		})
	}
	if len(own) > 0 { // what is for the controller is all that it is sent
		w := &kmsg.Writer{}
		rest.Append(w, c.Version)
		c.Body = w.Buf
	}
	failed := func(e itemError) *kmsg.AlterConfigsResponse {
		resp := kmsg.NewAlterConfigsResponse()
		resp.Responses = own
		for _, r := range rest.Resources {
			resp.Responses = append(resp.Responses, legacyResult{
				ErrorCode: e.code, ErrorMessage: e.text, ResourceType: r.ResourceType, ResourceName: r.ResourceName,
			})
		}
		return &resp
	}
	decideThen(c, func(m *controller.Machine) ([]kmsg.Record, *kmsg.AlterConfigsResponse) {
		allowed := rest
		var refused []legacyResult
		allowed.Resources = c.mayAlterLegacy(rest.Resources, times, &refused)
		records, resp := m.AlterConfigs(&allowed)
		resp.Responses = append(resp.Responses, refused...)
		return records, resp
	}, failed, func(resp *kmsg.AlterConfigsResponse) {
		resp.Responses = append(resp.Responses, own...)
	})
}

func legacyName(r kmsg.AlterConfigsRequestAlterConfigsResource) configResource {
	return configResource{r.ResourceType, r.ResourceName}
}

// mayAlterLegacy is mayAlter for the older request.
func (c *Call) mayAlterLegacy(
	all []kmsg.AlterConfigsRequestAlterConfigsResource, times map[configResource]int, refused *[]legacyResult,
) []kmsg.AlterConfigsRequestAlterConfigsResource {
	return alterable(c, all, times, legacyName, func(r configResource, err error) {
		*refused = append(*refused, legacyResult{
			ErrorCode: c.code(err), ErrorMessage: message(err), ResourceType: r.kind, ResourceName: r.name,
		})
	})
}
