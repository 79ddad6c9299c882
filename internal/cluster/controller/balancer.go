package controller

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/logstead/logstead/internal/cluster/balance"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// balanceTick is how often the balancer looks while it is switched on, balanceIdle while it is not.
const (
	balanceTick = time.Second
	balanceIdle = 30 * time.Second
)

// balancer is the shell of balancing: it asks it what is to be done, makes the plans beside the controller's
// goroutine, and has the Machine carry them out.
type balancer struct {
	c    *Controller
	wake chan struct{} // capacity 1: the configuration has changed

	byHand bool // StepBalance has had something begun that has not ended

	mu struct {
		sync.Mutex
		b        *balancing
		settings balanceSettings
		read     *meta.Image // that the settings were read from
		epoch    int32       // of the term that b is about
	}
	hand struct { // apart from mu: it is locked on the controller's goroutine
		sync.Mutex
		moved map[balance.Key]time.Time
	}
}

func newBalancer(c *Controller) *balancer {
	b := &balancer{c: c, wake: make(chan struct{}, 1)}
	b.mu.b, b.mu.epoch = newBalancing(), -1
	b.hand.moved = map[balance.Key]time.Time{}
	return b
}

// movedByHand is Config.MovedByHand.
func (b *balancer) movedByHand(k balance.Key) {
	b.hand.Lock()
	defer b.hand.Unlock()
	b.hand.moved[k] = b.c.opts.Clock.Now()
}

// TakeLoads takes in a report of what a broker's partitions carry, as balance.Report encodes it.
func (c *Controller) TakeLoads(body []byte) error {
	r, err := balance.ReadReport(body)
	if err != nil {
		return err
	}
	c.balancer.mu.Lock()
	defer c.balancer.mu.Unlock()
	c.balancer.mu.b.traffic.Take(c.opts.Clock.Now(), r)
	return nil
}

// run balances until ctx ends.
func (b *balancer) run(ctx context.Context) {
	b.c.Subscribe(func(old, now *meta.Image, _ meta.Delta) {
		broker := meta.Resource{Type: meta.ResourceBroker}
		if !maps.Equal(old.Configs(broker), now.Configs(broker)) {
			select {
			case b.wake <- struct{}{}:
			default:
			}
		}
	})
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		case <-b.wake:
		}
		look.Reset(b.turn(func(op func(*Machine) []kmsg.Record, done func(error)) {
			err := b.c.Await(ctx, func(m *Machine) ([]kmsg.Record, error) { return op(m), nil })
			if err == nil || ctx.Err() == nil {
				done(err)
			}
		}))
	}
}

// carry has the Machine carry out an operation, and tells how that ended.
type carry func(op func(*Machine) []kmsg.Record, done func(error))

// turn does what is to be done now, and says when to look again.
func (b *balancer) turn(by carry) time.Duration {
	im, now := b.c.Image(), b.c.opts.Clock.Now()
	b.mu.Lock()
	s := b.settingsLocked(im)
	wait := min(balanceTick, s.Interval)
	if !s.Enabled {
		wait = balanceIdle
	}
	id, epoch := b.c.Leader()
	if epoch != b.mu.epoch {
		b.mu.epoch = epoch
		b.mu.b.begin()
	}
	if id != b.c.opts.Config.NodeID {
		b.mu.Unlock()
		return wait
	}
	b.takeHandLocked()
	was, overridden := b.mu.b.state, b.mu.b.counts.Overridden
	t := b.mu.b.look(now, im, &s)
	b.tellLocked(was, overridden)
	if len(b.mu.b.moving) > 0 {
		wait = min(balanceTick, s.Interval) // to the end of what goes on, also when it is switched off
	}
	b.mu.Unlock()
	switch {
	case t.finish:
		b.finish(by, t.ended)
		wait = 0
	case t.plan != nil:
		if b.round(by, t.plan, &s) {
			wait = min(balanceTick, s.Interval)
		}
	}
	return wait
}

// settingsLocked are the settings as of an image.
func (b *balancer) settingsLocked(im *meta.Image) balanceSettings {
	if b.mu.read != im {
		cfg := &b.c.opts.Config
		b.mu.settings = newBalanceSettings(conf.NewLive(cfg.Static, im.Configs(meta.Resource{Type: meta.ResourceBroker}),
			im.Configs(meta.Resource{Type: meta.ResourceBroker, Name: fmt.Sprint(cfg.NodeID)})))
		b.mu.read = im
	}
	return b.mu.settings
}

func (b *balancer) takeHandLocked() {
	b.hand.Lock()
	defer b.hand.Unlock()
	for k, at := range b.hand.moved {
		b.mu.b.byHand(at, k)
	}
	clear(b.hand.moved)
}

// tellLocked logs what has changed.
func (b *balancer) tellLocked(was string, overridden int64) {
	st := b.mu.b
	if st.state != was {
		b.c.opts.Logger.Info("balancing", "state", st.state)
	}
	if n := st.counts.Overridden - overridden; n > 0 {
		b.c.opts.Logger.Info("balancing gives way: partitions that it was moving were cancelled or moved elsewhere",
			"partitions", n, "left_alone_for", handHold.String())
	}
}

// finish ends a round. Where that cannot be written, the next look finds it to be done again, or another
// controller does.
func (b *balancer) finish(by carry, ended []balance.Key) {
	by(func(m *Machine) []kmsg.Record { return m.EndBalance(ended) }, func(err error) {
		if err != nil {
			b.c.opts.Logger.Warn("balancing could not end its round", "err", err)
		}
	})
}

// round plans and begins a round; false says that there is nothing to do.
func (b *balancer) round(by carry, st *balance.State, s *balanceSettings) bool {
	moves := balance.Balance(*st, s.Options)
	off := st.Deviation(s.Options)
	b.mu.Lock()
	was := b.mu.b.state
	b.mu.b.planned(b.c.opts.Clock.Now(), s, off, len(moves))
	b.tellLocked(was, b.mu.b.counts.Overridden)
	b.mu.Unlock()
	if len(moves) == 0 {
		return false
	}
	var begun []balance.Move
	by(func(m *Machine) (records []kmsg.Record) {
		records, begun = m.BeginBalance(moves, s.Throttle)
		return records
	}, func(err error) {
		if err != nil { // as others then: what was begun all the same is found to be under way
			b.c.opts.Logger.Warn("balancing could not begin a round", "moves", len(moves), "err", err)
			return
		}
		b.began(s, begun)
	})
	return true
}

// began notes what the Machine has begun of a round.
func (b *balancer) began(s *balanceSettings, begun []balance.Move) {
	for _, mv := range begun {
		b.c.opts.Logger.Info("balancing moves a partition", "partition", fmt.Sprintf("%s-%d", mv.Topic, mv.Partition),
			"from", fmt.Sprint(mv.From), "to", fmt.Sprint(mv.To), "copy_bytes", mv.CopyBytes(), "why", mv.Why)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.b.began(b.c.opts.Clock.Now(), s, b.c.Image(), begun)
}

// BalanceStatus is what there is to say about balancing.
type BalanceStatus struct {
	Enabled    bool               `json:"enabled"`
	Controller int32              `json:"controller"`
	State      string             `json:"state"`
	Goals      []string           `json:"goals"`
	Deviation  map[string]float64 `json:"deviation"` // of the broker farthest from the mean, as a share, by goal
	Moving     []BalanceMove      `json:"moving"`
	Held       int                `json:"left_alone"` // partitions that somebody else has moved
	BalanceCounts
	Brokers []BalanceBroker `json:"brokers"`
}

// BalanceMove is one move that is under way.
type BalanceMove struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	From      []int32 `json:"from"`
	To        []int32 `json:"to"`
	Bytes     int64   `json:"copy_bytes"`
	Why       string  `json:"why"`
}

// BalanceBroker is what a broker holds and carries, as reported.
type BalanceBroker struct {
	ID          int32 `json:"broker"`
	Bytes       int64 `json:"bytes"`
	In          int64 `json:"bytes_in_per_second"`
	Out         int64 `json:"bytes_out_per_second"`
	Replicas    int   `json:"replicas"`
	Leaders     int   `json:"preferred_leaders"`
	DiskBytes   int64 `json:"disk_bytes"`
	FreeBytes   int64 `json:"free_bytes"`
	Closed      bool  `json:"takes_no_replicas"`
	ReportAgeMs int64 `json:"report_age_ms"` // -1 for none
}

// Balance says what balancing does. Only the active controller knows.
func (c *Controller) Balance() BalanceStatus {
	b, im, now := c.balancer, c.Image(), c.opts.Clock.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	s, x := b.settingsLocked(im), b.mu.b
	st := x.cluster(now, im, &s)
	out := BalanceStatus{
		Enabled: s.Enabled, Controller: c.opts.Config.NodeID, State: x.state, Held: len(x.held), BalanceCounts: x.counts,
		Deviation: map[string]float64{},
	}
	for _, g := range s.Options.Goals {
		out.Goals = append(out.Goals, g.String())
	}
	for g, d := range st.Deviation(s.Options) {
		out.Deviation[g.String()] = d
	}
	for _, m := range x.moving {
		out.Moving = append(out.Moving, BalanceMove{m.Topic, m.Partition, m.From, m.To, m.CopyBytes(), m.Why})
	}
	slices.SortFunc(out.Moving, func(a, b BalanceMove) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	closed := map[int32]bool{}
	for _, br := range st.Brokers {
		closed[br.ID] = br.Closed
	}
	for _, l := range st.Loads() {
		v, ok := x.traffic.Volume(l.Broker)
		bb := BalanceBroker{
			ID: l.Broker, Bytes: l.Bytes, In: l.In, Out: l.Out, Replicas: l.Replicas, Leaders: l.Leaders,
			DiskBytes: v.DiskBytes, FreeBytes: v.FreeBytes, Closed: closed[l.Broker], ReportAgeMs: -1,
		}
		if ok {
			bb.ReportAgeMs = now.Sub(v.At).Milliseconds()
		}
		out.Brokers = append(out.Brokers, bb)
	}
	return out
}

// BalanceSummary is the part of the status that costs nothing: for metrics.
type BalanceSummary struct {
	Enabled   bool
	Moving    int
	Deviation map[balance.Goal]float64 // as of the last plan
	Counts    BalanceCounts
}

// BalanceSummary says in short what balancing does.
func (c *Controller) BalanceSummary() BalanceSummary {
	b := c.balancer
	b.mu.Lock()
	defer b.mu.Unlock()
	return BalanceSummary{b.settingsLocked(c.Image()).Enabled, len(b.mu.b.moving), maps.Clone(b.mu.b.off), b.mu.b.counts}
}

// Loads is the traffic of each partition, by topic: partition, bytes, bytes in and bytes out a second.
func (c *Controller) Loads() map[string][][4]int64 {
	b, im, out := c.balancer, c.Image(), map[string][][4]int64{}
	b.mu.Lock()
	defer b.mu.Unlock()
	for t := range im.Topics() {
		for i := range t.Partitions {
			if l, ok := b.mu.b.traffic.Load(balance.Key{Topic: t.ID, Partition: int32(i)}); ok {
				out[t.Name] = append(out[t.Name], [4]int64{int64(i), l.Bytes, l.In, l.Out})
			}
		}
	}
	return out
}
