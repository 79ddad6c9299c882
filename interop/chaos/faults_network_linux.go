package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// network changes rules and waits until a packet has felt them.
func (x *injection) network(ctx context.Context, change func(r *rules)) error {
	r := x.c.fabric.rules
	r.heal()
	x.onHeal(func(context.Context) error { r.heal(); return nil })
	change(r)
	for range 300 {
		if r.bitten() > 0 {
			return nil
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return &noBite{errors.New("no packet was touched by the rules within 3 s")}
}

func isolate(pick picker) func(context.Context, *injection) error {
	return func(ctx context.Context, x *injection) error {
		nd, err := pick(ctx, x)
		if err != nil {
			return err
		}
		x.what, x.silent = fmt.Sprintf("node %d from everybody", nd.id), nd
		return x.network(ctx, func(r *rules) {
			for _, h := range x.c.fabric.hosts {
				if h != nd.host {
					r.both(nd.host.id, h.id, link{Cut: true})
				}
			}
		})
	}
}

// oneWay lets a leader send to the other nodes, and hear nothing of them.
func oneWay(ctx context.Context, x *injection) error {
	nd, err := theLeader(ctx, x)
	if err != nil {
		return err
	}
	x.what = fmt.Sprintf("node %d hears no other node", nd.id)
	return x.network(ctx, func(r *rules) {
		for _, o := range x.c.nodes {
			if o != nd {
				r.set(o.host.id, nd.host.id, link{Cut: true})
			}
		}
	})
}

// cutLeaderFollowers cuts what followers fetch over, and nothing of clients and controllers.
func cutLeaderFollowers(ctx context.Context, x *injection) error {
	nd, err := theLeader(ctx, x)
	if err != nil {
		return err
	}
	x.what = fmt.Sprintf("node %d", nd.id)
	return x.network(ctx, func(r *rules) {
		for _, o := range x.c.nodes {
			if o != nd {
				r.both(nd.host.id, o.host.id, link{Cut: true, Port: 9092})
			}
		}
	})
}

// cutClients cuts the clients from a leader; nodes reach each other.
func cutClients(ctx context.Context, x *injection) error {
	nd, err := theLeader(ctx, x)
	if err != nil {
		return err
	}
	x.what = fmt.Sprintf("clients from node %d", nd.id)
	return x.network(ctx, func(r *rules) { r.both(nd.host.id, x.c.fabric.hosts[0].id, link{Cut: true}) })
}

// majority cuts two nodes, one of them a leader, from the other nodes; clients reach all.
func majority(ctx context.Context, x *injection) error {
	a, err := theLeader(ctx, x)
	if err != nil {
		return err
	}
	b := x.other(a)
	x.what = fmt.Sprintf("nodes %d and %d from the others", a.id, b.id)
	return x.network(ctx, func(r *rules) {
		for _, o := range x.c.nodes {
			if o != a && o != b {
				r.both(a.host.id, o.host.id, link{Cut: true})
				r.both(b.host.id, o.host.id, link{Cut: true})
			}
		}
	})
}

// ring lets every node reach its two neighbours only: each sees a majority, and no two the same.
func ring(ctx context.Context, x *injection) error {
	n := len(x.c.nodes)
	return x.network(ctx, func(r *rules) {
		for i := range n {
			for j := range i {
				if d := i - j; d != 1 && d != n-1 {
					r.both(x.c.nodes[i].host.id, x.c.nodes[j].host.id, link{Cut: true})
				}
			}
		}
	})
}

// bridge cuts two nodes from each other while a third reaches both.
func bridge(ctx context.Context, x *injection) error {
	a, err := theLeader(ctx, x)
	if err != nil {
		return err
	}
	b := x.other(a)
	x.what = fmt.Sprintf("nodes %d and %d", a.id, b.id)
	return x.network(ctx, func(r *rules) { r.both(a.host.id, b.host.id, link{Cut: true}) })
}

func cutLeaderController(ctx context.Context, x *injection) error {
	// Only what goes to the controllers' port: fetching between the two goes on.
	ctl, err := theController(ctx, x)
	if err != nil {
		return err
	}
	nd := x.other(ctl)
	for range 20 {
		if lead, err := theLeader(ctx, x); err == nil && lead != ctl {
			nd = lead
			break
		}
	}
	x.what = fmt.Sprintf("leader %d from controller %d", nd.id, ctl.id)
	return x.network(ctx, func(r *rules) { r.both(nd.host.id, ctl.host.id, link{Cut: true, Port: 9093}) })
}

func slowLinks(l link) func(context.Context, *injection) error {
	return func(ctx context.Context, x *injection) error {
		x.what, x.rated = "all links between nodes", true
		return x.network(ctx, func(r *rules) {
			for _, a := range x.c.nodes {
				for _, b := range x.c.nodes {
					if a != b {
						r.set(a.host.id, b.host.id, l)
					}
				}
			}
		})
	}
}

// resetStorm breaks the connections between all nodes, again and again.
func resetStorm(ctx context.Context, x *injection) error {
	broken := 0
	for range 10 {
		for _, a := range x.c.nodes {
			for _, b := range x.c.nodes {
				if a == b {
					continue
				}
				n, err := x.c.fabric.reset(ctx, a.host, b.host)
				if err != nil {
					return err
				}
				broken += n
			}
		}
		if err := wait(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	if x.what = fmt.Sprintf("%d connections", broken); broken == 0 {
		return &noBite{errors.New("no connection was broken")}
	}
	return nil
}
