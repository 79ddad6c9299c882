package controller

import (
	"fmt"
	"math"
	"net"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// The parts that a client entity can have.
const (
	entityUser     = "user"
	entityClientID = "client-id"
	entityIP       = "ip"
)

// quotaMax is the largest value of a quota whose type is integral, 0 for a quota that is not.
type quotaMax float64

var (
	clientQuotas = map[string]quotaMax{
		"producer_byte_rate": math.MaxInt64, "consumer_byte_rate": math.MaxInt64,
		"request_percentage": 0, "controller_mutation_rate": 0,
	}
	ipQuotas = map[string]quotaMax{"connection_creation_rate": math.MaxInt32}
)

// AlterClientQuotas sets and removes quotas of client entities.
func (m *Machine) AlterClientQuotas(
	req *kmsg.AlterClientQuotasRequest,
) ([]kmsg.Record, *kmsg.AlterClientQuotasResponse) {
	resp := kmsg.NewAlterClientQuotasResponse()
	times := map[string]int{}
	for i := range req.Entries {
		times[entityText(req.Entries[i].Entity)]++
	}
	var all []kmsg.Record
	for i := range req.Entries {
		e := &req.Entries[i]
		n := times[entityText(e.Entity)]
		if n == 0 {
			continue // a copy that was answered
		}
		times[entityText(e.Entity)] = 0
		var records []kmsg.Record
		err := refuse(kerr.InvalidRequest, "Duplicate entity in the request.")
		if n == 1 {
			records, err = m.alterQuota(e)
		}
		if err == nil {
			all = append(all, records...)
		}
		result := kmsg.AlterClientQuotasResponseEntryData{}
		result.ErrorCode, result.ErrorMessage = Code(err)
		for _, part := range e.Entity {
			result.Entity = append(result.Entity, kmsg.AlterClientQuotasResponseEntityData(part))
		}
		resp.Entries = append(resp.Entries, result)
	}
	if req.ValidateOnly {
		all = nil
	}
	return all, &resp
}

// entityText is the same for equal entities, in whatever order their parts are.
func entityText(parts []kmsg.AlterClientQuotasRequestEntityData) string {
	texts := make([]string, len(parts))
	for i, p := range parts {
		if texts[i] = p.EntityType; p.EntityName != nil {
			texts[i] += "=" + *p.EntityName
		}
	}
	slices.Sort(texts)
	return fmt.Sprintf("%q", texts)
}

func (m *Machine) alterQuota(e *kmsg.AlterClientQuotasRequestEntryData) ([]kmsg.Record, error) {
	entity, allowed, err := quotaEntity(e.Entity)
	if err != nil {
		return nil, err
	}
	current := map[string]float64{}
	if q := m.image().Quota(entity); q != nil {
		current = q.Values
	}
	var records []kmsg.Record
	seen := map[string]bool{}
	for _, op := range e.Ops {
		if seen[op.Key] {
			return nil, refuse(kerr.InvalidRequest, "Duplicate quota key %s not updating quota for this entity", op.Key)
		}
		seen[op.Key] = true
		old, had := current[op.Key]
		if !op.Remove {
			if err := checkQuota(allowed, op.Key, op.Value); err != nil {
				return nil, err
			}
		}
		if op.Remove && !had || !op.Remove && had && old == op.Value {
			continue
		}
		r := &kmsg.ClientQuotaRecord{Key: op.Key, Value: op.Value, Remove: op.Remove}
		if op.Remove {
			r.Value = 0
		}
		for _, part := range e.Entity {
			r.Entity = append(r.Entity, kmsg.ClientQuotaRecordEntityData(part))
		}
		records = append(records, r)
	}
	return records, nil
}

// quotaEntity checks an entity and finds the quotas that its kind can have.
func quotaEntity(
	parts []kmsg.AlterClientQuotasRequestEntityData,
) (entity []meta.EntityPart, allowed map[string]quotaMax, err error) {
	has := map[string]bool{}
	for _, p := range parts {
		if p.EntityType != entityUser && p.EntityType != entityClientID && p.EntityType != entityIP {
			return nil, nil, refuse(kerr.InvalidRequest, "Unhandled client quota entity type: %s", p.EntityType)
		}
		if has[p.EntityType] {
			return nil, nil, refuse(kerr.InvalidRequest, "Invalid client quota entity, duplicate entity entry %s", p.EntityType)
		}
		if p.EntityName != nil && *p.EntityName == "" {
			return nil, nil, refuse(kerr.InvalidRequest, "Empty %s not supported", p.EntityType)
		}
		if p.EntityType == entityIP && p.EntityName != nil && !isHost(*p.EntityName) {
			return nil, nil, refuse(kerr.InvalidRequest, "%s is not a valid IP or resolvable host.", *p.EntityName)
		}
		has[p.EntityType] = true
		entity = append(entity, meta.EntityPart{Type: p.EntityType, Name: p.EntityName})
	}
	switch {
	case len(has) == 0:
		return nil, nil, refuse(kerr.InvalidRequest, "Invalid empty client quota entity")
	case has[entityIP] && len(has) > 1:
		return nil, nil, refuse(kerr.InvalidRequest,
			"Invalid quota entity combination, IP entity should not be combined with User or ClientId")
	case has[entityIP]:
		return entity, ipQuotas, nil
	}
	return entity, clientQuotas, nil
}

// isHost reports whether a name is an address. Kafka also takes names that resolve; the controller
// does not wait on a name server, and quotas are looked up by address.
func isHost(name string) bool { return net.ParseIP(name) != nil }

func checkQuota(allowed map[string]quotaMax, key string, value float64) error {
	limit, ok := allowed[key]
	switch {
	case !ok:
		return refuse(kerr.InvalidRequest, "Invalid configuration key %s", key)
	case math.IsNaN(value) || value <= 0:
		return refuse(kerr.InvalidRequest, "Quota %s must be greater than 0", key)
	case limit == 0:
		return nil
	case value > float64(limit):
		return refuse(kerr.InvalidRequest, "Proposed value for %s is too large.", key)
	case math.Abs(math.Mod(value, 1)) > 1e-6:
		return refuse(kerr.InvalidRequest, "%s cannot be a fractional value.", key)
	}
	return nil
}
