package api

import (
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// ElectLeaders (key 43), versions 0 to 2.
//
// A partition whose preferred replica leads, as always on one node, says ELECTION_NOT_NEEDED. Null
// topics mean all, of which only those that need an election are answered.
//
//	v1  an election may be unclean (KIP-460)
var _ = register(kmsg.KeyElectLeaders, (*Broker).electLeaders)

func (b *Broker) electLeaders(c *Call, req *kmsg.ElectLeadersRequest) {
	decide(c, func(m *controller.Machine) ([]kmsg.Record, *kmsg.ElectLeadersResponse) {
		return m.ElectLeaders(req)
	}, func(e itemError) *kmsg.ElectLeadersResponse {
		resp := kmsg.NewElectLeadersResponse()
		resp.ErrorCode = e.code
		return &resp
	})
}
