package api

import (
	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// AlterClientQuotas (key 49), versions 0 and 1.
//
// An entity is any of a user, a client id, both, or an ip; a null name is the default of its type.
var _ = register(kmsg.KeyAlterClientQuotas, (*Broker).alterClientQuotas)

func (b *Broker) alterClientQuotas(c *Call, req *kmsg.AlterClientQuotasRequest) {
	failed := func(e itemError) *kmsg.AlterClientQuotasResponse {
		resp := kmsg.NewAlterClientQuotasResponse()
		for _, in := range req.Entries {
			res := kmsg.AlterClientQuotasResponseEntryData{ErrorCode: e.code, ErrorMessage: e.text}
			for _, p := range in.Entity {
				res.Entity = append(res.Entity, kmsg.AlterClientQuotasResponseEntityData(p))
			}
			resp.Entries = append(resp.Entries, res)
		}
		return &resp
	}
	decideAs(c, auth.AlterConfigs, func(m *controller.Machine) ([]kmsg.Record, *kmsg.AlterClientQuotasResponse) {
		return m.AlterClientQuotas(req)
	}, failed)
}
