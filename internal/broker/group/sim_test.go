package group

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
)

// start is where the virtual clock of every test begins.
var start = time.UnixMilli(1_700_000_000_000).UTC()

// fakeTopics is a set of topics that tests change. Each change makes a new version.
type fakeTopics struct {
	version int64
	byName  map[string]Topic
}

func (f *fakeTopics) set(name string, partitions int32) Topic {
	byName := map[string]Topic{}
	for k, v := range f.byName {
		byName[k] = v
	}
	t, ok := byName[name]
	f.version++
	if !ok {
		t = Topic{Name: name, ID: base.TopicID{0: byte(f.version), 15: name[0]}}
	}
	old := t
	t.Partitions = partitions
	byName[name] = t
	if partitions == 0 {
		delete(byName, name)
	}
	f.byName = byName
	return old
}

func (f *fakeTopics) snapshot() Topics { c := *f; return &c }

func (f *fakeTopics) Version() int64 { return f.version }

func (f *fakeTopics) ByName(name string) (Topic, bool) { t, ok := f.byName[name]; return t, ok }

func (f *fakeTopics) ByID(id base.TopicID) (Topic, bool) {
	for _, t := range f.byName {
		if t.ID == id {
			return t, true
		}
	}
	return Topic{}, false
}

func (f *fakeTopics) Names() iter.Seq[string] { return slices.Values(sortedKeys(f.byName)) }

func (f *fakeTopics) Racks(base.TopicID, int32) []string { return nil }

// logEntry is one record or marker of a shard's log.
type logEntry struct {
	txn    coord.Txn
	rec    coord.Record
	marker *coord.Marker
}

// waiting is what waits for the log up to an offset to be committed.
type waiting struct {
	until int
	done  []func(error)
}

// shell does for one machine what package coord does for all, one step at a time.
type shell struct {
	opts   Options
	m      *Machine
	now    time.Time
	next   time.Time
	log    []logEntry
	shown  int // how much of the log has been printed
	topics *fakeTopics
	ids    int

	held    bool // appends are not committed until release
	stored  int  // how much of the log is committed
	queue   []waiting
	failure *kerr.Error // what the next append answers
	ticks   int
}

func newShell(change func(*Config)) *shell {
	s := &shell{now: start, topics: &fakeTopics{byName: map[string]Topic{}}}
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	s.opts = Options{
		Config: cfg,
		Topics: s.topics.snapshot,
		NewID:  func() string { s.ids++; return fmt.Sprintf("u%d", s.ids) },
	}
	s.load()
	return s
}

// load starts a machine from the log.
func (s *shell) load() {
	s.m = s.replayed()
	s.do(func() coord.Result { return s.m.Loaded(s.now) })
}

// replayed is a new machine that has seen the whole log.
func (s *shell) replayed() *Machine {
	m := New(s.opts)
	for i, e := range s.log {
		if e.marker != nil {
			m.ReplayMarker(e.marker.Txn, e.marker.Commit)
			continue
		}
		if err := m.Replay(int64(i), e.txn, e.rec); err != nil {
			panic(err)
		}
	}
	return m
}

// restart fails over to a machine that has only the log.
func (s *shell) restart() {
	old := s.queue
	s.queue = nil
	s.m.Unload(kerr.NotCoordinator)
	for _, w := range old {
		for _, fn := range w.done {
			fn(kerr.NotCoordinator)
		}
	}
	s.load()
}

// lose fails over to a machine that has only what was committed.
func (s *shell) lose() {
	s.log = s.log[:s.stored]
	s.restart()
}

// do runs one input and everything that is due after it.
func (s *shell) do(op func() coord.Result) {
	s.take(op())
	s.tick()
}

func (s *shell) take(r coord.Result) {
	if err := s.append(r); err != nil {
		for _, fn := range r.Done {
			fn(err)
		}
		return
	}
	if len(r.Done) > 0 {
		s.queue = append(s.queue, waiting{len(s.log), r.Done})
	}
	if !s.held {
		s.release()
	}
}

func (s *shell) append(r coord.Result) error {
	if s.failure != nil && len(r.Records) > 0 {
		err := s.failure
		s.failure = nil
		return err
	}
	txn := coord.NoTxn
	if r.Txn != nil {
		txn = *r.Txn
	}
	for _, rec := range r.Records {
		at := int64(len(s.log))
		s.log = append(s.log, logEntry{txn: txn, rec: rec})
		if err := s.m.Replay(at, txn, rec); err != nil {
			panic(err)
		}
	}
	if r.Marker != nil {
		s.log = append(s.log, logEntry{marker: r.Marker})
		s.m.ReplayMarker(r.Marker.Txn, r.Marker.Commit)
	}
	return nil
}

// release commits everything that was appended.
func (s *shell) release() {
	s.stored = len(s.log)
	for len(s.queue) > 0 {
		w := s.queue[0]
		s.queue = s.queue[1:]
		for _, fn := range w.done {
			fn(nil)
		}
	}
}

func (s *shell) tick() {
	for n := 0; ; n++ {
		r, next := s.m.Tick(s.now)
		s.ticks++
		s.take(r)
		s.next = next
		if next.IsZero() || next.After(s.now) {
			return
		}
		if n > 100_000 {
			panic("group: Tick never finishes")
		}
	}
}

// advance moves the clock, stopping at each deadline on the way.
func (s *shell) advance(d time.Duration) {
	end := s.now.Add(d)
	for !s.next.IsZero() && !s.next.After(end) {
		if s.next.After(s.now) {
			s.now = s.next
		}
		s.tick()
	}
	s.now = end
	s.tick()
}

// dump is everything that follows from the log, as text.
func dump(m *Machine) string {
	var b strings.Builder
	for _, id := range sortedKeys(m.groups) {
		switch g := m.groups[id].(type) {
		case *classicGroup:
			dumpClassic(&b, g)
		case *consumerGroup:
			dumpConsumer(&b, g)
		}
	}
	for _, id := range sortedKeys(m.offsets.groups) {
		m.offsets.groups[id].all(func(tp base.TopicPartition, c *commit) {
			fmt.Fprintf(&b, "offset %s %s %+v\n", id, tp, *c)
		})
	}
	for _, producer := range sortedKeys(m.offsets.pending) {
		for _, id := range sortedKeys(m.offsets.pending[producer]) {
			m.offsets.pending[producer][id].all(func(tp base.TopicPartition, c *commit) {
				fmt.Fprintf(&b, "pending %d %s %s %+v open=%d\n", producer, id, tp, *c, len(m.offsets.open[id][tp]))
			})
		}
	}
	return b.String()
}

func dumpClassic(b *strings.Builder, g *classicGroup) {
	if g.saved == nil {
		fmt.Fprintf(b, "classic %s simple\n", g.id)
		return
	}
	v := g.saved
	fmt.Fprintf(b, "classic %s type=%q generation=%d protocol=%s leader=%s since=%d\n",
		g.id, v.ProtocolType, v.Generation, orNil(v.Protocol), orNil(v.Leader), v.CurrentStateTimestamp)
	for _, mv := range v.Members {
		fmt.Fprintf(b, "  %s instance=%s client=%s%s rebalance=%d session=%d subscription=%x assignment=%x\n",
			mv.MemberId, orNil(mv.GroupInstanceId), mv.ClientId, mv.ClientHost, mv.RebalanceTimeout, mv.SessionTimeout,
			mv.Subscription, mv.Assignment)
	}
}

func dumpConsumer(b *strings.Builder, g *consumerGroup) {
	fmt.Fprintf(b, "consumer %s %s epoch=%d hash=%d target=%d@%d static=%v recorded=%v\n",
		g.id, g.stateName(), g.epoch, g.hash, g.targetEpoch, g.targetAt, g.static, g.topicsRecorded)
	for _, id := range sortedKeys(g.members) {
		m := *g.members[id]
		fmt.Fprintf(b, "  %s epoch=%d/%d state=%d instance=%s rack=%s rebalance=%d client=%s%s topics=%v regex=%q "+
			"assignor=%s assigned=%v revoking=%v classic=%v\n", m.id, m.epoch, m.prevEpoch, m.state, orNil(m.instance),
			orNil(m.rack), m.rebalanceMs, m.clientID, m.clientHost, m.topics, m.regex, orNil(m.assignor),
			showEpochs(m.assigned), showEpochs(m.revoking), m.classic != nil)
	}
	for _, id := range sortedKeys(g.target) {
		fmt.Fprintf(b, "  target %s %v\n", id, showAssignment(g.target[id]))
	}
	for _, r := range sortedKeys(g.regexes) {
		fmt.Fprintf(b, "  regex %s %+v\n", r, *g.regexes[r])
	}
	fmt.Fprintf(b, "  owners=%v wanted=%v regexes=%v assignors=%v classics=%d offered=%v\n",
		showEpochs(g.owners), g.wanted, g.regexSubs, g.assignors, g.classics, g.offered)
}

func showEpochs(e epochs) string {
	var out []string
	a := e.plain()
	for _, t := range a.topics() {
		for _, p := range a[t] {
			out = append(out, fmt.Sprintf("%s-%d@%d", topicLabel(t), p, e[t][p]))
		}
	}
	return strings.Join(out, ",")
}

func showAssignment(a assignment) string {
	var out []string
	for _, t := range a.topics() {
		out = append(out, topicLabel(t)+":"+strings.Trim(strings.ReplaceAll(fmt.Sprint(a[t]), " ", ","), "[]"))
	}
	return strings.Join(out, " ")
}

// topicLabel is the first letter of a test topic's name and the version that it was made in.
func topicLabel(id base.TopicID) string { return fmt.Sprintf("%c%d", id[15], id[0]) }

func orNil(s *string) string {
	if s == nil {
		return "<nil>"
	}
	return *s
}

func (o *offsets) count() int {
	n := 0
	for _, topics := range o.groups {
		for _, partitions := range topics {
			n += len(partitions)
		}
	}
	return n
}
