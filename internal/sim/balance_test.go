package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/logstead/logstead/internal/cluster/balance"
	"github.com/logstead/logstead/internal/cluster/meta"
)

// Balancing by the active controller amid faults: brokers report loads that change every few seconds, partitions are moved in rounds and
// given other preferred leaders, and leadership goes back to those.

const (
	reportEvery   = 300 * time.Millisecond
	balanceEvery  = 250 * time.Millisecond
	loadsChange   = 3 * time.Second
	balanceMark   = "logstead.balance.throttled"
	balanceConfig = "logstead.balance.enable=true\nlogstead.balance.interval.ms=500\nlogstead.balance.report.interval.ms=300\n" +
		"logstead.balance.tolerance.percent=1\nlogstead.balance.min.gain.percent=0\nlogstead.balance.max.moves=2\n" +
		"leader.imbalance.check.interval.seconds=1\n"
)

// balancing has a node report, and balance while it is the active controller.
func (n *node) balancing() {
	if n.w.opts.feature != balances {
		return
	}
	n.every(reportEvery, n.reportLoads)
	n.every(balanceEvery, n.balance)
}

// reportLoads tells the active controller what this broker's partitions carry.
func (n *node) reportLoads() {
	to, _ := n.ctl.Leader()
	if n.image == nil || n.epoch < 0 || to < 1 {
		return
	}
	r := balance.Report{Broker: n.id, Rated: true}
	for _, k := range n.w.allKeys() {
		if p := n.parts[k]; p != nil && p.IsLeader() {
			l := n.w.load(k)
			l.Key = balance.Key{Topic: p.TopicID, Partition: k.Partition}
			r.Partitions = append(r.Partitions, l)
		}
	}
	body := r.Append(nil)
	take := func(t *node) {
		if err := t.ctl.TakeLoads(body); err != nil {
			n.w.fail("%s: a report of loads is refused: %v", t, err)
		}
	}
	if to == n.id {
		take(n)
		return
	}
	n.w.send(n.id, to, func() {
		t := n.w.node(to)
		t.act(func() { take(t) })
	})
}

// load is what a partition carries now. It stays what it is once the faults have ended.
func (w *world) load(k tp) (l balance.PartitionLoad) {
	at := w.now()
	if !w.faulty && w.calm.IsZero() {
		w.calm = at
	}
	if !w.faulty {
		at = w.calm
	}
	rng := rand.New(rand.NewPCG(w.opts.seed^uint64(slices.Index(w.allKeys(), k)+1)<<32, uint64(at.Sub(w.began)/loadsChange)))
	l.Bytes, l.In, l.Out = rng.Int64N(20<<30), rng.Int64N(20<<20), rng.Int64N(20<<20)
	return l
}

func (n *node) balance() {
	n.ctl.StepBalance()
	before, now := n.evened, n.ctl.BalanceSummary()
	if n.evened = now; before.Counts.Rounds > now.Counts.Rounds {
		return // another term
	}
	if now.Counts.Moves > before.Counts.Moves {
		n.w.reached("balancing began to move a partition")
	}
	if now.Counts.Swaps > before.Counts.Swaps {
		n.w.reached("balancing chose another preferred leader")
	}
	if now.Moving > before.Moving && now.Counts.Rounds == 0 {
		n.w.reached("balancing went on with the round of an earlier controller")
	}
}

// balanced says whether balancing has come to its end: nothing moves, what was throttled for it is not any more, each partition has as many
// replicas as it had, and its preferred leader.
func (w *world) balanced() bool {
	if w.opts.feature != balances {
		return true
	}
	im := w.newest().image
	if im == nil || im.Configs(meta.Resource{Type: meta.ResourceBroker})[balanceMark] != "" {
		return false
	}
	return !slices.ContainsFunc(w.partitions(im), func(p *meta.Partition) bool {
		return p.Moving() || len(p.Replicas) != 3 || p.Leader != p.Replicas[0]
	})
}
