package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/logstead/logstead/internal/broker/api"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/peer"
	"github.com/logstead/logstead/internal/cluster/raft"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// keyRaft is the API by which controllers send each other raft messages: far outside of Kafka's keys,
// served on the controllers' listeners only, never advertised, without an answer. Its body is the
// cluster id and what raft.Encode makes.
const keyRaft int16 = 30_000

const (
	// raftQueue bounds the batches of messages that wait for one voter; what does not fit is lost, and
	// sent again by the algorithm.
	raftQueue = 256
	// raftBackoff is the longest wait before a voter is called again.
	raftBackoff = 200 * time.Millisecond
	// goneInterval is how often the active controller looks for voters whose processes are gone.
	goneInterval = 100 * time.Millisecond
)

// raftLines carries raft messages to the other voters.
type raftLines struct {
	n  *Node
	mu struct {
		sync.Mutex
		lines map[int32]*raftLine
		start func(*raftLine) // set while Run runs
	}
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
	t.mu.lines = map[int32]*raftLine{}
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
		case t.line(id).out <- append(raftHeader(t.n.store.ClusterID()), body...):
		default:
		}
	}
}

// raftHeader is what every batch of messages begins with.
func raftHeader(clusterID string) []byte {
	w := kmsg.Writer{}
	w.String(clusterID, true)
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
		Address: func() (string, error) { return t.n.voterAddress(id) }, Dial: t.n.dial, Logger: t.n.log,
		ClientID:       fmt.Sprintf("controller-%d-raft", cfg.broker.NodeID),
		RequestTimeout: cfg.live.Duration("controller.quorum.request.timeout.ms"),
		BackoffMax:     raftBackoff,
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
	}
}

// watch tells the active controller, if that is this node, which brokers are in processes that are
// gone: the heartbeats of those that died with the last active controller came to that one, so nobody
// here has seen them end.
func (t *raftLines) watch(ctx context.Context) {
	look := time.NewTicker(goneInterval)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		if id, _ := t.n.meta.Leader(); id != t.n.live.Load().broker.NodeID {
			continue
		}
		for _, id := range t.goneNodes() {
			t.suspect(id)
		}
	}
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

// quorum is what the configuration says of the controllers.
func (n *Node) quorum(cfg *config) controller.Quorum {
	b := cfg.broker
	election := cfg.live.Duration("controller.quorum.election.timeout.ms")
	q := controller.Quorum{Election: election, Heartbeat: election / 10, Static: len(b.Quorum.Voters) > 0}
	for _, v := range b.Quorum.Voters {
		q.Voters = append(q.Voters, raft.Voter{ID: v.ID})
	}
	if len(q.Voters) > 1 {
		q.Transport = n.raft
	}
	return q
}

// receiveRaft gives messages from another voter to the controller.
func (n *Node) receiveRaft(body []byte) error {
	r := kmsg.NewReader(body)
	if id := r.String(true); id != n.store.ClusterID() {
		return fmt.Errorf("raft messages of cluster %q: this is cluster %q", id, n.store.ClusterID())
	}
	msgs, err := raft.Decode(r.Rest())
	if err != nil {
		return err
	}
	n.ctl.Receive(msgs)
	return nil
}

// voterAddress is where a voter's controller listens.
func (n *Node) voterAddress(id int32) (string, error) {
	for _, v := range n.live.Load().broker.Quorum.Voters {
		if v.ID == id {
			return v.Address(), nil
		}
	}
	return "", fmt.Errorf("controller.quorum.voters does not name node %d", id)
}

// controllerNodes are the controllers as clients are told of them; none where this node has no listener
// for them.
func (n *Node) controllerNodes() (list []api.ControllerNode) {
	q := &n.live.Load().broker.Quorum
	for _, v := range q.Voters {
		list = append(list, api.ControllerNode{ID: v.ID, Listener: q.ListenerNames[0], Host: v.Host, Port: v.Port})
	}
	return list
}

// activeController is the node that leads the quorum, base.NoBroker for not known.
func (n *Node) activeController() int32 {
	id, _ := n.meta.Leader()
	return max(id, base.NoBroker)
}
