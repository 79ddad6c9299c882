package controller

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/cluster/raft"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// wires carries messages between controllers of one process, as bytes.
type wires struct {
	t  *testing.T
	mu struct {
		sync.Mutex
		to map[int32]*Controller
	}
}

func (w *wires) Send(list []*raft.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range list {
		c := w.mu.to[raft.Receiver(m)]
		raw, err := raft.Encode([]*raft.Message{m})
		if err != nil {
			w.t.Error(err)
			return
		}
		got, err := raft.Decode(raw)
		if err != nil {
			w.t.Error(err)
			return
		}
		if c != nil {
			c.Receive(got)
		}
	}
}

func (w *wires) plug(id int32, c *Controller) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.to == nil {
		w.mu.to = map[int32]*Controller{}
	}
	w.mu.to[id] = c
}

// voterNode is one controller of a quorum of several.
type voterNode struct {
	*Controller
	id   int32
	fs   *vfs.Mem
	stop func()
}

func startVoter(t *testing.T, w *wires, fsys *vfs.Mem, id int32, voters []raft.Voter) *voterNode {
	t.Helper()
	n, err := tryVoter(t, w, fsys, id, voters)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func tryVoter(t *testing.T, w *wires, fsys *vfs.Mem, id int32, voters []raft.Voter) (*voterNode, error) {
	t.Helper()
	store, err := storage.Open(t.Context(), storage.Options{
		FS: fsys, Dirs: []string{"/data"}, NodeID: id, ClusterID: "AAAAAAAAAAAAAAAAAAAAAA", Journal: storage.JournalOptions{Disabled: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	static, err := conf.Load(conf.Source{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(t.Context(), Options{
		Config: Config{NodeID: id, Static: static}, Store: store, FS: fsys, ClusterID: store.ClusterID(),
		Quorum: Quorum{
			Voters: slices.Clone(voters), Static: true, DirectoryID: directoryOf(id), Transport: w, Election: 400 * time.Millisecond, Heartbeat: 40 * time.Millisecond,
		},
	})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	w.plug(id, c)
	return &voterNode{Controller: c, id: id, fs: fsys, stop: sync.OnceFunc(func() {
		w.plug(id, nil)
		cancel()
		if err := errors.Join(<-ended, store.Close()); err != nil {
			t.Error(err)
		}
	})}, nil
}

func directoryOf(node int32) base.TopicID { return base.TopicID{0: 9, 15: byte(node)} }

// TestStaticVotersUpgrade: kraft.version comes to 1 when every voter has told its directory and can, as one of a build from
// before does not, and stays with other voters configured.
func TestStaticVotersUpgrade(t *testing.T) {
	w := &wires{t: t}
	voters, nodes := startThree(t, w)
	defer func() {
		for _, n := range nodes {
			n.stop()
		}
	}()
	// Whoever is active may change on a busy machine, and then forgets what it was told.
	upgrade := func(levels map[int32]int16) (err error) {
		eventually(t, "an answer of the active controller", func() bool {
			active := createOn(t, nodes, "a")
			for id, most := range levels {
				v := raft.Voter{ID: id, DirectoryID: directoryOf(id), Endpoints: []kmsg.VotersRecordEndpoint{{Name: "C", Host: "c", Port: 1}}}
				if active.UpdateVoter(t.Context(), v, Feature{Name: KRaftVersion, Max: most}) != nil {
					return false
				}
			}
			result := make(chan error, 1)
			if err := active.StartUpgrade(func(err error) { result <- err }); err != nil {
				return false
			}
			err = <-result
			return !errors.Is(err, kerr.NotController)
		})
		return err
	}
	for _, c := range []struct {
		levels map[int32]int16
		why    string
	}{
		{map[int32]int16{1: 1, 2: 1}, "Controller 3 has not told this one its directory"},
		{map[int32]int16{1: 1, 2: 0, 3: 1}, "Controller 2 does not support this feature."},
	} {
		eventually(t, c.why, func() bool { // whoever has become active has not heard of all at once
			err := upgrade(c.levels)
			return err != nil && strings.Contains(err.Error(), c.why)
		})
		if v := nodes[0].KRaftVersion(); v != 0 {
			t.Fatalf("kraft.version is %d", v)
		}
	}
	eventually(t, "the upgrade", func() bool { return upgrade(map[int32]int16{1: 1, 2: 1, 3: 1}) == nil })
	for _, n := range nodes {
		eventually(t, "kraft.version 1 on every node", func() bool { return n.KRaftVersion() == 1 && n.IsVoter() })
	}
	nodes[0].stop()
	nodes[0] = startVoter(t, w, nodes[0].fs, 1, append(voters, raft.Voter{ID: 4}))
	eventually(t, "kraft.version 1 after a start", func() bool { return nodes[0].KRaftVersion() == 1 && len(nodes[0].Voters()) == 3 })
}

// TestOtherVoters configures other voters than a log belongs to: two majorities could come of it.
func TestOtherVoters(t *testing.T) {
	w := &wires{t: t}
	fsys := vfs.NewMem()
	n := startVoter(t, w, fsys, 1, []raft.Voter{{ID: 1}})
	createOn(t, []*voterNode{n}, "a")
	n.stop()
	n, err := tryVoter(t, w, fsys, 1, []raft.Voter{{ID: 1}, {ID: 2}, {ID: 3}})
	if err == nil {
		n.stop()
		t.Fatal("a log of node 1 alone was opened for a quorum of three")
	}
	if want := "names nodes [1 2 3], and the metadata log in /data/__cluster_metadata-0 belongs to a quorum of nodes [1]"; !strings.Contains(err.Error(), want) {
		t.Errorf("error %q, want it to say %q", err, want)
	}
}

// startThree starts a static quorum of three.
func startThree(t *testing.T, w *wires) (voters []raft.Voter, nodes []*voterNode) {
	t.Helper()
	voters = []raft.Voter{{ID: 1}, {ID: 2}, {ID: 3}}
	for _, v := range voters {
		nodes = append(nodes, startVoter(t, w, vfs.NewMem(), v.ID, voters))
	}
	return voters, nodes
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not come about", what)
		}
	}
}

// createOn creates a topic at whoever is active, trying again as a client would.
func createOn(t *testing.T, nodes []*voterNode, name string) *voterNode {
	t.Helper()
	var by *voterNode
	eventually(t, "topic "+name, func() bool {
		for _, n := range nodes {
			err := n.Await(t.Context(), func(*Machine) ([]kmsg.Record, error) {
				return []kmsg.Record{&kmsg.ConfigRecord{
					ResourceType: int8(meta.ResourceTopic), ResourceName: name, Name: "retention.ms", Value: new("5"),
				}}, nil
			})
			if err == nil {
				by = n
				return true
			}
			if !errors.Is(err, kerr.NotController) {
				t.Fatal(err)
			}
		}
		return false
	})
	return by
}

func TestQuorumOfThree(t *testing.T) {
	w := &wires{t: t}
	voters, nodes := startThree(t, w)
	defer func() {
		for _, n := range nodes {
			n.stop()
		}
	}()
	has := func(n *voterNode, name string) bool {
		return n.Image().Configs(meta.Resource{Type: meta.ResourceTopic, Name: name})["retention.ms"] == "5"
	}
	first := createOn(t, nodes, "a")
	for _, n := range nodes {
		eventually(t, "the change on every node", func() bool { return has(n, "a") })
	}
	eventually(t, "the same active controller on every node", func() bool { // which may not be who took the change any more
		id, epoch := nodes[0].Leader()
		return id > 0 && !slices.ContainsFunc(nodes, func(n *voterNode) bool {
			other, now := n.Leader()
			return other != id || now != epoch
		})
	})
	id, _ := nodes[0].Leader()
	first = nodes[id-1]

	// Without the active one the others go on, and when it comes back it catches up.
	first.stop()
	rest := slices.DeleteFunc(slices.Clone(nodes), func(n *voterNode) bool { return n == first })
	second := createOn(t, rest, "b")
	if second.Epoch() <= first.Epoch() {
		t.Errorf("epoch %d after %d", second.Epoch(), first.Epoch())
	}
	back := startVoter(t, w, first.fs, first.id, voters)
	nodes[first.id-1] = back
	eventually(t, "what was missed", func() bool { return has(back, "a") && has(back, "b") })

	// One that is cut off answers nothing with success, and forgets what only it has.
	active := createOn(t, nodes, "c")
	w.plug(active.id, nil)
	others := slices.DeleteFunc(slices.Clone(nodes), func(n *voterNode) bool { return n == active })
	createOn(t, others, "d")
	w.plug(active.id, active.Controller)
	eventually(t, "the return of who was cut off", func() bool { return has(active, "d") })
	eventually(t, "the same end everywhere", func() bool {
		return nodes[0].EndOffset() == nodes[1].EndOffset() && nodes[1].EndOffset() == nodes[2].EndOffset()
	})
	for _, n := range nodes {
		for _, name := range []string{"a", "b", "c", "d"} {
			if !has(n, name) {
				t.Errorf("node %d lacks the change of %s", n.id, name)
			}
		}
	}
}

// TestSlowSubscriber holds up who is told of images on the active controller: the quorum goes on, and
// only the answers that stand for an image wait.
func TestSlowSubscriber(t *testing.T) {
	for range 20 {
		if slowSubscriber(t) {
			return
		}
	}
	t.Fatal("no controller is active for long enough")
}

// slowSubscriber ends early where another controller becomes active meanwhile, which a busy machine is enough for.
func slowSubscriber(t *testing.T) (steady bool) {
	w := &wires{t: t}
	_, nodes := startThree(t, w)
	for _, n := range nodes {
		defer n.stop()
	}
	active := createOn(t, nodes, "a")
	epoch := active.Epoch()
	busy := make(chan struct{})
	free := sync.OnceFunc(func() { close(busy) })
	defer free() // before the nodes stop, which wait for it
	moved := func() bool { id, now := active.Leader(); return id != active.id || now != epoch }
	active.Subscribe(func(_, _ *meta.Image, _ meta.Delta) { <-busy })
	answered := make(chan error, 1)
	go func() {
		answered <- active.Await(t.Context(), func(*Machine) ([]kmsg.Record, error) {
			return []kmsg.Record{&kmsg.ConfigRecord{
				ResourceType: int8(meta.ResourceTopic), ResourceName: "b", Name: "retention.ms", Value: new("5"),
			}}, nil
		})
	}()
	for _, n := range nodes {
		eventually(t, "the change on every node", func() bool {
			return moved() || n.Image().Configs(meta.Resource{Type: meta.ResourceTopic, Name: "b"})["retention.ms"] == "5"
		})
	}
	err := active.Await(t.Context(), func(*Machine) ([]kmsg.Record, error) { return nil, nil })
	var early error
	answer := false
	select {
	case early = <-answered:
		answer = true
	default:
	}
	if moved() {
		return false
	}
	if err != nil {
		t.Error(err)
	}
	if answer {
		t.Errorf("answered (%v) before the subscriber was done", early)
		return true
	}
	free()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	return true
}
