package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// BrokerHeartbeat (key 63), versions 0 to 2, on the controller's listeners.
//
// A broker says that it lives, how much of the metadata it has applied, and what it wants: to serve,
// to be fenced, or to stop.
//
//	v1  offline log directories (KIP-858)
//	v2  cordoned log directories (KIP-1066)
var _ = register(kmsg.KeyBrokerHeartbeat, (*Broker).brokerHeartbeat)

func (b *Broker) brokerHeartbeat(c *Call, req *kmsg.BrokerHeartbeatRequest) {
	if !c.mayCluster(auth.ClusterAction) {
		resp := kmsg.NewBrokerHeartbeatResponse()
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		c.Reply(&resp)
		return
	}
	decideNow(c, func(m *controller.Machine, now time.Time) ([]kmsg.Record, *kmsg.BrokerHeartbeatResponse) {
		records, resp := m.Heartbeat(now, req)
		if resp.ShouldShutDown {
			b.letGo.Store(req.BrokerId, req.BrokerEpoch)
		}
		return records, resp
	}, func(e itemError) *kmsg.BrokerHeartbeatResponse {
		resp := kmsg.NewBrokerHeartbeatResponse()
		resp.ErrorCode = e.code
		return &resp
	}, func(resp *kmsg.BrokerHeartbeatResponse) {
		if resp.ErrorCode == 0 {
			c.Conn.heartbeat.Store(&heartbeatOf{req.BrokerId, req.BrokerEpoch})
		}
	})
}

// LetGo says whether a run of a broker was given leave to stop by this controller.
func (b *Broker) LetGo(broker int32, epoch int64) bool {
	at, ok := b.letGo.Load(broker)
	return ok && at == epoch
}

// heartbeatOf is the broker whose heartbeats come over a connection.
type heartbeatOf struct {
	broker int32
	epoch  int64
}

// Ended hears that a connection is gone. That of a broker's heartbeats is a hint that the broker is
// gone too: it is asked for another heartbeat very soon, and fenced if none comes.
func (b *Broker) Ended(conn *Conn) {
	of := conn.heartbeat.Load()
	if of == nil || b.Admin.Controller == nil {
		return
	}
	ctl := b.Admin.Controller
	err := ctl.Submit(func(m *controller.Machine, now time.Time) controller.Outcome {
		m.Suspect(now, of.broker, of.epoch)
		return controller.Outcome{}
	})
	if err == nil {
		b.Logger.Info("the connection of a broker's heartbeats broke", "broker", of.broker, "broker_epoch", of.epoch)
	}
}
