package node

import (
	"bytes"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// TestClusterMovesAFollowersLog gives a follower a second log directory and moves its log there while records come
// in: slower than they do at first, so that the move does not end, then as fast as it can. Then it leads.
func TestClusterMovesAFollowersLog(t *testing.T) {
	c := startTrio(t)
	c.replicated("orders", 1)
	id := c.follower("orders")
	one, two := c.dirs[id], t.TempDir()
	c.stop(id)
	if _, err := controller.Format(vfs.OS{}, controller.FormatOptions{
		Dirs: []string{two}, ClusterID: c.up()[0].store.ClusterID(), NodeID: int32(id),
	}, time.Now()); err != nil {
		t.Fatal(err)
	}
	c.dirs[id] = one + "," + two
	c.startAll(id)
	c.inSync("orders", 3)
	p := c.client(kgo.ProducerBatchCompression(kgo.NoCompression()))
	records := 0
	produce := func() {
		t.Helper()
		for range 20 {
			records++
			r := &kgo.Record{Topic: "orders", Value: bytes.Repeat([]byte("x"), 50<<10)}
			if err := p.ProduceSync(deadline(t), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	produce()
	adm, rate, slow := kadm.NewClient(c.client()), "replica.alter.log.dirs.io.max.bytes.per.second", "1000"
	if resps, err := adm.AlterBrokerConfigs(deadline(t), []kadm.AlterConfig{{Name: rate, Value: &slow}}); err != nil || resps[0].Err != nil {
		t.Fatalf("set %s: %v %v", rate, err, resps)
	}
	c.eventually("the rate is known", func() bool { return c.nodes[id].moveRate() == 1000 })
	a := newAsker(t, c.nodes[id].Bootstrap(), "mover")
	log := c.nodes[id].store.Logs()
	from := ""
	for _, l := range log {
		if l.TopicPartition().Topic == "orders" {
			from = l.Dir()
		}
	}
	to := two
	if from == two {
		to = one
	}
	if code := a.alterDir(to, "orders"); code != 0 {
		t.Fatalf("move to %s: error %d", to, code)
	}
	produce()
	if at, settled := a.place("orders"); settled || at != from {
		t.Errorf("2 MB have moved to %s at 1000 bytes a second, settled %v", at, settled)
	}
	c.inSync("orders", 3)
	if resps, err := adm.AlterBrokerConfigs(deadline(t), []kadm.AlterConfig{{Op: kadm.DeleteConfig, Name: rate}}); err != nil || resps[0].Err != nil {
		t.Fatalf("unset %s: %v %v", rate, err, resps)
	}
	produce()
	c.eventually("the log has moved", func() bool {
		at, settled := a.place("orders")
		return settled && at == to
	})
	produce()
	c.inSync("orders", 3)
	c.stop(c.leader("orders", 0))
	c.eventually("another leader", func() bool { l := c.leader("orders", 0); return l > 0 && c.nodes[l] != nil })
	for _, n := range c.up() {
		part, err := n.parts.Topic("orders").Partition(0)
		if err != nil || part.Log().EndOffset() != int64(records) {
			t.Errorf("a replica ends at %d, want %d (%v)", part.Log().EndOffset(), records, err)
		}
	}
	readAll(t, deadline(t), c.client(kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), records)
}
