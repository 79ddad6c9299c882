package group

import (
	"maps"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// commit is an offset that a group committed.
type commit struct {
	offset      int64
	leaderEpoch int32 // of the last record read, -1 if unknown
	metadata    string
	at          int64 // milliseconds
	expireAt    int64 // milliseconds, base.NoTimestamp = by the group's rules
	topicID     base.TopicID
	recorded    int64 // offset of the record in the log
}

// partitionCommits are commits by topic and partition.
type partitionCommits map[string]map[int32]*commit

func (p partitionCommits) put(tp base.TopicPartition, c *commit) {
	if p[tp.Topic] == nil {
		p[tp.Topic] = map[int32]*commit{}
	}
	p[tp.Topic][tp.Partition] = c
}

func (p partitionCommits) remove(tp base.TopicPartition) {
	delete(p[tp.Topic], tp.Partition)
	if len(p[tp.Topic]) == 0 {
		delete(p, tp.Topic)
	}
}

// all calls f for each partition, in order.
func (p partitionCommits) all(f func(base.TopicPartition, *commit)) {
	for _, topic := range sortedKeys(p) {
		for _, partition := range sortedKeys(p[topic]) {
			f(base.TopicPartition{Topic: topic, Partition: partition}, p[topic][partition])
		}
	}
}

// offsets are the commits of all groups of a shard. Those of open transactions are kept apart until
// their marker comes.
type offsets struct {
	groups  map[string]partitionCommits
	pending map[int64]map[string]partitionCommits // by producer id and group
	// open counts the transactions that have a pending commit for a partition of a group.
	open map[string]map[base.TopicPartition]map[int64]struct{}
}

func newOffsets() offsets {
	return offsets{
		groups:  map[string]partitionCommits{},
		pending: map[int64]map[string]partitionCommits{},
		open:    map[string]map[base.TopicPartition]map[int64]struct{}{},
	}
}

func (o *offsets) get(group string, tp base.TopicPartition) *commit {
	return o.groups[group][tp.Topic][tp.Partition]
}

func (o *offsets) put(group string, tp base.TopicPartition, c *commit) {
	if o.groups[group] == nil {
		o.groups[group] = partitionCommits{}
	}
	o.groups[group].put(tp, c)
}

// unstable reports whether a transaction that is still open has committed this partition.
func (o *offsets) unstable(group string, tp base.TopicPartition) bool {
	return len(o.open[group][tp]) > 0
}

func (o *offsets) putPending(producer int64, group string, tp base.TopicPartition, c *commit) {
	if o.pending[producer] == nil {
		o.pending[producer] = map[string]partitionCommits{}
	}
	if o.pending[producer][group] == nil {
		o.pending[producer][group] = partitionCommits{}
	}
	o.pending[producer][group].put(tp, c)
	if o.open[group] == nil {
		o.open[group] = map[base.TopicPartition]map[int64]struct{}{}
	}
	if o.open[group][tp] == nil {
		o.open[group][tp] = map[int64]struct{}{}
	}
	o.open[group][tp][producer] = struct{}{}
}

// settle takes a producer off the open transactions of a partition.
func (o *offsets) settle(group string, tp base.TopicPartition, producer int64) {
	delete(o.open[group][tp], producer)
	if len(o.open[group][tp]) == 0 {
		delete(o.open[group], tp)
	}
	if len(o.open[group]) == 0 {
		delete(o.open, group)
	}
}

// remove forgets a partition, in open transactions too.
func (o *offsets) remove(group string, tp base.TopicPartition) {
	if p := o.groups[group]; p != nil {
		p.remove(tp)
		if len(p) == 0 {
			delete(o.groups, group)
		}
	}
	for producer := range maps.Clone(o.open[group][tp]) {
		o.settle(group, tp, producer)
		o.removePending(producer, group, tp)
	}
}

func (o *offsets) removePending(producer int64, group string, tp base.TopicPartition) {
	groups := o.pending[producer]
	groups[group].remove(tp)
	if len(groups[group]) == 0 {
		delete(groups, group)
	}
	if len(groups) == 0 {
		delete(o.pending, producer)
	}
}

// endTxn applies what a transaction committed, unless something newer has been committed since, or
// drops it.
func (o *offsets) endTxn(producer int64, apply bool) {
	groups := o.pending[producer]
	delete(o.pending, producer)
	for group, commits := range groups {
		commits.all(func(tp base.TopicPartition, c *commit) {
			o.settle(group, tp, producer)
			if now := o.get(group, tp); apply && (now == nil || now.recorded < c.recorded) {
				o.put(group, tp, c)
			}
		})
	}
}

// replayOffset applies a commit, or its removal. A group that nobody joined exists by its offsets.
func (m *Machine) replayOffset(at int64, txn coord.Txn, group string, tp base.TopicPartition,
	v *kmsg.OffsetCommitValue,
) {
	if v == nil {
		m.offsets.remove(group, tp)
		return
	}
	if m.groups[group] == nil {
		m.groups[group] = newClassicGroup(group, base.NoTimestamp)
	}
	c := &commit{
		offset:      v.Offset,
		leaderEpoch: v.LeaderEpoch,
		metadata:    v.Metadata,
		at:          v.CommitTimestamp,
		expireAt:    v.ExpireTimestamp,
		topicID:     v.TopicId,
		recorded:    at,
	}
	if txn.Transactional() {
		m.offsets.putPending(txn.ProducerID, group, tp, c)
	} else {
		m.offsets.put(group, tp, c)
	}
}
