package node

import (
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
