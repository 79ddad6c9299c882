package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/logstead/logstead/internal/broker/api"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/broker/replica"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/cluster/raft"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/storage"
)

const (
	clusterID    = "AAAAAAAAAAAAAAAAAAAAAA"
	dataDir      = "/data"
	tickEvery    = 50 * time.Millisecond
	election     = 500 * time.Millisecond
	heartbeat    = 100 * time.Millisecond
	maxWaiting   = 200 // operations that may wait at a controller
	brokerConfig = "broker.session.timeout.ms=1500\nlogstead.broker.suspect.timeout.ms=300\n" +
		"default.replication.factor=3\nmin.insync.replicas=2\nunclean.leader.election.interval.ms=1000\n"
)

var static, balanced = configured(brokerConfig), configured(brokerConfig + balanceConfig)

func configured(properties string) *conf.Static {
	s, err := conf.Load(conf.Source{
		File: "sim.properties", ReadFile: func(string) ([]byte, error) { return []byte(properties), nil },
	})
	if err != nil {
		panic(err)
	}
	return s
}

// node is a broker and controller: its disk, and while it is up what runs on it.
type node struct {
	w      *world
	id     int32
	voters []raft.Voter
	seat   seat
	disk   *vfs.Mem
	boot   int // incarnations so far
	up     bool

	// What a crash takes.
	fault     *vfs.Fault
	store     *storage.Store
	metaStore *storage.Store // of the metadata log; often store
	ctl       *controller.Controller
	waiting   int       // operations at the controller
	frozen    time.Time // until when its process is stopped
	fuse      int       // disk operations until the power fails; 0 is never
	doomed    bool
	sick      bool     // its disk fails, or is full for a while
	leaving   bool     // it is about to stop in order
	tainted   bool     // in a lossy run: it was stopped otherwise, and is not in sync everywhere since
	left      *vfs.Mem // what the power cut leaves

	image       *meta.Image
	incarnation base.TopicID
	epoch       int64 // the broker's, -1 before it is registered
	reports     bool  // a report to the controller is under way
	parts       map[tp]*partition.Partition
	states      map[tp]*meta.Partition
	roster      replica.Roster
	loops       map[replica.LoopKey]*loop
	perLeader   int         // how many loops share what one leader has (num.replica.fetchers)
	api         *api.Broker // what answers followers
	evened      controller.BalanceSummary
	coords      *coordinators
	places      map[tp]bool // replicas whose directory is to be told
	telling     bool
}

func newNodes(w *world) {
	var voters []raft.Voter
	for id := int32(1); int(id) <= w.opts.nodes; id++ {
		v := raft.Voter{ID: id}
		binary.BigEndian.PutUint64(v.DirectoryID[:], w.rng.Uint64())
		voters = append(voters, v)
	}
	for _, v := range voters {
		n := &node{w: w, id: v.ID, voters: voters, disk: vfs.NewMem(), seat: seat{directory: v.DirectoryID}}
		n.disk.SetClock(w.now)
		if !w.opts.metaApart() {
			format(n.disk, dataDir, v.ID, v.DirectoryID)
		} else {
			format(n.disk, metaDir, v.ID, v.DirectoryID)
			for _, dir := range w.opts.paths() {
				format(n.disk, dir, v.ID, n.newID())
			}
		}
		w.nodes = append(w.nodes, n)
	}
	for _, n := range w.nodes {
		n.start()
	}
}

func (w *world) node(id int32) *node { return w.nodes[id-1] }

// start boots a node on its disk.
func (n *node) start() {
	if n.up || n.w.failed != nil {
		return
	}
	w := n.w
	n.boot++
	n.fault, n.fuse, n.doomed, n.sick, n.left, n.waiting, n.frozen = vfs.NewFault(n.disk), 0, false, false, nil, 0, time.Time{}
	n.leaving = false
	n.fault.OnOp(n.burn)
	n.image, n.epoch, n.reports = nil, -1, false
	n.parts, n.states = map[tp]*partition.Partition{}, map[tp]*meta.Partition{}
	n.roster, n.loops, n.perLeader = replica.Roster{}, map[replica.LoopKey]*loop{}, w.opts.fetchers
	n.api, n.coords = n.newAPI(), nil
	n.places, n.telling, n.evened = map[tp]bool{}, false, controller.BalanceSummary{}
	if w.opts.coordinators {
		n.coords = n.newCoordinators()
	}
	n.incarnation = n.newID()
	w.note("node %d starts, incarnation %d", n.id, n.boot)
	if w.faulty && w.chance(0.1) {
		n.fuse = 1 + w.rng.IntN(40)
	}
	err := n.open()
	if n.doomed {
		w.reached("crash in a start")
		n.lost()
		return
	}
	if err != nil {
		w.fail("node %d does not start: %v", n.id, err)
		return
	}
	n.up = true
	w.check.booted(n)
	n.every(tickEvery, n.tick)
	n.every(tickEvery, n.report)
	n.balancing()
	n.syncLater()
}

func (n *node) newID() (id base.TopicID) {
	binary.BigEndian.PutUint64(id[:], n.w.rng.Uint64())
	return id
}

func (n *node) open() (err error) {
	o := storage.Options{
		FS: n.fault, Clock: n.w.clk, Dirs: n.w.opts.paths(), NodeID: n.id, ClusterID: clusterID,
		Journal: storage.JournalOptions{Disabled: true}, ByHand: true, RecoveryThreads: 1, Events: storage.Events{Moved: n.logMoved, DirOffline: n.dirOffline},
		BrokerEpoch: n.noteEpoch, UncachedBytes: 1,
	}
	if n.store, err = storage.Open(context.Background(), o); err != nil {
		return err
	}
	if err = n.dropTorn(); err != nil {
		return err
	}
	if n.metaStore = n.store; n.w.opts.metaApart() {
		o.Dirs = []string{metaDir}
		if n.metaStore, err = storage.Open(context.Background(), o); err != nil {
			return err
		}
	}
	config := static
	if n.w.opts.feature == balances {
		config = balanced
	}
	random := func() *rand.Rand { return rand.New(rand.NewPCG(n.w.rng.Uint64(), 3)) }
	n.ctl, err = controller.Open(context.Background(), controller.Options{
		Config: controller.Config{NodeID: n.id, Static: config, NewID: n.newID, Random: random()},
		Store:  n.metaStore, FS: n.fault, ClusterID: clusterID, Clock: n.w.clk, SnapshotBytes: n.w.opts.snapshots,
		Quorum: n.quorum(random()),
	})
	if err != nil {
		return err
	}
	n.ctl.Subscribe(func(_, now *meta.Image, _ meta.Delta) { n.published(now) })
	return nil
}

// burn cuts the power before an operation on the disk.
func (n *node) burn(op vfs.Op) {
	if op.Kind == vfs.OpWrite && op.Len > 0 && (op.Offset|int64(op.Len))%vfs.DirectAlign == 0 && strings.HasSuffix(op.Path, ".log") {
		n.w.reached("a follower wrote past the page cache")
	}
	if n.fuse == 0 || !op.Kind.Changes() {
		return
	}
	if n.fuse--; n.fuse == 0 && n.mayCrash() {
		n.left, n.doomed = n.disk.CrashClone(n.crashOptions()), true
	}
}

// crashOptions: in durability "replicated" it is the process that ends, and what it has written stays.
func (n *node) crashOptions() vfs.CrashOptions {
	keep := 1.0
	n.tainted = n.w.opts.lossy
	if n.w.opts.fsync || n.w.opts.lossy {
		keep = []float64{0, 0.5, 1}[n.w.rng.IntN(3)]
	}
	return vfs.CrashOptions{KeepUnsynced: keep, Seed: n.w.rng.Uint64()}
}

// crash cuts the power between two events.
func (n *node) crash() {
	if !n.up || !n.mayCrash() {
		return
	}
	n.left, n.doomed = n.disk.CrashClone(n.crashOptions()), true
	n.lost()
}

// offline is why the node cannot go on: the directory of the metadata, or the last one of logs, has failed.
func (n *node) offline() (err error) {
	if !n.sick {
		return nil
	}
	for _, s := range n.stores() {
		if dirs := s.Dirs(); !slices.ContainsFunc(dirs, func(d storage.DirStatus) bool { return d.Online }) {
			err = dirs[0].Err
		}
	}
	return err
}

// end is the end of a node without a disk. What was not synced may be gone.
func (n *node) end(err error) {
	n.w.note("%s ends: %v", n, err)
	n.w.reached("a node ended because its disk failed")
	n.left, n.doomed = n.disk.CrashClone(n.crashOptions()), true
}

// sicken has a sync or a write of a segment fail, or the disk be full for some writes.
func (n *node) sicken() {
	if !n.up || n.w.opts.lossy {
		return
	}
	r := vfs.Rule{Kind: vfs.OpSync, Path: "*.log", After: n.w.rng.IntN(10), Count: 1, Err: syscall.EIO}
	switch n.w.rng.IntN(3) {
	case 0:
		n.w.reached("a sync failed")
	case 1:
		n.w.reached("a write failed")
		r.Kind, r.Short = vfs.OpWrite, n.w.rng.IntN(100)
	default:
		n.w.reached("a disk was full")
		r.Kind, r.Err, r.Count, r.Short = vfs.OpWrite, syscall.ENOSPC, 1+n.w.rng.IntN(8), n.w.rng.IntN(100)
	}
	n.w.note("%s: disk fails: %+v", n, r)
	n.sick = true
	n.fault.Inject(r)
}

// lost takes away what was in memory, and what the disk has lost.
func (n *node) lost() {
	w := n.w
	w.note("node %d loses power", n.id)
	w.reached("crash")
	w.check.crashed(n)
	n.up, n.disk, n.left = false, n.left, nil
	n.disk.SetClock(w.now)
	for _, other := range w.nodes { // connections to it break, for who notices
		if id := n.id; other != n && other.up && w.chance(0.5) {
			w.after(w.between(time.Millisecond, 50*time.Millisecond), func() { other.act(func() { other.gone(id) }) })
		}
	}
	if !w.faulty && !w.check.excluded(n) {
		w.after(time.Second, n.start)
	}
}

// gone hears that nothing listens any more where another node was.
func (n *node) gone(id int32) {
	n.ctl.Gone(id)
	if n.image == nil {
		return
	}
	if b := n.image.Broker(id); b != nil {
		n.submit(func(m *controller.Machine, now time.Time) controller.Outcome {
			m.Suspect(now, id, b.Epoch)
			return controller.Outcome{}
		})
	}
}

// act is everything that a node does: something happens to it, and its controller goes on. If
// the power has failed meanwhile, nothing that came later has happened.
func (n *node) act(fn func()) {
	if !n.up {
		return
	}
	if n.frozen.After(n.w.now()) { // what arrives waits in its sockets
		n.after(n.frozen.Sub(n.w.now()), fn)
		return
	}
	fn()
	n.coordinate(false)
	n.step(false)
	n.settle()
}

func (n *node) step(tick bool) {
	switch err := n.ctl.Step(tick); {
	case err == nil || n.doomed:
	case n.sick:
		n.end(err)
	default:
		n.w.fail("node %d: controller: %v", n.id, err)
	}
}

func (n *node) settle() {
	if err := n.offline(); err != nil && !n.doomed {
		n.end(err)
	}
	if n.doomed {
		n.w.reached("crash in a write")
		n.lost()
		return
	}
	n.w.check.look(n)
}

// after has fn called on this incarnation.
func (n *node) after(d time.Duration, fn func()) {
	boot := n.boot
	n.w.after(d, func() {
		if n.boot == boot {
			n.act(fn)
		}
	})
}

func (n *node) every(d time.Duration, fn func()) {
	n.after(d, func() {
		fn()
		n.every(d, fn)
	})
}

func (n *node) tick() {
	n.step(true)
	n.coordinate(true)
	for _, k := range n.w.allKeys() {
		if p := n.parts[k]; p != nil {
			p.Tick(n.w.now(), lagMax)
		}
	}
	n.reportPlaces()
	n.tellDirectory()
}

// syncLater has the store sync what waits for it, after a while.
func (n *node) syncLater() {
	n.after(n.w.between(time.Millisecond, max(n.w.opts.syncDelay, 2*time.Millisecond)), func() {
		for _, s := range n.stores() {
			s.Work()
			if n.w.chance(0.002) {
				s.Checkpoint()
			}
		}
		n.syncLater()
	})
}

// submit hands the controller an operation, if there is room.
func (n *node) submit(op func(m *controller.Machine, now time.Time) controller.Outcome) bool {
	if n.waiting >= maxWaiting {
		return false
	}
	n.waiting++
	err := n.ctl.Submit(func(m *controller.Machine, now time.Time) controller.Outcome {
		n.waiting--
		return op(m, now)
	})
	return err == nil
}

// wires carry the quorum's messages.
type wires struct {
	n    *node
	boot int
}

func (l wires) Send(list []*raft.Message) {
	n := l.n
	if n.doomed || n.boot != l.boot {
		return
	}
	for _, m := range list {
		raw, err := raft.Encode([]*raft.Message{m})
		if err != nil {
			n.w.fail("message of the quorum: %v", err)
			return
		}
		to := raft.Receiver(m)
		n.w.send(n.id, to, func() {
			t := n.w.node(to)
			t.act(func() {
				got, err := raft.Decode(raw)
				if err != nil {
					n.w.fail("message of the quorum: %v", err)
					return
				}
				t.ctl.Receive(got)
			})
		})
	}
}

// call asks another node something. done hears the answer once, or that there was none.
func (n *node) call(to int32, patience time.Duration, serve func(t *node, reply func(any)), done func(answer any, ok bool)) {
	if n.doomed {
		return
	}
	settled := false
	settle := func(v any, ok bool) {
		if !settled {
			settled = true
			done(v, ok)
		}
	}
	boot := n.boot
	n.after(patience, func() { settle(nil, false) })
	n.w.send(n.id, to, func() {
		t := n.w.node(to)
		at := t.boot
		t.act(func() {
			serve(t, func(v any) {
				if t.doomed || t.boot != at {
					return
				}
				n.w.send(to, n.id, func() {
					if n.boot == boot {
						n.act(func() { settle(v, true) })
					}
				})
			})
		})
	})
}

func (n *node) String() string { return fmt.Sprintf("node %d", n.id) }
