package controller

import (
	"slices"
	"strings"
	"time"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// maxElections is how many leaders one periodic look changes, as in Kafka: where there are more, the next
// look follows at once.
const maxElections = 1000

// periodic is when the active controller looks at leaders next; zero for what it does not look at.
type periodic struct{ preferred, unclean time.Time }

// beginPeriodic lets a whole interval pass before the first look.
func (m *Machine) beginPeriodic(now time.Time) {
	m.looks = periodic{unclean: now.Add(m.config().Duration("unclean.leader.election.interval.ms"))}
	if m.config().Bool("auto.leader.rebalance.enable") {
		m.looks.preferred = now.Add(m.imbalanceInterval())
	}
}

func (m *Machine) imbalanceInterval() time.Duration {
	return time.Duration(m.config().Long("leader.imbalance.check.interval.seconds")) * time.Second
}

// next is when the next look is due.
func (p *periodic) next() time.Time {
	if p.preferred.IsZero() || p.unclean.Before(p.preferred) {
		return p.unclean
	}
	return p.preferred
}

// lookAtLeaders does the look that is due. Kafka's controller of KRaft knows no percentage of imbalance a
// broker: whatever is not led by its first replica is given to it, where that one is in sync and alive.
func (m *Machine) lookAtLeaders(now time.Time) (records []kmsg.Record) {
	var at *time.Time
	interval := time.Duration(0)
	switch p := &m.looks; {
	case !p.preferred.IsZero() && !p.preferred.After(now):
		at, interval = &p.preferred, m.imbalanceInterval()
		records = m.electWhere(electFirst, func(p *meta.Partition) bool { return p.Leader != p.Replicas[0] }, everyTopic)
	case !p.unclean.IsZero() && !p.unclean.After(now):
		at, interval = &p.unclean, m.config().Duration("unclean.leader.election.interval.ms")
		records = m.electWhere(electOrUnclean, leaderless, m.uncleanAllowed)
	default:
		return nil
	}
	if len(records) < maxElections {
		*at = now.Add(interval)
	}
	return records
}

func everyTopic(string) bool { return true }

// electWhere holds elections for the partitions that want one, in the order of their names.
func (m *Machine) electWhere(how election, want func(*meta.Partition) bool, topic func(string) bool) (records []kmsg.Record) {
	var topics []*meta.Topic
	for t := range m.image().Topics() {
		if slices.ContainsFunc(t.Partitions, want) && topic(t.Name) {
			topics = append(topics, t)
		}
	}
	slices.SortFunc(topics, func(a, b *meta.Topic) int { return strings.Compare(a.Name, b.Name) })
	for _, t := range topics {
		for i, p := range t.Partitions {
			if !want(p) {
				continue
			}
			if len(records) == maxElections {
				return records
			}
			c := m.change(t, int32(i))
			c.election = how
			if r := c.record(); r != nil {
				records = append(records, r)
			}
		}
	}
	return records
}
