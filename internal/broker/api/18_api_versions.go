package api

import (
	"regexp"
	"sort"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// ApiVersions (key 18), versions 0 to 4.
//
// The one API whose unknown version is answered: in the layout of version 0, with
// UNSUPPORTED_VERSION and its own range (KIP-511). From version 3 the client names its software.
//
//	v4  features with a minimum of 0 are shown
var _ = register(kmsg.KeyApiVersions, (*Broker).apiVersions)

// softwarePattern is what Kafka takes as a client's name and version.
var softwarePattern = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

// Feature is one feature of the cluster, as ApiVersions tells it.
type Feature struct {
	Name     string
	Min, Max int16 // what this build supports
	Level    int16 // what is finalized; 0 is not
}

func (b *Broker) apiVersions(c *Call, req *kmsg.ApiVersionsRequest) {
	resp := kmsg.NewApiVersionsResponse()
	resp.ApiKeys = []kmsg.ApiVersionsResponseApiVersion{}
	if c.Version >= 3 {
		if !softwarePattern.MatchString(req.ClientSoftwareName) || !softwarePattern.MatchString(req.ClientSoftwareVersion) {
			resp.ErrorCode = kerr.InvalidRequest.Code
			c.Reply(&resp)
			return
		}
		c.Conn.Software.Store(&Software{req.ClientSoftwareName, req.ClientSoftwareVersion})
	}
	if s := c.Conn.sasl; s != nil && s.step == saslFirst {
		s.step = saslNamed // as in Kafka, it is asked for once before the login
	}
	resp.ApiKeys = servedVersions(c.Conn.kind())
	epoch, features := b.Features()
	resp.FinalizedFeaturesEpoch = epoch
	for _, f := range features {
		if f.Min > 0 || c.Version >= 4 {
			resp.SupportedFeatures = append(resp.SupportedFeatures, kmsg.ApiVersionsResponseSupportedFeatureKey{
				Name: f.Name, MinVersion: f.Min, MaxVersion: f.Max,
			})
		}
		if f.Level > 0 {
			resp.FinalizedFeatures = append(resp.FinalizedFeatures, kmsg.ApiVersionsResponseFinalizedFeatureKey{
				Name: f.Name, MaxVersionLevel: f.Level, MinVersionLevel: f.Level,
			})
		}
	}
	c.Reply(&resp)
}

// servedVersions lists what the table has for a kind of listener. GetTelemetrySubscriptions and PushTelemetry are served but not
// advertised: Kafka hides them where no telemetry receiver is configured.
func servedVersions(kind kmsg.Listeners) []kmsg.ApiVersionsResponseApiVersion {
	all := make([]kmsg.ApiVersionsResponseApiVersion, 0, len(table))
	for key, e := range table {
		if key == kmsg.KeyGetTelemetrySubscriptions || key == kmsg.KeyPushTelemetry {
			continue
		}
		if !e.api.Listeners.Has(kind) {
			continue
		}
		all = append(all, kmsg.ApiVersionsResponseApiVersion{
			ApiKey: key, MinVersion: e.api.AdvertisedMin, MaxVersion: e.api.Max,
		})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].ApiKey < all[j].ApiKey })
	return all
}

func (b *Broker) unknownApiVersions(c *Call) {
	own := kmsg.ByKey(kmsg.KeyApiVersions)
	resp := kmsg.NewApiVersionsResponse()
	resp.ErrorCode = kerr.UnsupportedVersion.Code
	resp.ApiKeys = []kmsg.ApiVersionsResponseApiVersion{
		{ApiKey: own.Key, MinVersion: own.AdvertisedMin, MaxVersion: own.Max},
	}
	c.replyVersion(&resp, 0)
}
