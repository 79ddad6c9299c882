package raw

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Topic is one that a load needs.
type Topic struct {
	Name       string
	Partitions int32
	Replicas   int16
	Assignment [][]int32 // the brokers of each partition; nil: as the cluster likes
	Configs    map[string]string
}

// CreateTopic makes a topic of one replica a partition and waits until the broker leads its partitions.
func CreateTopic(ctx context.Context, addr, topic string, partitions int32, configs map[string]string) error {
	return Topic{Name: topic, Partitions: partitions, Replicas: 1, Configs: configs}.Create(ctx, addr)
}

// Create makes the topic and waits until all replicas are in sync and the leaders answer.
func (t Topic) Create(ctx context.Context, addr string) error {
	c, err := Dial(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	resp, err := c.Request(t.request())
	if err != nil {
		return err
	}
	for _, r := range resp.(*kmsg.CreateTopicsResponse).Topics {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return fmt.Errorf("create topic %s: %w", t.Name, err)
		}
	}
	return t.AwaitInSync(ctx, addr)
}

func (t Topic) request() kmsg.Request {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 6, 60_000
	out := kmsg.NewCreateTopicsRequestTopic()
	out.Topic, out.NumPartitions, out.ReplicationFactor = t.Name, t.Partitions, t.Replicas
	for i, brokers := range t.Assignment {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = int32(i), brokers
		out.ReplicaAssignment = append(out.ReplicaAssignment, a)
		out.NumPartitions, out.ReplicationFactor = -1, -1
	}
	for k, v := range t.Configs {
		cfg := kmsg.NewCreateTopicsRequestTopicConfig()
		cfg.Name, cfg.Value = k, &v
		out.Configs = append(out.Configs, cfg)
	}
	req.Topics = append(req.Topics, out)
	return req
}

// AwaitInSync waits until every partition has a leader that answers and all its replicas in sync.
func (t Topic) AwaitInSync(ctx context.Context, addr string) error {
	for {
		m, err := metadata(ctx, addr, t.Name)
		if err == nil && t.inSync(m) && led(ctx, m) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("topic %s is not led by brokers with all replicas in sync: %w", t.Name, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (t Topic) inSync(m *kmsg.MetadataResponse) bool {
	if len(m.Topics) != 1 || m.Topics[0].ErrorCode != 0 || len(m.Topics[0].Partitions) != int(t.Partitions) {
		return false
	}
	for _, p := range m.Topics[0].Partitions {
		if p.ErrorCode != 0 || p.Leader < 0 || len(p.ISR) != len(p.Replicas) {
			return false
		}
	}
	return true
}

// Leaders is where each partition of a topic is led, "" where it is not known, as the broker at addr says.
func Leaders(ctx context.Context, addr, topic string) ([]string, error) {
	m, err := metadata(ctx, addr, topic)
	if err != nil {
		return nil, err
	}
	if len(m.Topics) != 1 || len(m.Topics[0].Partitions) == 0 {
		return nil, fmt.Errorf("topic %s has no partitions", topic)
	}
	brokers := brokers(m)
	leaders := make([]string, len(m.Topics[0].Partitions))
	for _, p := range m.Topics[0].Partitions {
		if int(p.Partition) < len(leaders) {
			leaders[p.Partition] = brokers[p.Leader]
		}
	}
	return leaders, nil
}

// Brokers is how many brokers there are, as the one at addr says.
func Brokers(ctx context.Context, addr string) (int, error) {
	m, err := metadata(ctx, addr, "")
	if err != nil {
		return 0, err
	}
	return len(m.Brokers), nil
}

// brokers are the addresses by id.
func brokers(m *kmsg.MetadataResponse) map[int32]string {
	at := map[int32]string{}
	for _, b := range m.Brokers {
		at[b.NodeID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
	}
	return at
}

// metadata asks for one topic, or with an empty name for none.
func metadata(ctx context.Context, addr, topic string) (*kmsg.MetadataResponse, error) {
	c, err := Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.Topics = 9, []kmsg.MetadataRequestTopic{}
	if topic != "" {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &topic
		req.Topics = append(req.Topics, t)
	}
	resp, err := c.Request(req)
	if err != nil {
		return nil, err
	}
	return resp.(*kmsg.MetadataResponse), nil
}

// led asks the leaders for offsets: Metadata may name one that has yet to learn of it.
func led(ctx context.Context, m *kmsg.MetadataResponse) bool {
	topic, at := m.Topics[0], brokers(m)
	mine := map[int32][]int32{}
	for _, p := range topic.Partitions {
		mine[p.Leader] = append(mine[p.Leader], p.Partition)
	}
	for id, partitions := range mine {
		if ok, err := leads(ctx, at[id], *topic.Topic, partitions); !ok || err != nil {
			return false
		}
	}
	return true
}

func leads(ctx context.Context, addr, topic string, partitions []int32) (bool, error) {
	c, err := Dial(ctx, addr)
	if err != nil {
		return false, err
	}
	defer c.Close()
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID = 4, -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	for _, i := range partitions {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = i, -1
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	resp, err := c.Request(req)
	if err != nil {
		return false, err
	}
	for _, t := range resp.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return false, nil
			}
		}
	}
	return true, nil
}

// DeleteTopic removes a topic.
func DeleteTopic(ctx context.Context, addr, topic string) error {
	c, err := Dial(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis, req.TopicNames = 5, 60_000, []string{topic}
	_, err = c.Request(req)
	return err
}

// dialLeaders connects n times, the i-th time to who leads partition i modulo the partitions.
func dialLeaders(ctx context.Context, addr, topic string, partitions int32, n int) (conns []*Conn, err error) {
	leaders, err := Leaders(ctx, addr, topic)
	if err != nil {
		return nil, err
	}
	for i := range n {
		p := i % int(partitions)
		if p >= len(leaders) || leaders[p] == "" {
			err = fmt.Errorf("partition %d of %s has no leader", p, topic)
		} else {
			var c *Conn
			if c, err = Dial(ctx, leaders[p]); err == nil {
				conns = append(conns, c)
				continue
			}
		}
		closeAll(conns)
		return nil, err
	}
	return conns, nil
}

func closeAll(conns []*Conn) {
	for _, c := range conns {
		c.Close()
	}
}
