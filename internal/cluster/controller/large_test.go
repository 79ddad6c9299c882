package controller

import (
	"bytes"
	"slices"
	"strconv"
	"testing"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// TestLargeOperation has a broker that is in sync everywhere fenced, and then come back as another
// incarnation, in a cluster where that changes more than a batch may hold.
func TestLargeOperation(t *testing.T) {
	fsys := vfs.NewMem()
	n := open(t, fsys, nil)
	const topics, partitions = 12, 10_000
	for id := int32(1); id <= 3; id++ {
		n.enter(t, id, base.NewTopicID())
	}
	for i := range topics {
		n.createLarge(t, "t"+strconv.Itoa(i), partitions)
	}
	led := func(id int32) (leads, inSync int) {
		for topic := range n.Image().Topics() {
			for _, p := range topic.Partitions {
				if p.Leader == id {
					leads++
				}
				if slices.Contains(p.ISR, id) {
					inSync++
				}
			}
		}
		return leads, inSync
	}
	if leads, inSync := led(2); leads < topics*partitions/4 || inSync != topics*partitions {
		t.Fatalf("broker 2 leads %d and is in sync in %d", leads, inSync)
	}
	before := n.EndOffset()
	n.Controller.decide(t, func(m *Machine) []kmsg.Record { return m.fence(2) })
	if leads, inSync := led(2); leads+inSync > 0 || !n.Image().Broker(2).Fenced {
		t.Errorf("broker 2 leads %d and is in sync in %d once it is fenced", leads, inSync)
	}
	largest, count := 0, 0
	for from := before; from < n.EndOffset(); {
		r, err := n.log.Read(from, 1, n.EndOffset(), true)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, r.Len())
		if _, err := r.ReadAt(buf, 0); err != nil {
			t.Fatal(err)
		}
		r.Release()
		b, _, err := batch.Next(buf)
		if err != nil {
			t.Fatal(err)
		}
		largest, count, from = max(largest, len(b)), count+1, b.LastOffset()+1
	}
	if largest > dividedBytes+1000 || count < 5 {
		t.Errorf("%d batches, the largest of %d bytes, want several of at most %d", count, largest, dividedBytes)
	}
	n.enter(t, 2, base.NewTopicID())
	want := everything(t, n.Image())
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	again := open(t, fsys, nil)
	if got := everything(t, again.Image()); !bytes.Equal(got, want) {
		t.Error("a start finds another image")
	}
	if err := again.stop(); err != nil {
		t.Error(err)
	}
}

func (c *Controller) decide(t *testing.T, op func(m *Machine) []kmsg.Record) {
	t.Helper()
	if err := c.Await(t.Context(), func(m *Machine) ([]kmsg.Record, error) { return op(m), nil }); err != nil {
		t.Fatal(err)
	}
}

// enter registers a broker and unfences it.
func (n *node) enter(t *testing.T, id int32, incarnation base.TopicID) {
	t.Helper()
	req := kmsg.NewBrokerRegistrationRequest()
	req.BrokerId, req.IncarnationId, req.ClusterId = id, incarnation, n.opts.ClusterID
	req.LogDirs = []base.TopicID{{byte(id), 1}}
	for _, f := range Features() {
		req.Features = append(req.Features, kmsg.BrokerRegistrationRequestFeature{
			Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max,
		})
	}
	epoch := int64(-1)
	n.decide(t, func(m *Machine) []kmsg.Record {
		records, resp, err := m.RegisterBroker(start, &req)
		if err != nil {
			t.Error(err)
		}
		epoch = resp.BrokerEpoch
		return records
	})
	n.decide(t, func(m *Machine) []kmsg.Record {
		beat := kmsg.NewBrokerHeartbeatRequest()
		beat.BrokerId, beat.BrokerEpoch, beat.CurrentMetadataOffset = id, epoch, n.EndOffset()-1
		records, resp := m.Heartbeat(start, &beat)
		if resp.IsFenced {
			t.Errorf("broker %d is fenced", id)
		}
		return records
	})
}

func (n *node) createLarge(t *testing.T, name string, partitions int32) {
	t.Helper()
	req := kmsg.NewCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestCreatableTopic()
	topic.Name, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 3
	req.Topics = append(req.Topics, topic)
	n.decide(t, func(m *Machine) []kmsg.Record {
		records, resp := m.CreateTopics(Request{}, &req)
		if code := resp.Topics[0].ErrorCode; code != 0 {
			t.Errorf("topic %s: error %d, %v", name, code, resp.Topics[0].ErrorMessage)
		}
		return records
	})
}
