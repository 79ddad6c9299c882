package node

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// TestClusterKnowsDirectories gives one broker a second log directory: the metadata says which of its replicas
// are in which.
func TestClusterKnowsDirectories(t *testing.T) {
	c := startTrio(t)
	c.secondDir(2)
	c.replicated("orders", 8)
	c.inSync("orders", 3)
	c.eventually("the directory of each replica", func() bool {
		dirs, topic := c.nodes[2].image().Broker(2).LogDirs, c.nodes[2].parts.Topic("orders")
		if topic == nil {
			return false
		}
		seen := map[base.TopicID]bool{}
		for i, p := range c.up()[0].image().Topic("orders").Partitions {
			dir := p.Directories[slices.Index(p.Replicas, 2)]
			if dir != c.nodes[2].directoryOf(topic.Parts[i].Log()) {
				return false
			}
			seen[dir] = true
		}
		return len(dirs) == 2 && seen[dirs[0]] && seen[dirs[1]]
	})
}

// secondDir gives a node another log directory, which takes a restart.
func (c *trio) secondDir(id int) (dir string) {
	c.t.Helper()
	c.stop(id)
	dir = c.t.TempDir()
	c.dirs[id] += "," + dir
	c.startAll(id)
	return dir
}

// logsIn are the partitions of a topic that a node has in a directory.
func (c *trio) logsIn(id int, dir, topic string) (list []int32) {
	for _, l := range c.nodes[id].store.Logs() {
		if tp := l.TopicPartition(); tp.Topic == topic && l.Dir() == dir {
			list = append(list, tp.Partition)
		}
	}
	return list
}

// TestClusterReassignsIntoADirectory is what kafka-reassign-partitions does with log_dirs: the broker is told of the
// directory before the replica comes.
func TestClusterReassignsIntoADirectory(t *testing.T) {
	c := startTrio(t)
	two := c.secondDir(3)
	adm := kadm.NewClient(c.client())
	c.replicated("orders", 4)
	c.everywhere("orders") // else node 3 may make these replicas where the next ones are to be
	c.inSync("orders", 3)
	assign := func(replicas ...int32) {
		t.Helper()
		req := kadm.AlterPartitionAssignmentsReq{}
		for p := range int32(4) {
			req.Assign("orders", p, replicas)
		}
		if resps, err := adm.AlterPartitionAssignments(deadline(t), req); err != nil || resps.Error() != nil {
			t.Fatal(err, resps.Error())
		}
		c.eventually("reassigned", func() bool {
			return !slices.ContainsFunc(c.up()[0].image().Topic("orders").Partitions, func(p *meta.Partition) bool {
				return !slices.Equal(p.Replicas, replicas) || p.Moving()
			})
		})
	}
	assign(1, 2)
	c.eventually("nothing of it is left", func() bool {
		return !slices.ContainsFunc(c.nodes[3].store.Logs(), func(l *storage.Log) bool { return l.TopicPartition().Topic == "orders" })
	})
	a := newAsker(t, c.nodes[3].Bootstrap(), "directories")
	req := kmsg.NewAlterReplicaLogDirsRequest()
	req.Dirs = []kmsg.AlterReplicaLogDirsRequestAlterReplicaLogDir{{Path: two,
		Topics: []kmsg.AlterReplicaLogDirsRequestAlterReplicaLogDirTopic{{Name: "orders", Partitions: []int32{0, 1, 2, 3, 4}}}}}
	for _, p := range ask[*kmsg.AlterReplicaLogDirsResponse](a, &req, 2).Results[0].Partitions {
		if want := kerr.ReplicaNotAvailable.Code; p.ErrorCode != want { // also for 4, which there is not
			t.Errorf("partition %d: error %d, want %d", p.PartitionIndex, p.ErrorCode, want)
		}
	}
	assign(1, 3)
	if got := c.logsIn(3, two, "orders"); len(got) != 4 {
		t.Errorf("in %s are partitions %v, want all four", two, got)
	}
}

// TestClusterLosesADirectory has one of a broker's two directories fail: what it led there others lead, the rest it
// serves on, and acknowledged records are all there.
func TestClusterLosesADirectory(t *testing.T) {
	c := startTrio(t)
	disk := vfs.NewFault(vfs.OS{})
	c.fs[2] = disk
	two := c.secondDir(2)
	c.placed("orders", 12, 2, 3, 1)
	c.inSync("orders", 3)
	p := c.client(kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	produceNumbers(t, p, "orders", 0, 200)
	gone := c.logsIn(2, two, "orders")
	leads := func(in bool) (n int) {
		for i, p := range c.nodes[1].image().Topic("orders").Partitions {
			if p.Leader == 2 && slices.Contains(gone, int32(i)) == in {
				n++
			}
		}
		return n
	}
	if len(gone) == 0 || len(gone) == 12 || leads(true) == 0 || leads(false) == 0 {
		t.Fatalf("in one directory are %v; broker 2 leads %d there and %d elsewhere", gone, leads(true), leads(false))
	}
	for _, depth := range []string{"/*", "/*/*"} {
		for _, kind := range []vfs.OpKind{vfs.OpWrite, vfs.OpSync, vfs.OpCreate, vfs.OpRename} {
			disk.Inject(vfs.Rule{Kind: kind, Path: two + depth, Err: errors.New("the disk is gone")})
		}
	}
	produceNumbers(t, p, "orders", 200, 400)
	c.eventually("others lead what was there", func() bool { return leads(true) == 0 })
	c.eventually("what was there is in sync without it", func() bool {
		for i, p := range c.nodes[1].image().Topic("orders").Partitions {
			if slices.Contains(gone, int32(i)) == slices.Contains(p.ISR, 2) {
				return false
			}
		}
		return true
	})
	if leads(false) == 0 {
		t.Error("broker 2 leads nothing any more, though its other directory is whole")
	}
	readAll(t, deadline(t), c.client(kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), 400)
	if err := c.nodes[2].stop(); err == nil {
		t.Error("the broker stops as if all that it had were stored")
	}
	c.nodes[2] = nil
}

// TestLostReplicaIsNotMadeAnew: of a replica that was in one of its broker's directories that is gone, and that is the only
// complete one, no empty log is made, unless an unclean election is allowed.
func TestLostReplicaIsNotMadeAnew(t *testing.T) {
	n := start(t, t.TempDir())
	self := n.api.NodeID
	makes := func(name string, p meta.Partition) bool {
		p.Replicas, p.Directories = []int32{self, 7}, []base.TopicID{meta.DirLost, {9}}
		mt := &meta.Topic{Name: name, ID: base.NewTopicID(), Partitions: []*meta.Partition{&p}}
		topic := &partition.Topic{Name: name, ID: mt.ID, Parts: make([]*partition.Partition, 1)}
		n.openReplicas(n.image(), mt, mt, topic)
		return topic.Parts[0] != nil
	}
	if makes("in-sync", meta.Partition{ISR: []int32{self}}) {
		t.Error("the only one in sync is made anew")
	}
	if makes("last", meta.Partition{ELR: []int32{7}, LastELR: []int32{self}}) {
		t.Error("the last known leader is made anew")
	}
	if !makes("beside", meta.Partition{ISR: []int32{7, self}}) {
		t.Error("one beside another in sync is not made anew")
	}
	adm := kadm.NewClient(client(t, n))
	allowed := "true"
	if _, err := adm.CreateTopic(deadline(t), 1, 1, map[string]*string{"unclean.leader.election.enable": &allowed}, "unclean"); err != nil {
		t.Fatal(err)
	}
	if err := n.store.Delete(base.TopicPartition{Topic: "unclean"}); err != nil {
		t.Fatal(err)
	}
	if !makes("unclean", meta.Partition{ISR: []int32{self}}) {
		t.Error("where an unclean election is allowed it is not made anew")
	}
}

// TestUnfoundAreTriedAgain: a change of configs has replicas tried again that are not made anew, and where there are none it looks
// at no partition.
func TestUnfoundAreTriedAgain(t *testing.T) {
	n := start(t, t.TempDir())
	n.openUnfound(nil) // not even at the image
	r := kmsg.NewPartitionRecord()
	r.TopicId, r.PartitionId, r.Leader = base.NewTopicID(), 0, -1
	r.Replicas, r.Isr, r.Directories = []int32{n.api.NodeID, 7}, []int32{n.api.NodeID}, []base.TopicID{meta.DirLost, {9}}
	allowed := "true"
	change := func(im *meta.Image, records ...kmsg.Message) *meta.Image {
		e := im.Edit()
		for _, rec := range records {
			if err := e.Apply(rec); err != nil {
				t.Fatal(err)
			}
		}
		now, _ := e.Image(im.Offset+1, 0)
		return now
	}
	im := change(n.image(), &kmsg.TopicRecord{Name: "orders", TopicId: r.TopicId}, &r)
	made := func() bool { return n.parts.Topic("orders").Parts[0] != nil }
	n.openTopic(im, im.Topic("orders"), nil)
	if n.openUnfound(im); made() {
		t.Fatal("the only one in sync is made anew")
	}
	im = change(im, &kmsg.ConfigRecord{ResourceType: int8(meta.ResourceTopic), ResourceName: "orders", Name: "unclean.leader.election.enable", Value: &allowed})
	if n.openUnfound(im); !made() {
		t.Error("where an unclean election is allowed now it is not made anew")
	}
	n.openUnfound(nil)
}

// TestStartWithoutADirectory starts a broker one of whose directories fails, or is none: what it has there is not served and
// not made anew elsewhere, and is there again once the directory is.
func TestStartWithoutADirectory(t *testing.T) {
	for name, c := range map[string]struct {
		take, giveBack func(*vfs.Fault, string) error
	}{
		"it cannot be read": {
			func(disk *vfs.Fault, dir string) error {
				disk.Inject(vfs.Rule{Kind: vfs.OpReadDir, Path: dir, Err: errors.New("the disk is gone")})
				return nil
			},
			func(*vfs.Fault, string) error { return nil },
		},
		"it is a file": {
			func(_ *vfs.Fault, dir string) error {
				return errors.Join(os.Rename(dir, dir+".away"), os.WriteFile(dir, nil, 0o600))
			},
			func(_ *vfs.Fault, dir string) error { return errors.Join(os.Remove(dir), os.Rename(dir+".away", dir)) },
		},
	} {
		t.Run(name, func(t *testing.T) { startWithoutADirectory(t, c.take, c.giveBack) })
	}
}

func startWithoutADirectory(t *testing.T, take, giveBack func(*vfs.Fault, string) error) {
	one, two := t.TempDir(), t.TempDir()
	n := start(t, one+","+two)
	if _, err := kadm.NewClient(client(t, n)).CreateTopic(deadline(t), 6, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	produceNumbers(t, client(t, n, kgo.RecordPartitioner(kgo.RoundRobinPartitioner())), "orders", 0, 60)
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	disk := vfs.NewFault(vfs.OS{})
	if err := take(disk, two); err != nil {
		t.Fatal(err)
	}
	n = startOn(t, disk, one+","+two)
	read := client(t, n, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if got := values(t, deadline(t), read, 30); len(got) != 30 {
		t.Errorf("%d records are served, want the 30 of the directory that is there", len(got))
	}
	for _, l := range n.store.Logs() {
		if tp := l.TopicPartition(); tp.Topic == "orders" && l.Dir() == one && l.EndOffset() == 0 {
			t.Errorf("%s was made anew in %s", tp, one)
		}
	}
	_ = n.stop()
	if err := giveBack(disk, two); err != nil {
		t.Fatal(err)
	}
	n = start(t, one+","+two)
	readAll(t, deadline(t), client(t, n, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), 60)
}
