package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/broker/replica"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/cluster/peer"
	"github.com/logstead/logstead/internal/cluster/uplink"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// fetchReconnect is the longest wait before a leader is called again.
const fetchReconnect = 200 * time.Millisecond

// composeReplicas makes what replicates partitions between brokers.
func (n *Node) composeReplicas() {
	n.replication = &partition.Cluster{Eligible: n.eligible, Propose: n.proposeISR}
	n.fetchers = replica.New(replica.Options{
		NodeID: n.api.NodeID, Logger: n.log, Clock: n.clock, BrokerEpoch: n.uplink.Epoch,
		Limits: n.fetchLimits, Leader: n.leaderOf,
		Throttle:  n.throttles.follower,
		PerLeader: func() int { return int(n.live.Load().live.Int("num.replica.fetchers")) },
	})
}

func (n *Node) fetchLimits() replica.Limits {
	l := n.live.Load().live
	return replica.Limits{
		MaxWait: l.Duration("replica.fetch.wait.max.ms"), Backoff: l.Duration("replica.fetch.backoff.ms"),
		MinBytes: l.Int("replica.fetch.min.bytes"), MaxBytes: l.Int("replica.fetch.response.max.bytes"),
		MaxPartitionBytes: l.Int("replica.fetch.max.bytes"),
	}
}

// leaderLine is the way to a broker that leads what this one follows.
type leaderLine struct{ c *peer.Client }

func (n *Node) leaderOf(id int32) replica.Leader {
	return leaderLine{peer.New(peer.Options{
		Address: func() (string, error) { return n.brokerAddress(id) }, Dial: n.dialBroker, Logger: n.log,
		ClientID:       fmt.Sprintf("broker-%d-fetcher-%d", n.api.NodeID, id),
		RequestTimeout: n.live.Load().live.Duration("replica.socket.timeout.ms"), BackoffMax: fetchReconnect,
		Lone: true, // a fetcher's loop has one request under way, and is done with an answer before the next
	})}
}

func (l leaderLine) Fetch(ctx context.Context, req *kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
	return peer.Request[kmsg.FetchResponse](ctx, l.c, req)
}

func (l leaderLine) ListOffsets(ctx context.Context, req *kmsg.ListOffsetsRequest) (*kmsg.ListOffsetsResponse, error) {
	return peer.Request[kmsg.ListOffsetsResponse](ctx, l.c, req)
}

func (l leaderLine) Close() { l.c.Close() }

// openTopic makes the replicas of a topic that are to be here and are not yet, lets go of those that are to
// be here no longer, and gives their role to those of whom the metadata says something new. old is
// the topic as it was; nil for one that was just created.
func (n *Node) openTopic(im *meta.Image, t, old *meta.Topic) {
	was := n.parts.Topic(t.Name)
	topic := &partition.Topic{Name: t.Name, ID: t.ID, Parts: make([]*partition.Partition, len(t.Partitions))}
	if was != nil && was.ID == t.ID {
		copy(topic.Parts, was.Parts)
	}
	var gone []*partition.Partition
	for i, mp := range t.Partitions {
		switch p := topic.Parts[i]; {
		case slices.Contains(mp.Replicas, n.api.NodeID):
		case p != nil:
			topic.Parts[i] = nil
			gone = append(gone, p)
		}
	}
	n.openReplicas(im, t, old, topic)
	for i, mp := range t.Partitions {
		if p := topic.Parts[i]; p != nil && (p.LeaderEpoch() < 0 || !sameState(old, i, mp)) {
			n.assume(p, mp)
			n.checkPlace(p, mp)
		}
	}
	n.parts.Put(topic)
	for _, p := range gone {
		n.dropReplica(p)
	}
}

// sameState says whether the metadata has nothing new of a partition.
func sameState(old *meta.Topic, i int, mp *meta.Partition) bool {
	return old != nil && i < len(old.Partitions) && old.Partitions[i] == mp
}

// openReplicas makes the replicas that are missing here.
func (n *Node) openReplicas(im *meta.Image, t, old *meta.Topic, topic *partition.Topic) {
	c := n.live.Load()
	var tc *conf.Topic
	for i, mp := range t.Partitions {
		if topic.Parts[i] != nil || !slices.Contains(mp.Replicas, n.api.NodeID) {
			continue
		}
		if tc == nil {
			tc = c.topicConfig(im, t.Name)
		}
		tp := base.TopicPartition{Topic: t.Name, Partition: int32(i)}
		if _, here := n.store.Log(tp); !here && n.wasHere(old, i) && n.inLostDir(mp) {
			n.log.Error("replica is not served: its log is not in any of the log directories that there are, and others "+
				"are offline; it is not made anew", "topic", t.Name, "partition", i)
			if n.places != nil {
				n.places.put(place{t.ID, int32(i)}, meta.DirLost)
			}
			continue
		}
		if _, here := n.store.Log(tp); !here && mp.Unfound(n.api.NodeID) && !tc.UncleanElection {
			n.log.Error("replica is not served: a log directory is gone, its log is not in any that there are, and it was the last one "+
				"in sync; it is not made anew. Bring the directory back, or elect another replica by an unclean election",
				"topic", t.Name, "partition", i)
			if n.unfound == nil {
				n.unfound = map[base.TopicID]bool{}
			}
			n.unfound[t.ID] = true
			continue
		}
		log, err := n.openLog(tp, t.ID, c.logConfig(t.Name, tc))
		if err != nil {
			n.log.Error("partition cannot be opened", "topic", t.Name, "partition", i, "err", err)
			continue
		}
		p := partition.New(tp, t.ID, log, c.partitionSettings(t.Name, tc))
		p.SetCluster(n.replication)
		topic.Parts[i] = p
	}
}

// openUnfound tries replicas again that are not made anew: an unclean election may be allowed now.
func (n *Node) openUnfound(im *meta.Image) {
	again := n.unfound
	n.unfound = nil
	for id := range again {
		if t := im.TopicByID(id); t != nil {
			n.openTopic(im, t, t) // which notes those that are still not
		}
	}
}

// wasHere says whether this broker had a replica already.
func (n *Node) wasHere(old *meta.Topic, i int) bool {
	return old != nil && i < len(old.Partitions) && slices.Contains(old.Partitions[i].Replicas, n.api.NodeID)
}

// inLostDir says whether the log of a replica may be in a log directory that is offline: unless the metadata names
// one that is not, nobody knows.
func (n *Node) inLostDir(mp *meta.Partition) bool {
	if !slices.ContainsFunc(n.store.Dirs(), func(d storage.DirStatus) bool { return !d.Online }) {
		return false
	}
	i := slices.Index(mp.Replicas, n.api.NodeID)
	return i >= len(mp.Directories) || !slices.Contains(n.onlineDirIDs(), mp.Directories[i])
}

// assume gives a replica the role that the metadata says. A broker that goes on leading in a new epoch goes
// on coordinating too: nobody else has written to the partition.
func (n *Node) assume(p *partition.Partition, mp *meta.Partition) {
	s := partition.State{
		Replicas: mp.Replicas, ISR: mp.ISR, Leader: mp.Leader,
		LeaderEpoch: mp.LeaderEpoch, PartitionEpoch: mp.PartitionEpoch, RecoveryState: mp.RecoveryState,
	}
	if mp.Leader == n.api.NodeID {
		led := p.IsLeader()
		n.unfollow(p)
		if p.MakeLeader(n.api.NodeID, s, n.clock.Now()) && !led {
			n.loadShard(p)
		}
		return
	}
	n.unloadShard(p.TP)
	p.MakeFollower(n.api.NodeID, s)
	if n.fetchers == nil || mp.Leader < 0 {
		n.unfollow(p)
		return
	}
	n.fetchers.Follow(p, mp.Leader, mp.LeaderEpoch)
	if p.Log().Offline() { // looked at last: dirOffline may have run before Follow
		n.unfollow(p)
	}
}

// dirOffline hears that a log directory failed. What this broker led there is to be led elsewhere. What it follows
// there is fetched no more: as long as nothing is written, its leader would find it in sync and wait for it later.
func (n *Node) dirOffline(string, error) {
	for _, p := range n.parts.All() {
		if p.Log().Offline() {
			n.unfollow(p)
		}
	}
	if n.uplink != nil {
		n.uplink.Wake()
	}
}

func (n *Node) unfollow(p *partition.Partition) {
	if n.fetchers != nil {
		n.fetchers.Unfollow(p)
	}
}

// dropReplica lets go of a replica that was moved to other brokers, with its log.
func (n *Node) dropReplica(p *partition.Partition) {
	n.unfollow(p)
	n.unloadShard(p.TP)
	p.Close(kerr.NotLeaderForPartition)
	if err := n.store.Delete(p.TP); err != nil {
		n.log.Error("log of a moved replica cannot be removed", "topic", p.TP.Topic, "partition", p.TP.Partition, "err", err)
	}
}

// eligible says whether a broker may join in-sync sets (partition.Cluster).
func (n *Node) eligible(broker int32, epoch int64) bool {
	b := n.image().Broker(broker)
	return b != nil && !b.Fenced && !b.InControlledShutdown && (epoch < 0 || b.Epoch == epoch)
}

// proposalPause is before a proposal is made again that may or may not have been taken.
const proposalPause = 200 * time.Millisecond

// proposeISR carries a leader's proposal to the controller.
func (n *Node) proposeISR(p *partition.Partition, c partition.ISRChange) {
	ch := uplink.ISRChange{
		Topic: p.TopicID, Partition: p.TP.Partition, LeaderEpoch: c.LeaderEpoch, PartitionEpoch: c.PartitionEpoch,
		RecoveryState: c.RecoveryState,
		Done: func(s uplink.ISRState, err error) {
			p.ISRAnswered(c, partition.ISRState{
				Leader: s.Leader, LeaderEpoch: s.LeaderEpoch, PartitionEpoch: s.PartitionEpoch,
				ISR: s.ISR, RecoveryState: s.RecoveryState,
			}, err)
			if err != nil {
				n.insync.failed.Add(1)
			}
			if err != nil && !awaitsMetadata(err) {
				time.AfterFunc(proposalPause, func() {
					if p.Proposes(c) {
						n.proposeISR(p, c)
					}
				})
			}
		},
	}
	for _, m := range c.ISR {
		epoch := m.Epoch
		if m.ID == n.api.NodeID {
			epoch = n.uplink.Epoch()
		}
		ch.ISR = append(ch.ISR, uplink.ISRMember{ID: m.ID, Epoch: epoch})
	}
	n.uplink.ProposeISR(ch)
}

// awaitsMetadata says of an answer to a proposal that the controller knows something newer, which the
// metadata will tell: to ask again would bring the same.
func awaitsMetadata(err error) bool {
	for _, ke := range []*kerr.Error{
		kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.FencedLeaderEpoch, kerr.InvalidRequest,
		kerr.InvalidUpdateVersion, kerr.NewLeaderElected,
	} {
		if errors.Is(err, ke) {
			return true
		}
	}
	return false
}

// watchISR lets leaders look for followers that have fallen behind, twice in replica.lag.time.max.ms, and says which replicas
// do not come into sync though their brokers are there.
func (n *Node) watchISR(ctx context.Context) error {
	lag := n.live.Load().live.Duration("replica.lag.time.max.ms")
	tick := time.NewTicker(max(lag/2, 10*time.Millisecond))
	defer tick.Stop()
	missing := missingReplicas{log: n.log}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			now := n.clock.Now()
			for _, p := range n.parts.All() {
				p.Tick(now, lag)
				missing.note(p, p.Missing(now, lag))
			}
			missing.tell()
		}
	}
}

// missingReplicas gathers what leaders miss in one round and tells of it when that has changed, and now and then while it has
// not: an operator sees nothing else of a replica that is not fetched, or of a reassignment that does not end.
type missingReplicas struct {
	log    *slog.Logger
	count  int
	sample []string

	told   int // how many the last line was about
	rounds int // since then
}

// missingSample is how many replicas a line names, missingRounds after how many rounds it is repeated.
const (
	missingSample = 3
	missingRounds = 20
)

func (m *missingReplicas) note(p *partition.Partition, list []partition.Missing) {
	m.count += len(list)
	for _, r := range list {
		if len(m.sample) < missingSample {
			m.sample = append(m.sample, fmt.Sprintf("%s on broker %d: %s", p.TP, r.ID, r.Why))
		}
	}
}

// tell ends a round.
func (m *missingReplicas) tell() {
	if m.rounds++; m.count != m.told || m.count > 0 && m.rounds >= missingRounds {
		if m.count > 0 {
			m.log.Warn("replicas of brokers that are there do not come into sync", "replicas", m.count, "first", strings.Join(m.sample, "; "))
		} else {
			m.log.Info("no replica of a broker that is there is missing any more")
		}
		m.told, m.rounds = m.count, 0
	}
	m.count, m.sample = 0, nil
}
