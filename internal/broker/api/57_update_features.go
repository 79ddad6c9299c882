package api

import (
	"slices"
	"time"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// UpdateFeatures (key 57), versions 0 to 2.
//
// All features change, or none. kraft.version is not of the metadata: with it the quorum changes, and the answer waits until
// every controller has that.
//
//	v1  upgrade types and validation only
//	v2  no result for each feature any more
var _ = register(kmsg.KeyUpdateFeatures, (*Broker).updateFeatures)

func (b *Broker) updateFeatures(c *Call, req *kmsg.UpdateFeaturesRequest) {
	decideThen(c, func(m *controller.Machine) ([]kmsg.Record, *kmsg.UpdateFeaturesResponse) {
		if err := c.needCluster(auth.Alter); err != nil {
			resp := kmsg.NewUpdateFeaturesResponse()
			resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err)
			return nil, &resp
		}
		records, resp := m.UpdateFeatures(c.Version, req)
		for i := range resp.Results {
			resp.Results[i].ErrorMessage = new("NONE") // Kafka's word for no error
		}
		return records, resp
	}, func(e itemError) *kmsg.UpdateFeaturesResponse {
		resp := kmsg.NewUpdateFeaturesResponse()
		resp.ErrorCode, resp.ErrorMessage = e.code, e.text
		return &resp
	}, func(resp *kmsg.UpdateFeaturesResponse) { b.awaitUpgrade(c, req, resp) })
}

// awaitUpgrade waits for what the request has begun on this node, if it did.
func (b *Broker) awaitUpgrade(c *Call, req *kmsg.UpdateFeaturesRequest, resp *kmsg.UpdateFeaturesResponse) {
	ctl := b.Admin.Controller
	asked := slices.ContainsFunc(req.FeatureUpdates, func(u kmsg.UpdateFeaturesRequestFeatureUpdateKey) bool {
		return u.Feature == controller.KRaftVersion
	})
	if resp.ErrorCode != 0 || !asked || req.ValidateOnly || ctl == nil {
		return
	}
	if leader, _ := ctl.Leader(); leader != b.NodeID {
		return // another has answered
	}
	ctx, cancel := c.within(time.Duration(req.TimeoutMs) * time.Millisecond)
	defer cancel()
	if err := ctl.AwaitUpgrade(ctx); err != nil {
		resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err)
	}
}
