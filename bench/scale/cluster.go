package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

const clusterID = "c2NhbGUtb2YtYS1jbHVzdA"

// never is a snapshot that is not written.
const never = 1 << 60

// cluster is a controller and what its brokers have been told.
type cluster struct {
	dir    string
	store  *storage.Store
	ctl    *controller.Controller
	clk    *clock.Manual
	epochs []int64 // by broker, of which the first is 1
}

// open opens the controller of a directory; it leads from its first step on.
func open(dir string, snapshotBytes int64) (*cluster, error) {
	c := &cluster{dir: dir, clk: clock.NewManual(time.Unix(1_800_000_000, 0))}
	static, err := conf.Load(conf.Source{})
	if err != nil {
		return nil, err
	}
	if c.store, err = storage.Open(context.Background(), storage.Options{
		FS: vfs.OS{}, Clock: c.clk, Dirs: []string{dir}, NodeID: 1, Journal: storage.JournalOptions{Disabled: true},
	}); err != nil {
		return nil, err
	}
	c.ctl, err = controller.Open(context.Background(), controller.Options{
		Config: controller.Config{NodeID: 1, Static: static}, Store: c.store, FS: vfs.OS{}, ClusterID: clusterID, Clock: c.clk,
		SnapshotBytes: snapshotBytes,
	})
	if err != nil {
		return nil, errors.Join(err, c.store.Close())
	}
	return c, nil
}

func (c *cluster) close() error { return c.store.Close() }

// do has the controller decide, commit and publish.
func (c *cluster) do(op func(m *controller.Machine, now time.Time) ([]kmsg.Record, int16)) error {
	result, code := errUnanswered, int16(0)
	err := c.ctl.Submit(func(m *controller.Machine, now time.Time) controller.Outcome {
		var records []kmsg.Record
		records, code = op(m, now)
		return controller.Outcome{Records: records, Done: func(err error) { result = err }}
	})
	if err == nil {
		err = c.ctl.Step(false)
	}
	if err == nil {
		err = result
	}
	if err == nil {
		err = kerr.ErrorForCode(code)
	}
	return err
}

var errUnanswered = errors.New("the controller has not answered")

func (c *cluster) register(id int32) error {
	req := kmsg.NewBrokerRegistrationRequest()
	req.BrokerId, req.ClusterId, req.IncarnationId, req.LogDirs = id, clusterID, base.NewTopicID(), []base.TopicID{base.NewTopicID()}
	req.PreviousBrokerEpoch = -1
	rack := fmt.Sprintf("rack-%d", id%3)
	req.Rack = &rack
	req.Listeners = []kmsg.BrokerRegistrationRequestListener{{Name: "PLAINTEXT", Host: fmt.Sprintf("broker-%d.example.org", id), Port: 9092}}
	for _, f := range controller.Features() {
		req.Features = append(req.Features, kmsg.BrokerRegistrationRequestFeature{
			Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max,
		})
	}
	for len(c.epochs) <= int(id) {
		c.epochs = append(c.epochs, -1)
	}
	return c.do(func(m *controller.Machine, now time.Time) ([]kmsg.Record, int16) {
		records, resp, _ := m.RegisterBroker(now, &req)
		c.epochs[id] = resp.BrokerEpoch
		return records, resp.ErrorCode
	})
}

func (c *cluster) beat(id int32, stop bool) (resp *kmsg.BrokerHeartbeatResponse, err error) {
	req := kmsg.NewBrokerHeartbeatRequest()
	req.BrokerId, req.BrokerEpoch, req.CurrentMetadataOffset, req.WantShutDown = id, c.epochs[id], c.ctl.EndOffset()-1, stop
	err = c.do(func(m *controller.Machine, now time.Time) (records []kmsg.Record, code int16) {
		records, resp = m.Heartbeat(now, &req)
		return records, resp.ErrorCode
	})
	return resp, err
}

// enter registers a broker and has it unfenced.
func (c *cluster) enter(id int32) error {
	if err := c.register(id); err != nil {
		return err
	}
	_, err := c.beat(id, false)
	return err
}

// maxPerRequest is the most partitions that one request creates.
const maxPerRequest = controller.MaxRecordsPerOp

// create makes topics until there are n partitions.
func (c *cluster) create(n, perTopic int) error {
	for made := 0; made < n; {
		req := kmsg.NewCreateTopicsRequest()
		for inThis := 0; made < n && inThis+perTopic <= maxPerRequest; inThis += perTopic {
			t := kmsg.NewCreateTopicsRequestCreatableTopic()
			t.Name, t.NumPartitions, t.ReplicationFactor = fmt.Sprintf("topic-%07d", made), int32(min(perTopic, n-made)), 3
			made += perTopic
			req.Topics = append(req.Topics, t)
		}
		err := c.do(func(m *controller.Machine, _ time.Time) ([]kmsg.Record, int16) {
			records, resp := m.CreateTopics(controller.Request{}, &req)
			return records, resp.Topics[0].ErrorCode
		})
		if err != nil {
			return fmt.Errorf("after %d partitions: %w", made, err)
		}
	}
	return nil
}

// changeISR has the leader of one partition propose an in-sync set without, or again with, its last replica.
func (c *cluster) changeISR(t *meta.Topic, index int) error {
	p := c.ctl.Image().TopicByID(t.ID).Partitions[index]
	isr := p.Replicas
	if len(p.ISR) == len(p.Replicas) {
		isr = nil
		for _, id := range p.Replicas {
			if id == p.Leader || len(isr) == 0 {
				isr = append(isr, id)
			}
		}
	}
	req := kmsg.NewAlterPartitionRequest()
	req.BrokerId, req.BrokerEpoch = p.Leader, c.epochs[p.Leader]
	d := kmsg.NewAlterPartitionRequestPartitionData()
	d.PartitionIndex, d.LeaderEpoch, d.PartitionEpoch = int32(index), p.LeaderEpoch, p.PartitionEpoch
	for _, id := range isr {
		d.NewIsrWithEpochs = append(d.NewIsrWithEpochs, kmsg.AlterPartitionRequestBrokerState{BrokerId: id, BrokerEpoch: c.epochs[id]})
	}
	req.Topics = []kmsg.AlterPartitionRequestTopicData{{TopicId: t.ID, Partitions: []kmsg.AlterPartitionRequestPartitionData{d}}}
	return c.do(func(m *controller.Machine, _ time.Time) ([]kmsg.Record, int16) {
		records, resp := m.AlterPartition(alterPartitionVersion, &req)
		if resp.ErrorCode != 0 {
			return nil, resp.ErrorCode
		}
		return records, resp.Topics[0].Partitions[0].ErrorCode
	})
}

// logBytes is the size of the metadata log.
func (c *cluster) logBytes() int64 {
	l, ok := c.store.Log(base.TopicPartition{Topic: controller.MetadataTopic})
	if !ok {
		return 0
	}
	return l.Size()
}

// alterPartitionVersion is the one with broker epochs.
const alterPartitionVersion = 3
