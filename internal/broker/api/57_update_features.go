package api

import (
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// UpdateFeatures (key 57), versions 0 to 2.
//
// All features change, or none.
//
//	v1  upgrade types and validation only
//	v2  no result for each feature any more
var _ = register(kmsg.KeyUpdateFeatures, (*Broker).updateFeatures)

func (b *Broker) updateFeatures(c *Call, req *kmsg.UpdateFeaturesRequest) {
	decide(c, func(m *controller.Machine) ([]kmsg.Record, *kmsg.UpdateFeaturesResponse) {
		records, resp := m.UpdateFeatures(c.Version, req)
		for i := range resp.Results {
			resp.Results[i].ErrorMessage = new("NONE") // Kafka's word for no error
		}
		return records, resp
	}, func(e itemError) *kmsg.UpdateFeaturesResponse {
		resp := kmsg.NewUpdateFeaturesResponse()
		resp.ErrorCode, resp.ErrorMessage = e.code, e.text
		return &resp
	})
}
