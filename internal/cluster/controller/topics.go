package controller

import (
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// CreateTopics creates what can be created of a request; each topic has its own answer.
func (m *Machine) CreateTopics(r Request, req *kmsg.CreateTopicsRequest) ([]kmsg.Record, *kmsg.CreateTopicsResponse) {
	resp := kmsg.NewCreateTopicsResponse()
	seen, refused := map[string]int{}, map[string]bool{}
	for i := range req.Topics {
		seen[req.Topics[i].Name]++
	}
	for name, n := range seen {
		refused[name] = n == 1 && name != MetadataTopic && !may(r.Creatable, name)
	}
	tooMany := m.checkTotal(req, refused)
	taken := map[string]string{} // names of this request, unified, so that two of them do not collide
	var all []kmsg.Record
	for i := range req.Topics {
		t := &req.Topics[i]
		if n := seen[t.Name]; n != 1 {
			if seen[t.Name] = 0; n > 1 { // answered once, whatever the number of its copies
				resp.Topics = append(resp.Topics,
					failedTopic(t.Name, refuse(kerr.InvalidRequest, "Duplicate topic name.")))
			}
			continue
		}
		err := tooMany
		if refused[t.Name] {
			err = refuse(kerr.TopicAuthorizationFailed, "Authorization failed.")
		}
		if err == nil {
			err = m.checkNewName(t.Name)
		}
		if err == nil {
			if other, ok := taken[unified(t.Name)]; ok {
				err = refuse(kerr.InvalidTopicException, "Topic '%s' collides with topic '%s' of the same request",
					t.Name, other)
			}
		}
		var records []kmsg.Record
		result := kmsg.NewCreateTopicsResponseCreatableTopicResult()
		if err == nil {
			records, err = m.createTopic(r, t, &result)
		}
		if err != nil {
			resp.Topics = append(resp.Topics, failedTopic(t.Name, err))
			continue
		}
		taken[unified(t.Name)] = t.Name
		all = append(all, records...)
		resp.Topics = append(resp.Topics, result)
	}
	if req.ValidateOnly {
		all = nil
	}
	return all, &resp
}

func failedTopic(name string, err error) kmsg.CreateTopicsResponseCreatableTopicResult {
	result := kmsg.NewCreateTopicsResponseCreatableTopicResult()
	result.Name = name
	result.ErrorCode, result.ErrorMessage = Code(err)
	return result
}

// checkTotal bounds the partitions that one request creates.
func (m *Machine) checkTotal(req *kmsg.CreateTopicsRequest, refused map[string]bool) error {
	total := 0
	for i := range req.Topics {
		switch t := &req.Topics[i]; {
		case refused[t.Name]:
		case len(t.Assignments) > 0:
			total += len(t.Assignments)
		case t.NumPartitions == -1:
			total += int(m.config().Int("num.partitions"))
		case t.NumPartitions > 0:
			total += int(t.NumPartitions)
		}
	}
	if total > MaxRecordsPerOp {
		return refuse(kerr.PolicyViolation, "Excessively large number of partitions per request: %d, at most %d are allowed.",
			total, MaxRecordsPerOp)
	}
	return nil
}

func (m *Machine) createTopic(
	r Request, t *kmsg.CreateTopicsRequestCreatableTopic, result *kmsg.CreateTopicsResponseCreatableTopicResult,
) ([]kmsg.Record, error) {
	configs, changes, err := m.newTopicConfigs(t)
	if err != nil {
		return nil, err
	}
	placed, err := m.placeTopic(t)
	if err != nil {
		return nil, err
	}
	if err := r.charge(len(placed)); err != nil {
		return nil, err
	}
	id := m.cfg.NewID()
	records := []kmsg.Record{&kmsg.TopicRecord{Name: t.Name, TopicId: id}}
	records = append(records, configRecords(meta.Resource{Type: meta.ResourceTopic, Name: t.Name}, changes)...)
	for i, replicas := range placed {
		records = append(records, m.newPartition(id, int32(i), replicas))
	}
	result.Name, result.TopicId, result.ErrorMessage = t.Name, id, nil
	if !r.describable(t.Name) {
		result.TopicConfigErrorCode = kerr.TopicAuthorizationFailed.Code
		return records, nil
	}
	result.NumPartitions, result.ReplicationFactor = int32(len(placed)), int16(len(placed[0]))
	result.Configs = m.describeNewTopic(configs)
	return records, nil
}

// newTopicConfigs checks the configs of a topic to be.
func (m *Machine) newTopicConfigs(
	t *kmsg.CreateTopicsRequestCreatableTopic,
) (configs map[string]string, changes []conf.Change, err error) {
	var ops []conf.Op
	var missing []string
	for _, c := range t.Configs {
		if c.Value == nil {
			missing = append(missing, c.Name)
		}
		ops = append(ops, conf.Op{Kind: conf.OpSet, Name: c.Name, Value: c.Value})
	}
	if len(missing) > 0 {
		return nil, nil, refuse(kerr.InvalidConfig, "Null value not supported for topic configs: %v", missing)
	}
	changes, err = m.config().Incremental(conf.Target{Scope: conf.ScopeTopic, Name: t.Name}, ops)
	if err != nil {
		return nil, nil, err
	}
	configs = make(map[string]string, len(changes))
	for _, c := range changes {
		configs[c.Name] = *c.Value
	}
	return configs, changes, nil
}

// describeNewTopic is the list of configs in a CreateTopics answer.
func (m *Machine) describeNewTopic(configs map[string]string) []kmsg.CreateTopicsResponseCreatableTopicConfigs {
	entries := m.config().DescribeNewTopic(configs)
	out := make([]kmsg.CreateTopicsResponseCreatableTopicConfigs, len(entries))
	for i, e := range entries {
		out[i] = kmsg.CreateTopicsResponseCreatableTopicConfigs{
			Name: e.Name, Value: e.Value, ReadOnly: e.ReadOnly, ConfigSource: int8(e.Source), IsSensitive: e.Sensitive,
		}
	}
	return out
}

// DeleteTopics deletes the topics named by the request, by id or by name. An unknown id or name is an error of that item. A
// topic that the client may not know of has the same error whether it exists or not, and its id is not given a name.
func (m *Machine) DeleteTopics(r Request, req *kmsg.DeleteTopicsRequest) ([]kmsg.Record, *kmsg.DeleteTopicsResponse) {
	items := slices.Clone(req.Topics)
	for i := range req.TopicNames {
		items = append(items, kmsg.DeleteTopicsRequestDeleteTopicState{Name: &req.TopicNames[i]})
	}
	resp := kmsg.NewDeleteTopicsResponse()
	seen := map[string]int{}
	times := map[string]int{}
	for _, item := range items {
		times[nameOrID(item)]++
		if t, err := m.topicToDelete(item); err == nil {
			seen[t.Name]++
		}
	}
	var records []kmsg.Record
	for _, item := range items {
		result := kmsg.DeleteTopicsResponseDeletableTopicResult{Name: item.Name, TopicId: item.TopicId}
		t, err := m.topicToDelete(item)
		if n := times[nameOrID(item)]; n != 1 {
			if times[nameOrID(item)] = 0; n == 0 {
				continue // answered once, whatever the number of its copies
			}
			result.ErrorCode, result.ErrorMessage = Code(refuse(kerr.InvalidRequest, "Duplicate topic name or id."))
			resp.Responses = append(resp.Responses, result)
			continue
		}
		if refused := m.mayDelete(r, item, t, err, &result); refused != nil {
			err = refused
		} else if err == nil {
			result.Name, result.TopicId = &t.Name, t.ID
			err = m.checkDelete(r, t, seen[t.Name])
		}
		if err == nil {
			records = append(records, &kmsg.RemoveTopicRecord{TopicId: t.ID})
		}
		result.ErrorCode, result.ErrorMessage = Code(err)
		resp.Responses = append(resp.Responses, result)
	}
	return records, &resp
}

// mayDelete is why the client may not delete a topic, which is nil where it does not exist or is not named as it has to be.
func (m *Machine) mayDelete(
	r Request, item kmsg.DeleteTopicsRequestDeleteTopicState, t *meta.Topic, err error,
	result *kmsg.DeleteTopicsResponseDeletableTopicResult,
) error {
	refused := refuse(kerr.TopicAuthorizationFailed, "Topic authorization failed.")
	switch {
	case errors.Is(err, kerr.InvalidRequest):
		return nil
	case item.Name != nil:
		if may(r.Visible, *item.Name) && (t == nil || may(r.Deletable, *item.Name)) {
			return nil
		}
		return refused
	case t == nil || may(r.Deletable, t.Name):
		return nil
	}
	if may(r.Visible, t.Name) {
		result.Name = &t.Name
	}
	return refused
}

// nameOrID is what a request calls a topic.
func nameOrID(item kmsg.DeleteTopicsRequestDeleteTopicState) string {
	if item.Name != nil {
		return "name " + *item.Name
	}
	return item.TopicId.String()
}

func (m *Machine) checkDelete(r Request, t *meta.Topic, named int) error {
	if !m.config().Bool("delete.topic.enable") {
		return refuse(kerr.TopicDeletionDisabled, "Topic deletion is disabled: delete.topic.enable is false.")
	}
	if named > 1 {
		return refuse(kerr.InvalidRequest, "Topic %s is named %d times in the request.", t.Name, named)
	}
	return r.charge(len(t.Partitions))
}

func (m *Machine) topicToDelete(item kmsg.DeleteTopicsRequestDeleteTopicState) (*meta.Topic, error) {
	switch {
	case item.Name != nil && !item.TopicId.IsZero():
		return nil, refuse(kerr.InvalidRequest, "You may not specify both topic name and topic id.")
	case item.Name != nil:
		if t := m.image().Topic(*item.Name); t != nil {
			return t, nil
		}
		return nil, kerr.UnknownTopicOrPartition
	case item.TopicId.IsZero():
		return nil, refuse(kerr.InvalidRequest, "Neither topic name nor id were specified.")
	}
	if t := m.image().TopicByID(item.TopicId); t != nil {
		return t, nil
	}
	return nil, kerr.UnknownTopicID
}
