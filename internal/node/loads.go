package node

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/logstead/logstead/internal/cluster/balance"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/obs"
)

// keyLoads is the API by which brokers tell the active controller what their partitions carry, as
// balance.Report encodes it; private as keyRaft is.
const keyLoads int16 = 30_001

// reportLoads tells the active controller what this broker leads, and what that carries, every
// logstead.balance.report.interval.ms.
func (n *Node) reportLoads(ctx context.Context) error {
	tick := time.NewTicker(n.live.Load().live.Duration("logstead.balance.report.interval.ms"))
	defer tick.Stop()
	var meter balance.Meter
	for {
		for _, r := range n.loads(&meter) {
			if err := n.uplink.Post(ctx, keyLoads, r.Append(nil)); err != nil && ctx.Err() == nil {
				n.log.Debug("a load report is lost", "partitions", len(r.Partitions), "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// loads is this broker's report, in pieces.
func (n *Node) loads(meter *balance.Meter) (pieces []*balance.Report) {
	var totals []balance.PartitionLoad
	for _, p := range n.parts.All() {
		if !p.IsLeader() {
			continue
		}
		t := p.Traffic()
		totals = append(totals, balance.PartitionLoad{
			Key:   balance.Key{Topic: p.TopicID, Partition: p.TP.Partition},
			Bytes: p.Log().Size(), In: t.BytesIn, Out: t.BytesOut + t.CopiedOut,
		})
	}
	slices.SortFunc(totals, func(a, b balance.PartitionLoad) int { return bytes.Compare(a.Topic[:], b.Topic[:]) })
	disk, free := n.volumes()
	rated := meter.Looked()
	rest := meter.Observe(n.clock.Now(), totals)
	for first := true; first || len(rest) > 0; first = false {
		some := rest[:min(len(rest), balance.MaxReported)]
		rest = rest[len(some):]
		pieces = append(pieces, &balance.Report{
			Broker: n.api.NodeID, Rated: rated, DiskBytes: disk, FreeBytes: free, Partitions: some,
		})
	}
	return pieces
}

// volumes is how much the disks of the log directories hold and have free. Directories that show the same are on one
// disk.
func (n *Node) volumes() (disk, free int64) {
	type volume struct{ total, usable int64 }
	var seen []volume
	for _, d := range n.store.Dirs() {
		v := volume{d.TotalBytes, d.UsableBytes}
		if d.Online && v.total > 0 && v.usable >= 0 && !slices.Contains(seen, v) {
			seen = append(seen, v)
			disk, free = disk+v.total, free+v.usable
		}
	}
	return disk, free
}

var errNoController = errors.New("this node has no controller")

// receiveLoads takes in another node's report.
func (n *Node) receiveLoads(body []byte) error {
	if n.ctl == nil {
		return errNoController
	}
	return n.ctl.TakeLoads(body)
}

// notPreferred counts the partitions that another replica than the first one leads.
func notPreferred(im *meta.Image) (count int64) {
	for t := range im.Topics() {
		for _, p := range t.Partitions {
			count += bit(p.Leader != p.Replicas[0])
		}
	}
	return count
}

func leaderless(im *meta.Image) (count int64) {
	for t := range im.Topics() {
		for _, p := range t.Partitions {
			count += bit(p.Leader < 0)
		}
	}
	return count
}

func brokersWhere(im *meta.Image, fenced bool) (count int64) {
	for _, b := range im.Brokers() {
		count += bit(b.Fenced == fenced)
	}
	return count
}

// balancing writes a figure of balancing; on a node that is not the active controller it is 0.
func balancing(get func(*controller.BalanceSummary) int64) func(*Node, *view, *obs.Exposition) {
	return value(func(n *Node, _ *view) int64 {
		if !n.isActiveController() {
			return 0
		}
		s := n.ctl.BalanceSummary()
		return get(&s)
	})
}

func writeDeviation(n *Node, _ *view, e *obs.Exposition) {
	if !n.isActiveController() {
		return
	}
	off := n.ctl.BalanceSummary().Deviation
	for _, g := range balance.AllGoals() {
		if d, ok := off[g]; ok {
			e.Float(d, "goal", g.String())
		}
	}
}

func (n *Node) isActiveController() bool {
	return n.ctl != nil && n.activeController() == n.live.Load().broker.NodeID
}
