package node

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// TestUpgradeFromTheOldestLevel takes three nodes from the first metadata.version to the newest while they serve: what
// brokers could not say of themselves before is known afterwards.
func TestUpgradeFromTheOldestLevel(t *testing.T) {
	c := &trio{t: t}
	cluster := base.NewTopicID().String()
	levels, err := controller.Levels("3.3", nil, false)
	if err != nil {
		t.Fatal(err)
	}
	for id := 1; id <= 3; id++ {
		c.dirs[id], c.ports[id], c.ctl[id] = t.TempDir(), freePort(t), freePort(t)
		o := controller.FormatOptions{Dirs: []string{c.dirs[id]}, ClusterID: cluster, NodeID: int32(id), Levels: levels}
		if _, err := controller.Format(vfs.OS{}, o, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	c.startAll(1, 2, 3)
	t.Cleanup(c.abandon)
	c.create(1, "before", 3)
	c.everywhere("before")
	if b := c.nodes[1].image().Broker(2); len(b.LogDirs) > 0 || len(c.nodes[1].image().Topic("before").Partitions[0].Directories) > 0 {
		t.Fatal("the metadata knows directories already: the test shows nothing")
	}
	if list := c.nodes[1].image().Controllers(); len(list) > 0 {
		t.Fatalf("the metadata knows controllers already: %+v", list)
	}
	cl := c.client()
	write := func() {
		if err := cl.ProduceSync(deadline(t), &kgo.Record{Topic: "before", Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	write()
	req := kmsg.NewPtrUpdateFeaturesRequest()
	req.TimeoutMillis = 60_000
	for name, level := range map[string]int16{"metadata.version": 30, "group.version": 1, "transaction.version": 2} {
		f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		f.Feature, f.MaxVersionLevel, f.UpgradeType = name, level, 1
		req.FeatureUpdates = append(req.FeatureUpdates, f)
	}
	resp, err := req.RequestWith(deadline(t), cl)
	if err != nil || resp.ErrorCode != 0 {
		t.Fatalf("%+v, %v", resp, err)
	}
	write()
	complete := func(im *meta.Image) bool {
		for id := int32(1); id <= 3; id++ {
			if b := im.Broker(id); len(b.LogDirs) != 1 || b.CordonedDirs == nil || b.Fenced {
				return false
			}
		}
		for _, p := range im.Topic("before").Partitions {
			for i, id := range p.Replicas {
				if i >= len(p.Directories) || p.Directories[i] != im.Broker(id).LogDirs[0] {
					return false
				}
			}
		}
		return true
	}
	c.eventually("every directory known to every node", func() bool {
		return !slices.ContainsFunc(c.up(), func(n *running) bool { return !complete(n.image()) })
	})
	write()
	c.awaitRegistered()
}

// TestUpgradeAlone does the same with a node that reports to no other.
func TestUpgradeAlone(t *testing.T) {
	levels, err := controller.Levels("3.9", map[string]int16{"metadata.version": 0}, false)
	if err == nil || !strings.Contains(err.Error(), "ambiguity") {
		t.Fatalf("%v, %v", levels, err)
	}
	if levels, err = controller.Levels("3.3", nil, false); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := controller.Format(vfs.OS{}, controller.FormatOptions{Dirs: []string{dir}, NodeID: 1, Levels: levels}, time.Now()); err != nil {
		t.Fatal(err)
	}
	n := start(t, dir)
	req := kmsg.NewPtrUpdateFeaturesRequest()
	f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	f.Feature, f.MaxVersionLevel, f.UpgradeType = "metadata.version", 30, 1
	req.FeatureUpdates = append(req.FeatureUpdates, f)
	resp, err := req.RequestWith(deadline(t), client(t, n))
	if err != nil || resp.ErrorCode != 0 {
		t.Fatalf("%+v, %v", resp, err)
	}
	if b := n.image().Broker(1); len(b.LogDirs) != 1 || b.CordonedDirs == nil {
		t.Errorf("broker %+v", b)
	}
}
