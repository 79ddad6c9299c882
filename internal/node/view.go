package node

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/logstead/logstead/internal/broker/api"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/obs"
)

// partitionView is one partition in a scrape.
type partitionView struct {
	topic             string
	index             int32
	number            string
	start, hw, size   int64
	replicas, isr     int
	minISR            int
	leader, preferred int32
	offline           bool
	leads             bool  // this node does
	moving            bool  // it is being reassigned
	lag               int64 // of the replica farthest behind, where this node leads
}

// topicView is one topic in a scrape.
type topicView struct {
	name                          string
	partitions                    int
	bytesIn, bytesOut, messagesIn int64
	copiedIn, copiedOut           int64
}

type brokerView struct{ id, address string }

// groupView is one group in a scrape; offsets are sorted by topic and partition.
type groupView struct {
	id, state string
	members   int
	offsets   []groupOffset
}

// groupOffset is one committed offset. exists is false when the partition is gone.
type groupOffset struct {
	topic          string
	partition      int32
	committed, lag int64
	lagSeconds     float64
	exists         bool
}

func (v *view) calls(name string) int64 {
	for i := range v.apis {
		if v.apis[i].Name == name {
			return v.apis[i].Calls
		}
	}
	return 0
}

func (v *view) sum(of func(*topicView) int64) (n int64) {
	for i := range v.topics {
		n += of(&v.topics[i])
	}
	return n
}

func (v *view) count(is func(*partitionView) bool) (n int64) {
	for i := range v.parts {
		if is(&v.parts[i]) {
			n++
		}
	}
	return n
}

// view takes what one scrape shows. Commits are read before the high watermarks, so that a group
// that keeps up has a lag of zero and never less.
func (n *Node) view() *view {
	v := &view{now: n.clock.Now(), apis: n.api.Stats()}
	v.groups = n.groupViews()
	im := n.api.Image()
	for _, name := range im.TopicNames() {
		n.viewTopic(v, im.Topic(name))
	}
	for i := range v.groups {
		n.fillLag(v, &v.groups[i])
	}
	for _, b := range im.Brokers() {
		v.brokers = append(v.brokers, n.viewBroker(b))
	}
	return v
}

func (n *Node) viewTopic(v *view, t *meta.Topic) {
	tv := topicView{name: t.Name, partitions: len(t.Partitions)}
	local := n.parts.Topic(t.Name)
	for i, mp := range t.Partitions {
		p, err := local.Partition(int32(i))
		if err != nil {
			continue
		}
		tr := p.Traffic()
		tv.bytesIn, tv.bytesOut, tv.messagesIn = tv.bytesIn+tr.BytesIn, tv.bytesOut+tr.BytesOut, tv.messagesIn+tr.MessagesIn
		tv.copiedIn, tv.copiedOut = tv.copiedIn+tr.CopiedIn, tv.copiedOut+tr.CopiedOut
		pv := partitionView{
			topic: t.Name, index: int32(i), number: strconv.Itoa(i), start: p.Log().StartOffset(), hw: p.HighWatermark(),
			size: p.Log().Size(), replicas: len(mp.Replicas), isr: len(mp.ISR), minISR: p.Settings().MinInSync,
			leader: mp.Leader, preferred: mp.Replicas[0], offline: p.Log().Offline(),
			leads: p.IsLeader(), moving: len(mp.Adding)+len(mp.Removing) > 0,
		}
		if r, ok := p.Replication(); ok {
			pv.lag = r.MaxLag
		}
		v.parts = append(v.parts, pv)
	}
	v.topics = append(v.topics, tv)
}

func (n *Node) viewBroker(b *meta.Broker) brokerView {
	bv := brokerView{id: strconv.Itoa(int(b.ID))}
	if len(b.Endpoints) > 0 {
		bv.address = net.JoinHostPort(b.Endpoints[0].Host, strconv.Itoa(int(b.Endpoints[0].Port)))
	}
	return bv
}

// fillLag compares a group's commits with the partitions as they are now.
func (n *Node) fillLag(v *view, g *groupView) {
	slices.SortFunc(g.offsets, func(a, b groupOffset) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	for i := range g.offsets {
		o := &g.offsets[i]
		p, err := n.parts.Topic(o.topic).Partition(o.partition)
		if err != nil {
			continue
		}
		o.exists = true
		o.lag = max(p.HighWatermark()-max(o.committed, p.Log().StartOffset()), 0)
		if o.lag == 0 {
			continue
		}
		if ts, ok := p.TimestampAt(max(o.committed, p.Log().StartOffset())); ok {
			o.lagSeconds = max(v.now.Sub(time.UnixMilli(ts)).Seconds(), 0)
		}
	}
}

func writeConnections(n *Node, _ *view, e *obs.Exposition) {
	for listener, count := range n.server.Connections() {
		e.Int(int64(count), "listener", listener, "networkProcessor", "0")
	}
}

func writeSoftware(n *Node, _ *view, e *obs.Exposition) {
	for sw, count := range n.server.Software() {
		e.Int(int64(count), "clientSoftwareName", sw.Name, "clientSoftwareVersion", sw.Version)
	}
}

func writeBrokerInfo(_ *Node, v *view, e *obs.Exposition) {
	for _, b := range v.brokers {
		e.Int(1, "id", b.id, "address", b.address)
	}
}

func writeTopicPartitions(_ *Node, v *view, e *obs.Exposition) {
	for i := range v.topics {
		e.Int(int64(v.topics[i].partitions), "topic", v.topics[i].name)
	}
}

func writeMembers(_ *Node, v *view, e *obs.Exposition) {
	for i := range v.groups {
		e.Int(int64(v.groups[i].members), "consumergroup", v.groups[i].id)
	}
}

func writeGroupStates(_ *Node, v *view, e *obs.Exposition) {
	for i := range v.groups {
		e.Int(1, "consumergroup", v.groups[i].id, "state", v.groups[i].state)
	}
}

func perAPI(get func(*api.APIStats) int64) func(*Node, *view, *obs.Exposition) {
	return func(_ *Node, v *view, e *obs.Exposition) {
		for i := range v.apis {
			e.Int(get(&v.apis[i]), "api", v.apis[i].Name)
		}
	}
}
