package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/logstead/logstead/internal/cluster/balance"
)

// layout is where the replicas of a cluster are and where they are going.
type layout struct {
	controller int32
	brokers    []layoutBroker // by id
	parts      []layoutPart   // by topic and partition
}

type layoutBroker struct {
	id       int32
	host     string
	port     int32
	rack     string
	fenced   bool // registered, but not serving
	dirs     int
	badDirs  int
	cordoned int // directories that take no more replicas
	free     *int64
}

// takesReplicas says whether a new replica could be put on the broker.
func (b *layoutBroker) takesReplicas() bool {
	return !b.fenced && (b.dirs == 0 || b.dirs > b.badDirs+b.cordoned)
}

type layoutPart struct {
	topic            string
	partition        int32
	internal         bool
	leader           int32
	replicas         []int32 // with those that come and those that go
	isr              []int32
	offline          []int32
	adding, removing []int32
	sizes            map[int32]int64 // by broker
	in, out          int64           // bytes a second, where the cluster tells them
}

func (p *layoutPart) name() string { return fmt.Sprintf("%s-%d", p.topic, p.partition) }
func (p *layoutPart) moving() bool { return len(p.adding)+len(p.removing) > 0 }

// target is where the partition is, or will be when the reassignment that is under way has ended.
func (p *layoutPart) target() []int32 {
	return slices.DeleteFunc(slices.Clone(p.replicas), func(id int32) bool { return slices.Contains(p.removing, id) })
}

// bytes is the size of one replica: the leader's, or the largest.
func (p *layoutPart) bytes() int64 {
	if n, ok := p.sizes[p.leader]; ok {
		return n
	}
	most := int64(0)
	for _, n := range p.sizes {
		most = max(most, n)
	}
	return most
}

func (l *layout) broker(id int32) *layoutBroker {
	i := slices.IndexFunc(l.brokers, func(b layoutBroker) bool { return b.id == id })
	if i < 0 {
		return nil
	}
	return &l.brokers[i]
}

func (l *layout) part(topic string, partition int32) *layoutPart {
	i, ok := slices.BinarySearchFunc(l.parts, layoutPart{topic: topic, partition: partition}, comparePart)
	if !ok {
		return nil
	}
	return &l.parts[i]
}

func comparePart(a, b layoutPart) int {
	return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
}

// state is the layout as the planner wants it: fenced brokers are not in it.
func (l *layout) state() balance.State {
	var s balance.State
	for _, b := range l.brokers {
		if !b.fenced {
			s.Brokers = append(s.Brokers, balance.Broker{ID: b.id, Rack: b.rack, Closed: !b.takesReplicas()})
		}
	}
	for i := range l.parts {
		p := &l.parts[i]
		s.Partitions = append(s.Partitions, balance.Partition{
			Topic: p.topic, Partition: p.partition, Replicas: p.target(), Bytes: p.bytes(), In: p.in, Out: p.out,
			Fixed: p.moving() || p.leader < 0,
		})
	}
	return s
}

// underWay are the reassignments that go on now and match, as moves.
func (l *layout) underWay(match func(*layoutPart) bool) []balance.Move {
	var out []balance.Move
	for i := range l.parts {
		p := &l.parts[i]
		if p.moving() && match(p) {
			from := slices.DeleteFunc(slices.Clone(p.replicas), func(id int32) bool { return slices.Contains(p.adding, id) })
			out = append(out, balance.Move{Topic: p.topic, Partition: p.partition, From: from, To: p.target(), Bytes: p.bytes()})
		}
	}
	return out
}

// layout reads brokers, partitions, reassignments and, if sizes are wanted, log directories.
func (c *conn) layout(sizes bool) (*layout, error) {
	l := &layout{}
	if err := c.layoutBrokers(l); err != nil {
		return nil, err
	}
	md, err := call(c, "cannot list topics", func(ctx context.Context) (kadm.Metadata, error) { return c.Metadata(ctx) })
	if err != nil {
		return nil, err
	}
	moving, err := c.reassignments()
	if err != nil {
		return nil, err
	}
	for _, t := range md.Topics {
		for _, p := range t.Partitions {
			part := layoutPart{
				topic: t.Topic, partition: p.Partition, internal: t.IsInternal, leader: p.Leader,
				replicas: p.Replicas, isr: p.ISR, offline: p.OfflineReplicas, sizes: map[int32]int64{},
			}
			if m, ok := moving[t.Topic][p.Partition]; ok {
				part.replicas, part.adding, part.removing = m.Replicas, m.AddingReplicas, m.RemovingReplicas
			}
			l.parts = append(l.parts, part)
		}
	}
	slices.SortFunc(l.parts, comparePart)
	if sizes {
		c.layoutDirs(l)
	}
	return l, nil
}

// layoutBrokers lists brokers, with those that are registered and do not serve where the cluster tells them.
func (c *conn) layoutBrokers(l *layout) error {
	req := kmsg.NewPtrDescribeClusterRequest()
	req.IncludeFencedBrokers = true
	resp, err := call(c, "cannot describe the cluster", func(ctx context.Context) (*kmsg.DescribeClusterResponse, error) {
		resp, err := req.RequestWith(ctx, c.cl)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		return resp, err
	})
	if err != nil {
		return err
	}
	l.controller = resp.ControllerID
	for _, b := range resp.Brokers {
		l.brokers = append(l.brokers, layoutBroker{id: b.NodeID, host: b.Host, port: b.Port, rack: deref(b.Rack), fenced: b.IsFenced})
	}
	slices.SortFunc(l.brokers, func(a, b layoutBroker) int { return cmp.Compare(a.id, b.id) })
	return nil
}

// layoutDirs fills what log directories tell; what may not be asked stays unknown.
func (c *conn) layoutDirs(l *layout) {
	dirs, err := call(c, "cannot read log directories", func(ctx context.Context) (kadm.DescribedAllLogDirs, error) {
		return c.DescribeAllLogDirs(ctx, nil)
	})
	if err != nil {
		c.app.warn("sizes are not known: %v", err)
	}
	dirs.Each(func(d kadm.DescribedLogDir) {
		b := l.broker(d.Broker)
		if b == nil {
			return
		}
		b.dirs++
		switch {
		case d.Err != nil:
			b.badDirs++
			return
		case d.IsCordoned:
			b.cordoned++
		}
		if d.UsableBytes >= 0 {
			b.free = addTo(b.free, d.UsableBytes)
		}
		d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			if part := l.part(p.Topic, p.Partition); part != nil && !p.IsFuture {
				part.sizes[d.Broker] = p.Size
			}
		})
	})
}

// reassignments lists the partitions that are being moved, by topic and partition.
func (c *conn) reassignments() (underWay, error) {
	req := kmsg.NewPtrListPartitionReassignmentsRequest() // without topics it asks for all; kadm asks for none then
	req.TimeoutMillis = int32(min(c.timeout.Milliseconds(), 1<<30))
	const what = "cannot list reassignments"
	resp, err := call(c, what, func(ctx context.Context) (*kmsg.ListPartitionReassignmentsResponse, error) {
		return req.RequestWith(ctx, c.cl)
	})
	if err != nil {
		return nil, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, kafkaFault(what, err, deref(resp.ErrorMessage))
	}
	out := underWay{}
	for _, t := range resp.Topics {
		out[t.Topic] = map[int32]kmsg.ListPartitionReassignmentsResponseTopicPartition{}
		for _, p := range t.Partitions {
			out[t.Topic][p.Partition] = p
		}
	}
	return out, nil
}

// needBroker makes sure that a broker is known, alive or not.
func (l *layout) needBroker(id int32) error {
	if l.broker(id) != nil {
		return nil
	}
	var have []string
	for _, b := range l.brokers {
		have = append(have, fmt.Sprint(b.id))
	}
	f := &Fault{What: fmt.Sprintf("there is no broker %d", id), Exit: exitNotFound, Similar: similar(fmt.Sprint(id), have)}
	return f.try("logstead node list")
}
