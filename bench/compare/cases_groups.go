package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/bench/raw"
)

// rebalanceCase is how long so many members take from the first join until every partition has an
// owner, and how long until the group is whole again after one more has come.
func rebalanceCase(members int, protocol string, opts ...kgo.Opt) benchCase {
	return benchCase{name: fmt.Sprintf("rebalance/%s/%d members", protocol, members), warm: members == 1, run: func(ctx context.Context, r *rival) ([]figure, error) {
		parts := int32(members + 1)
		return withTopic(ctx, r, parts, func(topic string) ([]figure, error) {
			g := &watchedGroup{want: int(parts), owned: map[int]map[int32]bool{}}
			defer g.close()
			before, err := r.cpu()
			if err != nil {
				return nil, err
			}
			begin := time.Now()
			for i := range members {
				if err := g.join(r.addr, topic, i, opts); err != nil {
					return nil, err
				}
			}
			if err := g.await(ctx, members); err != nil {
				return nil, err
			}
			joined := time.Since(begin)
			begin = time.Now()
			if err := g.join(r.addr, topic, members, opts); err != nil {
				return nil, err
			}
			if err := g.await(ctx, members+1); err != nil {
				return nil, err
			}
			more := time.Since(begin)
			after, err := r.cpu()
			if err != nil {
				return nil, err
			}
			return []figure{
				{name: "all join", unit: "ms", value: float64(joined.Milliseconds())},
				{name: "one more joins", unit: "ms", value: float64(more.Milliseconds())},
				{name: "cpu", unit: "ms", value: float64((after - before).Milliseconds())},
			}, nil
		})
	}}
}

// watchedGroup knows which member owns what.
type watchedGroup struct {
	want    int
	clients []*kgo.Client
	mu      sync.Mutex
	owned   map[int]map[int32]bool
}

func (g *watchedGroup) join(addr, topic string, id int, opts []kgo.Opt) error {
	change := func(own bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, m map[string][]int32) {
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.owned[id] == nil {
				g.owned[id] = map[int32]bool{}
			}
			for _, p := range m[topic] {
				if own {
					g.owned[id][p] = true
				} else {
					delete(g.owned[id], p)
				}
			}
		}
	}
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(addr), kgo.ConsumerGroup("group-" + topic), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.HeartbeatInterval(200 * time.Millisecond),
		kgo.OnPartitionsAssigned(change(true)), kgo.OnPartitionsRevoked(change(false)), kgo.OnPartitionsLost(change(false)),
	}, opts...)...)
	if err == nil {
		g.clients = append(g.clients, c)
	}
	return err
}

// await returns once so many members own something and every partition has one owner.
func (g *watchedGroup) await(ctx context.Context, members int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		g.mu.Lock()
		owners, total := 0, 0
		for _, o := range g.owned {
			total += len(o)
			if len(o) > 0 {
				owners++
			}
		}
		g.mu.Unlock()
		if owners == members && total == g.want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d members own %d of %d partitions: %w", owners, members, total, g.want, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

func (g *watchedGroup) close() {
	var wg sync.WaitGroup
	for _, c := range g.clients {
		wg.Go(c.Close)
	}
	wg.Wait()
}

// commitsCase commits offsets of so many groups side by side, one after the other in each.
func commitsCase(groups int) benchCase {
	return benchCase{name: fmt.Sprintf("commits/%d groups", groups), warm: true, run: func(ctx context.Context, r *rival) ([]figure, error) {
		return withTopic(ctx, r, 1, func(topic string) ([]figure, error) {
			each := 4000 / groups
			clients := make([]*kadm.Client, groups)
			for i := range clients {
				c, err := kgo.NewClient(kgo.SeedBrokers(r.addr))
				if err != nil {
					return nil, err
				}
				defer c.Close()
				clients[i] = kadm.NewClient(c)
				if err := commit(ctx, clients[i], topic, i, 0); err != nil { // finds the coordinator
					return nil, err
				}
			}
			res, used, allocs, err := counted(ctx, r, func() (raw.Result, error) {
				begin := time.Now()
				errs := make([]error, groups)
				var wg sync.WaitGroup
				for i, c := range clients {
					wg.Go(func() {
						for n := 1; n <= each && errs[i] == nil; n++ {
							errs[i] = commit(ctx, c, topic, i, int64(n))
						}
					})
				}
				wg.Wait()
				for _, err := range errs {
					if err != nil {
						return raw.Result{}, err
					}
				}
				return raw.Result{Requests: int64(each * groups), Elapsed: time.Since(begin)}, nil
			})
			if err != nil {
				return nil, err
			}
			return requestFigures(res, used, allocs), nil
		})
	}}
}

func commit(ctx context.Context, c *kadm.Client, topic string, group int, at int64) error {
	var o kadm.Offsets
	o.AddOffset(topic, 0, at, -1)
	res, err := c.CommitOffsets(ctx, fmt.Sprintf("commits-%s-%d", topic, group), o)
	if err != nil {
		return err
	}
	return res.Error()
}
