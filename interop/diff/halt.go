package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/logstead/logstead/interop/local"
)

// This file has what steps do to nodes: stop them in order, start them, have them stand still and go on. A node is named
// by how many ids it is past the home.

// stopped stops a node in order: what it led is led elsewhere, or by nobody.
func stopped(past int) step {
	return halting("stop", past, func(ctx context.Context, p *player, node int) error { return p.sys.stop(ctx, p.vars.prefix, node) })
}

// started starts a node that was stopped, and waits until the others know.
func started(past int) step {
	return halting("start", past, func(ctx context.Context, p *player, node int) error { return p.sys.start(ctx, p.vars.prefix, node) })
}

// still has a node stand still, which for a while is still in sync and alive to all others. It must not be the
// active controller.
func still(past int) step {
	return halting("stand still", past, func(ctx context.Context, p *player, node int) error {
		if active, err := p.sys.active(ctx, p.vars.home); err != nil || active == node {
			if err = errors.Join(err, p.sys.stop(ctx, p.vars.prefix, node), p.sys.start(ctx, p.vars.prefix, node), p.sys.whole(ctx, p.vars.prefix)); err != nil {
				return err
			}
		}
		p.sys.away[node] = true
		return p.sys.cluster.Signal(node, syscall.SIGSTOP)
	})
}

// goesOn ends still.
func goesOn(past int) step {
	return halting("go on", past, func(ctx context.Context, p *player, node int) error {
		if err := p.sys.cluster.Signal(node, syscall.SIGCONT); err != nil {
			return err
		}
		delete(p.sys.away, node)
		return p.sys.caughtUp(ctx, p.vars.prefix)
	})
}

// whole waits until every partition is led by its first replica, with all in sync, as the other scenarios want it.
func whole() step {
	return step{name: "everything in sync and led by the first", act: func(ctx context.Context, p *player) error {
		return p.sys.whole(ctx, p.vars.prefix)
	}}
}

// halting is a step that does something to a node; connections to it are given up.
func halting(what string, past int, do func(ctx context.Context, p *player, node int) error) step {
	return step{name: fmt.Sprint(what, " the node ", past, " past the home"), act: func(ctx context.Context, p *player) error {
		node := p.vars.node(past)
		for name, c := range p.conns {
			if strings.HasSuffix(name, fmt.Sprint("@", node)) {
				c.c.Close()
				delete(p.conns, name)
			}
		}
		if err := do(ctx, p, node); err != nil {
			return fmt.Errorf("node %d: %s: %w", node, what, err)
		}
		return nil
	}}
}

// there are the nodes that answer.
func (s *system) there() (nodes []int) {
	for i := range s.addrs {
		if !s.away[i+1] {
			nodes = append(nodes, i+1)
		}
	}
	return nodes
}

// stop ends a node; the others have acted on it when it returns, unless they are too few to decide anything.
func (s *system) stop(ctx context.Context, prefix string, node int) error {
	s.away[node] = true
	if err := s.cluster.End(node, os.Signal(syscall.SIGTERM)); err != nil {
		return err
	}
	if 2*len(s.there()) < len(s.addrs) {
		return nil
	}
	return s.caughtUp(ctx, prefix)
}

func (s *system) start(ctx context.Context, prefix string, node int) error {
	if err := errors.Join(s.cluster.Start(node), s.cluster.Await(ctx, node)); err != nil {
		return err
	}
	delete(s.away, node)
	for _, id := range s.there() {
		if err := await(ctx, s.addrs[id-1], len(s.there())); err != nil {
			return err
		}
	}
	return s.caughtUp(ctx, prefix)
}

// active is the node of the active controller.
func (s *system) active(ctx context.Context, node int) (id int, err error) {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	req := kmsg.NewPtrDescribeQuorumRequest()
	t := kmsg.NewDescribeQuorumRequestTopic()
	t.Topic, t.Partitions = "__cluster_metadata", append(t.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, t)
	err = local.Again(ctx, func() error {
		resp, err := s.once(node, req, 0)
		if err != nil {
			return err
		}
		if hasError(resp, nil) {
			return errors.New("the quorum has no leader")
		}
		id = int(resp.(*kmsg.DescribeQuorumResponse).Topics[0].Partitions[0].LeaderID)
		return nil
	})
	return id, err
}

// whole elects the first replica of each partition until all nodes say that it leads and all are in sync.
func (s *system) whole(ctx context.Context, prefix string) error {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	for {
		err := s.electFirst()
		for node := range s.addrs {
			if err == nil {
				err = s.isWhole(node + 1)
			}
		}
		if err == nil {
			return s.caughtUp(ctx, prefix)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (s *system) electFirst() error {
	elect := kmsg.NewPtrElectLeadersRequest()
	elect.TimeoutMillis = enough
	resp, err := s.once(1, elect, 2)
	if err == nil && hasError(resp, nil) {
		err = errors.New("not every first replica can lead yet")
	}
	return err
}

func (s *system) isWhole(node int) error {
	resp, err := s.once(node, kmsg.NewPtrMetadataRequest(), 12)
	if err != nil {
		return err
	}
	for _, t := range resp.(*kmsg.MetadataResponse).Topics {
		for _, p := range t.Partitions {
			if len(p.Replicas) == 0 || p.Leader != p.Replicas[0] || len(p.ISR) != len(p.Replicas) {
				return fmt.Errorf("node %d: %s-%d has replicas %v, leader %d, in sync %v", node, *t.Topic, p.Partition, p.Replicas, p.Leader, p.ISR)
			}
		}
	}
	return nil
}
