package api

import (
	"reflect"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/quota"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Client quotas (KIP-13, KIP-124, KIP-219, KIP-599). What a call uses is measured while it is served;
// a client that used too much is answered at once, with the time it has to wait, and its connection
// is not read for as long. Where no quota is set, all of it is one atomic load a call.

// principal is on whose behalf the call is made.
func (c *Call) principal() auth.Principal { return c.Conn.Principal.OrAnonymous() }

// user is the user whose quotas the call is charged to.
func (c *Call) user() string { return c.principal().Name }

// charge measures what the call used and remembers how long the client has to wait for it.
func (c *Call) charge(kind quota.Kind, value float64) {
	q := c.broker.Quotas
	c.throttle = max(c.throttle, q.Record(c.broker.Clock.Now(), kind, c.user(), c.ClientID, value))
}

// parked says that the handler has done its work and only waits from here on.
func (c *Call) parked() {
	if c.metered {
		c.worked.CompareAndSwap(0, int64(max(c.broker.Clock.Now().Sub(c.Start), 1)))
	}
}

// ofNodes says of an API that only nodes of the cluster use it: no client quota holds for it. Of a fetch its replica id says so.
func ofNodes(key int16) bool {
	switch key {
	case kmsg.KeyWriteTxnMarkers, kmsg.KeyAlterPartition, kmsg.KeyFetchSnapshot, kmsg.KeyBrokerRegistration, kmsg.KeyBrokerHeartbeat,
		kmsg.KeyAllocateProducerIds, kmsg.KeyControllerRegistration, kmsg.KeyAssignReplicasToDirs:
		return true
	}
	return false
}

// chargeTime charges the time that the handler took, once a call.
func (c *Call) chargeTime() {
	if c.timed {
		return
	}
	c.timed = true
	c.parked()
	c.charge(quota.Request, quota.RequestPercent(time.Duration(c.worked.Load())))
}

// hold keeps the connection from being read until the client's quotas are met again.
func (c *Call) hold() {
	if c.throttle > 0 {
		c.Conn.mute(c.broker.Clock.Now().Add(c.throttle))
	}
}

// applyQuotas is the last step before an answer: it says how long the client has to wait.
func (c *Call) applyQuotas(resp kmsg.Response) {
	c.chargeTime()
	c.hold()
	if c.throttle > 0 {
		setThrottle(resp, c.throttle)
	}
}

// setThrottle fills in throttle_time_ms, which nearly every response has. Only throttled answers come
// here, so that looking the field up costs nothing that counts.
func setThrottle(resp kmsg.Response, d time.Duration) {
	if f := reflect.ValueOf(resp).Elem().FieldByName("ThrottleTimeMs"); f.IsValid() {
		f.SetInt(d.Milliseconds())
	}
}

// mutations is the quota of partition changes for a request to the controller. From version strict on
// the client knows THROTTLING_QUOTA_EXCEEDED and is refused; before, it is only made to wait.
func (c *Call) mutations(strict int16) controller.Request {
	if !c.metered {
		return controller.Request{}
	}
	clock := c.broker.Clock
	m := c.broker.Quotas.Mutations(clock.Now(), c.user(), c.ClientID, c.Version >= strict)
	return controller.Request{Charge: func(n int) error {
		ok := m.Take(clock.Now(), float64(n))
		c.throttle = max(c.throttle, m.Throttle(clock.Now()))
		if !ok {
			return refuse(kerr.ThrottlingQuotaExceeded, "The throttling quota has been exceeded.")
		}
		return nil
	}}
}
