package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/storage"
)

var (
	testTP = base.TopicPartition{Topic: "t", Partition: 0}
	testID = base.NewTopicID()
)

const testLag = 10 * time.Second

// replica is one broker of a group: a partition over files that a test can cut the power of.
type replica struct {
	id    int32
	mem   *vfs.Mem
	disk  *gate
	store *storage.Store
	p     *Partition // nil while the broker is down
	epoch int64
}

// gate holds the syncs of segments back until the test lets them happen, so that what is stored is
// the test's choice and not that of the store's goroutines.
type gate struct {
	mu   sync.Mutex
	cond *sync.Cond
	open bool
}

func newGate() *gate {
	g := &gate{}
	g.cond = sync.NewCond(&g.mu)
	return g
}

func (g *gate) before(op vfs.Op) {
	if op.Kind != vfs.OpSync || path.Ext(op.Path) != ".log" {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for !g.open {
		g.cond.Wait()
	}
}

func (g *gate) set(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = open
	g.cond.Broadcast()
}

// proposal is an AlterPartition on its way.
type proposal struct {
	r *replica
	p *Partition
	c ISRChange
}

// group is three replicas, a controller that decides as Kafka's does, and the history of what was acknowledged.
type group struct {
	t        *testing.T
	rng      *rand.Rand
	now      time.Time
	replicas []*replica
	state    State
	asked    []proposal
	minISR   int
	highest  map[[2]int64]int64 // high watermark by replica and leader epoch

	mu    sync.Mutex
	acked map[int64]string
	sent  int
	cuts  int // truncations
}

func newGroup(t *testing.T, seed uint64, minISR int) *group {
	g := &group{t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: time.UnixMilli(1_700_000_000_000), minISR: minISR,
		acked: map[int64]string{}, highest: map[[2]int64]int64{}}
	g.state = State{Replicas: []int32{0, 1, 2}, ISR: []int32{0, 1, 2}, Leader: 0}
	for i := range 3 {
		r := &replica{id: int32(i), mem: vfs.NewMem()}
		g.replicas = append(g.replicas, r)
		g.start(r)
	}
	t.Cleanup(func() {
		for _, r := range g.replicas {
			if r.p != nil {
				r.disk.set(true)
				_ = r.store.Close()
			}
		}
	})
	return g
}

func (g *group) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *group) start(r *replica) {
	g.t.Helper()
	r.disk = newGate()
	r.disk.set(true)
	fault := vfs.NewFault(r.mem)
	fault.OnOp(r.disk.before)
	var err error
	r.store, err = storage.Open(context.Background(), storage.Options{
		FS: fault, Dirs: []string{"/data"}, NodeID: r.id, Journal: storage.JournalOptions{Disabled: true},
	})
	g.must(err)
	cfg := storage.DefaultLogConfig()
	cfg.SegmentBytes = 1 << 10 // truncations cross segments
	log, err := r.store.Create(testTP, testID, cfg, "")
	g.must(err)
	g.must(log.Sync())
	r.disk.set(false)
	r.epoch++
	r.p = New(testTP, testID, log, &Settings{
		Durability: storage.Fsync, MinInSync: g.minISR,
		Validate: batch.ValidateOptions{TimestampAfterMaxMs: 1<<63 - 1, TimestampBeforeMaxMs: 1<<63 - 1, MaxMessageBytes: 1 << 20},
	})
	p := r.p
	p.SetCluster(&Cluster{
		Eligible: func(id int32, epoch int64) bool {
			return g.replicas[id].p != nil && (epoch < 0 || g.replicas[id].epoch == epoch)
		},
		Propose: func(p *Partition, c ISRChange) { g.asked = append(g.asked, proposal{r, p, c}) },
	})
	g.tell(r)
}

// powerCut takes a broker down with what it had not synced, and has the controller notice.
func (g *group) powerCut(r *replica) {
	clone := r.mem.CrashClone(vfs.CrashOptions{Seed: g.rng.Uint64()})
	r.p.Close(kerr.NotLeaderForPartition)
	r.disk.set(true)
	_ = r.store.Close()
	r.mem, r.p = clone, nil
	g.elect()
}

// elect fences who is down: the set never becomes empty, and only its members lead.
func (g *group) elect() {
	alive := slices.DeleteFunc(slices.Clone(g.state.ISR), func(id int32) bool { return g.replicas[id].p == nil })
	isr := alive
	if len(alive) == 0 {
		isr = g.state.ISR[:1]
		if slices.Contains(g.state.ISR, g.state.Leader) {
			isr = []int32{g.state.Leader}
		}
	}
	leader := g.state.Leader
	if !slices.Contains(alive, leader) {
		leader = -1
		if len(alive) > 0 {
			leader = alive[g.rng.IntN(len(alive))]
		}
	}
	if leader != g.state.Leader {
		g.state.LeaderEpoch++
	}
	g.state.ISR, g.state.Leader = slices.Clone(isr), leader
	g.state.PartitionEpoch++
}

// lead moves the lead to a replica.
func (g *group) lead(id int32) {
	g.state.Leader = id
	g.state.LeaderEpoch++
	g.state.PartitionEpoch++
}

// tell gives a broker the metadata as it is now.
func (g *group) tell(r *replica) {
	switch {
	case r.p == nil:
	case g.state.Leader == r.id:
		r.p.MakeLeader(r.id, g.state, g.now)
	default:
		r.p.MakeFollower(r.id, g.state)
	}
}

func (g *group) tellAll() {
	for _, r := range g.replicas {
		g.tell(r)
	}
}

// alter answers the oldest AlterPartition; the answer may be lost after the change was made.
func (g *group) alter(lose bool) {
	if len(g.asked) == 0 {
		return
	}
	a := g.asked[0]
	g.asked = g.asked[1:]
	if a.r.p != a.p {
		return
	}
	err := error(nil)
	switch {
	case a.c.LeaderEpoch != g.state.LeaderEpoch:
		err = kerr.FencedLeaderEpoch
	case a.c.PartitionEpoch != g.state.PartitionEpoch:
		err = kerr.InvalidUpdateVersion
	}
	var isr []int32
	for _, m := range a.c.ISR {
		isr = append(isr, m.ID)
		if m.Epoch >= 0 && (g.replicas[m.ID].p == nil || g.replicas[m.ID].epoch != m.Epoch) || g.replicas[m.ID].p == nil {
			err = kerr.IneligibleReplica
		}
	}
	if err == nil {
		g.state.ISR = isr
		g.state.PartitionEpoch++
	}
	s := ISRState{g.state.Leader, g.state.LeaderEpoch, g.state.PartitionEpoch, g.state.ISR, 0}
	if lose {
		err = kerr.NetworkException
	}
	a.p.ISRAnswered(a.c, s, err)
}

// produce appends one record with acks=all at a broker and notes the acknowledgement.
func (g *group) produce(r *replica) error {
	g.sent++
	value := fmt.Sprintf("r%d", g.sent)
	b := batch.NewBuilder(batch.Options{})
	b.Append(g.now.UnixMilli(), nil, []byte(value))
	built, err := b.Build()
	g.must(err)
	res, err := r.p.Append(slices.Clone(built), AppendOptions{Now: g.now, AllInSync: true})
	if err != nil {
		return err
	}
	r.p.AwaitEpoch(res.LeaderEpoch, res.LastOffset+1, waiterFunc(func(err error) {
		if err == nil {
			g.mu.Lock()
			g.acked[res.BaseOffset] = value
			g.mu.Unlock()
		}
	}))
	return nil
}

// sync puts what a broker has on stable storage and lets it tell.
func (g *group) sync(r *replica) {
	r.disk.set(true)
	g.must(r.p.Log().Sync())
	r.disk.set(false)
	r.p.SetSettings(r.p.Settings())
}

// pull is one fetch of a follower: what it has synced, divergence, records. It reports whether anything moved.
func (g *group) pull(r *replica) bool {
	mp := r.p.State()
	if r.p.IsLeader() || mp.Leader < 0 || mp.Leader == r.id {
		return false
	}
	l := g.replicas[mp.Leader]
	if l.p == nil || l.p.CheckLeader(mp.LeaderEpoch) != nil || l.p.CheckFollower(r.id) != nil {
		return false
	}
	at := r.p.FollowerState()
	if at.Epoch >= 0 {
		epoch, end := l.p.Log().EpochEnd(at.Epoch)
		if epoch < 0 || epoch < at.Epoch || end < at.Offset {
			r.disk.set(true)
			g.must(r.p.TruncateDiverged(mp.LeaderEpoch, epoch, end))
			r.disk.set(false)
			g.cuts++
			return true
		}
	}
	if !at.Stored {
		return true // it waits for its sync
	}
	l.p.FollowerFetched(FollowerFetch{r.id, r.epoch, at.Offset, at.LogStart, mp.LeaderEpoch, g.now})
	res, err := l.p.Read(ReadRequest{Offset: at.Offset, MaxBytes: 1 << 20, MinOne: true, LeaderEpoch: mp.LeaderEpoch, ToEnd: true})
	g.must(err)
	var data []byte
	if res.Range != nil {
		data, err = io.ReadAll(io.NewSectionReader(res.Range, 0, int64(res.Range.Len())))
		g.must(err)
		res.Range.Release()
	}
	g.must(r.p.AppendAsFollower(data, mp.LeaderEpoch, res.HighWatermark, res.LogStart, g.now, nil))
	return len(data) > 0
}

// check holds what must be true at any time.
func (g *group) check() {
	g.t.Helper()
	for _, r := range g.replicas {
		if r.p == nil {
			continue
		}
		log := r.p.Log()
		hw, end := log.HighWatermark(), log.EndOffset()
		if log.StartOffset() > hw || hw > end || log.SyncedOffset() > end {
			g.t.Fatalf("broker %d: start %d, high watermark %d, synced %d, end %d", r.id, log.StartOffset(), hw, log.SyncedOffset(), end)
		}
		if r.p.IsLeader() {
			k := [2]int64{int64(r.id)<<32 | r.epoch, int64(r.p.LeaderEpoch())}
			if hw < g.highest[k] {
				g.t.Fatalf("broker %d: the high watermark went from %d to %d in epoch %d", r.id, g.highest[k], hw, k[1])
			}
			g.highest[k] = hw
		}
	}
}

// settle brings every broker up and waits until nothing moves, then compares the logs and looks for
// every acknowledged record.
func (g *group) settle() {
	g.t.Helper()
	for _, r := range g.replicas {
		if r.p == nil {
			g.start(r)
		}
	}
	g.elect()
	for range 60 {
		g.tellAll()
		for _, r := range g.replicas {
			g.sync(r)
			g.pull(r)
		}
		g.alter(false)
		g.check()
	}
	want := g.content(g.replicas[g.state.Leader])
	for _, r := range g.replicas {
		if got := g.content(r); !bytes.Equal(got, want) {
			g.t.Errorf("broker %d has %d bytes that differ from the leader's %d", r.id, len(got), len(want))
		}
		if hw, end := r.p.Log().HighWatermark(), r.p.Log().EndOffset(); hw != end {
			g.t.Errorf("broker %d: high watermark %d, end %d after all is quiet", r.id, hw, end)
		}
	}
	if len(g.state.ISR) != 3 {
		g.t.Errorf("in-sync set %v after all is quiet, want all three", g.state.ISR)
	}
	have := g.values(want)
	g.mu.Lock()
	defer g.mu.Unlock()
	for off, v := range g.acked {
		if have[off] != v {
			g.t.Errorf("offset %d holds %q, %q was acknowledged there", off, have[off], v)
		}
	}
}

func (g *group) content(r *replica) []byte {
	var all []byte
	log := r.p.Log()
	for at := log.StartOffset(); at < log.EndOffset(); {
		rng, err := log.Read(at, 1<<20, log.EndOffset(), true)
		g.must(err)
		data, err := io.ReadAll(io.NewSectionReader(rng, 0, int64(rng.Len())))
		g.must(err)
		rng.Release()
		for rest := data; len(rest) > 0; {
			var b batch.Batch
			b, rest, err = batch.Next(rest)
			g.must(err)
			at = b.LastOffset() + 1
		}
		all = append(all, data...)
	}
	return all
}

func (g *group) values(content []byte) map[int64]string {
	have := map[int64]string{}
	for len(content) > 0 {
		b, rest, err := batch.Next(content)
		g.must(err)
		// One uncompressed record without key and headers: its value lies before the last byte.
		body := b[batch.HeaderSize:]
		have[b.BaseOffset()] = string(body[bytes.LastIndexByte(body, 'r') : len(body)-1])
		content = rest
	}
	return have
}

// TestRandomFailures drives the replicas through delayed metadata, lost answers, changes of the leader
// and power cuts, of which at most as many happen at once as leave a member of the in-sync set.
func TestRandomFailures(t *testing.T) {
	acked, cuts := 0, 0
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			g := newGroup(t, seed, 1+int(seed%2))
			for range 1500 {
				g.step()
				g.check()
			}
			g.settle()
			acked, cuts = acked+len(g.acked), cuts+g.cuts
		})
	}
	t.Logf("%d records acknowledged, %d truncations", acked, cuts)
	if acked < 1000 || cuts < 50 {
		t.Errorf("%d records were acknowledged and %d truncations made over all seeds: the test proves nothing", acked, cuts)
	}
}

func (g *group) step() {
	r := g.replicas[g.rng.IntN(3)]
	g.now = g.now.Add(time.Duration(g.rng.IntN(400)) * time.Millisecond)
	switch n := g.rng.IntN(100); {
	case r.p == nil:
		if n < 30 {
			g.start(r)
			g.elect()
		}
	case n < 20:
		_ = g.produce(r) // a follower refuses
	case n < 52:
		g.pull(r)
	case n < 75:
		g.sync(r)
	case n < 86:
		g.tell(r)
	case n < 93:
		g.alter(g.rng.IntN(3) == 0)
	case n < 96:
		r.p.Tick(g.now, testLag)
	case n < 98:
		if id := g.state.ISR[g.rng.IntN(len(g.state.ISR))]; g.replicas[id].p != nil {
			g.lead(id)
		}
	default:
		g.powerCut(r)
	}
}

// TestFollowerKeepsWhatItHasBeforeHearingTheHighWatermark is the loss of KIP-101: a follower that comes
// back and truncates to its own high watermark, and then is elected, loses what was acknowledged.
func TestFollowerKeepsWhatItHasBeforeHearingTheHighWatermark(t *testing.T) {
	g := newGroup(t, 1, 1)
	g.tellAll()
	a, b := g.replicas[0], g.replicas[1]
	g.state.ISR = []int32{0, 1}
	g.state.PartitionEpoch++
	g.tellAll()
	g.must(g.produce(a))
	g.pull(b) // b has it, and does not know that it is committed
	g.sync(b)
	g.sync(a)
	if g.pull(b); b.p.Log().EndOffset() != 1 {
		t.Fatalf("the follower ends at %d, want 1", b.p.Log().EndOffset())
	}
	g.powerCut(b)
	g.start(b)
	g.powerCut(a)
	g.state.ISR, g.state.Leader = []int32{1}, 1
	g.tellAll()
	g.start(a)
	g.settle()
	if len(g.acked) != 1 {
		t.Fatalf("acknowledged %v, want the record", g.acked)
	}
}

// TestFastLeaderChanges is the divergence of KIP-279: two leaders one after the other that both wrote
// at the same offset, and a third epoch.
func TestFastLeaderChanges(t *testing.T) {
	g := newGroup(t, 1, 1)
	a, b, c := g.replicas[0], g.replicas[1], g.replicas[2]
	g.must(g.produce(a))
	for range 3 {
		for _, r := range g.replicas {
			g.sync(r)
			g.pull(r)
		}
	}
	g.must(g.produce(a)) // only a has it
	g.lead(1)
	g.tell(b) // a and c do not hear of it
	g.must(g.produce(b))
	g.must(g.produce(b)) // only b has these
	g.lead(2)
	g.tell(c)
	g.must(g.produce(c))
	if err := g.produce(b); err != nil {
		t.Fatal(err) // b still believes to lead; nothing of it may be acknowledged
	}
	g.tellAll()
	g.settle()
	if a.p.Log().EndOffset() != 2 {
		t.Errorf("the log ends at %d, want the first record and the one of the last leader", a.p.Log().EndOffset())
	}
}

func TestBelowMinInSyncNothingIsCommitted(t *testing.T) {
	g := newGroup(t, 1, 2)
	a := g.replicas[0]
	g.must(g.produce(a))
	g.state.ISR = []int32{0}
	g.state.PartitionEpoch++
	g.tell(a)
	g.sync(a)
	if hw := a.p.HighWatermark(); hw != 0 {
		t.Errorf("high watermark %d with one replica in sync and two wanted, want 0", hw)
	}
	if err := g.produce(a); !errors.Is(err, kerr.NotEnoughReplicas) {
		t.Errorf("produce with acks=all: %v, want NOT_ENOUGH_REPLICAS", err)
	}
	v, ok := a.p.Replication()
	if !ok || !v.UnderReplicated || !v.UnderMinISR || v.Shrinks != 1 {
		t.Errorf("replication %+v", v)
	}
}

// settings has a replica hear of another min.insync.replicas.
func (g *group) settings(r *replica) {
	s := *r.p.Settings()
	s.MinInSync = g.minISR
	r.p.SetSettings(&s)
}

// TestAnswerDoesNotShrink: a leader that does not know of a raised min.insync.replicas commits nothing by the answer to its own
// change of the set, from which one left that is eligible to lead.
func TestAnswerDoesNotShrink(t *testing.T) {
	g := newGroup(t, 1, 2)
	a, b := g.replicas[0], g.replicas[1]
	g.must(g.produce(a))
	for range 2 {
		g.pull(b)
		g.sync(b)
	}
	g.sync(a)
	g.now = g.now.Add(2 * testLag)
	g.pull(b)
	a.p.Tick(g.now, testLag) // asks for the third to leave
	if len(g.asked) != 1 || len(g.asked[0].c.ISR) != 2 {
		t.Fatalf("asked for %+v, want a set of two", g.asked)
	}
	g.minISR = 3 // which the controller decides by
	g.alter(false)
	if hw := a.p.HighWatermark(); hw != 0 {
		t.Fatalf("high watermark %d by the answer, want 0", hw)
	}
	g.settings(a)
	g.tell(a)
	g.pull(b)
	if hw := a.p.HighWatermark(); hw != 0 {
		t.Fatalf("high watermark %d below min.insync.replicas, want 0", hw)
	}
	g.minISR = 2
	g.settings(a)
	if hw := a.p.HighWatermark(); hw != 1 {
		t.Fatalf("high watermark %d with two in sync and two wanted, want 1", hw)
	}
}

// TestLostAnswerKeepsBothSets: the controller may have let the follower in, so the high watermark waits for it.
func TestLostAnswerKeepsBothSets(t *testing.T) {
	g := newGroup(t, 1, 1)
	a, b := g.replicas[0], g.replicas[1]
	g.state.ISR = []int32{0}
	g.state.PartitionEpoch++
	g.tellAll()
	g.pull(b) // asks to join
	if len(g.asked) != 1 {
		t.Fatalf("%d changes asked for, want 1", len(g.asked))
	}
	g.alter(true)
	g.must(g.produce(a))
	g.sync(a)
	if hw := a.p.HighWatermark(); hw != 0 {
		t.Fatalf("high watermark %d without the follower that may be in the set, want 0", hw)
	}
	g.tell(a)
	for range 3 {
		g.pull(b)
		g.sync(b)
	}
	if hw := a.p.HighWatermark(); hw != 1 {
		t.Fatalf("high watermark %d once the follower has the record, want 1", hw)
	}
}

func TestDeposedLeaderAcknowledgesNothing(t *testing.T) {
	g := newGroup(t, 1, 1)
	a := g.replicas[0]
	var heard error
	g.must(g.produce(a))
	a.p.AwaitEpoch(a.p.LeaderEpoch(), 1, waiterFunc(func(err error) { heard = err }))
	g.lead(1)
	g.tell(a)
	if !errors.Is(heard, kerr.NotLeaderForPartition) {
		t.Errorf("the waiter heard %v, want NOT_LEADER_OR_FOLLOWER", heard)
	}
	if err := g.produce(a); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Errorf("produce: %v, want NOT_LEADER_OR_FOLLOWER", err)
	}
	if err := a.p.AppendAsFollower(nil, 0, 0, 0, g.now, nil); !errors.Is(err, kerr.FencedLeaderEpoch) {
		t.Errorf("append of an old epoch: %v, want FENCED_LEADER_EPOCH", err)
	}
	if _, err := a.p.Log().Append(make(batch.Batch, 100), storage.AppendOptions{LeaderEpoch: 0}); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Errorf("append to the log: %v, want NOT_LEADER_OR_FOLLOWER", err)
	}
}

// TestAckOfAnOldEpochIsNotGiven: a broker that led, followed and leads again cannot tell from the high
// watermark that what it appended the first time stayed.
func TestAckOfAnOldEpochIsNotGiven(t *testing.T) {
	g := newGroup(t, 1, 1)
	a := g.replicas[0]
	g.must(g.produce(a))
	g.lead(1)
	g.tell(a)
	g.state.ISR = []int32{0}
	g.lead(0)
	g.tell(a)
	g.sync(a)
	if hw := a.p.HighWatermark(); hw != 1 {
		t.Fatalf("high watermark %d, want 1", hw)
	}
	var heard error
	a.p.AwaitEpoch(0, 1, waiterFunc(func(err error) { heard = err }))
	if !errors.Is(heard, kerr.NotLeaderForPartition) {
		t.Errorf("the waiter of epoch 0 heard %v in epoch 2, want NOT_LEADER_OR_FOLLOWER", heard)
	}
}

// TestAckOfAnEpochBefore: a leader that goes on in a new epoch, because a replica was moved away, has all that it
// wrote, and who waits for that is answered. A coordinator waits in the epoch in which it was loaded.
func TestAckOfAnEpochBefore(t *testing.T) {
	g := newGroup(t, 1, 1)
	a := g.replicas[0]
	g.must(g.produce(a))
	g.state.ISR = []int32{0}
	g.lead(0)
	g.tell(a)
	heard := errors.New("nothing")
	a.p.AwaitEpoch(0, 1, waiterFunc(func(err error) { heard = err }))
	g.sync(a)
	if heard != nil {
		t.Errorf("the waiter of epoch 0 heard %v in epoch 1 of the same leader, want that its record is committed", heard)
	}
	a.p.AwaitEpoch(2, 1, waiterFunc(func(err error) { heard = err }))
	if !errors.Is(heard, kerr.NotLeaderForPartition) {
		t.Errorf("the waiter of an epoch that is to come heard %v, want NOT_LEADER_OR_FOLLOWER", heard)
	}
}

// TestFetchesOfAnOldEpochDoNotCount: what followers had stored in an earlier leader epoch they may have cut since.
func TestFetchesOfAnOldEpochDoNotCount(t *testing.T) {
	g := newGroup(t, 1, 1)
	a := g.replicas[0]
	g.must(g.produce(a))
	for _, id := range []int32{1, 2} {
		a.p.FollowerFetched(FollowerFetch{ID: id, Offset: 1, Now: g.now})
	}
	g.lead(1)
	g.tell(a)
	g.lead(0)
	g.tell(a)
	g.sync(a)
	if hw := a.p.HighWatermark(); hw != 0 {
		t.Errorf("high watermark %d after fetches of an earlier leader epoch alone, want 0", hw)
	}
}

// TestCaughtUp: a new leader may know less to be committed than the last one had told.
func TestCaughtUp(t *testing.T) {
	g := newGroup(t, 1, 1)
	a := g.replicas[0]
	if !a.p.CaughtUp() {
		t.Error("an empty log is behind where its leader epoch began")
	}
	g.must(g.produce(a))
	g.lead(1)
	g.tell(a)
	g.lead(0)
	g.tell(a)
	g.sync(a)
	if a.p.CaughtUp() {
		t.Errorf("high watermark %d counts as past the record that the leader epoch began behind", a.p.HighWatermark())
	}
	for _, id := range []int32{1, 2} {
		a.p.FollowerFetched(FollowerFetch{ID: id, Offset: 1, LeaderEpoch: a.p.LeaderEpoch(), Now: g.now})
	}
	if !a.p.CaughtUp() {
		t.Errorf("high watermark %d, which all have, does not", a.p.HighWatermark())
	}
}

// TestLateFetchOfARestartedBroker: what a broker asked for before it restarted does not count after it
// (KIP-903).
func TestLateFetchOfARestartedBroker(t *testing.T) {
	g := newGroup(t, 1, 1)
	a := g.replicas[0]
	g.must(g.produce(a))
	g.sync(a)
	for _, id := range []int32{1, 2} {
		a.p.FollowerFetched(FollowerFetch{ID: id, BrokerEpoch: 7, Offset: 0, Now: g.now})
		a.p.FollowerFetched(FollowerFetch{ID: id, BrokerEpoch: 6, Offset: 1, Now: g.now})
	}
	if hw := a.p.HighWatermark(); hw != 0 {
		t.Errorf("high watermark %d after fetches of an earlier life of the followers, want 0", hw)
	}
}

// TestEpochsOfClients: -1 is from who does not know the epoch; another negative number is an epoch that is over.
func TestEpochsOfClients(t *testing.T) {
	a := newGroup(t, 1, 1).replicas[0]
	for client, want := range map[int32]error{-1: nil, 0: nil, -2: kerr.FencedLeaderEpoch, 1: kerr.UnknownLeaderEpoch} {
		if err := a.p.CheckEpoch(client); !errors.Is(err, want) {
			t.Errorf("a client that speaks of epoch %d hears %v, want %v", client, err, want)
		}
	}
}

// TestRefusedProposal: what was refused is not asked for again once something else was, for whose replicas alone the high
// watermark waits; and a late refusal of it does not end the other.
func TestRefusedProposal(t *testing.T) {
	g := newGroup(t, 1, 1)
	a := g.replicas[0]
	g.state.ISR, g.state.PartitionEpoch = []int32{0}, 1
	g.tellAll()
	ask := func(id int32) ISRChange {
		a.p.FollowerFetched(FollowerFetch{ID: id, BrokerEpoch: g.replicas[id].epoch, Now: g.now})
		if len(g.asked) != 1 {
			t.Fatalf("%d proposals after the fetch of broker %d, want one", len(g.asked), id)
		}
		c := g.asked[0].c
		g.asked = nil
		return c
	}
	first := ask(1)
	a.p.ISRAnswered(first, ISRState{}, kerr.NetworkException)
	if !a.p.Proposes(first) {
		t.Error("a change is given up of which nobody knows whether it was taken")
	}
	a.p.ISRAnswered(first, ISRState{}, kerr.IneligibleReplica)
	second := ask(2)
	if a.p.Proposes(first) {
		t.Error("a change that was refused is asked for again")
	}
	a.p.ISRAnswered(first, ISRState{}, kerr.IneligibleReplica)
	if !a.p.Proposes(second) {
		t.Error("the late refusal of another change has ended the one under way")
	}
}

// TestTwoJoinAtOnce: who comes while the controller is asked for another is asked for when that is decided, be it by the answer or by
// the metadata, and not at its next fetch. Who was refused waits for a fetch.
func TestTwoJoinAtOnce(t *testing.T) {
	for _, byMetadata := range []bool{false, true} {
		g := newGroup(t, 1, 1)
		a := g.replicas[0]
		g.state.ISR, g.state.PartitionEpoch = []int32{0}, 1
		g.tellAll()
		fetch := func(id int32) {
			a.p.FollowerFetched(FollowerFetch{ID: id, BrokerEpoch: g.replicas[id].epoch, Now: g.now})
		}
		fetch(1)
		fetch(2)
		if byMetadata {
			g.asked = g.asked[1:]
			g.state.ISR, g.state.PartitionEpoch = []int32{0, 1}, 2
			g.tell(a)
		} else {
			g.alter(false)
		}
		if len(g.asked) != 1 {
			t.Fatalf("%d proposals when the first is decided, want one (by metadata: %v)", len(g.asked), byMetadata)
		}
		if c := g.asked[0].c; len(c.ISR) != 3 || c.PartitionEpoch != 2 {
			t.Errorf("the second proposal is %v in partition epoch %d, want all three in epoch 2", c.ISR, c.PartitionEpoch)
		}
		g.powerCut(g.replicas[2])
		g.alter(false)
		if len(g.asked) != 0 {
			t.Errorf("who was refused is asked for again before it has fetched: %v", g.asked)
		}
	}
}

// TestMissing: a leader says why a replica whose broker is there does not come into sync, and nothing of others.
func TestMissing(t *testing.T) {
	g := newGroup(t, 1, 1)
	a := g.replicas[0]
	g.state.ISR, g.state.PartitionEpoch = []int32{0}, 1
	g.tellAll()
	look := func(want ...string) {
		t.Helper()
		got := a.p.Missing(g.now, testLag)
		if len(got) != len(want) {
			t.Fatalf("missing: %v, want %q", got, want)
		}
		for i, m := range got {
			if !strings.Contains(m.Why, want[i]) {
				t.Errorf("%d is missing: %q, want %q", m.ID, m.Why, want[i])
			}
		}
	}
	look()
	g.now = g.now.Add(testLag + time.Second)
	look("not fetched in leader epoch 0", "not fetched in leader epoch 0")
	fetch := func(id int32, offset int64) {
		a.p.FollowerFetched(FollowerFetch{ID: id, BrokerEpoch: g.replicas[id].epoch, Offset: offset, Now: g.now})
	}
	g.must(g.produce(a))
	g.sync(a) // committed: nobody else counts
	fetch(1, 0)
	fetch(2, 0)
	look() // they are behind, and on their way
	fetch(1, 1)
	look() // the controller was asked just now
	look("controller has not taken")
	a.p.ISRAnswered(g.asked[0].c, ISRState{}, kerr.IneligibleReplica)
	g.asked = nil
	g.replicas[1].epoch++
	look("broker epoch 1")
	g.now = g.now.Add(testLag + time.Second)
	look("not fetched for 11s", "not fetched for 11s")
	g.powerCut(g.replicas[1])
	look("not fetched for 11s")
}
