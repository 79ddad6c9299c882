package node

import (
	"math"
	"net/netip"
	"time"

	"github.com/logstead/logstead/internal/broker/quota"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/conf"
)

// quotaOptions are how rates are measured. Kafka fixes them at the start.
func quotaOptions(l *conf.Live) quota.Options {
	window := func(prefix string) quota.Window {
		return quota.Window{
			Samples: int(l.Int(prefix + ".num")), Size: time.Duration(l.Int(prefix+".size.seconds")) * time.Second,
		}
	}
	return quota.Options{Window: window("quota.window"), Mutation: window("controller.quota.window")}
}

// replicationQuota measures the throttled replicas of one side.
func replicationQuota(l *conf.Live) *quota.Replication {
	return quota.NewReplication(quota.Window{
		Samples: int(l.Int("replication.quota.window.num")),
		Size:    time.Duration(l.Int("replication.quota.window.size.seconds")) * time.Second,
	})
}

// setReplicationQuotas takes in the rates of throttled replicas.
func (n *Node) setReplicationQuotas() {
	l := n.live.Load().live
	n.throttles.leader.SetLimit(l.Long("leader.replication.throttled.rate"))
	n.throttles.follower.SetLimit(l.Long("follower.replication.throttled.rate"))
}

// setQuotas takes in the quotas of clients and of connections.
func (n *Node) setQuotas(im *meta.Image) {
	n.api.Quotas.SetLimits(quotaLimits(im))
	perSecond := n.live.Load().broker.MaxConnectionRate
	if perSecond == math.MaxInt32 {
		perSecond = 0
	}
	n.api.Quotas.SetConnectionRates(perSecond, addressRates(im))
}

// addressRates are the connections that each address may make in a second; "" is any other address.
func addressRates(im *meta.Image) map[string]float64 {
	rates := map[string]float64{}
	for q := range im.Quotas() {
		rate, ok := q.Values["connection_creation_rate"]
		if !ok || len(q.Entity) != 1 || q.Entity[0].Type != "ip" {
			continue
		}
		ip := ""
		if q.Entity[0].Name != nil {
			if addr, err := netip.ParseAddr(*q.Entity[0].Name); err == nil {
				ip = addr.Unmap().String()
			}
		}
		rates[ip] = rate
	}
	return rates
}

// quotaLimits are the quotas of users and client ids that the metadata holds.
func quotaLimits(im *meta.Image) *quota.Limits {
	limits := map[quota.Entity]map[string]float64{}
	for q := range im.Quotas() {
		if e, ok := quotaEntity(q.Entity); ok {
			limits[e] = q.Values
		}
	}
	return quota.NewLimits(limits)
}

func quotaEntity(parts []meta.EntityPart) (e quota.Entity, ok bool) {
	for _, p := range parts {
		part := quota.AnyOther()
		if p.Name != nil {
			part = quota.Named(*p.Name)
		}
		switch p.Type {
		case "user":
			e.User = part
		case "client-id":
			e.ClientID = part
		default:
			return e, false // of addresses: they limit connections
		}
	}
	return e, true
}
