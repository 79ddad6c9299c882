package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/conf"
)

const (
	growthTick = time.Second
	// growthSettle is how long after a broker joined its cluster is looked at: brokers seldom join alone.
	growthSettle = 3 * time.Second
	// growthPatience is how long a broker that has joined is waited for while it does not serve.
	growthPatience = 10 * time.Minute
	// growthPause follows a request that failed.
	growthPause = 30 * time.Second
	// maxGrowing is how many partitions of a topic get replicas at a time.
	maxGrowing = 16
)

// growth gives the coordinators' topics the replicas that the configuration wants, once there are brokers for them: what a
// cluster creates while it is small has fewer (conf.Broker.Capped). It looks only after a broker has joined, so that whoever
// lowers a factor by hand is left alone.
type growth struct {
	id     int32          // of this broker: who leads partition 0 acts
	known  map[int32]bool // the brokers that are no news
	joined time.Time      // when the last one came; zero when nothing is left to do
	begun  map[string]bool
}

// wantedTopic is a coordinators' topic as the configuration wants it.
type wantedTopic struct {
	name              string
	factor, minInsync int // 0: none of its own
}

func wantedTopics(b *conf.Broker) []wantedTopic {
	return []wantedTopic{
		{offsetsTopic, int(b.OffsetsTopic.ReplicationFactor), int(b.OffsetsTopic.MinInsync)},
		{transactionsTopic, int(b.TransactionsTopic.ReplicationFactor), int(b.TransactionsTopic.MinInsync)},
	}
}

// grown is what is to be done about one topic.
type grown struct {
	topic     string
	replicas  map[int32][]int32 // the replicas that partitions are to have
	minInsync int               // to be set; 0 where nothing is
}

// look says what is to be done now.
func (g *growth) look(im *meta.Image, now time.Time, wanted func() []wantedTopic) (due []grown) {
	if !g.anybodyNew(im, now) {
		return nil
	}
	alive, awaited := takers(im)
	left := awaited && now.Sub(g.joined) < growthPatience
	for _, w := range wanted() {
		t := im.Topic(w.name)
		if t == nil {
			continue
		}
		w.factor = min(w.factor, len(alive))
		if !w.reached(t) {
			left = true
			if t.Partitions[0].Leader == g.id {
				if more := w.more(t, alive); len(more) > 0 {
					g.begun[w.name] = true
					due = append(due, grown{topic: w.name, replicas: more})
				}
			}
			continue
		}
		if least := min(w.minInsync, w.factor); g.begun[w.name] && least > insyncConfig(im, w.name) {
			due = append(due, grown{topic: w.name, minInsync: least})
			left = true
			continue
		}
		delete(g.begun, w.name)
	}
	if !left {
		g.joined = time.Time{}
	}
	return due
}

// anybodyNew takes in who is registered, and says whether somebody joined whom topics have not been given to.
func (g *growth) anybodyNew(im *meta.Image, now time.Time) bool {
	first := g.known == nil
	was := g.known
	g.known = map[int32]bool{}
	for _, b := range im.Brokers() {
		g.known[b.ID] = true
		if !was[b.ID] && !first {
			g.joined = now
		}
	}
	if first {
		g.begun = map[string]bool{}
	}
	return !g.joined.IsZero() && now.Sub(g.joined) >= growthSettle
}

// takers are the brokers that may get replicas, in the order of their ids; awaited says that others may come to be some.
func takers(im *meta.Image) (list []*meta.Broker, awaited bool) {
	for _, b := range im.Brokers() {
		switch {
		case b.Fenced:
			awaited = true
		case !b.InControlledShutdown && !b.Cordoned():
			list = append(list, b)
		}
	}
	slices.SortFunc(list, func(a, b *meta.Broker) int { return cmp.Compare(a.ID, b.ID) })
	return list, awaited
}

// reached says whether all partitions have the replicas, in sync, and none is under way.
func (w wantedTopic) reached(t *meta.Topic) bool {
	return !slices.ContainsFunc(t.Partitions, func(p *meta.Partition) bool {
		return p.Moving() || len(p.Replicas) < w.factor
	})
}

// more chooses replicas for partitions that have too few: in racks that have none yet, on brokers that hold the fewest of this
// topic. Who has led the fewest stands first, so that the coordinators are spread too.
func (w wantedTopic) more(t *meta.Topic, alive []*meta.Broker) map[int32][]int32 {
	held, first, room := map[int32]int{}, map[int32]int{}, maxGrowing
	for _, p := range t.Partitions {
		for _, id := range p.Replicas {
			held[id]++
		}
		first[p.Replicas[0]]++
		if p.Moving() {
			room--
		}
	}
	out := map[int32][]int32{}
	for i, p := range t.Partitions {
		if len(out) >= room {
			break
		}
		if p.Moving() || len(p.Replicas) >= w.factor || p.Leader < 0 {
			continue
		}
		to := slices.Clone(p.Replicas)
		racks := racksOf(alive, to)
		for len(to) < w.factor {
			b := slices.MinFunc(without(alive, to), func(a, b *meta.Broker) int {
				return cmp.Or(int(bit(racks[rackOf(a)])-bit(racks[rackOf(b)])), held[a.ID]-held[b.ID])
			})
			to = append(to, b.ID)
			racks[rackOf(b)] = true
			held[b.ID]++
		}
		lead := slices.MinFunc(to, func(a, b int32) int { return first[a] - first[b] })
		first[p.Replicas[0]]--
		first[lead]++
		at := slices.Index(to, lead)
		to[0], to[at] = to[at], to[0]
		out[int32(i)] = to
	}
	return out
}

func racksOf(brokers []*meta.Broker, ids []int32) map[string]bool {
	racks := map[string]bool{}
	for _, b := range brokers {
		if slices.Contains(ids, b.ID) {
			racks[rackOf(b)] = true
		}
	}
	return racks
}

func rackOf(b *meta.Broker) string {
	if b.Rack == nil {
		return ""
	}
	return "r" + *b.Rack
}

// insyncConfig is min.insync.replicas as it is set at a topic, 0 where it is not.
func insyncConfig(im *meta.Image, topic string) int {
	n, err := strconv.Atoi(im.Configs(meta.Resource{Type: meta.ResourceTopic, Name: topic})["min.insync.replicas"])
	if err != nil {
		return 0
	}
	return n
}

func without(brokers []*meta.Broker, ids []int32) []*meta.Broker {
	return slices.DeleteFunc(slices.Clone(brokers), func(b *meta.Broker) bool { return slices.Contains(ids, b.ID) })
}

// growTopics carries out what growth finds until ctx ends.
func (n *Node) growTopics(ctx context.Context) error {
	g := &growth{id: n.api.NodeID}
	tick := time.NewTicker(growthTick)
	defer tick.Stop()
	wanted := func() []wantedTopic { return wantedTopics(n.live.Load().live.Broker()) }
	for {
		for _, do := range g.look(n.image(), n.clock.Now(), wanted) {
			err := n.grow(do)
			if errors.Is(err, kerr.ClusterAuthorizationFailed) || errors.Is(err, kerr.TopicAuthorizationFailed) {
				err = fmt.Errorf("%w; principals of brokers need ALTER on the cluster and ALTER_CONFIGS on the topic, which super.users have", err)
			}
			if err != nil && ctx.Err() == nil {
				n.log.Warn("an internal topic does not get the replicas that are configured", "topic", do.topic, "err", err)
				pause(ctx, growthPause)
				break
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (n *Node) grow(do grown) error {
	if do.minInsync > 0 {
		n.log.Info("min.insync.replicas of an internal topic is raised: there are brokers for it", "topic", do.topic, "to", do.minInsync)
		return n.api.SetMinInsync(do.topic, do.minInsync)
	}
	n.log.Info("an internal topic gets the replicas that are configured: there are brokers for them", "topic", do.topic,
		"partitions", len(do.replicas), "replicas", len(do.replicas[slices.Min(slices.Collect(maps.Keys(do.replicas)))]))
	return n.api.Reassign(do.topic, do.replicas)
}
