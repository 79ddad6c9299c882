package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// quorum is who agrees on the metadata, and under which directory id.
type quorum struct {
	leader            int32
	voters, observers map[int32][16]byte
}

// quorum asks until somebody answers who is in the quorum.
func (c *cluster) quorum(ctx context.Context) (quorum, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		req := kmsg.NewPtrDescribeQuorumRequest()
		t := kmsg.NewDescribeQuorumRequestTopic()
		t.Topic = "__cluster_metadata"
		t.Partitions = append(t.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(ctx, c.client)
		if err == nil && len(resp.Topics) == 1 && len(resp.Topics[0].Partitions) == 1 {
			p := resp.Topics[0].Partitions[0]
			if c.node(p.LeaderID) != nil {
				return quorum{p.LeaderID, byID(p.CurrentVoters), byID(p.Observers)}, nil
			}
		}
		if err := wait(ctx, retryPause(0)); err != nil {
			return quorum{}, fmt.Errorf("describe the metadata quorum: %w", err)
		}
	}
}

func byID(states []kmsg.DescribeQuorumResponseTopicPartitionReplicaState) map[int32][16]byte {
	all := map[int32][16]byte{}
	for _, s := range states {
		all[s.ReplicaID] = s.ReplicaDirectoryID
	}
	return all
}

// addVoter makes an observer a voter.
func (c *cluster) addVoter(ctx context.Context, nd *node, directory [16]byte) error {
	port, err := strconv.ParseUint(nd.controllerPort, 10, 16)
	if err != nil {
		return err
	}
	listener := kmsg.NewAddRaftVoterRequestListener()
	listener.Name, listener.Host, listener.Port = "CONTROLLER", nd.host.addr(), uint16(port)
	return c.insist(ctx, func(ctx context.Context) error {
		req := kmsg.NewPtrAddRaftVoterRequest()
		req.VoterID, req.VoterDirectoryID, req.TimeoutMillis = nd.id, directory, 10_000
		req.Listeners = append(req.Listeners, listener)
		resp, err := req.RequestWith(ctx, c.client)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if errors.Is(err, kerr.DuplicateVoter) {
			return nil // an earlier attempt came through
		}
		return err
	})
}

// removeVoter takes a voter out of the quorum.
func (c *cluster) removeVoter(ctx context.Context, nd *node, directory [16]byte) error {
	return c.insist(ctx, func(ctx context.Context) error {
		req := kmsg.NewPtrRemoveRaftVoterRequest()
		req.VoterID, req.VoterDirectoryID = nd.id, directory
		resp, err := req.RequestWith(ctx, c.client)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if errors.Is(err, kerr.VoterNotFound) {
			return nil
		}
		return err
	})
}

// insist tries until it succeeds: while a controller is elected, none changes anything. What an attempt without an answer may
// have done, the next one must take for done.
func (c *cluster) insist(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil || wait(ctx, retryPause(0)) != nil {
			return err
		}
	}
}

// createOn makes a topic with these replicas of each partition, where it is not there yet.
func (c *cluster) createOn(ctx context.Context, topic string, cfg map[string]*string, replicas ...[]int32) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, -1, -1
	for p, list := range replicas {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = int32(p), list
		t.ReplicaAssignment = append(t.ReplicaAssignment, a)
	}
	for name, value := range cfg {
		e := kmsg.NewCreateTopicsRequestTopicConfig()
		e.Name, e.Value = name, value
		t.Configs = append(t.Configs, e)
	}
	req.Topics, req.TimeoutMillis = append(req.Topics, t), 10_000
	err := c.insist(ctx, func(ctx context.Context) error {
		resp, err := req.RequestWith(ctx, c.client)
		if err == nil && len(resp.Topics) == 1 {
			err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
		}
		if errors.Is(err, kerr.TopicAlreadyExists) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("create %s: %w", topic, err)
	}
	return nil
}

// createAnew makes a topic with one partition that must not be there yet.
func (c *cluster) createAnew(ctx context.Context, topic string) error {
	tries := 0
	return c.insist(ctx, func(ctx context.Context) error {
		tries++
		_, err := c.adm.CreateTopic(ctx, 1, 3, nil, topic)
		if tries > 1 && errors.Is(err, kerr.TopicAlreadyExists) {
			return nil // an earlier attempt came through
		}
		return err
	})
}

// deleteTopic deletes a topic that must be there.
func (c *cluster) deleteTopic(ctx context.Context, topic string) error {
	tries := 0
	return c.insist(ctx, func(ctx context.Context) error {
		tries++
		_, err := c.adm.DeleteTopic(ctx, topic)
		if tries > 1 && errors.Is(err, kerr.UnknownTopicOrPartition) {
			return nil
		}
		return err
	})
}
