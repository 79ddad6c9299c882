package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// metadata is what one node says of a topic: who leads in one answer is of one moment.
func (c *cluster) metadata(ctx context.Context, id int, topic string) (*kmsg.MetadataResponseTopic, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addr(id)))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, cl.SeedBrokers()[0])
	if err != nil {
		return nil, fmt.Errorf("ask node %d for %s: %w", id, topic, err)
	}
	if len(resp.Topics) != 1 {
		return nil, fmt.Errorf("node %d answers of %d topics, want %s", id, len(resp.Topics), topic)
	}
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		return nil, fmt.Errorf("node %d of %s: %w", id, topic, err)
	}
	return &resp.Topics[0], nil
}

// ledAt wants a node to have a leader for every partition of a topic; of want partitions, 0 being any number.
func (c *cluster) ledAt(ctx context.Context, id int, topic string, want int) error {
	t, err := c.metadata(ctx, id, topic)
	if err != nil {
		return err
	}
	if want > 0 && len(t.Partitions) != want {
		err = fmt.Errorf("node %d has %d partitions of %s, want %d", id, len(t.Partitions), topic, want)
	}
	for _, p := range t.Partitions {
		if p.ErrorCode != 0 || p.Leader < 0 {
			err = errors.Join(err, fmt.Errorf("node %d has no leader of %s-%d: %w", id, topic, p.Partition, kerr.ErrorForCode(p.ErrorCode)))
		}
	}
	return err
}

// known waits until every node that runs has heard of a topic, of so many partitions, each with a leader. Tools and the
// command line ask any of them.
func (c *cluster) known(ctx context.Context, topic string, partitions int) error {
	for id := 1; id <= c.Nodes(); id++ {
		if !c.Running(id) {
			continue
		}
		if _, err := c.until(ctx, patience, func() (string, error) { return "", c.ledAt(ctx, id, topic, partitions) }); err != nil {
			return err
		}
	}
	return nil
}

// placedEverywhere waits until every node shows each partition of a topic on these brokers.
func (c *cluster) placedEverywhere(ctx context.Context, topic string, brokers ...int32) error {
	for id := 1; id <= c.Nodes(); id++ {
		if _, err := c.until(ctx, patience, func() (string, error) {
			t, err := c.metadata(ctx, id, topic)
			if err != nil {
				return "", err
			}
			for _, p := range t.Partitions {
				if !slices.Equal(p.Replicas, brokers) {
					err = fmt.Errorf("node %d shows %s-%d on %v, want %v", id, topic, p.Partition, p.Replicas, brokers)
				}
			}
			return "", err
		}); err != nil {
			return err
		}
	}
	return nil
}

// tidy takes away what a step that failed has left: topics, nodes that are down, rates. Steps after it would count and miss
// them, and what failed first would be hard to tell. What the rest builds on stays.
func (c *cluster) tidy(ctx context.Context) {
	for id := 1; id <= c.Nodes(); id++ {
		if !c.Running(id) {
			if err := errors.Join(c.Start(id), c.Await(ctx, id)); err != nil {
				fmt.Println("         tidy up:", oneLine(err.Error()))
			}
		}
	}
	out, err := c.admin(ctx, topics, "--list", "--exclude-internal")
	for _, topic := range strings.Fields(out) {
		if err == nil && topic != "orders" && topic != "moves" {
			_, err = c.admin(ctx, topics, "--delete", "--topic", topic)
		}
	}
	if err == nil {
		cl, dialed := c.kgo()
		if err = dialed; err == nil {
			err = c.moveRate(ctx, kadm.NewClient(cl), "", 1, 2, 3)
			cl.Close()
		}
	}
	if err != nil {
		fmt.Println("         tidy up:", oneLine(err.Error()))
	}
}
