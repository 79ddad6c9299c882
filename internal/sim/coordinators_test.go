package sim

import (
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/broker/txn"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/storage"
)

// The coordinators of a node: the real shards, machines and sender of markers. What package api does between them
// and the requests is played.

const (
	offsetsTopic = "__consumer_offsets"
	txnTopic     = "__transaction_state"
	commitLimit  = 2 * time.Second        // offsets.commit.timeout.ms
	addWait      = 100 * time.Millisecond // add.partitions.to.txn.retry.backoff.max.ms
	txnTimeout   = 3 * time.Second
)

var (
	offsetsKey = tp{Topic: offsetsTopic}
	txnKey     = tp{Topic: txnTopic}
)

// coordinators are those of one incarnation of a node.
type coordinators struct {
	groups  *coord.Shards[*group.Machine]
	txns    *coord.Shards[*txn.Machine]
	markers *txn.MarkerSender
}

func (n *node) newCoordinators() *coordinators {
	one := func() int32 { return 1 }
	c := &coordinators{
		groups: coord.New[*group.Machine](coord.Options{
			Name: "group", Clock: n.w.clk, Partitions: one, CommitTimeout: commitLimit, ByHand: true,
		}),
		txns: coord.New[*txn.Machine](coord.Options{Name: "transaction", Clock: n.w.clk, Partitions: one, ByHand: true}),
	}
	c.markers = txn.NewMarkerSender(txn.SenderOptions{
		Write: n.sendMarker,
		Complete: func(m txn.Markers, failed func(error)) {
			c.txns.Submit(m.Shard, func(machine *txn.Machine, now time.Time) coord.Result { return machine.MarkersWritten(now, m) }, failed)
		},
	})
	return c
}

// coordinate has the coordinators do what waits; again says that markers that failed are tried again.
func (n *node) coordinate(again bool) {
	if n.coords == nil || n.doomed {
		return
	}
	if again {
		n.coords.markers.Work()
	}
	n.coords.groups.Step()
	n.coords.txns.Step()
}

// loadShard and unloadShard follow the leadership of the internal topics' partitions.
func (n *node) loadShard(k tp, p *partition.Partition) {
	switch k {
	case offsetsKey:
		n.coords.groups.Load(0, shardPartition{p, p.LeaderEpoch()}, func() *group.Machine {
			n.w.reached("a group coordinator was loaded")
			return group.New(group.Options{
				Config: groupConfig(), Topics: func() group.Topics { return topicView{n.image} }, NewID: func() string { return n.newID().String() },
			})
		})
	case txnKey:
		n.coords.txns.Load(0, shardPartition{p, p.LeaderEpoch()}, func() *txn.Machine {
			n.w.reached("a transaction coordinator was loaded")
			return txn.New(txn.Options{
				CoordinatorEpoch: p.LeaderEpoch(), Config: txnConfig, ServerVersion: func() int16 { return 2 },
				NextProducerID: func() (int64, error) { return n.w.newProducerID(), nil }, Outbox: n.coords.markers,
			})
		})
	}
}

func (n *node) unloadShard(k tp) {
	switch k {
	case offsetsKey:
		n.coords.groups.Unload(0)
	case txnKey:
		n.coords.txns.Unload(0)
	}
}

func txnConfig() txn.Config {
	c := txn.DefaultConfig()
	c.AbortInterval = time.Second
	return c
}

func (w *world) newProducerID() int64 {
	w.lastID++
	return 100_000 + w.lastID
}

// shardPartition is a partition of an internal topic as package coord sees it.
type shardPartition struct {
	p     *partition.Partition
	epoch int32
}

// Append writes one of the coordinator's batches.
func (s shardPartition) Append(now time.Time, b batch.Batch, o coord.AppendOptions) (int64, error) {
	res, err := s.p.AppendInternal(b, now, storage.AppendOptions{TxnVersion: int16(o.TransactionVersion), Guard: storage.Guard(o.Guard)})
	return res.LastOffset, err
}

// Await waits for the high watermark.
func (s shardPartition) Await(until int64, fn func(error)) { s.p.AwaitHW(s.epoch, until, fn) }

// Scan replays the log.
func (s shardPartition) Scan(fn func(b batch.Batch) error) error { return s.p.Scan(fn) }

// topicView is the metadata as groups see it.
type topicView struct{ *meta.Image }

// Version is the offset of the last metadata record.
func (v topicView) Version() int64 { return v.Offset }

// ByName finds a topic.
func (v topicView) ByName(name string) (group.Topic, bool) { return groupTopic(v.Topic(name)) }

// ByID finds a topic.
func (v topicView) ByID(id base.TopicID) (group.Topic, bool) { return groupTopic(v.TopicByID(id)) }

// Names visits every topic's name.
func (v topicView) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for t := range v.Topics() {
			if !yield(t.Name) {
				return
			}
		}
	}
}

// Racks are none.
func (topicView) Racks(base.TopicID, int32) []string { return nil }

func groupTopic(t *meta.Topic) (group.Topic, bool) {
	if t == nil {
		return group.Topic{}, false
	}
	return group.Topic{ID: t.ID, Name: t.Name, Partitions: int32(len(t.Partitions))}, true
}

// leaderOf is who leads a partition, as this node knows.
func (n *node) leaderOf(k tp) int32 {
	if s := n.states[k]; s != nil {
		return s.Leader
	}
	return -1
}

// sendMarker has a marker written by who leads the partition.
func (n *node) sendMarker(k tp, m coord.Marker, done func(error)) {
	to := n.leaderOf(k)
	if to < 1 {
		done(kerr.LeaderNotAvailable)
		return
	}
	if to == n.id {
		n.writeMarker(k, m, done)
		return
	}
	n.call(to, patience, func(t *node, reply func(any)) {
		t.writeMarker(k, m, func(err error) { reply(answered{err}) })
	}, func(answer any, ok bool) { done(errorOf(answer, ok)) })
}

// answered carries an error, which may be nil, as an answer.
type answered struct{ err error }

func errorOf(answer any, ok bool) error {
	if a, is := answer.(answered); ok && is {
		return a.err
	}
	return kerr.RequestTimedOut
}

// writeMarker is the WriteTxnMarkers request.
func (n *node) writeMarker(k tp, m coord.Marker, done func(error)) {
	if k == offsetsKey {
		n.coords.groups.Submit(0, func(*group.Machine, time.Time) coord.Result {
			return coord.Result{Marker: &m, Done: []func(error){done}}
		}, done)
		return
	}
	p := n.parts[k]
	if p == nil {
		done(kerr.UnknownTopicOrPartition)
		return
	}
	res, err := p.AppendInternal(coord.BuildMarker(n.w.now(), m), n.w.now(), storage.AppendOptions{TxnVersion: int16(m.TransactionVersion)})
	if err != nil {
		done(err)
		return
	}
	n.w.check.appended(n, k, p)
	p.AwaitEpoch(res.LeaderEpoch, res.LastOffset+1, reached(done))
}

// verify has a partition added to the transaction of a batch that is about to be written, unless the log has it open
// already; then hears the guard that goes with the append.
func (n *node) verify(k tp, p *partition.Partition, id string, pid int64, epoch int16, seq int32, then func(storage.Guard, error)) {
	guard, err := p.Log().StartVerification(pid, seq, epoch, true, n.w.now())
	if err != nil || guard == storage.NoGuard {
		then(guard, err)
		return
	}
	add := txn.Add{TransactionalID: id, ProducerID: pid, ProducerEpoch: epoch, Partitions: []tp{k}, ClientVersion: 2, Wait: addWait}
	n.askTxn(func(t *node, reply func(any)) {
		answer := func(err error, _ []tp) { reply(answered{err}) }
		t.coords.txns.Submit(0, func(m *txn.Machine, now time.Time) coord.Result { return m.AddPartitions(now, add, answer) },
			func(err error) { answer(err, nil) })
	}, func(answer any, ok bool) { then(guard, errorOf(answer, ok)) })
}

// askTxn asks the transaction coordinator something, wherever it is.
func (n *node) askTxn(serve func(t *node, reply func(any)), done func(answer any, ok bool)) {
	switch to := n.leaderOf(txnKey); to {
	case -1:
		done(answered{kerr.CoordinatorNotAvailable}, true)
	case n.id:
		serve(n, func(v any) { done(v, true) })
	default:
		n.call(to, patience, serve, done)
	}
}

// produceTxn is the Produce request of a transactional producer.
func (n *node) produceTxn(k tp, id string, b batch.Batch, reply func(int64, error)) {
	p := n.parts[k]
	if p == nil {
		reply(-1, kerr.UnknownTopicOrPartition)
		return
	}
	n.verify(k, p, id, b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), func(guard storage.Guard, err error) {
		if err != nil {
			reply(-1, err)
			return
		}
		n.append(k, p, b, partition.AppendOptions{Guard: guard}, reply)
	})
}

// fatal says of an error that the producer's epoch can do no more: it begins anew.
func fatal(err error) bool {
	for _, e := range []error{kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.InvalidTxnState, kerr.OutOfOrderSequenceNumber,
		kerr.InvalidProducerIDMapping, kerr.TransactionAbortable, kerr.UnknownProducerID} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func txnID(i int) string { return fmt.Sprintf("tx%d", i) }
