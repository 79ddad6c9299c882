package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// threeBrokers is a layout: orders has three replicas, of which none can go elsewhere, and small has two.
func threeBrokers() *layout {
	return &layout{
		brokers: []layoutBroker{{id: 1, dirs: 1}, {id: 2, dirs: 1}, {id: 3, dirs: 1}},
		parts: []layoutPart{
			{topic: "orders", partition: 0, leader: 1, replicas: []int32{1, 2, 3}, isr: []int32{1, 2, 3}},
			{topic: "small", partition: 0, leader: 1, replicas: []int32{1, 2}, isr: []int32{1, 2}, sizes: map[int32]int64{1: 50, 2: 40}},
			{topic: "small", partition: 1, leader: 3, replicas: []int32{2, 3}, isr: []int32{3}},
		},
	}
}

func wantFault(t *testing.T, err error, exit int, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	f := asFault("", err)
	for _, w := range words {
		if !strings.Contains(f.Error(), w) {
			t.Errorf("error %q lacks %q", f.Error(), w)
		}
	}
	if f.exit() != exit {
		t.Errorf("error %q ends with %d, want %d", f.Error(), f.exit(), exit)
	}
}

func TestDrainRefuses(t *testing.T) {
	l := threeBrokers()
	_, err := l.drainPlan([]int32{3})
	wantFault(t, err, exitConflict, "cannot drain broker 3", "partition orders-0", "its replication factor of 3 would be broken")

	l.parts = l.parts[1:]
	l.parts[1].leader, l.parts[1].isr = -1, nil
	_, err = l.drainPlan([]int32{3})
	wantFault(t, err, exitConflict, "partition small-1 has no leader to copy from")

	_, err = l.drainPlan([]int32{9})
	wantFault(t, err, exitNotFound, "there is no broker 9")
}

func TestDrainSkipsCordonedAndFenced(t *testing.T) {
	l := threeBrokers()
	l.parts = l.parts[1:2] // small-0 on 1 and 2
	moves, err := l.drainPlan([]int32{2})
	if err != nil || len(moves) != 1 || !slices.Equal(moves[0].To, []int32{1, 3}) {
		t.Fatalf("moves %+v, %v", moves, err)
	}
	for _, close := range []func(*layoutBroker){
		func(b *layoutBroker) { b.fenced = true },
		func(b *layoutBroker) { b.cordoned = 1 },
		func(b *layoutBroker) { b.badDirs = 1 },
	} {
		l := threeBrokers()
		l.parts = l.parts[1:2]
		close(&l.brokers[2])
		_, err := l.drainPlan([]int32{2})
		wantFault(t, err, exitConflict, "partition small-0")
	}
}

// A drain that was interrupted goes on with what is under way, and does not start it again.
func TestDrainGoesOn(t *testing.T) {
	l := threeBrokers()
	l.parts = l.parts[1:2]
	p := &l.parts[0]
	p.replicas, p.adding, p.removing = []int32{1, 3, 2}, []int32{3}, []int32{2}
	moves, err := l.drainPlan([]int32{2})
	if err != nil || len(moves) != 1 {
		t.Fatalf("moves %+v, %v", moves, err)
	}
	if m := moves[0]; !slices.Equal(m.From, []int32{1, 2}) || !slices.Equal(m.To, []int32{1, 3}) || m.CopyBytes() != 50 {
		t.Errorf("move %+v", m)
	}
	if m := newMover(nil, l, moves, planOf(l, moves, "").Moves, moveFlags{}, 0); m.rows[0].Status != moveGoes {
		t.Errorf("status %q, want %q", m.rows[0].Status, moveGoes)
	}
}

func TestMoveTargets(t *testing.T) {
	l := threeBrokers()
	for _, c := range []struct {
		t    moveTarget
		args []string
		want [][]int32
		err  string
	}{
		{moveTarget{replicas: "2,3"}, []string{"small"}, [][]int32{{2, 3}}, ""}, // the second is there already
		{moveTarget{from: "1", to: "3"}, []string{"small"}, [][]int32{{3, 2}}, ""},
		{moveTarget{from: "1", to: "3"}, nil, nil, "partition orders-0 is on brokers 1,2,3 already"},
		{moveTarget{replicas: "2,2"}, []string{"small:0"}, nil, "broker 2 is named twice"},
		{moveTarget{replicas: "2,7"}, []string{"small:0"}, nil, "there is no broker 7"},
		{moveTarget{replicas: "2,x"}, []string{"small:0"}, nil, `"x" is not a broker's id`},
		{moveTarget{replicas: "2"}, []string{"small:5"}, nil, `topic "small" has no partition 5`},
		{moveTarget{replicas: "2"}, []string{"smal"}, nil, `did you mean "small"?`},
		{moveTarget{}, []string{"small"}, nil, "where to?"},
		{moveTarget{from: "1"}, []string{"small"}, nil, "--from and --to go together"},
		{moveTarget{replicas: "1", file: "x"}, []string{"small"}, nil, "where to?"},
		{moveTarget{replicas: "1"}, nil, nil, "which partitions?"},
	} {
		err := c.t.check(c.args)
		var got [][]int32
		if err == nil {
			moves, merr := c.t.moves(l, c.args)
			err = merr
			for _, m := range moves {
				got = append(got, m.To)
			}
		}
		if c.err == "" && (err != nil || !reflect.DeepEqual(got, c.want)) {
			t.Errorf("%+v %v: %v, %v, want %v", c.t, c.args, got, err, c.want)
		}
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%+v %v: error %v, want %q", c.t, c.args, err, c.err)
		}
	}
}

// What is written for kafka-reassign-partitions is what is read again.
func TestPlanFileRoundTrip(t *testing.T) {
	l := threeBrokers()
	moves, err := (&moveTarget{from: "1", to: "3"}).moves(l, []string{"small"})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "plan.json")
	if err := writePlan(path, planOf(l, moves, "")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var compact struct {
		Version    int
		Partitions []map[string]any
	}
	if err := json.Unmarshal(text, &compact); err != nil || compact.Version != 1 || len(compact.Partitions) != 1 ||
		compact.Partitions[0]["topic"] != "small" {
		t.Errorf("plan %s: %v", text, err)
	}
	again, err := l.movesOfPlan(path)
	if err != nil || !reflect.DeepEqual(again, moves) {
		t.Errorf("read %+v, %v\nwrote %+v", again, err, moves)
	}
	for _, bad := range []string{"", "{}", `{"version":2,"partitions":[{}]}`} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := l.movesOfPlan(path)
		wantFault(t, err, exitUsage, "plan ")
	}
}

func TestPartitionStatus(t *testing.T) {
	for _, c := range []struct {
		p    layoutPart
		want string
	}{
		{layoutPart{leader: 1, replicas: []int32{1, 2}, isr: []int32{2, 1}}, "ok"},
		{layoutPart{leader: 2, replicas: []int32{1, 2}, isr: []int32{2}}, "under-replicated, not the preferred leader"},
		{layoutPart{leader: -1, replicas: []int32{1, 2}}, "no leader, under-replicated"},
		{layoutPart{leader: 1, replicas: []int32{3, 1}, isr: []int32{1}, adding: []int32{3}}, "moving"},
	} {
		if got := c.p.status(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.p, got, c.want)
		}
	}
}

func TestQuorumPick(t *testing.T) {
	now := time.UnixMilli(10_000)
	state := func(id int32, dir byte, end int64) kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
		s := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
		s.ReplicaID, s.ReplicaDirectoryID[15], s.LogEndOffset, s.LastCaughtUpTimestamp = id, dir, end, 9_000
		return s
	}
	p := kmsg.NewDescribeQuorumResponseTopicPartition()
	p.LeaderID, p.LeaderEpoch = 1, 4
	p.CurrentVoters = append(p.CurrentVoters, state(1, 1, 100), state(2, 2, 90), state(3, 3, 100))
	p.Observers = append(p.Observers, state(3, 9, 100), state(4, 4, -1))
	q := quorumOf(p, nil, now)
	if n := q.node(2); n.Lag != 10 || *n.Behind != 1000 || n.Role != "voter" || q.node(1).Role != "leader" || q.node(4).Lag != -1 {
		t.Errorf("%+v", q)
	}
	nine := q.Nodes[3].Directory
	for _, c := range []struct {
		id   int32
		dir  string
		add  bool
		want string
		err  string
	}{
		{3, "", true, nine, ""},                                  // wiped: its new directory follows, the old one is a voter
		{3, "", false, q.Nodes[2].Directory, ""},                 // and the old one can be removed
		{3, nine, false, "", "node 3 is no voter"},               // which the new directory is not
		{2, "", true, "", "it is one of the voters already"},     //
		{4, "", false, "", "it is one of the observers already"}, //
		{7, "", false, "", "the quorum does not know it"},
	} {
		got, err := q.pick(c.id, c.dir, c.add)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
	for i := range p.CurrentVoters {
		p.CurrentVoters[i].ReplicaDirectoryID = [16]byte{}
	}
	for _, add := range []bool{true, false} {
		_, err := quorumOf(p, nil, now).pick(3, "", add)
		wantFault(t, err, exitConflict, "kraft.version is 0", "controller.quorum.voters")
	}
	if _, err := directoryBytes("short"); err == nil {
		t.Error("a short directory id passes")
	}
	if b, err := directoryBytes(nine); err != nil || b[15] != 9 {
		t.Errorf("%v, %v", b, err)
	}
}
