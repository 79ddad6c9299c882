package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/logstead/logstead/internal/cluster/balance"
)

// The settings by which replication is throttled. Rates are a broker's, in bytes a second; lists are a topic's,
// of partition:broker.
const (
	leaderRate       = "leader.replication.throttled.rate"
	followerRate     = "follower.replication.throttled.rate"
	leaderReplicas   = "leader.replication.throttled.replicas"
	followerReplicas = "follower.replication.throttled.replicas"
)

// throttle limits what the moves copy: on the leaders' side for all that have the partitions, on the followers'
// for those that get them, as kafka-reassign-partitions does.
func (c *conn) throttle(l *layout, moves []balance.Move, rate int64) error {
	leaders, followers := map[string][]string{}, map[string][]string{}
	var brokers []int32
	for _, m := range moves {
		if len(m.Adding()) == 0 {
			continue
		}
		for _, id := range m.From {
			leaders[m.Topic] = append(leaders[m.Topic], fmt.Sprintf("%d:%d", m.Partition, id))
		}
		for _, id := range m.Adding() {
			followers[m.Topic] = append(followers[m.Topic], fmt.Sprintf("%d:%d", m.Partition, id))
		}
		brokers = append(brokers, m.From...)
		brokers = append(brokers, m.Adding()...)
	}
	for topic := range leaders {
		err := alterOne(c, "cannot throttle topic "+topic, c.AlterTopicConfigs, []kadm.AlterConfig{
			setTo(leaderReplicas, strings.Join(leaders[topic], ",")), setTo(followerReplicas, strings.Join(followers[topic], ",")),
		}, topic)
		if err != nil {
			return err
		}
	}
	slices.Sort(brokers)
	return c.setRates(l, slices.Compact(brokers), rate)
}

// setRates limits replication on brokers; those that are gone are left out.
func (c *conn) setRates(l *layout, brokers []int32, rate int64) error {
	value := strconv.FormatInt(rate, 10)
	for _, id := range brokers {
		if b := l.broker(id); b == nil || b.fenced {
			continue
		}
		err := alterOne(c, fmt.Sprintf("cannot throttle broker %d", id), c.AlterBrokerConfigs,
			[]kadm.AlterConfig{setTo(leaderRate, value), setTo(followerRate, value)}, id)
		if err != nil {
			return err
		}
	}
	return nil
}

func setTo(name, value string) kadm.AlterConfig {
	return kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: kadm.StringPtr(value)}
}

func unset(name string) kadm.AlterConfig { return kadm.AlterConfig{Op: kadm.DeleteConfig, Name: name} }

// unthrottle takes the throttles of topics and brokers off.
func (c *conn) unthrottle(l *layout, topics []string) error {
	for _, t := range topics {
		err := alterOne(c, "cannot take the throttle off topic "+t, c.AlterTopicConfigs,
			[]kadm.AlterConfig{unset(leaderReplicas), unset(followerReplicas)}, t)
		if err != nil {
			return err
		}
	}
	for _, b := range l.brokers {
		if b.fenced {
			continue
		}
		err := alterOne(c, fmt.Sprintf("cannot take the throttle off broker %d", b.id), c.AlterBrokerConfigs,
			[]kadm.AlterConfig{unset(leaderRate), unset(followerRate)}, b.id)
		if err != nil {
			return err
		}
	}
	return nil
}

// alterOne changes the settings of one topic or broker.
func alterOne[T any](c *conn, what string, alter func(context.Context, []kadm.AlterConfig, ...T) (kadm.AlterConfigsResponses, error),
	configs []kadm.AlterConfig, name T,
) error {
	resps, err := call(c, what, func(ctx context.Context) (kadm.AlterConfigsResponses, error) { return alter(ctx, configs, name) })
	if err != nil {
		return err
	}
	for _, r := range resps {
		if r.Err != nil {
			return kafkaFault(what, r.Err, r.ErrMessage)
		}
	}
	return nil
}
