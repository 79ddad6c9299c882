package controller

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// KnowsControllers says whether the metadata tells which controllers there are (KIP-919).
func KnowsControllers(im *meta.Image) bool { return im.Feature(MetadataVersion) >= levelControllers }

// RegisterController enters a controller: where it listens, and which levels of features it can work at. It replaces what
// an earlier run of it had said.
func (m *Machine) RegisterController(
	req *kmsg.ControllerRegistrationRequest,
) ([]kmsg.Record, *kmsg.ControllerRegistrationResponse) {
	resp := kmsg.NewControllerRegistrationResponse()
	resp.ErrorMessage = nil
	if !KnowsControllers(m.image()) {
		resp.ErrorCode, resp.ErrorMessage = Code(refuse(kerr.UnsupportedVersion,
			"The current MetadataVersion is too old to support controller registrations."))
		return nil, &resp
	}
	rec := &kmsg.RegisterControllerRecord{ControllerId: req.ControllerId, IncarnationId: req.IncarnationId}
	for _, l := range req.Listeners {
		rec.EndPoints = append(rec.EndPoints, kmsg.RegisterControllerRecordControllerEndpoint(l))
	}
	for _, f := range req.Features {
		rec.Features = append(rec.Features, kmsg.RegisterControllerRecordControllerFeature(f))
	}
	return []kmsg.Record{rec}, &resp
}
