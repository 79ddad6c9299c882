package api

import (
	"cmp"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// DescribeClientQuotas (key 48), versions 0 and 1.
//
// A filter has one component per entity type: exactly this name, the default entity, or any. Strict
// asks for entities with no other part than these. A filter that makes no sense fails as a whole.
var _ = register(kmsg.KeyDescribeClientQuotas, (*Broker).describeClientQuotas)

// How a component of a quota filter matches.
const (
	matchExact   int8 = 0
	matchDefault int8 = 1
	matchAny     int8 = 2
)

func (b *Broker) describeClientQuotas(c *Call, req *kmsg.DescribeClientQuotasRequest) {
	resp := kmsg.NewDescribeClientQuotasResponse()
	err := error(nil)
	if !c.mayCluster(auth.DescribeConfigs) {
		err = unauthorized(auth.Cluster)
	} else {
		err = checkQuotaFilter(req.Components)
	}
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage, resp.Entries = c.code(err), message(err), nil
		c.Reply(&resp)
		return
	}
	resp.Entries = []kmsg.DescribeClientQuotasResponseEntryData{}
	for q := range b.Image().Quotas() {
		if quotaMatches(q, req) {
			resp.Entries = append(resp.Entries, describeQuota(q))
		}
	}
	slices.SortFunc(resp.Entries, func(x, y kmsg.DescribeClientQuotasResponseEntryData) int {
		return slices.CompareFunc(x.Entity, y.Entity, compareEntity)
	})
	c.Reply(&resp)
}

func compareEntity(x, y kmsg.DescribeClientQuotasResponseEntityData) int {
	name := func(s *string) string { // the default entity comes first
		if s == nil {
			return ""
		}
		return "=" + *s
	}
	return cmp.Or(cmp.Compare(x.EntityType, y.EntityType), cmp.Compare(name(x.EntityName), name(y.EntityName)))
}

func checkQuotaFilter(cs []kmsg.DescribeClientQuotasRequestComponentData) error {
	seen := map[string]bool{}
	for _, c := range cs {
		switch {
		case c.EntityType == "":
			return refuse(kerr.InvalidRequest, "a component of the filter has no entity type")
		case seen[c.EntityType]:
			return refuse(kerr.InvalidRequest, "entity type %s is twice in the filter, want it once", c.EntityType)
		case !quotaEntityTypes[c.EntityType]:
			return refuse(kerr.UnsupportedVersion, "entity type %q: want user, client-id or ip", c.EntityType)
		case c.MatchType == matchExact && c.Match == nil:
			return refuse(kerr.InvalidRequest, "component %s: an exact match needs a name", c.EntityType)
		case c.MatchType != matchExact && c.Match != nil:
			return refuse(kerr.InvalidRequest, "component %s: only an exact match has a name, got %q", c.EntityType, *c.Match)
		case c.MatchType < matchExact || c.MatchType > matchAny:
			return refuse(kerr.InvalidRequest, "component %s: match type %d, want 0, 1 or 2", c.EntityType, c.MatchType)
		}
		seen[c.EntityType] = true
	}
	if seen["ip"] && (seen["user"] || seen["client-id"]) {
		return refuse(kerr.InvalidRequest, "an ip cannot be combined with a user or client-id")
	}
	return nil
}

var quotaEntityTypes = map[string]bool{"user": true, "client-id": true, "ip": true}

func quotaMatches(q *meta.Quota, req *kmsg.DescribeClientQuotasRequest) bool {
	if req.Strict && len(q.Entity) != len(req.Components) {
		return false
	}
	for _, c := range req.Components {
		i := slices.IndexFunc(q.Entity, func(p meta.EntityPart) bool { return p.Type == c.EntityType })
		if i < 0 {
			return false
		}
		name := q.Entity[i].Name
		switch {
		case c.MatchType == matchDefault && name != nil:
			return false
		case c.MatchType == matchExact && (name == nil || *name != *c.Match):
			return false
		}
	}
	return true
}

func describeQuota(q *meta.Quota) kmsg.DescribeClientQuotasResponseEntryData {
	var e kmsg.DescribeClientQuotasResponseEntryData
	for _, p := range q.Entity {
		e.Entity = append(e.Entity, kmsg.DescribeClientQuotasResponseEntityData{EntityType: p.Type, EntityName: p.Name})
	}
	for _, key := range slices.Sorted(maps.Keys(q.Values)) {
		e.Values = append(e.Values, kmsg.DescribeClientQuotasResponseValueData{Key: key, Value: q.Values[key]})
	}
	return e
}
