package controller

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

func configRecords(res meta.Resource, changes []conf.Change) []kmsg.Record {
	var records []kmsg.Record
	for _, c := range changes {
		records = append(records, &kmsg.ConfigRecord{
			ResourceType: int8(res.Type), ResourceName: res.Name, Name: c.Name, Value: c.Value,
		})
	}
	return records
}

// IncrementalAlterConfigs changes single configs. The caller handles broker loggers, whose levels
// are not metadata, and leaves them out.
func (m *Machine) IncrementalAlterConfigs(
	req *kmsg.IncrementalAlterConfigsRequest,
) ([]kmsg.Record, *kmsg.IncrementalAlterConfigsResponse) {
	resp := kmsg.NewIncrementalAlterConfigsResponse()
	count := map[meta.Resource]int{}
	for i := range req.Resources {
		r := &req.Resources[i]
		count[meta.Resource{Type: meta.ResourceType(r.ResourceType), Name: r.ResourceName}]++
	}
	var all []kmsg.Record
	for i := range req.Resources {
		r := &req.Resources[i]
		res := meta.Resource{Type: meta.ResourceType(r.ResourceType), Name: r.ResourceName}
		ops := make([]conf.Op, len(r.Configs))
		for j, c := range r.Configs {
			ops[j] = conf.Op{Kind: conf.OpKind(c.ConfigOperation), Name: c.Name, Value: c.Value}
		}
		records, err := m.alter(res, count[res], ops, (*conf.Live).Incremental)
		all = append(all, records...)
		result := kmsg.IncrementalAlterConfigsResponseAlterConfigsResourceResponse{
			ResourceType: r.ResourceType, ResourceName: r.ResourceName,
		}
		result.ErrorCode, result.ErrorMessage = Code(err)
		resp.Responses = append(resp.Responses, result)
	}
	if req.ValidateOnly {
		all = nil
	}
	return m.clearELRs(m.disown(all)), &resp
}

// AlterConfigs replaces the configs of resources: what is not named is removed.
func (m *Machine) AlterConfigs(req *kmsg.AlterConfigsRequest) ([]kmsg.Record, *kmsg.AlterConfigsResponse) {
	resp := kmsg.NewAlterConfigsResponse()
	count := map[meta.Resource]int{}
	for i := range req.Resources {
		r := &req.Resources[i]
		count[meta.Resource{Type: meta.ResourceType(r.ResourceType), Name: r.ResourceName}]++
	}
	var all []kmsg.Record
	for i := range req.Resources {
		r := &req.Resources[i]
		res := meta.Resource{Type: meta.ResourceType(r.ResourceType), Name: r.ResourceName}
		ops := make([]conf.Op, len(r.Configs))
		for j, c := range r.Configs {
			ops[j] = conf.Op{Name: c.Name, Value: c.Value}
		}
		records, err := m.alter(res, count[res], ops, (*conf.Live).Replace)
		all = append(all, records...)
		result := kmsg.AlterConfigsResponseAlterConfigsResourceResponse{
			ResourceType: r.ResourceType, ResourceName: r.ResourceName,
		}
		result.ErrorCode, result.ErrorMessage = Code(err)
		resp.Responses = append(resp.Responses, result)
	}
	if req.ValidateOnly {
		all = nil
	}
	return m.clearELRs(m.disown(all)), &resp
}

// alterFunc is one of the two ways of altering.
type alterFunc func(*conf.Live, conf.Target, []conf.Op) ([]conf.Change, error)

func (m *Machine) alter(res meta.Resource, named int, ops []conf.Op, how alterFunc) ([]kmsg.Record, error) {
	if named > 1 {
		return nil, refuse(kerr.InvalidRequest, "Each resource must appear at most once.")
	}
	target, err := m.target(res)
	if err != nil {
		return nil, err
	}
	changes, err := how(m.config(), target, ops)
	if refused := m.checkMinISR(res, changes); refused != nil && !errors.Is(err, kerr.InvalidRequest) {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	return configRecords(res, changes), nil
}

// target finds the resource whose configs are to change.
func (m *Machine) target(res meta.Resource) (conf.Target, error) {
	t := conf.Target{Name: res.Name, Current: m.image().Configs(res)}
	switch res.Type {
	case meta.ResourceTopic:
		t.Scope = conf.ScopeTopic
		if res.Name == "" {
			return t, refuse(kerr.InvalidRequest, "Default topic resources are not allowed.")
		}
		if err := CheckTopicName(res.Name); err != nil {
			return t, err
		}
		if m.image().Topic(res.Name) == nil {
			return t, refuse(kerr.UnknownTopicOrPartition, "The topic '%s' does not exist.", res.Name)
		}
	case meta.ResourceBroker:
		t.Scope = conf.ScopeBroker
		if id, err := strconv.ParseInt(res.Name, 10, 32); err == nil && m.image().Broker(int32(id)) != nil {
			return t, nil // the broker that was asked has checked that it is meant
		}
		return t, conf.CheckBrokerName(res.Name, m.cfg.NodeID)
	case meta.ResourceClientMetrics:
		t.Scope = conf.ScopeClientMetrics
	case meta.ResourceGroup:
		t.Scope = conf.ScopeGroup
	default:
		return t, &Error{kerr.InvalidRequest, fmt.Sprintf("Unknown resource type %d", res.Type)}
	}
	return t, nil
}
