package node

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
)

// newsSample is how many partitions a line names.
const newsSample = 3

// tellNews says in the log what new metadata means to whoever looks after the cluster: the active controller of brokers and of
// partitions that lost their leader, each leader of its in-sync sets.
func (n *Node) tellNews(old, im *meta.Image, d meta.Delta) {
	if old == nil || n.puller == nil { // the first image, or a node alone
		return
	}
	if _, epoch := n.meta.Leader(); n.isActiveController() && im.Epoch == epoch { // and not what it finds in the log when its term begins
		if d.Brokers {
			tellBrokers(n.log, old, im, n.api.LetGo)
		}
		tellLeaderless(n.log, old, im, d.Changed)
	}
	if n.live.Load().broker.Roles.Broker {
		n.insync.take(n.log, n.api.NodeID, old, d.Changed, func(t string) int { return n.minInSync(t) })
	}
}

// minInSync is min.insync.replicas of a topic as this broker acts on it, 0 for one that is not here.
func (n *Node) minInSync(topic string) int {
	if t := n.parts.Topic(topic); t != nil {
		for _, p := range t.Parts {
			if p != nil {
				return p.Settings().MinInSync
			}
		}
	}
	return 0
}

// tellBrokers says which brokers came, went, and were fenced; letGo says of one that it was given leave to stop.
func tellBrokers(log *slog.Logger, old, im *meta.Image, letGo func(id int32, epoch int64) bool) {
	for _, b := range im.Brokers() {
		was := old.Broker(b.ID)
		args := []any{"broker", b.ID, "broker_epoch", b.Epoch}
		switch {
		case was == nil || was.Incarnation != b.Incarnation:
			log.Info("a broker is registered", append(args, "address", addressOfBroker(b), "fenced", b.Fenced)...)
		case b.Fenced && !was.Fenced && letGo(b.ID, b.Epoch):
			log.Info("a broker stops in order", args...)
		case b.Fenced && !was.Fenced:
			log.Warn("a broker is fenced: it was not heard of in time, or has no log directory left", args...)
		case !b.Fenced && was.Fenced:
			log.Info("a broker serves", args...)
		case b.InControlledShutdown && !was.InControlledShutdown:
			log.Info("a broker hands over before it stops", args...)
		}
	}
	for _, b := range old.Brokers() {
		if im.Broker(b.ID) == nil {
			log.Info("a broker is unregistered", "broker", b.ID, "broker_epoch", b.Epoch)
		}
	}
}

func addressOfBroker(b *meta.Broker) string {
	if len(b.Endpoints) == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d", b.Endpoints[0].Host, b.Endpoints[0].Port)
}

// tellLeaderless says which partitions have lost their leader, and which have one again.
func tellLeaderless(log *slog.Logger, old, im *meta.Image, changed []*meta.Topic) {
	var lost, found sample
	for _, t := range changed {
		was := old.TopicByID(t.ID)
		if was == nil {
			continue
		}
		for i, p := range t.Partitions[:min(len(t.Partitions), len(was.Partitions))] {
			switch before := was.Partitions[i].Leader; {
			case p.Leader < 0 && before >= 0:
				lost.add(t.Name, i, fmt.Sprintf("replicas %v", p.Replicas))
			case p.Leader >= 0 && before < 0:
				found.add(t.Name, i, fmt.Sprintf("leader %d", p.Leader))
			}
		}
	}
	if lost.count > 0 {
		log.Warn("partitions have no leader: nothing is read or written there until one of who may lead is back",
			"partitions", lost.count, "first", lost.String(), "in_all", leaderless(im))
	}
	if found.count > 0 {
		log.Info("partitions have a leader again", "partitions", found.count, "first", found.String(), "without", leaderless(im))
	}
}

// insync counts how the in-sync sets of what this broker leads change, as Kafka's IsrShrinksPerSec and IsrExpandsPerSec; those that
// the controller changes, because a broker is fenced, count too.
type insync struct{ shrinks, expands, failed atomic.Int64 }

// take counts what changed, and says so.
func (s *insync) take(log *slog.Logger, self int32, old *meta.Image, changed []*meta.Topic, minISR func(topic string) int) {
	var shrunk, grown, below sample
	for _, t := range changed {
		was := old.TopicByID(t.ID)
		if was == nil {
			continue
		}
		for i, p := range t.Partitions[:min(len(t.Partitions), len(was.Partitions))] {
			before := was.Partitions[i]
			if before == p || p.Leader != self || len(before.Replicas) != len(p.Replicas) && len(before.ISR) > len(p.ISR) {
				continue // another broker's, or a replica that was moved away
			}
			to := fmt.Sprintf("%v of %v", p.ISR, p.Replicas)
			switch {
			case len(p.ISR) < len(before.ISR):
				shrunk.add(t.Name, i, to)
				if least := minISR(t.Name); len(p.ISR) < min(least, len(p.Replicas)) {
					below.add(t.Name, i, to)
				}
			case len(p.ISR) > len(before.ISR):
				grown.add(t.Name, i, to)
			}
		}
	}
	s.shrinks.Add(int64(shrunk.count))
	s.expands.Add(int64(grown.count))
	if shrunk.count > 0 {
		log.Info("in-sync sets shrink", "partitions", shrunk.count, "first", shrunk.String())
	}
	if grown.count > 0 {
		log.Info("in-sync sets grow", "partitions", grown.count, "first", grown.String())
	}
	if below.count > 0 {
		log.Warn("in-sync sets are smaller than min.insync.replicas: acks=all is refused", "partitions", below.count, "first", below.String())
	}
}

// sample counts partitions and names the first of them.
type sample struct {
	count int
	first []string
}

func (s *sample) add(topic string, partition int, what string) {
	if s.count++; len(s.first) < newsSample {
		s.first = append(s.first, base.TopicPartition{Topic: topic, Partition: int32(partition)}.String()+": "+what)
	}
}

func (s *sample) String() string { return strings.Join(s.first, "; ") }

// reach is whether another node is reached, for the log: the first failure is told when it has lasted for reachPatience, again each
// reachRepeat, and the end of it. One goroutine uses it.
type reach struct {
	log   *slog.Logger
	id    int32
	since time.Time // of the first failure, zero while it is reached
	told  time.Time
}

const (
	reachPatience = 3 * time.Second
	reachRepeat   = time.Minute
)

func (r *reach) note(now time.Time, address func() (string, error), err error) {
	switch {
	case err == nil && !r.told.IsZero():
		r.log.Info("a controller is reached again", "node_id", r.id, "after", now.Sub(r.since).Round(time.Second).String())
		fallthrough
	case err == nil:
		r.since, r.told = time.Time{}, time.Time{}
	case r.since.IsZero():
		r.since = now
	case now.Sub(r.since) >= reachPatience && (r.told.IsZero() || now.Sub(r.told) >= reachRepeat):
		at, _ := address()
		r.log.Warn("a controller cannot be reached", "node_id", r.id, "address", at, "for", now.Sub(r.since).Round(time.Second).String(), "err", err)
		r.told = now
	}
}
