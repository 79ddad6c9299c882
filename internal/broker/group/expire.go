package group

import (
	"time"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
)

// expiryScan is how far the scan for old offsets has come. A scan goes over the groups in order, a
// bounded number of records at a time.
type expiryScan struct {
	groups []string // still to be looked at, nil between scans
}

func (m *Machine) scheduleExpiry(d time.Duration) {
	m.timers.set(timer{key: timerKey{kind: timerExpiry}, at: m.now.Add(d)})
}

// TopicsDeleted removes the offsets of deleted topics from all groups. It is called after Topics has
// stopped to show them.
func (m *Machine) TopicsDeleted(now time.Time, topics []Topic) coord.Result {
	m.begin(now)
	var out output
	m.deleted = append(m.deleted, topics...)
	m.dropDeleted(&out)
	return out.result()
}

// dropDeleted writes tombstones for offsets of deleted topics, a batch at a time.
func (m *Machine) dropDeleted(out *output) {
	if len(m.deleted) == 0 {
		return
	}
	gone := map[string][]base.TopicID{}
	for _, t := range m.deleted {
		gone[t.Name] = append(gone[t.Name], t.ID)
	}
	drop := func(group string, commits partitionCommits) {
		for topic, ids := range gone {
			for _, p := range sortedKeys(commits[topic]) {
				if len(out.records) < tickRecords && commits[topic][p].belongsTo(ids) {
					out.dropOffset(group, base.TopicPartition{Topic: topic, Partition: p})
				}
			}
		}
	}
	for _, group := range sortedKeys(m.offsets.groups) {
		drop(group, m.offsets.groups[group])
	}
	for _, producer := range sortedKeys(m.offsets.pending) {
		for _, group := range sortedKeys(m.offsets.pending[producer]) {
			drop(group, m.offsets.pending[producer][group])
		}
	}
	if len(out.records) < tickRecords {
		m.deleted = nil
		return
	}
	m.scheduleExpiry(0) // the rest is there still when these have been replayed
}

// belongsTo reports whether the commit is for one of these topics; old ones do not say.
func (c *commit) belongsTo(ids []base.TopicID) bool {
	if c.topicID.IsZero() {
		return true
	}
	for _, id := range ids {
		if c.topicID == id {
			return true
		}
	}
	return false
}

// expire removes offsets that are past their retention, and groups that have nothing left.
func (m *Machine) expire(out *output) {
	if m.dropDeleted(out); len(out.records) > 0 {
		m.scheduleExpiry(0)
		return
	}
	if m.expiry.groups == nil {
		m.expiry.groups = sortedKeys(m.groups)
	}
	for len(m.expiry.groups) > 0 {
		id := m.expiry.groups[0]
		if g := m.groups[id]; g != nil && !m.expireGroup(g, out) {
			m.scheduleExpiry(0) // go on with this group
			return
		}
		m.expiry.groups = m.expiry.groups[1:]
	}
	m.expiry.groups = nil
	m.scheduleExpiry(m.opts.Config.OffsetsRetentionCheckInterval)
}

// expireGroup removes a group's old offsets, and the group if it is empty and none are left. It
// returns false if there was no room for all of it.
func (m *Machine) expireGroup(g group, out *output) (finished bool) {
	id, n, left := g.groupID(), 0, len(m.offsets.open[g.groupID()]) > 0
	full := false
	m.offsets.groups[id].all(func(tp base.TopicPartition, c *commit) {
		switch {
		case !m.expired(g, tp, c):
			left = true
		case len(out.records) >= tickRecords:
			full = true
		default:
			out.dropOffset(id, tp)
			n++
		}
	})
	m.opts.Events.expired(n)
	if full || len(out.records) >= tickRecords && !left && g.empty() {
		return false
	}
	if !left && g.empty() {
		if cg, ok := g.(*classicGroup); !ok || len(cg.pending) == 0 {
			g.tombstones(out)
		}
	}
	return true
}

func (m *Machine) expired(g group, tp base.TopicPartition, c *commit) bool {
	from, ok := g.expiresFrom(c)
	if !ok || g.subscribed(tp.Topic) || m.offsets.unstable(g.groupID(), tp) {
		return false
	}
	if c.expireAt != base.NoTimestamp {
		return m.nowMs() >= c.expireAt
	}
	return m.nowMs()-from >= m.opts.Config.OffsetsRetention.Milliseconds()
}
