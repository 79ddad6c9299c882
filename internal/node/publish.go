package node

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/broker/server"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/storage"
)

// publish makes the node act on new metadata. It runs on the publisher's goroutine, in order, before
// whoever asked for the change is answered. A controller without a broker has its settings only.
func (n *Node) publish(old, im *meta.Image, d meta.Delta) {
	defer n.reached(im, d)
	if a := n.api.Authorizer; a != nil && (d.ACLs || !n.opened) {
		a.Update(im)
	}
	n.tellNews(old, im, d)
	if n.ctl != nil {
		n.elections.unclean.Add(int64(d.Elections.Unclean))
		n.elections.fromELR.Add(int64(d.Elections.FromELR))
	}
	if n.fetchers != nil {
		defer n.fetchers.Wake()
	}
	if !n.opened {
		if !n.registeredIn(im) {
			n.reconfigure(im)
			return
		}
		n.opened = true
		n.openAll(im)
		return
	}
	if n.configChanged(d) {
		n.reconfigure(im)
		defer func() {
			for t := range im.Topics() {
				n.applySettings(im, n.parts.Topic(t.Name), false)
			}
		}()
	}
	if d.Quotas {
		n.setQuotas(im)
	}
	if !n.live.Load().broker.Roles.Broker {
		return
	}
	if d.Features || d.Brokers {
		n.renew(old, im)
	}
	for _, t := range d.Deleted {
		n.deleteTopic(t)
	}
	if len(d.Deleted) > 0 {
		n.forgetOffsets(d.Deleted)
	}
	for _, t := range d.Created {
		n.openTopic(im, t, nil)
	}
	// A raised min.insync.replicas comes before in-sync sets and leaders, a lowered one after them: nothing is committed by one that
	// is of another time than the set (KIP-966), nor by a leader that another has taken the place of.
	for _, r := range d.Configs {
		if r.Type == meta.ResourceTopic {
			n.applySettings(im, n.parts.Topic(r.Name), true)
			defer func() { n.applySettings(im, n.parts.Topic(r.Name), false) }()
		}
	}
	if len(d.Configs) > 0 {
		n.openUnfound(im)
	}
	for _, t := range d.Changed {
		n.openTopic(im, t, old.TopicByID(t.ID))
	}
}

// reached notes that an image is acted on. The controller hears of it at once where it waits for that:
// until it does, this broker is not unfenced, and another one that hands over may not stop.
func (n *Node) reached(im *meta.Image, d meta.Delta) {
	n.acted.reached(im.Offset + 1)
	if n.uplink == nil {
		return
	}
	if d.Brokers {
		n.handover = slices.ContainsFunc(im.Brokers(), func(b *meta.Broker) bool {
			return b.InControlledShutdown && !b.Fenced && b.ID != n.api.NodeID
		})
	}
	if n.handover || n.uplink.Fenced() {
		n.uplink.Wake()
	}
}

// registeredIn says whether an image knows this run of the broker. One that does not tells what an earlier
// run led: that may have written more in those leader epochs than this one finds on its disk, and
// nobody may write in them again.
func (n *Node) registeredIn(im *meta.Image) bool {
	if n.uplink == nil {
		return true // it registers before it opens, or is no broker
	}
	b := im.Broker(n.api.NodeID)
	return b != nil && b.Incarnation == n.incarnation
}

// openAll begins with all of an image, of which nothing counts as new: logs were made when it was.
func (n *Node) openAll(im *meta.Image) {
	n.reconfigure(im)
	if !n.live.Load().broker.Roles.Broker {
		return
	}
	for t := range im.Topics() {
		n.openTopic(im, t, t)
	}
	n.settleStrays(im)
}

func (n *Node) configChanged(d meta.Delta) bool {
	for _, r := range d.Configs {
		if r.Type == meta.ResourceBroker && (r.Name == "" || r.Name == itoa(n.api.NodeID)) {
			return true
		}
	}
	return false
}

// reconfigure takes in dynamic broker configs: they are the defaults of every topic.
func (n *Node) reconfigure(im *meta.Image) {
	c := newConfig(n.o.Config, im, n.api.NodeID)
	n.live.Store(c)
	n.server.SetLimits(connectionLimits(c.broker))
	n.renewCertificates()
	n.setGates(c.broker)
	n.setQuotas(im)
	n.setReplicationQuotas()
	select {
	case n.cordons <- struct{}{}:
	default:
	}
	for t := range im.Topics() {
		n.applySettings(im, n.parts.Topic(t.Name), true)
	}
}

func connectionLimits(b *conf.Broker) server.Limits {
	l := server.Limits{MaxConnections: int(b.MaxConnections), MaxPerIP: int(b.MaxConnectionsPerIP), PerIP: map[string]int{}}
	for host, most := range b.PerIPOverrides {
		l.PerIP[host] = int(most)
	}
	return l
}

// applySettings takes in a topic's settings. hold leaves min.insync.replicas where it is higher, until the roles are given.
func (n *Node) applySettings(im *meta.Image, topic *partition.Topic, hold bool) {
	if topic == nil {
		return
	}
	c := n.live.Load()
	tc := c.topicConfig(im, topic.Name)
	lc, ps := c.logConfig(topic.Name, tc), c.partitionSettings(topic.Name, tc)
	for _, p := range topic.Parts {
		if p != nil {
			p.Log().SetConfig(lc)
			s := ps
			if now := p.Settings().MinInSync; hold && now > s.MinInSync {
				held := *ps
				held.MinInSync, s = now, &held
			}
			p.SetSettings(s)
			if n.fetchers != nil {
				n.fetchers.Resettle(p)
			}
		}
	}
}

// openLog finds or makes the log of a partition.
func (n *Node) openLog(tp base.TopicPartition, id base.TopicID, lc storage.LogConfig) (*storage.Log, error) {
	log, err := n.store.Create(tp, id, lc, "")
	if err == nil {
		return log, nil
	}
	if !errors.Is(err, kerr.InconsistentTopicID) {
		return nil, err
	}
	// What is there belongs to a topic of the same name that was deleted as the broker went down, or
	// its partition.metadata is damaged: it is not served, and nothing of it is removed.
	found := base.TopicID{}
	if old, ok := n.store.Log(tp); ok {
		found = old.TopicID()
	}
	kept, err := n.store.SetAside(tp)
	if err != nil {
		return nil, fmt.Errorf("set aside the log of another topic: %w", err)
	}
	n.log.Error("partition.metadata names another topic: its log is set aside and the partition begins empty",
		"topic", tp.Topic, "partition", tp.Partition, "kept", kept, "expected_id", id.String(), "found_id", found.String())
	return n.store.Create(tp, id, lc, "")
}

func (n *Node) deleteTopic(t *meta.Topic) {
	topic := n.parts.Topic(t.Name)
	if topic == nil || topic.ID != t.ID {
		return
	}
	n.parts.Remove(t.Name)
	for _, p := range topic.Parts {
		if p == nil {
			continue
		}
		n.unfollow(p)
		n.unloadShard(p.TP)
		p.Close(kerr.UnknownTopicOrPartition)
		if err := n.store.Delete(p.TP); err != nil {
			n.log.Error("log of a deleted topic cannot be removed", "topic", t.Name, "partition", p.TP.Partition, "err", err)
		}
	}
}

// forgetOffsets drops what groups committed for deleted topics.
func (n *Node) forgetOffsets(topics []*meta.Topic) {
	gone := make([]group.Topic, 0, len(topics))
	for _, t := range topics {
		gt, _ := groupTopic(t)
		gone = append(gone, gt)
	}
	shards, _ := n.groups.Loaded()
	for _, s := range shards {
		n.groups.Submit(s, func(m *group.Machine, now time.Time) coord.Result { return m.TopicsDeleted(now, gone) },
			func(error) {}) // a shard that is lost replays, and finds the topics missing
	}
}

// logMoved has a partition go on with its log in another directory.
func (n *Node) logMoved(l *storage.Log) {
	tp := l.TopicPartition()
	if p, err := n.parts.Topic(tp.Topic).Partition(tp.Partition); err == nil && p.TopicID == l.TopicID() {
		p.SetLog(l)
		if n.places != nil {
			n.places.put(place{p.TopicID, tp.Partition}, n.directoryOf(l))
		}
	}
}
