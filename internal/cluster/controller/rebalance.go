package controller

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/logstead/logstead/internal/cluster/balance"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// The configs by which replication is throttled, and the one that says which of them are balancing's.
const (
	leaderRate       = "leader.replication.throttled.rate"
	followerRate     = "follower.replication.throttled.rate"
	leaderReplicas   = "leader.replication.throttled.replicas"
	followerReplicas = "follower.replication.throttled.replicas"
	balanceThrottled = "logstead.balance.throttled"
)

// BeginBalance begins the moves of a plan that still fit the cluster, and says which. With a rate, what is
// copied is throttled, except where somebody else has set a throttle; what was set is noted beside it, so that
// whoever is the active controller then can take it off again.
func (m *Machine) BeginBalance(moves []balance.Move, rate int64) (records []kmsg.Record, begun []balance.Move) {
	for _, mv := range moves {
		if r := m.beginMove(&mv); r != nil {
			records, begun = append(records, r), append(begun, mv)
		}
	}
	if rate > 0 {
		records = append(m.throttle(begun, rate), records...)
	}
	return records, begun
}

func (m *Machine) beginMove(mv *balance.Move) kmsg.Record {
	t, p := m.partition(mv.Topic, mv.Partition)
	if p == nil || p.Moving() || !slices.Equal(p.Replicas, mv.From) ||
		m.checkAssignment(mv.To, len(mv.From)) != nil {
		return nil
	}
	for _, id := range mv.Adding() {
		if !m.isActive(id) || m.image().Broker(id).Cordoned() {
			return nil
		}
	}
	c := m.change(t, mv.Partition)
	c.adding, c.removing = mv.Adding(), mv.Removing()
	c.replicas = append(slices.Clone(mv.To), c.removing...)
	if len(c.adding) == 0 {
		c.election = electFirst
	}
	if r := c.record(); r != nil {
		return r
	}
	return nil
}

// EndBalance takes balancing's throttles off, and gives what was moved to its preferred leaders.
func (m *Machine) EndBalance(ended []balance.Key) []kmsg.Record {
	records := m.unthrottle()
	for _, k := range ended {
		t := m.image().TopicByID(k.Topic)
		if t == nil || int(k.Partition) >= len(t.Partitions) {
			continue
		}
		if r, _ := m.electLeader(t.Name, k.Partition, electPreferred); r != nil {
			records = append(records, r)
		}
	}
	return records
}

// throttle limits what moves copy: on the leaders' side for all that have a partition, on the followers' for
// those that get it.
func (m *Machine) throttle(moves []balance.Move, rate int64) (records []kmsg.Record) {
	leaders, followers := map[string][]string{}, map[string][]string{}
	var topics []string
	var brokers []int32
	for _, mv := range moves {
		if len(mv.Adding()) == 0 || m.throttlesTopic(mv.Topic) {
			continue
		}
		for _, id := range mv.From {
			leaders[mv.Topic] = append(leaders[mv.Topic], throttledReplica(mv.Partition, id))
		}
		for _, id := range mv.Adding() {
			followers[mv.Topic] = append(followers[mv.Topic], throttledReplica(mv.Partition, id))
		}
		topics, brokers = append(topics, mv.Topic), append(append(brokers, mv.From...), mv.Adding()...)
	}
	slices.Sort(topics)
	slices.Sort(brokers)
	marks := throttledByBalance(m.image())
	for _, t := range slices.Compact(topics) {
		res := meta.Resource{Type: meta.ResourceTopic, Name: t}
		records = append(records, configRecord(res, leaderReplicas, strings.Join(leaders[t], ",")),
			configRecord(res, followerReplicas, strings.Join(followers[t], ",")))
		marks = append(marks, topicMark(t))
	}
	for _, id := range slices.Compact(brokers) {
		if m.throttlesBroker(id) {
			continue
		}
		res, value := meta.Resource{Type: meta.ResourceBroker, Name: strconv.Itoa(int(id))}, strconv.FormatInt(rate, 10)
		records = append(records, configRecord(res, leaderRate, value), configRecord(res, followerRate, value))
		marks = append(marks, "broker:"+res.Name)
	}
	if len(records) == 0 {
		return nil
	}
	return append(records, markRecord(marks))
}

// throttlesTopic says whether a topic has throttled replicas already: they are somebody else's.
func (m *Machine) throttlesTopic(name string) bool {
	return hasAny(m.image().Configs(meta.Resource{Type: meta.ResourceTopic, Name: name}), leaderReplicas, followerReplicas)
}

// throttlesBroker says whether a broker has a rate already.
func (m *Machine) throttlesBroker(id int32) bool {
	return hasAny(m.image().Configs(meta.Resource{Type: meta.ResourceBroker}), leaderRate, followerRate) ||
		hasAny(m.image().Configs(meta.Resource{Type: meta.ResourceBroker, Name: strconv.Itoa(int(id))}), leaderRate, followerRate)
}

func hasAny(configs map[string]string, names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { _, ok := configs[n]; return ok })
}

func configRecord(res meta.Resource, name, value string) *kmsg.ConfigRecord {
	return &kmsg.ConfigRecord{ResourceType: int8(res.Type), ResourceName: res.Name, Name: name, Value: &value}
}

// markRecord notes what balancing has throttled.
func markRecord(marks []string) *kmsg.ConfigRecord {
	r := configRecord(meta.Resource{Type: meta.ResourceBroker}, balanceThrottled, strings.Join(marks, ","))
	if len(marks) == 0 {
		r.Value = nil
	}
	return r
}

// throttledReplica is a replica as the lists of throttled ones name it.
func throttledReplica(partition, broker int32) string { return fmt.Sprintf("%d:%d", partition, broker) }

func topicMark(name string) string { return "topic:" + name }

// markOf is the mark that a config would have if balancing had set it; empty for one that it never sets.
func markOf(r *kmsg.ConfigRecord) string {
	switch r.Name {
	case leaderReplicas, followerReplicas:
		return topicMark(r.ResourceName)
	case leaderRate, followerRate:
		return "broker:" + r.ResourceName
	}
	return ""
}

// throttledByBalance are the topics and brokers that balancing has throttled.
func throttledByBalance(im *meta.Image) []string {
	v := im.Configs(meta.Resource{Type: meta.ResourceBroker})[balanceThrottled]
	if v == "" {
		return nil
	}
	return strings.Split(v, ",")
}

func (m *Machine) unthrottle() (records []kmsg.Record) {
	marks := throttledByBalance(m.image())
	for _, mark := range marks {
		kind, name, _ := strings.Cut(mark, ":")
		res, names := meta.Resource{Type: meta.ResourceTopic, Name: name}, []string{leaderReplicas, followerReplicas}
		if kind == "broker" {
			res.Type, names = meta.ResourceBroker, []string{leaderRate, followerRate}
		}
		for _, n := range names {
			if hasAny(m.image().Configs(res), n) {
				r := configRecord(res, n, "")
				r.Value = nil
				records = append(records, r)
			}
		}
	}
	if len(marks) > 0 {
		records = append(records, markRecord(nil))
	}
	return records
}

// disown forgets balancing's throttles that a request has changed: they belong to whoever sent it, and balancing
// does not take them off.
func (m *Machine) disown(records []kmsg.Record) []kmsg.Record {
	marks := throttledByBalance(m.image())
	if len(marks) == 0 {
		return records
	}
	rest := slices.DeleteFunc(slices.Clone(marks), func(mark string) bool {
		return slices.ContainsFunc(records, func(rec kmsg.Record) bool {
			r, ok := rec.(*kmsg.ConfigRecord)
			return ok && mark == markOf(r)
		})
	})
	if len(rest) == len(marks) {
		return records
	}
	return append(records, markRecord(rest))
}
