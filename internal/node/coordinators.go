package node

import (
	"crypto/rand"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/broker/txn"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/storage"
)

// The coordinators' topics.
const (
	offsetsTopic      = "__consumer_offsets"
	transactionsTopic = "__transaction_state"
)

// shardPartition is a partition of an internal topic as coord sees it, in the leader epoch that it was loaded in.
type shardPartition struct {
	p     *partition.Partition
	epoch int32
}

// Append writes one of the coordinator's batches.
func (s shardPartition) Append(now time.Time, b batch.Batch, o coord.AppendOptions) (int64, error) {
	res, err := s.p.AppendInternal(b, now, storage.AppendOptions{
		TxnVersion: int16(o.TransactionVersion), Guard: storage.Guard(o.Guard),
	})
	return res.LastOffset, err
}

// Await waits for the high watermark while this broker leads on: once it has followed, the offset may be another record's.
func (s shardPartition) Await(until int64, fn func(error)) { s.p.AwaitHW(s.epoch, until, fn) }

// Scan replays the log.
func (s shardPartition) Scan(fn func(b batch.Batch) error) error { return s.p.Scan(fn) }

// loadShard makes this broker the coordinator of a partition that it has begun to lead.
func (n *Node) loadShard(p *partition.Partition) {
	switch i := p.TP.Partition; p.TP.Topic {
	case offsetsTopic:
		n.groups.Load(i, shardPartition{p, p.LeaderEpoch()}, n.newGroupMachine)
	case transactionsTopic:
		n.txns.Load(i, shardPartition{p, p.LeaderEpoch()}, func() *txn.Machine { return n.newTxnMachine(i, p) })
	}
}

// unloadShard gives a partition's coordinator up.
func (n *Node) unloadShard(tp base.TopicPartition) {
	switch tp.Topic {
	case offsetsTopic:
		n.groups.Unload(tp.Partition)
	case transactionsTopic:
		n.txns.Unload(tp.Partition)
	}
}

func (n *Node) newTxnMachine(shard int32, p *partition.Partition) *txn.Machine {
	return txn.New(txn.Options{
		Shard: shard, CoordinatorEpoch: p.LeaderEpoch(), Logger: n.log, Config: n.txnConfig,
		ServerVersion:  func() int16 { return n.image().Feature("transaction.version") },
		NextProducerID: n.producerIDs.Next, Outbox: n.markers,
	})
}

func (n *Node) txnConfig() txn.Config {
	l := n.live.Load().live
	return txn.Config{
		MaxTimeout:     l.Duration("transaction.max.timeout.ms"),
		AbortInterval:  l.Duration("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
		IDExpiration:   l.Duration("transactional.id.expiration.ms"),
		ExpireInterval: l.Duration("transaction.remove.expired.transaction.cleanup.interval.ms"),
		TwoPhaseCommit: l.Bool("transaction.two.phase.commit.enable"),
	}
}

// groupConfig is the settings of groups that are not a group's own.
func (n *Node) groupConfig() group.Config {
	l := n.live.Load().live
	return group.Config{
		MinSessionTimeout:             l.Duration("group.min.session.timeout.ms"),
		MaxSessionTimeout:             l.Duration("group.max.session.timeout.ms"),
		InitialRebalanceDelay:         l.Duration("group.initial.rebalance.delay.ms"),
		MaxSize:                       int(l.Int("group.max.size")),
		ConsumerSessionTimeout:        l.Duration("group.consumer.session.timeout.ms"),
		ConsumerHeartbeatInterval:     l.Duration("group.consumer.heartbeat.interval.ms"),
		ConsumerMaxSize:               int(l.Int("group.consumer.max.size")),
		ConsumerAssignors:             l.List("group.consumer.assignors"),
		ConsumerMigration:             group.MigrationPolicy(l.String("group.consumer.migration.policy")),
		ConsumerAssignmentInterval:    l.Duration("group.consumer.assignment.interval.ms"),
		ConsumerRegexRefresh:          l.Duration("group.consumer.regex.refresh.interval.ms"),
		OffsetMetadataMaxBytes:        int(l.Int("offset.metadata.max.bytes")),
		OffsetsRetention:              l.Duration("offsets.retention.minutes"),
		OffsetsRetentionCheckInterval: l.Duration("offsets.retention.check.interval.ms"),
	}
}

func (n *Node) newGroupMachine() *group.Machine {
	return group.New(group.Options{
		Config: n.groupConfig(), GroupConfig: n.ownGroupConfig,
		Topics: func() group.Topics { return topicImage{n.image()} }, NewID: newUUID,
		Events: n.groupEventFuncs(),
	})
}

// ownGroupConfig is what was set for one group.
func (n *Node) ownGroupConfig(id string) group.GroupConfig {
	own := n.image().Configs(meta.Resource{Type: meta.ResourceGroup, Name: id})
	if len(own) == 0 {
		return group.GroupConfig{}
	}
	g := n.live.Load().live.Group(own)
	return group.GroupConfig{
		SessionTimeout: &g.ConsumerSessionTimeout, HeartbeatInterval: &g.ConsumerHeartbeatInterval,
		AssignmentInterval: &g.ConsumerAssignmentInterval,
	}
}

// topicImage is an image as groups see it.
type topicImage struct{ *meta.Image }

// Version is the offset of the last metadata record.
func (t topicImage) Version() int64 { return t.Offset }

// ByName finds a topic.
func (t topicImage) ByName(name string) (group.Topic, bool) { return groupTopic(t.Topic(name)) }

// ByID finds a topic.
func (t topicImage) ByID(id base.TopicID) (group.Topic, bool) { return groupTopic(t.TopicByID(id)) }

func groupTopic(t *meta.Topic) (group.Topic, bool) {
	if t == nil {
		return group.Topic{}, false
	}
	return group.Topic{ID: t.ID, Name: t.Name, Partitions: int32(len(t.Partitions))}, true
}

// Names visits every topic's name.
func (t topicImage) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for topic := range t.Topics() {
			if !yield(topic.Name) {
				return
			}
		}
	}
}

// Racks are the racks of a partition's replicas.
func (t topicImage) Racks(id base.TopicID, i int32) []string {
	topic := t.TopicByID(id)
	if topic == nil || i < 0 || int(i) >= len(topic.Partitions) {
		return nil
	}
	var racks []string
	for _, r := range topic.Partitions[i].Replicas {
		if b := t.Broker(r); b != nil && b.Rack != nil {
			racks = append(racks, *b.Rack)
		}
	}
	return racks
}

// newUUID is a random UUID in its 36-character form.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// groupViews asks every shard for its groups.
func (n *Node) groupViews() []groupView {
	shards, _ := n.groups.Loaded()
	answers := make(chan []group.View, len(shards))
	for _, s := range shards {
		n.groups.Submit(s, func(m *group.Machine, now time.Time) coord.Result {
			return m.Views(now, func(v []group.View, _ error) { answers <- v })
		}, func(error) { answers <- nil })
	}
	var all []groupView
	limit := time.NewTimer(viewTimeout)
	defer limit.Stop()
	for range shards {
		select {
		case views := <-answers:
			for _, v := range views {
				g := groupView{id: v.ID, state: v.State, members: v.Members}
				for _, o := range v.Offsets {
					g.offsets = append(g.offsets, groupOffset{topic: o.Topic, partition: o.Partition, committed: o.Offset})
				}
				all = append(all, g)
			}
		case <-limit.C:
			return all
		}
	}
	slices.SortFunc(all, func(a, b groupView) int { return strings.Compare(a.id, b.id) })
	return all
}

// viewTimeout bounds how long a scrape waits for the coordinators.
const viewTimeout = 5 * time.Second
