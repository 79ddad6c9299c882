package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

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
		mark local.Mark
	}
}

const settleLimit = 40 * time.Second

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
	s.mu.mark.Name = "interop-settle-mark"
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

// settle returns when every broker shows a mark that was left behind all that was decided.
func (s *settler) settle(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	nodes := make([]int, s.brokers)
	for i := range nodes {
		nodes[i] = i + 1
	}
	return s.mu.mark.Settle(ctx, nodes, func(ctx context.Context, node int, req kmsg.Request) (kmsg.Response, error) {
		if node == 0 {
			return s.client.Request(ctx, req)
		}
		return s.client.Broker(node).RetriableRequest(ctx, req)
	})
}
