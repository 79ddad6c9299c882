package node

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/raft"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
	ours "github.com/logstead/logstead/internal/proto/kmsg"
)

// growing formats three nodes of which the first is a quorum of one, and gives what starts one.
func growing(t *testing.T) (c *trio, run func(id int)) {
	t.Helper()
	c = &trio{t: t}
	cluster := base.NewTopicID().String()
	for id := 1; id <= 3; id++ {
		c.dirs[id], c.ports[id], c.ctl[id] = t.TempDir(), freePort(t), freePort(t)
	}
	port, err := strconv.ParseUint(c.ctl[1], 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	first := raft.Voter{ID: 1, Endpoints: []ours.VotersRecordEndpoint{{Name: "CONTROLLER", Host: "127.0.0.1", Port: uint16(port)}}}
	for id := 1; id <= 3; id++ {
		o := controller.FormatOptions{Dirs: []string{c.dirs[id]}, ClusterID: cluster, NodeID: int32(id), Joiner: id > 1}
		if id == 1 {
			o.Voters = []raft.Voter{first}
		}
		if _, err := controller.Format(vfs.OS{}, o, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(c.abandon)
	return c, func(id int) {
		c.nodes[id] = start(t, c.dirs[id], "node.id="+strconv.Itoa(id),
			// Node 3 may come to lead, and nobody has it in the configuration.
			"controller.quorum.bootstrap.servers=127.0.0.1:"+c.ctl[1]+",127.0.0.1:"+c.ctl[2],
			"listeners=PLAINTEXT://127.0.0.1:"+c.ports[id]+",CONTROLLER://127.0.0.1:"+c.ctl[id], "broker.heartbeat.interval.ms=200")
	}
}

// TestFirstVoterIsRemovedWhileItRuns: the node that was the whole quorum when it started, and leads it, is no voter any more, and its
// broker goes on hearing of the metadata and passing on what it is asked.
func TestFirstVoterIsRemovedWhileItRuns(t *testing.T) {
	c, run := growing(t)
	for id := 1; id <= 3; id++ {
		run(id)
	}
	for id := 2; id <= 3; id++ {
		c.grow(1, id)
	}
	c.shrink(1, 1, c.directory(1))
	c.eventually("another active controller", func() bool { return c.leaderOf(2) > 1 })
	c.create(2, "elsewhere", 1)
	c.everywhere("elsewhere")
	c.create(1, "here", 1)
	c.everywhere("here")
}

// TestVotersComeAndGo lets a quorum of one grow to three, lose its first node for good, and go on.
func TestVotersComeAndGo(t *testing.T) {
	c, run := growing(t)
	run(1)
	c.create(1, "alone", 1)
	// What is to be added serves its clients before, as a broker.
	run(2)
	run(3)
	c.create(3, "before", 1)
	if c.nodes[2].ctl.IsVoter() {
		t.Error("node 2 is a voter before it was added")
	}
	if code := c.addVoter(1, 2, base.NewTopicID(), 300); code != kerr.RequestTimedOut.Code {
		t.Errorf("a node was added under another directory: error %d", code)
	}
	for id := 2; id <= 3; id++ {
		c.grow(id, id)
		if code := c.addVoter(1, id, c.directory(id), 60_000); code != kerr.DuplicateVoter.Code {
			t.Errorf("node %d was added twice: error %d", id, code)
		}
	}
	c.eventually("three voters on every node", func() bool {
		for _, n := range c.up() {
			if len(n.ctl.Voters()) != 3 || !n.ctl.IsVoter() {
				return false
			}
		}
		return true
	})

	gone := c.directory(1)
	c.crash(1)
	c.eventually("another active controller", func() bool {
		id, _ := c.nodes[2].ctl.Leader()
		return id > 1
	})
	c.create(2, "after", 1)
	if code := c.removeVoter(3, 1, base.NewTopicID()); code != kerr.VoterNotFound.Code {
		t.Errorf("a voter with another directory was removed: error %d", code)
	}
	c.shrink(3, 1, gone)
	// It comes back as a broker that is no voter.
	run(1)
	c.everywhere("after")
	c.create(1, "again", 1)
	c.everywhere("again")
}

func (c *trio) leaderOf(id int) int32 {
	leader, _ := c.nodes[id].ctl.Leader()
	return leader
}

func (c *trio) directory(id int) base.TopicID { return c.nodes[id].store.Dirs()[0].DirectoryID }

// grow makes a node a voter. Where the active controller was another when the answer was due, the request was repeated, and the answer
// to that is that the node is one.
func (c *trio) grow(by, id int) {
	c.t.Helper()
	if code := c.addVoter(by, id, c.directory(id), 60_000); code != 0 && code != kerr.DuplicateVoter.Code {
		c.t.Fatalf("node %d was not added: error %d", id, code)
	}
	c.eventually(fmt.Sprintf("node %d is a voter", id), func() bool { return c.nodes[id].ctl.IsVoter() })
}

// shrink takes a node out of the quorum, as grow takes one in.
func (c *trio) shrink(by, id int, dir base.TopicID) {
	c.t.Helper()
	if code := c.removeVoter(by, id, dir); code != 0 && code != kerr.VoterNotFound.Code {
		c.t.Fatalf("node %d was not removed: error %d", id, code)
	}
	c.eventually(fmt.Sprintf("node %d is no voter", id), func() bool {
		for n, node := range c.nodes {
			if node != nil && n != id && len(node.ctl.Voters()) != 2 {
				return false
			}
		}
		return true
	})
}

func (c *trio) addVoter(by, id int, dir base.TopicID, timeoutMs int32) int16 {
	c.t.Helper()
	port, err := strconv.ParseUint(c.ctl[id], 10, 16)
	if err != nil {
		c.t.Fatal(err)
	}
	req := kmsg.NewPtrAddRaftVoterRequest()
	req.TimeoutMillis, req.VoterID, req.VoterDirectoryID = timeoutMs, int32(id), dir
	req.Listeners = []kmsg.AddRaftVoterRequestListener{{Name: "CONTROLLER", Host: "127.0.0.1", Port: uint16(port)}}
	resp, err := client(c.t, c.nodes[by]).Broker(by).Request(deadline(c.t), req)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.(*kmsg.AddRaftVoterResponse).ErrorCode
}

func (c *trio) removeVoter(by, id int, dir base.TopicID) int16 {
	c.t.Helper()
	req := kmsg.NewPtrRemoveRaftVoterRequest()
	req.VoterID, req.VoterDirectoryID = int32(id), dir
	resp, err := client(c.t, c.nodes[by]).Broker(by).Request(deadline(c.t), req)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.(*kmsg.RemoveRaftVoterResponse).ErrorCode
}
