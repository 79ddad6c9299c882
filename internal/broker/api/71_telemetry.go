package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// GetTelemetrySubscriptions (key 71) and PushTelemetry (key 72), version 0 (KIP-714).
//
// Nothing here receives client metrics, so the two are not advertised. A client that asks anyway
// gets an empty subscription, and a push belongs to no subscription that was given out.
var (
	_ = register(kmsg.KeyGetTelemetrySubscriptions, (*Broker).telemetrySubscriptions)
	_ = register(kmsg.KeyPushTelemetry, (*Broker).pushTelemetry)
)

const (
	telemetryPushIntervalMs = 5 * 60 * 1000
	telemetryMaxBytes       = 1 << 20
	// noSubscription identifies the empty subscription; any constant will do.
	noSubscription = 1
)

// telemetryCodecs are the compressions a client may use: gzip, snappy, lz4, zstd.
var telemetryCodecs = []int8{1, 2, 3, 4}

func (b *Broker) telemetrySubscriptions(c *Call, req *kmsg.GetTelemetrySubscriptionsRequest) {
	resp := kmsg.NewGetTelemetrySubscriptionsResponse()
	resp.ClientInstanceId = req.ClientInstanceId
	if resp.ClientInstanceId.IsZero() {
		resp.ClientInstanceId = base.NewTopicID()
	}
	resp.SubscriptionId, resp.AcceptedCompressionTypes = noSubscription, telemetryCodecs
	resp.PushIntervalMs, resp.TelemetryMaxBytes, resp.DeltaTemporality = telemetryPushIntervalMs, telemetryMaxBytes, true
	c.Reply(&resp)
}

func (b *Broker) pushTelemetry(c *Call, _ *kmsg.PushTelemetryRequest) {
	resp := kmsg.NewPushTelemetryResponse()
	resp.ErrorCode = kerr.UnknownSubscriptionID.Code
	c.Reply(&resp)
}
