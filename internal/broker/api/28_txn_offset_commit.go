package api

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// TxnOffsetCommit (key 28), versions 0 to 5.
//
// Stores offsets that become visible when the transaction commits. The partition of
// __consumer_offsets that holds the group must be in the transaction.
//
//	v3  the consumer's member id and generation, which fence a zombie consumer (KIP-447)
//	v5  adds that partition to the transaction by itself (KIP-890)
var _ = register(kmsg.KeyTxnOffsetCommit, (*Broker).txnOffsetCommit)

type (
	txnOffsetTopic       = kmsg.TxnOffsetCommitRequestTxnOffsetCommitRequestTopic
	txnOffsetPartition   = kmsg.TxnOffsetCommitRequestTxnOffsetCommitRequestPartition
	txnOffsetTopicResult = kmsg.TxnOffsetCommitResponseTxnOffsetCommitResponseTopic
	txnOffsetResult      = kmsg.TxnOffsetCommitResponseTxnOffsetCommitResponsePartition
)

// txnOffsetCommit is one request under way: the answer so far, and what is left to be committed.
type txnOffsetCommit struct {
	call *Call
	req  *kmsg.TxnOffsetCommitRequest // holds only topics that exist
	resp kmsg.TxnOffsetCommitResponse
}

func (b *Broker) txnOffsetCommit(c *Call, req *kmsg.TxnOffsetCommitRequest) {
	t := &txnOffsetCommit{call: c, req: req, resp: kmsg.NewTxnOffsetCommitResponse()}
	switch {
	case !c.mayTxn(auth.Write, req.TransactionalId):
		t.fail(kerr.TransactionalIDAuthorizationFailed)
		return
	case !c.mayGroup(auth.Read, req.GroupId):
		t.fail(kerr.GroupAuthorizationFailed)
		return
	}
	t.dropUnknown(b)
	if len(req.Topics) == 0 {
		c.Reply(&t.resp)
		return
	}
	if req.GroupId == "" {
		t.fail(kerr.InvalidGroupID)
		return
	}
	shard := b.Groups.PartitionFor(req.GroupId)
	part, err := b.Parts.Get(base.TopicPartition{Topic: offsetsTopic, Partition: shard})
	if err != nil {
		t.fail(kerr.NotCoordinator)
		return
	}
	w := &txnWrite{part: part, producerID: req.ProducerId, epoch: req.ProducerEpoch, sequence: base.NoSequence}
	b.verifyCommit(c, req.TransactionalId, w, func() {
		if errors.Is(w.err, kerr.NotLeaderForPartition) {
			w.err = kerr.NotCoordinator // whoever leads the partition coordinates the group
		}
		if w.err != nil {
			t.fail(w.err)
			return
		}
		b.Groups.Submit(shard, func(m *group.Machine, now time.Time) coord.Result {
			r := m.TxnOffsetCommit(now, t.context(), req, t.merge)
			r.Guard = uint64(w.guard)
			return r
		}, t.fail)
	})
}

func (t *txnOffsetCommit) context() group.Context {
	return group.Context{ClientID: t.call.ClientID, ClientHost: t.call.Conn.Host(), Version: t.call.Version}
}

// dropUnknown answers for partitions that do not exist or are not the client's to read, and takes them out of the request.
func (t *txnOffsetCommit) dropUnknown(b *Broker) {
	known := t.req.Topics[:0]
	for _, topic := range t.req.Topics {
		var have []txnOffsetPartition
		var missing []txnOffsetResult
		may := t.call.mayTopic(auth.Read, topic.Name)
		for _, p := range topic.Partitions {
			if !may {
				missing = append(missing, txnOffsetResult{
					PartitionIndex: p.PartitionIndex, ErrorCode: kerr.TopicAuthorizationFailed.Code,
				})
				continue
			}
			if b.partitionExists(base.TopicPartition{Topic: topic.Name, Partition: p.PartitionIndex}) {
				have = append(have, p)
				continue
			}
			missing = append(missing, txnOffsetResult{
				PartitionIndex: p.PartitionIndex, ErrorCode: kerr.UnknownTopicOrPartition.Code,
			})
		}
		if len(missing) > 0 {
			t.resp.Topics = append(t.resp.Topics, txnOffsetTopicResult{Name: topic.Name, Partitions: missing})
		}
		if len(have) > 0 {
			known = append(known, txnOffsetTopic{Name: topic.Name, Partitions: have})
		}
	}
	t.req.Topics = known
}

func (t *txnOffsetCommit) fail(err error) {
	code := t.call.code(err)
	var resp kmsg.TxnOffsetCommitResponse
	for _, topic := range t.req.Topics {
		out := txnOffsetTopicResult{Name: topic.Name}
		for _, p := range topic.Partitions {
			out.Partitions = append(out.Partitions, txnOffsetResult{PartitionIndex: p.PartitionIndex, ErrorCode: code})
		}
		resp.Topics = append(resp.Topics, out)
	}
	t.merge(&resp)
}

// merge adds the coordinator's answer to ours and sends it. Clients before version 2 do not expect
// that a coordinator loads.
func (t *txnOffsetCommit) merge(from *kmsg.TxnOffsetCommitResponse) {
	for _, topic := range from.Topics {
		if t.call.Version < 2 {
			for i := range topic.Partitions {
				if p := &topic.Partitions[i]; p.ErrorCode == kerr.CoordinatorLoadInProgress.Code {
					p.ErrorCode = kerr.CoordinatorNotAvailable.Code
				}
			}
		}
		t.add(topic)
	}
	t.call.Reply(&t.resp)
}

func (t *txnOffsetCommit) add(topic txnOffsetTopicResult) {
	for i := range t.resp.Topics {
		if out := &t.resp.Topics[i]; out.Name == topic.Name {
			out.Partitions = append(out.Partitions, topic.Partitions...)
			return
		}
	}
	t.resp.Topics = append(t.resp.Topics, topic)
}
