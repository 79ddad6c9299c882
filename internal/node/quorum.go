package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/api"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/peer"
	"github.com/logstead/logstead/internal/cluster/raft"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// keyRaft is the API by which controllers send each other raft messages: far outside of Kafka's keys,
// served on the controllers' listeners only, never advertised, without an answer. Its body is the
// cluster id, the address of the sender's listener and what raft.Encode makes.
const keyRaft int16 = 30_000

const (
	// raftQueue bounds the batches of messages that wait for one voter; what does not fit is lost, and
	// sent again by the algorithm.
	raftQueue = 256
	// raftBackoff is the longest wait before a voter is called again.
	raftBackoff = 200 * time.Millisecond
	// goneInterval is how often the active controller looks for voters whose processes are gone.
	goneInterval = 100 * time.Millisecond
	// aloneInterval is how often a controller without others looks whether it still is: an idle node sleeps.
	aloneInterval = time.Second
)

// raftLines carries raft messages to the other voters.
type raftLines struct {
	n  *Node
	mu struct {
		sync.Mutex
		lines map[int32]*raftLine
		start func(*raftLine)  // set while Run runs
		heard map[int32]string // where messages said that their senders are
	}
	told toldLeader // belongs to watch
}

// raftLine is the way to one voter.
type raftLine struct {
	id     int32
	client *peer.Client
	out    chan []byte
	lost   chan struct{} // capacity 1: the connection broke
	gone   atomic.Bool   // nothing listens there
}

func newRaftLines(n *Node) *raftLines {
	t := &raftLines{n: n}
	t.mu.lines, t.mu.heard = map[int32]*raftLine{}, map[int32]string{}
	return t
}

// Send implements raft.Transport.
func (t *raftLines) Send(msgs []*raft.Message) {
	to := map[int32][]*raft.Message{}
	for _, m := range msgs {
		to[raft.Receiver(m)] = append(to[raft.Receiver(m)], m)
	}
	for id, list := range to {
		body, err := raft.Encode(list)
		if err != nil {
			t.n.log.Error("a raft message cannot be sent", "to", id, "err", err)
			continue
		}
		select {
		case t.line(id).out <- append(raftHeader(t.n.store.ClusterID(), t.n.controllerAddress()), body...):
		default:
		}
	}
}

// raftHeader is what every batch of messages begins with.
func raftHeader(clusterID, address string) []byte {
	w := kmsg.Writer{}
	w.String(clusterID, true)
	w.String(address, true)
	return w.Buf
}

func (t *raftLines) line(id int32) *raftLine {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.mu.lines[id]
	if l == nil {
		l = t.newLine(id)
		t.mu.lines[id] = l
		if t.mu.start != nil {
			t.mu.start(l)
		}
	}
	return l
}

func (t *raftLines) newLine(id int32) *raftLine {
	l := &raftLine{id: id, out: make(chan []byte, raftQueue), lost: make(chan struct{}, 1)}
	cfg := t.n.live.Load()
	l.client = peer.New(peer.Options{
		Address: func() (string, error) { return t.n.voterAddress(id) }, Dial: t.n.dialController, Logger: t.n.log,
		ClientID:       fmt.Sprintf("controller-%d-raft", cfg.broker.NodeID),
		RequestTimeout: cfg.live.Duration("controller.quorum.request.timeout.ms"),
		BackoffMax:     raftBackoff,
		// Once a cut has healed the system would wait for about as long as it lasted until it tries again: the other voters
		// of a leader that is lost in the meantime would not hear of each other for so long.
		Unacknowledged: cfg.live.Duration("controller.quorum.election.timeout.ms"),
		Lost: func(error) {
			select {
			case l.lost <- struct{}{}:
			default:
			}
		},
	})
	return l
}

// Run sends until ctx ends.
func (t *raftLines) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	t.mu.Lock()
	t.mu.start = func(l *raftLine) { wg.Go(func() { t.serve(ctx, l) }) }
	for _, l := range t.mu.lines {
		t.mu.start(l)
	}
	t.mu.Unlock()
	t.watch(ctx)
	t.mu.Lock()
	t.mu.start = nil
	lines := t.mu.lines
	t.mu.Unlock()
	for _, l := range lines {
		l.client.Close()
	}
	wg.Wait()
	return nil
}

// serve is the life of one line.
func (t *raftLines) serve(ctx context.Context, l *raftLine) {
	reached := reach{log: t.n.log, id: l.id}
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case body := <-l.out:
			err = l.client.Post(ctx, keyRaft, 0, body)
		case <-l.lost: // is it the connection that broke, or the process?
			_, err = l.client.Version(ctx, kmsg.KeyApiVersions)
		}
		gone := errors.Is(err, syscall.ECONNREFUSED)
		if gone {
			t.n.ctl.Gone(l.id)
		}
		if gone || err == nil {
			l.gone.Store(gone)
		}
		if ctx.Err() == nil {
			reached.note(t.n.clock.Now(), func() (string, error) { return t.n.voterAddress(l.id) }, err)
		}
	}
}

// watch tells the active controller, if that is this node, which brokers are in processes that are
// gone: the heartbeats of those that died with the last active controller came to that one, so nobody
// here has seen them end.
func (t *raftLines) watch(ctx context.Context) {
	look := time.NewTimer(goneInterval)
	defer look.Stop()
	for ; ; look.Reset(t.watchInterval()) {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		t.n.tellEndpoint(ctx)
		if id, _ := t.n.ctl.Leader(); id != t.n.live.Load().broker.NodeID {
			continue
		}
		for _, id := range t.goneNodes() {
			t.suspect(id)
		}
	}
}

func (t *raftLines) watchInterval() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.mu.lines) == 0 {
		return aloneInterval
	}
	return goneInterval
}

func (t *raftLines) goneNodes() (list []int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, l := range t.mu.lines {
		if l.gone.Load() {
			list = append(list, id)
		}
	}
	return list
}

func (t *raftLines) suspect(id int32) {
	b := t.n.image().Broker(id)
	if b == nil || b.Fenced {
		return
	}
	epoch := b.Epoch
	// An error means that this controller stops.
	_ = t.n.ctl.Submit(func(m *controller.Machine, now time.Time) controller.Outcome {
		m.Suspect(now, id, epoch)
		return controller.Outcome{}
	})
}

// quorum is what the configuration says of the controllers. Where it names no voters, the directory does.
func (n *Node) quorum(cfg *config, store *storage.Store) controller.Quorum {
	b := cfg.broker
	election := cfg.live.Duration("controller.quorum.election.timeout.ms")
	q := controller.Quorum{
		Election: election, Heartbeat: election / 10, Transport: n.raft, Static: len(b.Quorum.Voters) > 0,
	}
	for _, v := range b.Quorum.Voters {
		q.Voters = append(q.Voters, raft.Voter{ID: v.ID})
	}
	for _, d := range store.Dirs() {
		if d.Path == b.MetadataDir {
			q.DirectoryID = d.DirectoryID
		}
	}
	return q
}

// receiveRaft gives messages from another voter to the controller.
func (n *Node) receiveRaft(body []byte) error {
	r := kmsg.NewReader(body)
	if id := r.String(true); id != n.store.ClusterID() {
		return fmt.Errorf("raft messages of cluster %q: this is cluster %q", id, n.store.ClusterID())
	}
	address := r.String(true)
	msgs, err := raft.Decode(r.Rest())
	if err != nil {
		return err
	}
	if len(msgs) > 0 {
		n.raft.learn(raft.Sender(msgs[0]), address)
	}
	n.ctl.Receive(msgs)
	return nil
}

// learn notes where the sender of a message is. A node that is being added knows the active controller
// by nothing else, until it has the voters from the log.
func (t *raftLines) learn(id int32, address string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if address != "" && t.mu.heard[id] != address {
		t.mu.heard[id] = address
	}
}

// voterAddress is where a voter's controller listens.
func (n *Node) voterAddress(id int32) (string, error) {
	for _, c := range n.controllerNodes() {
		if c.ID == id {
			return net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))), nil
		}
	}
	n.raft.mu.Lock()
	defer n.raft.mu.Unlock()
	if address := n.raft.mu.heard[id]; address != "" {
		return address, nil
	}
	return "", fmt.Errorf("node %d is none of the voters", id)
}

// controllerNodes are the controllers as clients are told of them: the voters as the quorum has them, or those that the
// configuration names where they are static. There are none where this node has no listener for them.
func (n *Node) controllerNodes() (list []api.ControllerNode) {
	q := &n.live.Load().broker.Quorum
	if n.ctl == nil || !raft.Dynamic(n.ctl.Voters()) {
		for _, v := range q.Voters {
			list = append(list, api.ControllerNode{ID: v.ID, Listener: q.ListenerNames[0], Host: v.Host, Port: v.Port})
		}
		return list
	}
	for _, v := range n.ctl.Voters() {
		for _, e := range v.Endpoints {
			if e.Name == q.ListenerNames[0] || len(v.Endpoints) == 1 {
				list = append(list, api.ControllerNode{ID: v.ID, Listener: e.Name, Host: e.Host, Port: int32(e.Port)})
				break
			}
		}
	}
	return list
}

// controllerEndpoint is where this node's controller is for others; ok is false where it has no listener.
func (n *Node) controllerEndpoint() (e kmsg.VotersRecordEndpoint, ok bool) {
	if len(n.controllerListeners) == 0 {
		return e, false
	}
	l := n.controllerListeners[0]
	host, port, ok := addressOf(l, n.live.Load().broker.Quorum.Advertised)
	return kmsg.VotersRecordEndpoint{Name: l.Name, Host: host, Port: uint16(port)}, ok
}

func (n *Node) controllerAddress() string {
	e, ok := n.controllerEndpoint()
	if !ok {
		return ""
	}
	return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
}

// tellEndpoint has the quorum know where this voter is now, where that has changed (KIP-853).
func (n *Node) tellEndpoint(ctx context.Context) {
	e, ok := n.controllerEndpoint()
	if !ok || !n.ctl.IsVoter() {
		return
	}
	if !n.ctl.DynamicVoters() {
		n.tellDirectory(ctx, e)
		return
	}
	self := n.live.Load().broker.NodeID
	for _, v := range n.ctl.Voters() {
		if v.ID != self || len(v.Endpoints) == 1 && v.Endpoints[0] == e {
			continue
		}
		v.Endpoints = []kmsg.VotersRecordEndpoint{e}
		ctx, cancel := context.WithTimeout(ctx, tellTimeout)
		defer cancel()
		if err := n.updateVoter(ctx, v); err != nil && ctx.Err() == nil {
			n.log.Warn("the quorum was not told where this controller is", "endpoint", n.controllerAddress(), "err", err)
		}
	}
}

// toldLeader is the active controller that this one has told where it is.
type toldLeader struct{ id, epoch int32 }

// tellDirectory has the active controller of a static quorum know which directory this controller is on and where it
// listens, once in each term: that is what kraft.version can be raised with.
func (n *Node) tellDirectory(ctx context.Context, e kmsg.VotersRecordEndpoint) {
	now := toldLeader{}
	if now.id, now.epoch = n.ctl.Leader(); now.id < 0 || now == n.raft.told {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	v := raft.Voter{ID: n.live.Load().broker.NodeID, DirectoryID: n.ctl.Directory(), Endpoints: []kmsg.VotersRecordEndpoint{e}}
	if err := n.updateVoter(ctx, v); err != nil {
		n.log.Debug("the active controller was not told of this one's directory", "leader", now.id, "err", err)
		return
	}
	n.raft.told = now
}

// tellTimeout bounds one attempt to tell the quorum where this controller is.
const tellTimeout = time.Second

func (n *Node) updateVoter(ctx context.Context, v raft.Voter) error {
	if leader, _ := n.ctl.Leader(); leader == v.ID || n.puller == nil {
		return n.ctl.UpdateVoter(ctx, v, controller.Feature{Name: controller.KRaftVersion, Max: 1})
	}
	cluster := n.store.ClusterID()
	req := kmsg.NewUpdateRaftVoterRequest()
	_, req.CurrentLeaderEpoch = n.ctl.Leader()
	req.ClusterId, req.VoterId, req.VoterDirectoryId = &cluster, v.ID, v.DirectoryID
	req.KRaftVersionFeature.MaxSupportedVersion = 1
	for _, e := range v.Endpoints {
		req.Listeners = append(req.Listeners, kmsg.UpdateRaftVoterRequestListener(e))
	}
	var resp kmsg.UpdateRaftVoterResponse
	if err := n.puller.Ask(ctx, &req, &resp); err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// activeController is the node that leads the quorum, base.NoBroker for not known.
func (n *Node) activeController() int32 {
	id, _ := n.meta.Leader()
	return max(id, base.NoBroker)
}
