package api

import (
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// BrokerRegistration (key 62), versions 0 to 4, on the controller's listeners.
//
// A broker that starts enters the cluster, fenced, and gets its epoch (KIP-631).
//
//	v2  log directories (KIP-858)
//	v3  the epoch that the broker had when it stopped cleanly (KIP-966)
//	v4  features with a minimum of 0
var _ = register(kmsg.KeyBrokerRegistration, (*Broker).brokerRegistration)

func (b *Broker) brokerRegistration(c *Call, req *kmsg.BrokerRegistrationRequest) {
	if !c.mayCluster(auth.ClusterAction) {
		resp := kmsg.NewBrokerRegistrationResponse()
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		c.Reply(&resp)
		return
	}
	var refused error
	decideNow(c, func(m *controller.Machine, now time.Time) (records []kmsg.Record, resp *kmsg.BrokerRegistrationResponse) {
		records, resp, refused = m.RegisterBroker(now, req)
		return records, resp
	}, func(e itemError) *kmsg.BrokerRegistrationResponse {
		resp := kmsg.NewBrokerRegistrationResponse()
		resp.ErrorCode = e.code
		return &resp
	}, func(*kmsg.BrokerRegistrationResponse) {
		if refused != nil { // the response has no room for the reason
			b.tellRefused(c, req, refused)
		}
	})
}

// tellRefused says which broker is refused and why. One that asks again and again, as those of which two have the same id, is
// named now and then.
func (b *Broker) tellRefused(c *Call, req *kmsg.BrokerRegistrationRequest, why error) {
	times, tell := b.refusals.note(req.BrokerId, why.Error(), b.Clock.Now())
	if !tell {
		return
	}
	args := []any{"broker", req.BrokerId, "from", c.Conn.Host(), "times", times, "err", why}
	if r := b.Image().Broker(req.BrokerId); r != nil && len(r.Endpoints) > 0 {
		args = append(args, "registered_at", net.JoinHostPort(r.Endpoints[0].Host, strconv.Itoa(int(r.Endpoints[0].Port))))
	}
	b.Logger.Warn("broker registration refused", args...)
}

const (
	// refusalInterval is how often the same refusal of the same broker is told.
	refusalInterval = 30 * time.Second
	// maxRefusals bounds the brokers that are remembered for it.
	maxRefusals = 1000
)

// refusals are the registrations that were refused of late, by broker.
type refusals struct {
	mu struct {
		sync.Mutex
		last map[int32]refusal
	}
}

type refusal struct {
	why   string
	told  time.Time
	times int // since then, this one included
}

// note takes in a refusal and says whether to tell of it, and of how many that are the same.
func (r *refusals) note(broker int32, why string, now time.Time) (times int, tell bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.mu.last[broker]
	if last.times++; last.why == why && now.Sub(last.told) < refusalInterval {
		r.mu.last[broker] = last
		return 0, false
	}
	if len(r.mu.last) >= maxRefusals || r.mu.last == nil {
		r.mu.last = map[int32]refusal{}
	}
	if last.why != why {
		last.times = 1
	}
	r.mu.last[broker] = refusal{why: why, told: now}
	return last.times, true
}
