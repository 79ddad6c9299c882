package node

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// claims are the ports that freePort gave to tests of this process, and who holds them.
var claims = struct {
	sync.Mutex
	held map[string]bool
}{held: map[string]bool{}}

// freePort is a port that nothing listens on, below those that outgoing connections take: one of these could be taken before the node
// comes to listen. It is this test's until that ends, and nobody else is given it: a listener on another address of the loopback
// network says so to other processes that run these tests, where there is such an address.
func freePort(t *testing.T) string {
	t.Helper()
	claims.Lock()
	defer claims.Unlock()
	for range 1000 {
		port := strconv.Itoa(12_000 + rand.IntN(18_000))
		if claims.held[port] {
			continue
		}
		claim, err := net.Listen("tcp", "127.0.0.77:"+port)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			if claim != nil {
				_ = claim.Close()
			}
			continue
		}
		claims.held[port] = true
		t.Cleanup(func() {
			claims.Lock()
			defer claims.Unlock()
			delete(claims.held, port)
			if claim != nil {
				_ = claim.Close()
			}
		})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no free port")
	return ""
}

// TestNodeThatReportsToItself is the server.properties that Kafka ships: one node of a dynamic quorum,
// which registers over its own controller listener, sends heartbeats and hands over when it stops.
func TestNodeThatReportsToItself(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	set := []string{
		"listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:" + port,
		"controller.quorum.bootstrap.servers=127.0.0.1:" + port, "broker.heartbeat.interval.ms=20",
	}
	for run := range 2 {
		n := start(t, dir, set...)
		if n.uplink == nil || n.uplink.Fenced() || n.uplink.Epoch() < 0 {
			t.Fatal("the node serves without having been let in")
		}
		ctx := deadline(t)
		cl := client(t, n, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		readAll(t, ctx, cl, run+1)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// trio is three nodes, each broker and controller; or up to five with other roles.
type trio struct {
	t     *testing.T
	set   []string
	dirs  [6]string // by node id
	ports [6]string
	ctl   [6]string
	fs    [6]vfs.FS   // nil for the machine's
	nodes [6]*running // nil for one that is stopped
}

// startTrio starts three nodes on directories and ports that they keep over restarts.
func startTrio(t *testing.T, set ...string) *trio {
	t.Helper()
	c := &trio{t: t, set: set}
	cluster := base.NewTopicID().String()
	for id := 1; id <= 3; id++ {
		c.dirs[id], c.ports[id], c.ctl[id] = t.TempDir(), freePort(t), freePort(t)
		if _, err := controller.Format(vfs.OS{}, controller.FormatOptions{
			Dirs: []string{c.dirs[id]}, ClusterID: cluster, NodeID: int32(id),
		}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	c.startAll(1, 2, 3)
	t.Cleanup(c.abandon)
	return c
}

// abandon has the nodes that run stop without handing over: the last one would wait for a majority.
func (c *trio) abandon() {
	for _, n := range c.up() {
		n.abrupt.Store(true)
	}
}

// config is a node's: what all share has ID in the place of what differs.
func (c *trio) config(id int) []string {
	set := slices.Clone(c.set)
	for i := range set {
		set[i] = strings.ReplaceAll(set[i], "ID", strconv.Itoa(id))
	}
	return append([]string{
		"node.id=" + strconv.Itoa(id),
		"controller.quorum.voters=1@127.0.0.1:" + c.ctl[1] + ",2@127.0.0.1:" + c.ctl[2] + ",3@127.0.0.1:" + c.ctl[3],
		"listeners=PLAINTEXT://127.0.0.1:" + c.ports[id] + ",CONTROLLER://127.0.0.1:" + c.ctl[id],
		"default.replication.factor=3", "min.insync.replicas=2", "offsets.topic.num.partitions=3",
		"transaction.state.log.num.partitions=3", "transaction.state.log.min.isr=2",
		"broker.heartbeat.interval.ms=200",
	}, set...)
}

// startAll starts nodes at the same time, as they wait for each other.
func (c *trio) startAll(ids ...int) {
	c.t.Helper()
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() { c.nodes[id] = startOn(c.t, c.fs[id], c.dirs[id], c.config(id)...) })
	}
	wg.Wait()
	c.eventually("all that run know each other", func() bool {
		for _, n := range c.up() {
			for id := range c.nodes {
				if b := n.image().Broker(int32(id)); c.nodes[id] != nil && (b == nil || b.Fenced) {
					return false
				}
			}
		}
		return true
	})
}

func (c *trio) stop(id int) {
	c.t.Helper()
	if err := c.nodes[id].stop(); err != nil {
		c.t.Errorf("stop node %d: %v", id, err)
	}
	c.nodes[id] = nil
}

// crash ends a node without its goodbyes: its connections break, nothing is handed over.
func (c *trio) crash(id int) {
	c.t.Helper()
	c.nodes[id].abrupt.Store(true)
	c.stop(id)
}

func (c *trio) client(o ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers("127.0.0.1:"+c.ports[1], "127.0.0.1:"+c.ports[2], "127.0.0.1:"+c.ports[3]),
		kgo.AllowAutoTopicCreation(), kgo.MetadataMinAge(100 * time.Millisecond), kgo.RetryTimeout(patience),
		kgo.UnknownTopicRetries(-1), // who leads a new topic may hear of it later than the client
	}, o...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(cl.Close)
	return cl
}

// up are the nodes that run.
func (c *trio) up() (list []*running) {
	for _, n := range c.nodes {
		if n != nil {
			list = append(list, n)
		}
	}
	return list
}

// active waits until those that run agree on the active controller.
func (c *trio) active() (id int, epoch int32) {
	c.t.Helper()
	c.eventually("one active controller", func() bool {
		first, e := c.up()[0].meta.Leader()
		id, epoch = int(first), e
		for _, n := range c.up() {
			if other, e := n.meta.Leader(); other != first || e != epoch {
				return false
			}
		}
		return first > 0 && c.nodes[first] != nil
	})
	return id, epoch
}

// eventually waits for a condition.
func (c *trio) eventually(what string, ok func() bool) {
	c.t.Helper()
	await(c.t, what, ok)
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// create creates a topic by way of one node, and holds that it is known there when that is answered. Where the active controller was
// another when the answer was due, the node has asked again, and hears that the topic is there.
func (c *trio) create(by int, topic string, replicas int16) {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 60_000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, 3, replicas
	req.Topics = append(req.Topics, t)
	resp, err := client(c.t, c.nodes[by]).Broker(by).Request(deadline(c.t), req)
	if err != nil {
		c.t.Fatal(err)
	}
	r := resp.(*kmsg.CreateTopicsResponse).Topics[0]
	if r.ErrorCode == kerr.TopicAlreadyExists.Code {
		c.everywhere(topic)
		return
	}
	if r.ErrorCode != 0 {
		c.t.Fatalf("%s by way of node %d: error %d", topic, by, r.ErrorCode)
	}
	if c.nodes[by].image().Topic(topic) == nil {
		c.t.Errorf("topic %s was answered and is not known to node %d", topic, by)
	}
}

func (c *trio) everywhere(topic string) {
	c.t.Helper()
	c.eventually(topic+" on every node", func() bool {
		for _, n := range c.up() {
			broker := n.live.Load().broker.Roles.Broker
			if n.image().Topic(topic) == nil || broker && n.parts.Topic(topic) == nil { // its parts come a moment later
				return false
			}
		}
		return true
	})
}

// TestQuorum has three nodes elect a controller, decide by it, lose it, and go on.
func TestQuorum(t *testing.T) {
	c := startTrio(t)
	first, epoch := c.active()
	for id := 1; id <= 3; id++ {
		c.create(id, "by-"+strconv.Itoa(id), 3)
		c.everywhere("by-" + strconv.Itoa(id))
		c.describe(id)
	}
	first, epoch = c.active()

	other := raftHeader(base.NewTopicID().String(), "")
	if err := c.nodes[first].receiveRaft(other); err == nil || !strings.Contains(err.Error(), "raft messages of cluster") {
		t.Errorf("messages of another cluster: %v", err)
	}

	c.crash(first)
	second, later := c.active()
	if second == first || later <= epoch {
		t.Errorf("node %d is active in epoch %d after node %d in epoch %d", second, later, first, epoch)
	}
	c.eventually("the lost broker fenced", func() bool { return c.nodes[second].image().Broker(int32(first)).Fenced })
	c.create(6-first-second, "meanwhile", 2)

	c.startAll(first)
	c.everywhere("meanwhile")
	c.create(first, "again", 3)
	c.everywhere("again")
	c.describe(first)
}

// steady calls a function with the active controller, again where another became that meanwhile: a disk that stands for longer than the
// election time-out is enough for it. What the function gives is what it found wrong.
func (c *trio) steady(what string, look func(active int) (wrong []string)) {
	c.t.Helper()
	for range 50 {
		id, epoch := c.active()
		wrong := look(id)
		if _, now := c.active(); now != epoch {
			continue
		}
		for _, w := range wrong {
			c.t.Errorf("%s: %s", what, w)
		}
		return
	}
	c.t.Fatalf("%s: no controller is active for long enough to look", what)
}

// describe asks a node for the quorum and the cluster.
func (c *trio) describe(by int) {
	c.t.Helper()
	c.steady(fmt.Sprintf("node %d says", by), func(active int) []string { return c.wrongAt(by, active) })
}

func (c *trio) wrongAt(by, active int) (wrong []string) {
	c.t.Helper()
	note := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	cl := client(c.t, c.nodes[by])
	ctx := deadline(c.t)
	quorum := kmsg.NewPtrDescribeQuorumRequest()
	quorum.Topics = []kmsg.DescribeQuorumRequestTopic{{
		Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{Partition: 0}},
	}}
	resp, err := cl.Broker(by).Request(ctx, quorum)
	if err != nil {
		c.t.Fatal(err)
	}
	q, _ := resp.(*kmsg.DescribeQuorumResponse)
	if q.ErrorCode != 0 || len(q.Nodes) != 3 || len(q.Topics) != 1 {
		note("quorum %+v", q)
		return wrong
	}
	p := q.Topics[0].Partitions[0]
	if int(p.LeaderID) != active || len(p.CurrentVoters) != 3 || p.HighWatermark <= 0 {
		note("quorum %+v; node %d is active", p, active)
	}
	for _, v := range p.CurrentVoters {
		if v.LogEndOffset <= 0 || v.LastFetchTimestamp <= 0 || v.LastCaughtUpTimestamp <= 0 {
			note("voter %+v", v)
		}
	}
	if resp, err = cl.Broker(by).Request(ctx, kmsg.NewPtrMetadataRequest()); err != nil {
		c.t.Fatal(err)
	}
	md, _ := resp.(*kmsg.MetadataResponse)
	if len(md.Brokers) != 3 || int(md.ControllerID) != active {
		note("cluster %+v; node %d is active", md, active)
	}
	for _, b := range md.Brokers {
		if b.Rack != nil {
			note("broker %d is in rack %q, and has none", b.NodeID, *b.Rack)
		}
		if want := c.ports[b.NodeID]; strconv.Itoa(int(b.Port)) != want {
			note("broker %d is at port %d, want %s", b.NodeID, b.Port, want)
		}
	}
	return wrong
}

// TestRoles runs brokers outside the quorum beside controllers without a broker.
func TestRoles(t *testing.T) {
	c := &trio{t: t, set: []string{"metadata.log.max.record.bytes.between.snapshots=2000"}}
	cluster := base.NewTopicID().String()
	roles := map[int]string{1: "controller", 2: "controller", 3: "controller", 4: "broker", 5: "broker"}
	var voters []string
	for id := 1; id <= 5; id++ {
		c.dirs[id], c.ports[id], c.ctl[id] = t.TempDir(), freePort(t), freePort(t)
		if id <= 3 {
			voters = append(voters, strconv.Itoa(id)+"@127.0.0.1:"+c.ctl[id])
		}
		if _, err := controller.Format(vfs.OS{}, controller.FormatOptions{
			Dirs: []string{c.dirs[id]}, ClusterID: cluster, NodeID: int32(id),
		}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	run := func(ids ...int) {
		var wg sync.WaitGroup
		for _, id := range ids {
			listeners := "CONTROLLER://127.0.0.1:" + c.ctl[id]
			if roles[id] == "broker" {
				listeners = "PLAINTEXT://127.0.0.1:" + c.ports[id]
			}
			wg.Go(func() {
				c.nodes[id] = start(t, c.dirs[id], append([]string{
					"process.roles=" + roles[id], "node.id=" + strconv.Itoa(id), "listeners=" + listeners,
					"controller.quorum.voters=" + strings.Join(voters, ","), "controller.listener.names=CONTROLLER",
					"broker.heartbeat.interval.ms=200",
				}, c.set...)...)
			})
		}
		wg.Wait()
	}
	run(1, 2, 3, 4)
	t.Cleanup(c.abandon)
	for i := range 40 { // enough for snapshots
		c.create(4, "t-"+strconv.Itoa(i), 1)
	}
	// A broker that comes late begins with a snapshot.
	run(5)
	c.everywhere("t-39")
	active, _ := c.active()
	if c.nodes[active].ctl.LogStart() == 0 {
		t.Error("no snapshot was taken: the test shows nothing of them")
	}
	for _, id := range []int{4, 5} {
		if got := c.nodes[id].image().TopicCount(); got != 40 {
			t.Errorf("broker %d knows %d topics, want 40", id, got)
		}
	}
	c.steady("node 5 says of the quorum", func(active int) []string { return c.wrongObservers(5, active) })

	// The active controller goes, and comes back.
	active, _ = c.active()
	c.crash(active)
	c.active()
	c.create(4, "meanwhile", 1)
	c.everywhere("meanwhile")
	run(active)
	c.create(5, "again", 2)
	c.everywhere("again")
}

// wrongObservers asks a broker who follows the quorum.
func (c *trio) wrongObservers(by, active int) (wrong []string) {
	c.t.Helper()
	quorum := kmsg.NewPtrDescribeQuorumRequest()
	quorum.Topics = []kmsg.DescribeQuorumRequestTopic{{
		Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{Partition: 0}},
	}}
	resp, err := client(c.t, c.nodes[by]).Broker(by).Request(deadline(c.t), quorum)
	if err != nil {
		c.t.Fatal(err)
	}
	q, _ := resp.(*kmsg.DescribeQuorumResponse)
	if q.ErrorCode != 0 || len(q.Topics) != 1 {
		return []string{fmt.Sprintf("%+v", q)}
	}
	p := q.Topics[0].Partitions[0]
	if int(p.LeaderID) != active || len(p.CurrentVoters) != 3 || len(p.Observers) != 2 {
		return []string{fmt.Sprintf("%+v; node %d is active", p, active)}
	}
	for i, o := range p.Observers {
		if int(o.ReplicaID) != i+4 || o.LogEndOffset <= 0 || o.LastFetchTimestamp <= 0 || o.LastCaughtUpTimestamp <= 0 {
			wrong = append(wrong, fmt.Sprintf("observer %+v", o))
		}
	}
	return wrong
}
