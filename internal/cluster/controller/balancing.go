package controller

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/logstead/logstead/internal/cluster/balance"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/conf"
)

// balanceSettings are logstead.balance.*.
type balanceSettings struct {
	Enabled  bool
	Interval time.Duration
	Report   time.Duration
	Excluded []string
	Throttle int64 // bytes a second, 0 for none
	Options  balance.Options
}

// Loads below which a broker counts as if it had this much: a cluster that does next to nothing is not stirred.
const (
	floorBytes = 1 << 30
	floorRate  = 1 << 20 // a second
	maxSwaps   = 100     // changes of preferred leaders in one round
)

func newBalanceSettings(l *conf.Live) balanceSettings {
	s := balanceSettings{
		Enabled: l.Bool("logstead.balance.enable"), Interval: l.Duration("logstead.balance.interval.ms"),
		Report: l.Duration("logstead.balance.report.interval.ms"), Excluded: l.List("logstead.balance.exclude.topics"),
		Throttle: l.Long("logstead.balance.throttle.bytes.per.second"),
		Options: balance.Options{
			Goals: []balance.Goal{}, Tolerance: float64(l.Int("logstead.balance.tolerance.percent")) / 100,
			MinGain: float64(l.Int("logstead.balance.min.gain.percent")) / 100, FloorBytes: floorBytes, FloorRate: floorRate,
			MaxMoves: int(l.Int("logstead.balance.max.moves")), MaxSwaps: maxSwaps,
		},
	}
	for _, name := range l.List("logstead.balance.goals") {
		if g, ok := balance.ParseGoal(name); ok {
			s.Options.Goals = append(s.Options.Goals, g)
		}
	}
	s.Options.NoLeaders = !slices.Contains(s.Options.Goals, balance.Leaders)
	return s
}

func (s *balanceSettings) excludes(topic string) bool {
	return slices.ContainsFunc(s.Excluded, func(pattern string) bool {
		ok, err := path.Match(pattern, topic)
		return ok || err != nil && pattern == topic
	})
}

// handHold is for how long balancing leaves a partition alone that somebody else has moved.
const handHold = time.Hour

// loadExpiry is after how many reports that did not come what a broker told is forgotten.
const loadExpiry = 4

// balancing decides when a round of moves begins and what it may touch, while its node is the active
// controller. It is pure: who calls it makes the plans and has the Machine carry them out.
//
// A round is a few moves. The next begins when all of them have ended, and none while somebody else moves
// partitions, a broker is fenced or stopping, or a partition has no leader or a replica out of sync.
type balancing struct {
	traffic *balance.Traffic
	moving  map[balance.Key]balance.Move // what the round that goes on has begun
	done    []balance.Key                // of the round, what has ended as it was to
	held    map[balance.Key]time.Time    // when somebody else moved what is left alone
	next    time.Time                    // when to look again
	fresh   bool                         // nothing of the cluster was looked at in this term yet
	state   string                       // for a person
	off     map[balance.Goal]float64     // how uneven the cluster was found
	counts  BalanceCounts
}

// BalanceCounts are what balancing has done since this node is the active controller.
type BalanceCounts struct {
	Rounds     int64 `json:"rounds"`
	Moves      int64 `json:"moves"` // partitions that were copied to other brokers
	Swaps      int64 `json:"leader_changes"`
	Bytes      int64 `json:"copied_bytes"`
	Overridden int64 `json:"overridden"` // moves that somebody else ended or changed
}

func newBalancing() *balancing {
	return &balancing{
		traffic: balance.NewTraffic(), moving: map[balance.Key]balance.Move{}, held: map[balance.Key]time.Time{}, fresh: true, state: balanceOff,
	}
}

// The states.
const (
	balanceOff  = "off"
	balanceEven = "even"
)

// begin forgets what belongs to an earlier term; what brokers have reported stays.
func (b *balancing) begin() {
	traffic := b.traffic
	*b = *newBalancing()
	b.traffic = traffic
}

// byHand notes that somebody else has moved a partition.
func (b *balancing) byHand(now time.Time, k balance.Key) { b.held[k] = now }

// turn is what is to be done now.
type turn struct {
	finish bool           // the round has ended: elect its leaders, take its throttles off
	ended  []balance.Key  // what was moved in it
	plan   *balance.State // make a plan for it
}

// look takes in how far the round is and says what is to be done.
func (b *balancing) look(now time.Time, im *meta.Image, s *balanceSettings) turn {
	throttled := len(throttledByBalance(im)) > 0
	if !s.Enabled && len(b.moving) == 0 && !throttled && len(b.done) == 0 {
		b.state, b.off = balanceOff, nil
		return turn{}
	}
	others := b.settle(now, im)
	if len(b.moving) == 0 && others == 0 && (throttled || len(b.done) > 0) {
		slices.SortFunc(b.done, func(x, y balance.Key) int {
			return cmp.Or(bytes.Compare(x.Topic[:], y.Topic[:]), cmp.Compare(x.Partition, y.Partition))
		})
		t := turn{finish: true, ended: b.done}
		b.done = nil
		return t
	}
	switch {
	case !s.Enabled:
		b.state = balanceOff
		return turn{}
	case len(b.moving) > 0:
		b.state = fmt.Sprintf("moving %d partitions", len(b.moving))
		return turn{}
	case now.Before(b.next):
		return turn{}
	}
	if why := b.waitsFor(now, im, s, others); why != "" {
		b.state, b.next = "waiting: "+why, now.Add(min(s.Interval, time.Second))
		return turn{}
	}
	st := b.cluster(now, im, s)
	return turn{plan: &st}
}

// settle compares the moves with the image. It notes those that have ended, and what somebody else moves; others
// is how many partitions that are.
func (b *balancing) settle(now time.Time, im *meta.Image) (others int) {
	if b.fresh {
		b.inherit(im)
		b.fresh = false
	}
	for t := range im.Topics() {
		for i, p := range t.Partitions {
			if !p.Moving() {
				continue
			}
			k := balance.Key{Topic: t.ID, Partition: int32(i)}
			m, ours := b.moving[k]
			if ours && slices.Equal(without(p.Replicas, p.Removing...), m.To) {
				continue
			}
			b.held[k] = now
			others++
			if ours {
				delete(b.moving, k)
				b.counts.Overridden++
			}
		}
	}
	for k, m := range b.moving {
		p := partitionOf(im, k)
		switch {
		case p == nil:
			delete(b.moving, k)
		case p.Moving():
		case slices.Equal(p.Replicas, m.To):
			delete(b.moving, k)
			b.done = append(b.done, k)
			b.counts.Bytes += m.CopyBytes()
		default: // cancelled, or moved elsewhere and arrived
			delete(b.moving, k)
			b.held[k] = now
			b.counts.Overridden++
		}
	}
	return others
}

// inherit takes over the round of an earlier controller. Its moves are known by the throttle that it set for them;
// what it moved without one is taken for somebody else's.
func (b *balancing) inherit(im *meta.Image) {
	marks := throttledByBalance(im)
	for t := range im.Topics() {
		if !slices.Contains(marks, topicMark(t.Name)) {
			continue
		}
		copied := strings.Split(im.Configs(meta.Resource{Type: meta.ResourceTopic, Name: t.Name})[followerReplicas], ",")
		for i, p := range t.Partitions {
			k := balance.Key{Topic: t.ID, Partition: int32(i)}
			_, held := b.held[k]
			notCopied := func(id int32) bool { return !slices.Contains(copied, throttledReplica(k.Partition, id)) }
			if held || len(p.Adding) == 0 || slices.ContainsFunc(p.Adding, notCopied) {
				continue
			}
			load, _ := b.traffic.Load(k)
			b.moving[k] = balance.Move{
				Topic: t.Name, Partition: k.Partition, From: without(p.Replicas, p.Adding...), To: without(p.Replicas, p.Removing...),
				Bytes: load.Bytes, Why: "begun by an earlier controller",
			}
		}
	}
}

func partitionOf(im *meta.Image, k balance.Key) *meta.Partition {
	t := im.TopicByID(k.Topic)
	if t == nil || int(k.Partition) >= len(t.Partitions) {
		return nil
	}
	return t.Partitions[k.Partition]
}

// waitsFor is why no round begins, empty if one may.
func (b *balancing) waitsFor(now time.Time, im *meta.Image, s *balanceSettings, others int) string {
	if others > 0 {
		return fmt.Sprintf("%d partitions are being moved by others", others)
	}
	for _, br := range im.Brokers() {
		switch v, ok := b.traffic.Volume(br.ID); {
		case br.Fenced:
			return fmt.Sprintf("broker %d is fenced", br.ID)
		case br.InControlledShutdown:
			return fmt.Sprintf("broker %d is stopping", br.ID)
		case !ok || !v.Rated || now.Sub(v.At) > loadExpiry*s.Report:
			return fmt.Sprintf("broker %d has not reported what its partitions carry", br.ID)
		}
	}
	for _, name := range im.TopicNames() {
		for i, p := range im.Topic(name).Partitions {
			switch {
			case p.Leader == noLeader:
				return fmt.Sprintf("partition %s-%d has no leader", name, i)
			case len(p.ISR) < len(p.Replicas):
				return fmt.Sprintf("partition %s-%d has replicas %v and only %v in sync", name, i, p.Replicas, p.ISR)
			}
		}
	}
	return ""
}

// cluster is the state that is planned for.
func (b *balancing) cluster(now time.Time, im *meta.Image, s *balanceSettings) balance.State {
	b.traffic.Forget(now.Add(-loadExpiry * s.Report))
	maps.DeleteFunc(b.held, func(_ balance.Key, at time.Time) bool { return now.Sub(at) > handHold })
	var st balance.State
	for _, br := range im.Brokers() {
		v, _ := b.traffic.Volume(br.ID)
		room, full := v.Room()
		p := balance.Broker{ID: br.ID, Closed: full || br.Fenced || br.InControlledShutdown || br.Cordoned(), Room: room}
		if br.Rack != nil {
			p.Rack = *br.Rack
		}
		st.Brokers = append(st.Brokers, p)
	}
	for t := range im.Topics() {
		excluded := s.excludes(t.Name)
		for i, p := range t.Partitions {
			k := balance.Key{Topic: t.ID, Partition: int32(i)}
			_, held := b.held[k]
			load, known := b.traffic.Load(k)
			st.Partitions = append(st.Partitions, balance.Partition{
				Topic: t.Name, Partition: int32(i), Replicas: p.Replicas, Bytes: load.Bytes, In: load.In, Out: load.Out,
				Fixed: excluded || held || !known || p.Leader == noLeader || p.Moving(),
			})
		}
	}
	slices.SortFunc(st.Partitions, func(x, y balance.Partition) int {
		return cmp.Or(strings.Compare(x.Topic, y.Topic), cmp.Compare(x.Partition, y.Partition))
	})
	return st
}

// planned takes in a plan: what it has found, and whether there is anything to do.
func (b *balancing) planned(now time.Time, s *balanceSettings, off map[balance.Goal]float64, moves int) {
	if b.off = off; moves == 0 {
		b.state, b.next = balanceEven, now.Add(s.Interval)
	}
}

// began takes in which moves of a plan the Machine has begun.
func (b *balancing) began(now time.Time, s *balanceSettings, im *meta.Image, moves []balance.Move) {
	if len(moves) == 0 { // the cluster has changed meanwhile
		b.next = now.Add(min(s.Interval, time.Second))
		return
	}
	b.counts.Rounds++
	for _, m := range moves {
		t := im.Topic(m.Topic)
		if t == nil {
			continue
		}
		if len(m.Adding()) == 0 {
			b.counts.Swaps++
			continue
		}
		b.moving[balance.Key{Topic: t.ID, Partition: m.Partition}] = m
		b.counts.Moves++
	}
	b.state = fmt.Sprintf("moving %d partitions", len(b.moving))
}
