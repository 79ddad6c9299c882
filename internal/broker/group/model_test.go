package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// TestModel lets clients of both protocols join, consume, commit alone and in transactions, leave,
// crash and come back, while topics grow, records cannot be stored and the coordinator moves, at times
// without what was not committed. After every step no partition may be in two hands and no commit may
// be lost or go back; in the end, left alone, every partition has an owner and every transaction ended.
func TestModel(t *testing.T) {
	var steps, commits, txnCommits int
	seeds := uint64(120)
	if testing.Short() {
		seeds = 15
	}
	for seed := range seeds {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			w := newWorld(t, seed)
			for range 250 {
				w.disturb()
				w.step()
			}
			w.settle()
			steps, commits, txnCommits = steps+w.steps, commits+w.commits, txnCommits+w.txnCommits
		})
	}
	t.Logf("%d schedules, %d steps, %d commits, %d transactions with commits", seeds, steps, commits, txnCommits)
	if !t.Failed() && (commits < int(seeds) || txnCommits < int(seeds)) {
		t.Errorf("%d commits and %d transactions in %d schedules show nothing", commits, txnCommits, seeds)
	}
}

// world is one run: a coordinator and its clients.
type world struct {
	t       *testing.T
	r       *rand.Rand
	s       *shell
	clients []*client
	names   int
	// acked is the highest offset that a client was told is committed.
	acked map[base.TopicPartition]int64
	// sent is the highest offset that a client sent outside of a transaction, or in one that is to commit.
	sent map[base.TopicPartition]int64
	calm bool
	txns []*openTxn
	late []func() // commits of classic members that are still on their way
	pids int64

	steps, commits, txnCommits int
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 7)), acked: map[base.TopicPartition]int64{}, sent: map[base.TopicPartition]int64{}}
	w.s = newShell(func(c *Config) {
		c.InitialRebalanceDelay = time.Duration(w.r.IntN(3)) * time.Second
		c.ConsumerAssignmentInterval = time.Duration(w.r.IntN(2)) * time.Second
		if w.r.IntN(2) == 0 {
			c.ConsumerAssignors = []string{AssignorRange, AssignorUniform}
		}
	})
	w.s.topics.set("a", int32(1+w.r.IntN(5)))
	w.s.topics.set("b", int32(1+w.r.IntN(3)))
	return w
}

func (w *world) chance(percent int) bool { return w.r.IntN(100) < percent }

func (w *world) disturb() {
	switch n := w.r.IntN(100); {
	case n < 12 && len(w.clients) < 7:
		w.start(nil)
	case n < 16:
		w.someone(func(c *client) { c.alive = false }) // crashes
	case n < 22:
		w.someone((*client).leave)
	case n < 26:
		w.someone(func(c *client) { // its host restarts it, perhaps upgraded
			if c.instance != nil {
				c.alive = false
				w.start(c.instance)
			}
		})
	case n < 28:
		topic := []string{"a", "b"}[w.r.IntN(2)]
		known, _ := w.s.topics.ByName(topic)
		w.s.topics.set(topic, min(known.Partitions+1, 8))
	case n < 30:
		w.s.restart()
	case n < 31:
		w.s.lose()
	case n < 34:
		w.s.failure = kerr.MessageTooLarge
	case n < 38:
		w.s.held = true
	}
}

func (w *world) someone(f func(*client)) {
	if len(w.clients) > 0 {
		f(w.clients[w.r.IntN(len(w.clients))])
	}
}

// start adds a client. A static one may come back in the other protocol.
func (w *world) start(instance *string) {
	w.names++
	c := &client{w: w, name: "p" + strconv.Itoa(w.names), alive: true, classic: w.chance(50), instance: instance}
	if instance == nil && w.chance(40) {
		in := "i" + strconv.Itoa(w.names)
		c.instance = &in
	}
	c.topics = [][]string{{"a"}, {"a", "b"}, {"a", "b"}, {"b"}}[w.r.IntN(4)]
	c.member = c.name
	if c.classic {
		c.member = ""
	}
	w.clients = append(w.clients, c)
}

func (w *world) step() {
	w.steps++
	w.endSomeTxn()
	if n := len(w.late); n > 0 && w.chance(10) {
		w.late[n-1]()
		w.late = w.late[:n-1]
	}
	for _, c := range slices.Clone(w.clients) {
		if c.alive {
			c.step()
		}
		w.check()
	}
	w.clients = slices.DeleteFunc(w.clients, func(c *client) bool { return !c.alive })
	if w.s.held && w.chance(50) {
		w.s.held = false
		w.s.release()
	}
	w.s.advance(time.Second)
	w.check()
}

// check holds the promises that must be true at any time.
func (w *world) check() {
	owner := map[base.TopicPartition]*client{}
	for _, c := range w.clients {
		for tp := range c.owned {
			if other := owner[tp]; c.alive && other != nil {
				w.t.Fatalf("%s and %s both have %s\n%s", other.name, c.name, tp, dump(w.s.m))
			}
			if c.alive {
				owner[tp] = c
			}
		}
	}
	for tp, offset := range w.sent {
		if c := w.s.m.offsets.get("g", tp); c != nil && c.offset > offset {
			w.t.Fatalf("%s has offset %d, which is only in transactions that did not commit; up to %d was sent", tp, c.offset, offset)
		}
	}
	for tp, offset := range w.acked {
		if c := w.s.m.offsets.get("g", tp); c == nil || c.offset < offset {
			w.t.Fatalf("the commit of %s went back: it was committed at %d, the coordinator has %+v", tp, offset, c)
		}
	}
}

// settle stops all disturbance and waits for the group to come to rest.
func (w *world) settle() {
	w.calm, w.s.held, w.s.failure = true, false, nil
	w.s.release()
	if len(w.clients) == 0 {
		w.start(nil)
	}
	for range 200 {
		w.step()
	}
	has := map[base.TopicPartition]bool{}
	wanted := map[string]bool{}
	for _, c := range w.clients {
		for _, topic := range c.topics {
			wanted[topic] = true
		}
		for tp := range c.owned {
			has[tp] = true
		}
	}
	for topic := range wanted {
		known, _ := w.s.topics.ByName(topic)
		for p := range known.Partitions {
			if tp := (base.TopicPartition{Topic: topic, Partition: p}); !has[tp] {
				w.t.Errorf("nobody has %s in the end; clients %v\n%s", tp, w.clients, dump(w.s.m))
			}
		}
	}
	if n := len(w.s.m.offsets.pending) + len(w.s.m.offsets.open) + len(w.txns); n > 0 {
		w.t.Errorf("%d transactions did not end\n%s", n, dump(w.s.m))
	}
	if g := w.s.m.groups["g"]; g.stateName() != "Stable" {
		w.t.Errorf("the group is %s in the end; clients %v\n%s", g.stateName(), w.clients, dump(w.s.m))
	}
	if live, replayed := dump(w.s.m), dump(w.s.replayed()); live != replayed {
		w.t.Errorf("replay differs from live\nlive:\n%s\nreplayed:\n%s", live, replayed)
	}
}

// client is one consumer process. It has one request under way at a time.
type client struct {
	w        *world
	name     string
	alive    bool
	classic  bool
	instance *string
	topics   []string

	member  string
	epoch   int32 // or generation
	in      bool  // is a member as far as it knows
	waiting bool  // for an answer
	owned   map[base.TopicPartition]int64
	next    func() // what an answer made it want to do

	target assignment // consumer protocol: what it was told to have
	moving bool       // it is on its way there
	full   bool       // it is not sure what the coordinator knows

	txn     *openTxn // the transaction that its commits are part of
	delayed int32    // classic: generation of a commit that is still on its way
}

func (c *client) String() string {
	return fmt.Sprintf("%s(classic=%v instance=%s member=%s epoch=%d in=%v waiting=%v owned=%v topics=%v)",
		c.name, c.classic, orNil(c.instance), c.member, c.epoch, c.in, c.waiting, c.owned, c.topics)
}

func (c *client) context() Context {
	return Context{ClientID: c.name, ClientHost: "/h", Version: map[bool]int16{true: 9, false: 1}[c.classic]}
}

// answer wraps what to do with an answer: nothing if the process is gone.
func answer[T any](c *client, f func(*T)) func(*T) {
	c.waiting = true
	return func(v *T) {
		if !c.waiting {
			c.w.t.Errorf("%s got an answer that it does not wait for", c.name)
		}
		c.waiting = false
		if c.alive {
			f(v)
		}
	}
}

func (c *client) step() {
	switch {
	case c.waiting:
	case c.next != nil:
		do := c.next
		c.next = nil
		do()
	case c.classic && c.in:
		c.heartbeat()
	case c.classic:
		c.join()
	default:
		c.beat()
	}
	c.resolve()
	switch {
	case !c.alive || !c.in || c.waiting:
	case c.txn != nil && !c.w.calm && c.w.chance(50), c.txn == nil && !c.w.calm && c.w.chance(10):
		c.commitTxn()
	case c.w.chance(40):
		c.commit()
	}
}

// drop gives up everything: the coordinator does not know this member any more.
func (c *client) drop() { c.owned, c.target, c.moving, c.in = nil, nil, false, false }

// take makes the client own a, reading where each partition was left.
func (c *client) take(a map[base.TopicPartition]bool) {
	owned := map[base.TopicPartition]int64{}
	for tp := range a {
		at, ok := c.owned[tp]
		if !ok {
			at = unread
		}
		owned[tp] = at
	}
	c.owned = owned
	c.resolve()
}

// unread is the place of a partition whose committed offset has not been read yet.
const unread = -2

// resolve reads where its partitions were left, of those without a commit in an open transaction.
func (c *client) resolve() {
	for tp, at := range c.owned {
		if at != unread || c.w.s.m.offsets.unstable("g", tp) {
			continue
		}
		at = -1
		if k := c.w.s.m.offsets.get("g", tp); k != nil {
			at = k.offset
		}
		if acked, ok := c.w.acked[tp]; ok && at < acked {
			c.w.t.Fatalf("the commit of %s went back: %s starts at %d, but %d was committed", tp, c.name, at, acked)
		}
		c.owned[tp] = at
	}
}

func (c *client) commit() {
	req := kmsg.NewOffsetCommitRequest()
	req.GroupId, req.MemberId, req.GroupInstanceId = "g", c.member, c.instance
	req.GenerationIdOrMemberEpoch = c.epoch
	offsets := map[base.TopicPartition]int64{}
	for tp, at := range c.owned {
		if at == unread {
			continue
		}
		t, _ := c.w.s.topics.ByName(tp.Topic)
		offsets[tp] = at + 1
		c.w.sent[tp] = max(c.w.sent[tp], at+1)
		req.Topics = append(req.Topics, kmsg.OffsetCommitRequestOffsetCommitRequestTopic{
			Name: tp.Topic, TopicId: t.ID,
			Partitions: []kmsg.OffsetCommitRequestOffsetCommitRequestPartition{{
				PartitionIndex: tp.Partition, CommittedOffset: at + 1, CommittedLeaderEpoch: -1,
			}},
		})
	}
	if len(offsets) == 0 || c.delayed == c.epoch && c.classic {
		return
	}
	if c.classic && c.w.chance(25) {
		c.commitLate(&req, offsets)
		return
	}
	c.w.s.do(func() coord.Result {
		return c.w.s.m.OffsetCommit(c.w.s.now, Context{Version: 9}, &req, answer(c, func(r *kmsg.OffsetCommitResponse) {
			for _, t := range r.Topics {
				for _, p := range t.Partitions {
					tp := base.TopicPartition{Topic: t.Name, Partition: p.PartitionIndex}
					if p.ErrorCode == 0 {
						c.w.commits++
						c.w.acked[tp] = max(c.w.acked[tp], offsets[tp])
						if _, ok := c.owned[tp]; ok {
							c.owned[tp] = offsets[tp]
						}
					}
				}
			}
		}))
	})
}

func (c *client) leave() {
	if c.waiting || !c.in {
		return
	}
	c.alive, c.owned = false, nil
	if c.classic {
		req := &kmsg.LeaveGroupRequest{GroupId: "g", Members: []kmsg.LeaveGroupRequestMemberIdentity{
			{MemberId: c.member, GroupInstanceId: c.instance},
		}}
		c.w.s.do(func() coord.Result {
			return c.w.s.m.LeaveGroup(c.w.s.now, c.context(), req, answer(c, func(*kmsg.LeaveGroupResponse) {}))
		})
		return
	}
	req := kmsg.NewConsumerGroupHeartbeatRequest()
	req.GroupId, req.MemberId, req.InstanceId, req.MemberEpoch = "g", c.member, c.instance, epochLeave
	if c.instance != nil && c.w.chance(70) {
		req.MemberEpoch = epochLeaveStatic
	}
	c.w.s.do(func() coord.Result {
		return c.w.s.m.ConsumerGroupHeartbeat(c.w.s.now, c.context(), &req,
			answer(c, func(*kmsg.ConsumerGroupHeartbeatResponse) {}))
	})
	if c.instance != nil && c.w.chance(70) {
		c.w.start(c.instance)
	}
}

// The classic protocol, with the eager way to rebalance: everything is given up before joining again.

func (c *client) join() {
	c.owned = nil
	sub := kmsg.NewConsumerProtocolSubscription()
	sub.Topics = c.topics
	req := &kmsg.JoinGroupRequest{
		GroupId: "g", MemberId: c.member, GroupInstanceId: c.instance, ProtocolType: consumerProtocolType,
		SessionTimeoutMs: 10_000, RebalanceTimeoutMs: 30_000,
		Protocols: []kmsg.JoinGroupRequestJoinGroupRequestProtocol{
			{Name: "range", Metadata: kmsg.AppendVersioned(nil, 3, &sub)},
		},
	}
	c.w.s.do(func() coord.Result {
		return c.w.s.m.JoinGroup(c.w.s.now, c.context(), req, answer(c, c.joined))
	})
}

func (c *client) joined(r *kmsg.JoinGroupResponse) {
	switch kerr.ErrorForCode(r.ErrorCode) {
	case nil:
		c.member, c.epoch = r.MemberId, r.GenerationId
		c.next = func() { c.sync(r) }
	case kerr.MemberIDRequired:
		c.member = r.MemberId
	case kerr.UnknownMemberID:
		c.member = ""
	case kerr.FencedInstanceID:
		c.alive = false
	}
}

func (c *client) sync(r *kmsg.JoinGroupResponse) {
	req := &kmsg.SyncGroupRequest{
		GroupId: "g", MemberId: c.member, GroupInstanceId: c.instance, GenerationId: c.epoch,
		ProtocolType: r.ProtocolType, ProtocolName: r.ProtocolName,
	}
	if !r.SkipAssignment {
		req.Assignments = c.lead(r.Members)
	}
	c.w.s.do(func() coord.Result {
		return c.w.s.m.SyncGroup(c.w.s.now, c.context(), req, answer(c, c.synced))
	})
}

// lead shares out the partitions as the leader does.
func (c *client) lead(members []kmsg.JoinGroupResponseJoinGroupResponseMember,
) []kmsg.SyncGroupRequestSyncGroupRequestAssignment {
	wants := map[string][]int{}
	for i, m := range members {
		topics, err := readSubscriptionTopics(m.Metadata)
		if err != nil {
			c.w.t.Fatal(err)
		}
		for _, topic := range topics {
			wants[topic] = append(wants[topic], i)
		}
	}
	got := make([]kmsg.ConsumerProtocolAssignment, len(members))
	for topic, who := range wants {
		known, _ := c.w.s.topics.ByName(topic)
		for p := range known.Partitions {
			i := who[int(p)%len(who)]
			got[i].AssignedPartitions = append(got[i].AssignedPartitions,
				kmsg.ConsumerProtocolAssignmentTopicPartition{Topic: topic, Partitions: []int32{p}})
		}
	}
	var out []kmsg.SyncGroupRequestSyncGroupRequestAssignment
	for i, m := range members {
		out = append(out, kmsg.SyncGroupRequestSyncGroupRequestAssignment{
			MemberId: m.MemberId, Assignment: kmsg.AppendVersioned(nil, 1, mergeTopics(&got[i])),
		})
	}
	return out
}

func mergeTopics(a *kmsg.ConsumerProtocolAssignment) *kmsg.ConsumerProtocolAssignment {
	by := map[string][]int32{}
	for _, tp := range a.AssignedPartitions {
		by[tp.Topic] = append(by[tp.Topic], tp.Partitions...)
	}
	out := &kmsg.ConsumerProtocolAssignment{}
	for _, topic := range sortedKeys(by) {
		out.AssignedPartitions = append(out.AssignedPartitions,
			kmsg.ConsumerProtocolAssignmentTopicPartition{Topic: topic, Partitions: by[topic]})
	}
	return out
}

func (c *client) synced(r *kmsg.SyncGroupResponse) {
	if r.ErrorCode != 0 {
		c.failed(r.ErrorCode)
		return
	}
	owned := map[base.TopicPartition]bool{}
	if len(r.Assignment) > 0 {
		a, err := readAssignment(r.Assignment)
		if err != nil {
			c.w.t.Fatal(err)
		}
		for _, tp := range a.AssignedPartitions {
			for _, p := range tp.Partitions {
				owned[base.TopicPartition{Topic: tp.Topic, Partition: p}] = true
			}
		}
	}
	c.in = true
	c.take(owned)
}

func (c *client) heartbeat() {
	req := &kmsg.HeartbeatRequest{
		GroupId: "g", MemberId: c.member, GroupInstanceId: c.instance, GenerationId: c.epoch,
	}
	c.w.s.do(func() coord.Result {
		return c.w.s.m.Heartbeat(c.w.s.now, c.context(), req, answer(c, func(r *kmsg.HeartbeatResponse) {
			c.failed(r.ErrorCode)
		}))
	})
}

func (c *client) failed(code int16) {
	switch kerr.ErrorForCode(code) {
	case nil, kerr.NotCoordinator:
	case kerr.UnknownMemberID:
		c.drop()
		c.member = ""
	case kerr.FencedInstanceID:
		c.alive = false
	default:
		c.drop()
	}
	if !c.in {
		c.owned = nil
	}
}

// The consumer protocol.

func (c *client) beat() {
	req := kmsg.NewConsumerGroupHeartbeatRequest()
	req.GroupId, req.MemberId, req.InstanceId, req.MemberEpoch = "g", c.member, c.instance, c.epoch
	if c.moving && c.w.chance(70) {
		c.take(c.named(c.target))
		c.moving = false
		req.TopicPartitions = c.report()
	}
	if !c.in || c.full {
		req.SubscribedTopicNames, req.RebalanceTimeoutMs = c.topics, 30_000
		req.TopicPartitions = c.report()
		c.full = false
	}
	if !c.in {
		req.MemberEpoch = epochJoin
		req.TopicPartitions = []kmsg.ConsumerGroupHeartbeatRequestTopicPartitions{}
	}
	c.w.s.do(func() coord.Result {
		return c.w.s.m.ConsumerGroupHeartbeat(c.w.s.now, c.context(), &req, answer(c, c.beaten))
	})
}

func (c *client) beaten(r *kmsg.ConsumerGroupHeartbeatResponse) {
	if !c.w.calm && c.w.chance(5) {
		c.full = true // the answer is lost; a client that was joining tries again
		return
	}
	switch kerr.ErrorForCode(r.ErrorCode) {
	case nil:
		c.in, c.epoch = true, r.MemberEpoch
		if r.Assignment != nil {
			c.target, c.moving = assignment{}, true
			for _, tp := range r.Assignment.TopicPartitions {
				c.target[tp.TopicId] = tp.Partitions
			}
		}
	case kerr.FencedMemberEpoch, kerr.UnknownMemberID, kerr.GroupIDNotFound:
		c.drop()
	case kerr.FencedInstanceID:
		c.alive = false
	default:
		c.full = true
	}
}

func (c *client) named(a assignment) map[base.TopicPartition]bool {
	out := map[base.TopicPartition]bool{}
	for id, ps := range a {
		t, ok := c.w.s.topics.ByID(id)
		for _, p := range ps {
			if ok {
				out[base.TopicPartition{Topic: t.Name, Partition: p}] = true
			}
		}
	}
	return out
}

// report is what the client owns, as a heartbeat says it.
func (c *client) report() []kmsg.ConsumerGroupHeartbeatRequestTopicPartitions {
	out := []kmsg.ConsumerGroupHeartbeatRequestTopicPartitions{}
	for tp := range c.owned {
		t, _ := c.w.s.topics.ByName(tp.Topic)
		out = append(out, kmsg.ConsumerGroupHeartbeatRequestTopicPartitions{
			TopicId: t.ID, Partitions: []int32{tp.Partition},
		})
	}
	return out
}
