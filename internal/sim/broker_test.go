package sim

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// What a node does to carry things between the parts, as package node does it with goroutines: roles from the
// metadata, reports to the controller, proposals, fetches.

const (
	topicName    = "t"
	minISR       = 2 // unless it was changed
	lagMax       = 800 * time.Millisecond
	beatEvery    = 400 * time.Millisecond
	patience     = 600 * time.Millisecond // with a request
	proposePause = 200 * time.Millisecond
)

type tp = base.TopicPartition

func (w *world) keys() (list []tp) {
	for i := range w.opts.partitions {
		list = append(list, tp{Topic: topicName, Partition: i})
	}
	return list
}

// written are those that producers write to now: the last one may be at rest, so that no append covers up what one before it has left open.
func (w *world) written() []tp {
	keys := w.keys()
	if rest := w.opts.rest; rest > 0 && w.now().Sub(w.began) > rest {
		w.reached("a partition was at rest")
		return keys[:len(keys)-1]
	}
	return keys
}

// topics are the names of all topics of a run.
func (w *world) topics() []string {
	if w.opts.coordinators {
		return []string{topicName, offsetsTopic, txnTopic}
	}
	return []string{topicName}
}

// allKeys are the partitions of all topics.
func (w *world) allKeys() []tp {
	if w.opts.coordinators {
		return append(w.keys(), offsetsKey, txnKey)
	}
	return w.keys()
}

// published acts on new metadata.
func (n *node) published(im *meta.Image) {
	n.w.check.image(n, im)
	n.image = im
	defer n.wakeFetchers()
	if b := im.Broker(n.id); b == nil || b.Incarnation != n.incarnation {
		return // until this incarnation is registered, the metadata speaks of an earlier one
	}
	n.applySettings(im, true) // as package node does
	defer n.applySettings(im, false)
	for _, name := range n.w.topics() {
		if t := im.Topic(name); t != nil && !n.adopt(t) {
			return
		}
	}
}

// adopt opens what is new of a topic and gives its replicas their roles; false says that the disk failed.
func (n *node) adopt(t *meta.Topic) bool {
	for i, mp := range t.Partitions {
		k := tp{Topic: t.Name, Partition: int32(i)}
		if n.states[k] == mp {
			continue
		}
		p := n.parts[k]
		if !slices.Contains(mp.Replicas, n.id) {
			n.states[k] = mp
			if p != nil && !n.dropReplica(k, p) || p == nil && !n.dropStray(k, mp) {
				return false
			}
			continue
		}
		if p == nil {
			if _, here := n.store.Log(k); !here && mp.Unfound(n.id) {
				n.w.reached("a replica was not made anew")
				continue
			}
			if p = n.openReplica(k, t.ID); p == nil && (n.doomed || n.offline() != nil) {
				return false
			} else if p == nil {
				continue // its directory has failed, and the other one is tried with the next change
			}
		}
		n.states[k] = mp
		n.assume(k, p, mp)
		n.checkPlace(k, p, mp)
	}
	return true
}

func (n *node) durability() storage.Durability {
	if n.w.opts.fsync {
		return storage.Fsync
	}
	return storage.Replicated
}

func (n *node) openReplica(k tp, id base.TopicID) *partition.Partition {
	cfg := storage.DefaultLogConfig()
	cfg.Durability, cfg.SegmentBytes = n.durability(), n.w.opts.segmentBytes()
	log, err := n.store.Create(k, id, cfg, "")
	if err != nil {
		if !n.doomed && !n.sick {
			n.w.fail("node %d: log of %s: %v", n.id, k, err)
		}
		return nil
	}
	p := partition.New(k, id, log, &partition.Settings{
		Durability: cfg.Durability, MinInSync: minISROf(n.image, k.Topic),
		Validate: batch.ValidateOptions{Partition: k, TimestampAfterMaxMs: 1<<63 - 1, TimestampBeforeMaxMs: 1<<63 - 1, MaxMessageBytes: 1 << 20},
	})
	p.SetCluster(&partition.Cluster{Eligible: n.eligible, Propose: func(p *partition.Partition, c partition.ISRChange) { n.propose(k, p, c) }})
	n.hold(k, p)
	return p
}

func (n *node) eligible(id int32, epoch int64) bool {
	b := n.image.Broker(id)
	return b != nil && !b.Fenced && !b.InControlledShutdown && (epoch < 0 || b.Epoch == epoch)
}

func (n *node) assume(k tp, p *partition.Partition, mp *meta.Partition) {
	s := partition.State{Replicas: mp.Replicas, ISR: mp.ISR, Leader: mp.Leader, LeaderEpoch: mp.LeaderEpoch,
		PartitionEpoch: mp.PartitionEpoch, RecoveryState: mp.RecoveryState}
	if mp.Leader == n.id {
		led := p.IsLeader()
		n.unfollow(k)
		if p.MakeLeader(n.id, s, n.w.now()) {
			if !led {
				n.loadShard(k, p)
			}
			n.w.note("node %d leads %s in epoch %d from %d, in sync %v", n.id, k, mp.LeaderEpoch, p.Log().EndOffset(), mp.ISR)
			n.w.check.leads(n, k, p)
		}
		return
	}
	n.unloadShard(k)
	p.MakeFollower(n.id, s)
	if mp.Leader < 0 {
		n.unfollow(k)
		return
	}
	n.follow(k, p, mp.Leader, mp.LeaderEpoch)
	if p.Log().Offline() {
		n.unfollow(k)
	}
}

// report registers the broker, and sends heartbeats then.
func (n *node) report() {
	if n.reports {
		return
	}
	to, _ := n.ctl.Leader()
	if to < 1 {
		return
	}
	n.reports = true
	if n.epoch < 0 {
		n.register(to)
		return
	}
	req := kmsg.NewBrokerHeartbeatRequest()
	req.BrokerId, req.BrokerEpoch, req.WantShutDown = n.id, n.epoch, n.leaving
	if n.sick {
		if req.OfflineLogDirs = n.directories(false); len(req.OfflineLogDirs) > 0 {
			n.w.reached("a broker went on without a directory")
		}
	}
	if n.image != nil {
		req.CurrentMetadataOffset = n.image.Offset
	}
	ask(n, to, func(m *controller.Machine, now time.Time) ([]kmsg.Record, *kmsg.BrokerHeartbeatResponse) {
		r := req
		return m.Heartbeat(now, &r)
	}, func(resp *kmsg.BrokerHeartbeatResponse, err error) {
		pause := beatEvery
		switch {
		case err != nil:
			pause = tickEvery
		case resp.ErrorCode == kerr.StaleBrokerEpoch.Code || resp.ErrorCode == kerr.BrokerIDNotRegistered.Code:
			n.epoch = -1
			pause = 0
			n.w.reached("a broker found another registered in its place")
		case resp.ShouldShutDown:
			n.w.reached("a broker was let go")
			n.stopAfter(0)
		case resp.IsFenced, n.leaving:
			pause = tickEvery
		}
		n.after(pause, func() { n.reports = false })
	})
}

func (n *node) register(to int32) {
	req := kmsg.NewBrokerRegistrationRequest()
	req.BrokerId, req.ClusterId, req.IncarnationId, req.PreviousBrokerEpoch = n.id, clusterID, n.incarnation, n.store.PreviousEpoch()
	req.LogDirs = n.directories(true)
	for _, f := range controller.Features() {
		req.Features = append(req.Features, kmsg.BrokerRegistrationRequestFeature{
			Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max,
		})
	}
	ask(n, to, func(m *controller.Machine, now time.Time) ([]kmsg.Record, *kmsg.BrokerRegistrationResponse) {
		records, resp, _ := m.RegisterBroker(now, &req) // the error is in the answer
		return records, resp
	}, func(resp *kmsg.BrokerRegistrationResponse, err error) {
		n.reports = false
		if err == nil && resp.ErrorCode == 0 {
			n.epoch = resp.BrokerEpoch
			n.goOnFetching()
			n.w.note("node %d is registered with epoch %d", n.id, n.epoch)
		} else if err == nil {
			n.w.reached("registration refused: " + errName(kerr.ErrorForCode(resp.ErrorCode)))
		}
	})
}

// ask has the active controller carry out an operation.
func ask[Resp any](
	n *node, to int32, op func(m *controller.Machine, now time.Time) ([]kmsg.Record, *Resp), done func(*Resp, error),
) {
	n.call(to, patience, func(t *node, reply func(any)) {
		t.submit(func(m *controller.Machine, now time.Time) controller.Outcome {
			records, resp := op(m, now)
			return controller.Outcome{Records: records, Done: func(err error) {
				if err != nil {
					reply(err)
					return
				}
				reply(resp)
			}}
		})
	}, func(answer any, ok bool) {
		switch a := answer.(type) {
		case *Resp:
			done(a, nil)
		case error:
			done(nil, a)
		default:
			done(nil, kerr.RequestTimedOut)
		}
	})
}

// propose carries a change of an in-sync set to the controller.
func (n *node) propose(k tp, p *partition.Partition, c partition.ISRChange) {
	again := func() {
		n.after(proposePause, func() {
			if n.parts[k] == p && p.Proposes(c) {
				n.propose(k, p, c)
			}
		})
	}
	to, _ := n.ctl.Leader()
	if to < 1 {
		again()
		return
	}
	a := kmsg.NewAlterPartitionRequestPartitionData()
	a.PartitionIndex, a.LeaderEpoch, a.PartitionEpoch, a.LeaderRecoveryState = k.Partition, c.LeaderEpoch, c.PartitionEpoch, c.RecoveryState
	for _, m := range c.ISR {
		epoch := m.Epoch
		if m.ID == n.id {
			epoch = n.epoch
		}
		a.NewIsrWithEpochs = append(a.NewIsrWithEpochs, kmsg.AlterPartitionRequestBrokerState{BrokerId: m.ID, BrokerEpoch: epoch})
	}
	req := kmsg.NewAlterPartitionRequest()
	req.BrokerId, req.BrokerEpoch = n.id, n.epoch
	req.Topics = []kmsg.AlterPartitionRequestTopicData{{TopicId: p.TopicID, Partitions: []kmsg.AlterPartitionRequestPartitionData{a}}}
	ask(n, to, func(m *controller.Machine, _ time.Time) ([]kmsg.Record, *kmsg.AlterPartitionResponse) {
		return m.AlterPartition(3, &req)
	}, func(resp *kmsg.AlterPartitionResponse, err error) {
		var s partition.ISRState
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err == nil {
			d := resp.Topics[0].Partitions[0]
			err = kerr.ErrorForCode(d.ErrorCode)
			s = partition.ISRState{Leader: d.LeaderId, LeaderEpoch: d.LeaderEpoch, PartitionEpoch: d.PartitionEpoch,
				ISR: d.Isr, RecoveryState: d.LeaderRecoveryState}
		}
		if err == nil {
			n.w.note("%s of %s: in sync %v", n, k, s.ISR)
			if len(s.ISR) > len(p.State().ISR) {
				n.w.reached("in-sync set grew")
			} else {
				n.w.reached("in-sync set shrank")
			}
		} else {
			n.w.reached("proposal refused: " + errName(err))
		}
		p.ISRAnswered(c, s, err)
		if err != nil && !awaitsMetadata(err) {
			again()
		}
	})
}

func errName(err error) string {
	var ke *kerr.Error
	if errors.As(err, &ke) {
		return ke.Message
	}
	return err.Error()
}

func awaitsMetadata(err error) bool {
	return slices.ContainsFunc([]error{kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.FencedLeaderEpoch,
		kerr.InvalidRequest, kerr.InvalidUpdateVersion, kerr.NewLeaderElected}, func(e error) bool { return errors.Is(err, e) })
}

// replicaOf watches what a Fetcher does with a partition.
type replicaOf struct {
	n *node
	k tp
	*partition.Partition
}

func (r replicaOf) AppendAsFollower(records []byte, epoch int32, hw, logStart int64, now time.Time, s *storage.Settlement) error {
	err := r.Partition.AppendAsFollower(records, epoch, hw, logStart, now, s)
	if err == nil && !r.n.doomed {
		r.n.w.check.joins(r.n, r.k, epoch)
		r.n.w.check.appended(r.n, r.k, r.Partition)
	}
	return err
}

func (r replicaOf) TruncateDiverged(epoch, leaderEpoch int32, leaderEnd int64) error {
	return r.cut("diverged from the leader", func() error { return r.Partition.TruncateDiverged(epoch, leaderEpoch, leaderEnd) })
}

func (r replicaOf) TruncateTo(epoch int32, offset int64) error {
	return r.cut("longer than the leader's log", func() error { return r.Partition.TruncateTo(epoch, offset) })
}

func (r replicaOf) RestartAt(epoch int32, start int64) error {
	return r.cut("began anew", func() error { return r.Partition.RestartAt(epoch, start) })
}

func (r replicaOf) cut(why string, fn func() error) error {
	before := r.Log().EndOffset()
	err := fn()
	if end := r.Log().EndOffset(); end != before {
		r.n.w.reached("follower truncated")
		r.n.w.note("%s cuts %s from %d to %d: %s", r.n, r.k, before, end, why)
		r.n.w.check.truncated(r.n, r.k, end)
	}
	return err
}

// serve answers a follower.
func (t *node) serve(req kmsg.Request, until time.Time, reply func(any)) {
	switch r := req.(type) {
	case *kmsg.FetchRequest:
		t.serveFetch(r, until, reply)
	case *kmsg.ListOffsetsRequest:
		t.w.reached("follower outside of the leader's log")
		reply(t.serveOffsets(r))
	}
}

func bytesOf(r *storage.FileRange) ([]byte, error) {
	if r == nil {
		return nil, nil
	}
	defer r.Release()
	b := make([]byte, r.Len())
	if _, err := r.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}

func (t *node) serveOffsets(r *kmsg.ListOffsetsRequest) *kmsg.ListOffsetsResponse {
	resp := kmsg.NewListOffsetsResponse()
	for _, topic := range r.Topics {
		out := kmsg.ListOffsetsResponseListOffsetsTopicResponse{Name: topic.Name}
		for _, in := range topic.Partitions {
			d := kmsg.NewListOffsetsResponseListOffsetsPartitionResponse()
			d.PartitionIndex, d.Offset = in.PartitionIndex, -1
			p := t.parts[tp{Topic: topic.Name, Partition: in.PartitionIndex}]
			if p == nil {
				d.ErrorCode = kerr.UnknownTopicOrPartition.Code
			} else if err := p.CheckLeader(in.CurrentLeaderEpoch); err != nil {
				d.ErrorCode = kerr.NotLeaderForPartition.Code
			} else if d.Offset = p.Log().EndOffset(); in.Timestamp == -2 {
				d.Offset = p.Log().StartOffset()
			}
			out.Partitions = append(out.Partitions, d)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return &resp
}

// newest is the node that knows the newest metadata.
func (w *world) newest() *node {
	return slices.MaxFunc(w.nodes, func(a, b *node) int { return cmp.Compare(a.metaOffset(), b.metaOffset()) })
}

func (n *node) metaOffset() int64 {
	if !n.up || n.image == nil {
		return -1
	}
	return n.image.Offset
}
