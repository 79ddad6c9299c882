package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/logstead/logstead/interop/local"
)

// settler tells who asks when every broker has acted on all that the controller has decided so far. With several brokers a
// client that has made a topic may ask one that has not heard of it yet, and some clients do not ask again. With one
// there is none: what it has answered must show at once.
//
// Who connects to its address waits for a line: empty, or what went wrong.
type settler struct {
	listener net.Listener
	client   *kgo.Client
	brokers  int // their ids begin at 1

	mu struct {
		sync.Mutex
		mark int64
	}
}

const (
	// settleMark is the client id whose quota is the mark; no client has it.
	settleMark  = "interop-settle-mark"
	settleLimit = 40 * time.Second
	settlePause = 5 * time.Millisecond
)

// newSettler listens until ctx is done or it is closed.
func newSettler(ctx context.Context, c *local.Cluster) (*settler, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(c.Bootstrap(), ",")...))
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		cl.Close()
		return nil, err
	}
	s := &settler{listener: l, client: cl, brokers: c.Nodes()}
	go s.serve(ctx)
	return s, nil
}

func (s *settler) close() {
	s.listener.Close()
	s.client.Close()
}

func (s *settler) serve(ctx context.Context) {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if err := s.settle(ctx); err != nil {
				fmt.Fprintf(c, "%q\n", err.Error())
				return
			}
			fmt.Fprintln(c)
		}()
	}
}

// settle leaves a mark in the metadata, a quota of nobody's, and waits until it shows on every broker: what was decided before
// does then. A broker may have read both at once and be at work on them, so a second one follows, which it reads when it is
// done with the first.
func (s *settler) settle(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	for range 2 {
		s.mu.mark++
		mark := float64(s.mu.mark)
		if err := again(ctx, func() error { return s.leaveMark(ctx, mark) }); err != nil {
			return fmt.Errorf("leave a mark in the metadata: %w", err)
		}
		for id := 1; id <= s.brokers; id++ {
			if err := again(ctx, func() error { return s.seeMark(ctx, id, mark) }); err != nil {
				return fmt.Errorf("broker %d has not acted on what the controller decided within %v: %w", id, settleLimit, err)
			}
		}
	}
	return nil
}

// again does something until it is done or the time is up: nodes may just have been started again.
func again(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(settlePause):
		}
	}
}

func (s *settler) leaveMark(ctx context.Context, mark float64) error {
	name := settleMark
	alter := kmsg.NewPtrAlterClientQuotasRequest()
	e, en, op := kmsg.NewAlterClientQuotasRequestEntry(), kmsg.NewAlterClientQuotasRequestEntryEntity(), kmsg.NewAlterClientQuotasRequestEntryOp()
	en.Type, en.Name = "client-id", &name
	op.Key, op.Value = "request_percentage", mark
	e.Entity, e.Ops = append(e.Entity, en), append(e.Ops, op)
	alter.Entries = append(alter.Entries, e)
	resp, err := alter.RequestWith(ctx, s.client)
	if err != nil {
		return err
	}
	for _, e := range resp.Entries {
		err = errors.Join(err, kerr.ErrorForCode(e.ErrorCode))
	}
	return err
}

func (s *settler) seeMark(ctx context.Context, broker int, mark float64) error {
	name := settleMark
	describe := kmsg.NewPtrDescribeClientQuotasRequest()
	c := kmsg.NewDescribeClientQuotasRequestComponent()
	c.EntityType, c.MatchType, c.Match = "client-id", kmsg.QuotasMatchTypeExact, &name
	describe.Components, describe.Strict = append(describe.Components, c), true
	resp, err := s.client.Broker(broker).RetriableRequest(ctx, describe)
	if err != nil {
		return err
	}
	for _, e := range resp.(*kmsg.DescribeClientQuotasResponse).Entries {
		if len(e.Values) == 1 && e.Values[0].Value == mark {
			return nil
		}
	}
	return fmt.Errorf("mark %v is not there", mark)
}
