package sim

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/broker/replica"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// What a node fetches, as package replica has it fetched: by its Roster, and by a Course and a Fetcher for each loop. What goroutines,
// channels and timers do there is played: a loop looks when its request has come to an end, when it is at rest and woken, and when it
// wanted to; it ends with what it has under way. Nothing wakes it beside.

// loop is one of them. One that has ended is known to nobody but to what it has under way.
type loop struct {
	n      *node
	key    replica.LoopKey
	c      replica.Course
	f      *replica.Fetcher
	busy   bool // a request is under way, or its answer is being taken in
	over   bool
	flight int                      // the newest request
	land   func(resp kmsg.Response) // ends it, if nothing else has
	looks  int                      // numbers its looks; when it wanted to come by itself counts until the next one
	let    map[tp]letGo
}

// letGo is a replica that a loop was told to fetch no more, and after which look that was.
type letGo struct {
	p    *partition.Partition
	look int
}

func (n *node) newLoop(k replica.LoopKey) *loop {
	return &loop{n: n, key: k, let: map[tp]letGo{}, f: replica.NewFetcher(replica.FetcherOptions{
		NodeID: n.id, BrokerEpoch: func() int64 { return n.epoch },
		Limits: func() replica.Limits {
			return replica.Limits{MaxWait: fetchWait, MinBytes: 1, MaxBytes: 64 << 10, MaxPartitionBytes: n.w.opts.fetchBytes(),
				Backoff: 200 * time.Millisecond}
		},
		Failed: func(_ tp, err error, _ int) { n.w.reached("fetch failed: " + errName(err)) },
	})}
}

// follow has a replica fetched from a leader.
func (n *node) follow(k tp, p *partition.Partition, leader, epoch int32) {
	key := replica.LoopKey{Leader: leader, Fsync: p.Settings().Durability == storage.Fsync, Number: replica.Spread(k, n.perLeader)}
	r := replicaOf{n, k, p}
	n.carryOut(r, n.roster.Follow(r, key, epoch))
}

func (n *node) unfollow(k tp) {
	if p := n.parts[k]; p != nil {
		r := replicaOf{n, k, p}
		n.carryOut(r, n.roster.Unfollow(r))
	}
}

// carryOut tells loops of a replica, and has them begin and end, as replica.Fetchers does.
func (n *node) carryOut(r replicaOf, orders []replica.Order) {
	for _, o := range orders {
		if o.Begins {
			n.loops[o.Loop] = n.newLoop(o.Loop)
			n.after(0, n.loops[o.Loop].look)
		}
		l := n.loops[o.Loop]
		if o.Epoch == replica.NoEpoch {
			r.OnStored(nil)
		}
		l.tell(r, o.Epoch)
		if o.Epoch != replica.NoEpoch && o.Loop.Fsync {
			r.OnStored(l.look)
		}
		if o.Ends {
			delete(n.loops, o.Loop)
			l.end()
		}
	}
}

func (l *loop) tell(r replicaOf, epoch int32) {
	if was, ok := l.let[r.k]; ok && epoch != replica.NoEpoch && was.p != r.Partition && was.look == l.looks {
		l.n.w.reached("a replica was made anew before its loop had looked")
	}
	if epoch == replica.NoEpoch {
		l.let[r.k] = letGo{r.Partition, l.looks}
	}
	l.c.Tell(replica.Member{TP: r.k, ID: r.TopicID, Replica: r}, epoch)
}

// end gives up what is under way, which may have its answer at the same moment.
func (l *loop) end() {
	if !l.c.End() {
		l.over = true
		return
	}
	l.n.w.reached("a loop ended with a fetch under way")
	land := l.land
	l.n.after(l.n.w.between(0, 2*time.Millisecond), func() { land(nil) })
}

// wakeFetchers has every loop take up what it was told.
func (n *node) wakeFetchers() {
	for _, l := range n.sortedLoops() {
		look, hasten := l.c.Wake()
		if hasten {
			l.hasten()
		}
		if look {
			l.look()
		}
	}
}

// goOnFetching has loops look that have waited for the broker to be registered.
func (n *node) goOnFetching() {
	for _, l := range n.sortedLoops() {
		l.look()
	}
}

func (n *node) sortedLoops() []*loop {
	return slices.SortedFunc(maps.Values(n.loops), func(a, b *loop) int {
		return cmp.Or(cmp.Compare(a.key.Leader, b.key.Leader), cmp.Compare(a.key.Number, b.key.Number))
	})
}

// look takes up what the loop was told, and sends the next request.
func (l *loop) look() {
	n := l.n
	if l.busy || l.over || n.doomed || n.epoch < 0 {
		return
	}
	l.looks++
	l.c.Take(l.f)
	req, again := l.f.Next(n.w.now())
	if req == nil {
		if look := l.looks; !again.IsZero() {
			n.after(again.Sub(n.w.now()), func() {
				if l.looks == look {
					l.look()
				}
			})
		}
		return
	}
	flight, hasten, ok := l.c.Depart()
	if !ok {
		l.over = true
		return
	}
	l.busy, l.flight = true, flight
	l.land = func(resp kmsg.Response) {
		if l.flight != flight || !l.busy {
			return // it was given up, or its answer has come twice
		}
		gaveUp, ended := l.c.Arrive()
		if gaveUp && resp == nil {
			n.w.reached("a fetch was given up for another partition")
		}
		if ended && resp != nil {
			n.w.reached("a loop that was to end had an answer")
		}
		l.f.Landed(n.w.now(), resp, gaveUp)
		l.busy, l.over = false, ended
		l.look()
	}
	land := l.land
	n.call(l.key.Leader, patience, func(t *node, reply func(any)) { t.serve(req, n.w.now().Add(fetchWait), reply) },
		func(answer any, _ bool) {
			resp, _ := answer.(kmsg.Response)
			land(resp)
		})
	if hasten {
		l.hasten()
	}
}

// hasten has the request under way given up soon.
func (l *loop) hasten() {
	land, flight := l.land, l.flight
	l.n.after(replica.GiveUpAfter, func() {
		l.c.GiveUp(flight)
		land(nil)
	})
}

// dirOffline hears that a log directory failed, as package node does.
func (n *node) dirOffline(string, error) {
	for _, k := range n.w.allKeys() {
		if p := n.parts[k]; p != nil && p.Log().Offline() {
			n.unfollow(k)
		}
	}
}

// spreadAnew changes how many fetchers a node has for one leader.
func (n *node) spreadAnew() {
	if !n.up {
		return
	}
	n.act(func() {
		n.perLeader = 1 + n.w.rng.IntN(n.w.opts.fetchers)
		n.w.note("%s has %d fetchers for each leader", n, n.perLeader)
		for _, k := range n.w.allKeys() {
			p := n.parts[k]
			if p == nil {
				continue
			}
			if at, epoch, ok := n.roster.Where(replicaOf{n, k, p}); ok {
				n.follow(k, p, at.Leader, epoch)
				if now, _, _ := n.roster.Where(replicaOf{n, k, p}); now != at {
					n.w.reached("a replica went to another loop in the same leader epoch")
				}
			}
		}
		n.wakeFetchers()
	})
}
