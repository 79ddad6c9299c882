package api

import (
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// WriteTxnMarkers (key 27), versions 1 and 2.
//
// Writes the end of transactions to partitions of this broker. It comes from coordinators, and from
// an operator who aborts a transaction that hangs.
//
//	v2  carries the transaction version, which selects the rule for the epoch
var _ = register(kmsg.KeyWriteTxnMarkers, (*Broker).writeTxnMarkers)

type (
	markerResult    = kmsg.WriteTxnMarkersResponseWritableTxnMarkerResult
	markerTopic     = kmsg.WriteTxnMarkersResponseWritableTxnMarkerTopicResult
	markerPartition = kmsg.WriteTxnMarkersResponseWritableTxnMarkerPartitionResult
)

func (b *Broker) writeTxnMarkers(c *Call, req *kmsg.WriteTxnMarkersRequest) {
	resp := kmsg.NewWriteTxnMarkersResponse()
	resp.Markers = make([]markerResult, len(req.Markers))
	may := c.seesCluster(auth.Alter) || c.mayCluster(auth.ClusterAction)
	var pending atomic.Int32
	pending.Store(1)
	finish := func() {
		if pending.Add(-1) == 0 {
			c.Reply(&resp)
		}
	}
	for i := range req.Markers {
		m := &req.Markers[i]
		marker := coord.Marker{
			Txn:                coord.Txn{ProducerID: m.ProducerId, ProducerEpoch: m.ProducerEpoch},
			CoordinatorEpoch:   m.CoordinatorEpoch,
			TransactionVersion: m.TransactionVersion,
			Commit:             m.TransactionResult,
		}
		out := &resp.Markers[i]
		out.ProducerId, out.Topics = m.ProducerId, make([]markerTopic, len(m.Topics))
		for j, topic := range m.Topics {
			out.Topics[j] = markerTopic{Name: topic.Name, Partitions: make([]markerPartition, len(topic.PartitionIndexes))}
			for k, n := range topic.PartitionIndexes {
				res := &out.Topics[j].Partitions[k]
				res.PartitionIndex = n
				if !may {
					res.ErrorCode = kerr.ClusterAuthorizationFailed.Code
					continue
				}
				pending.Add(1)
				b.writeOneMarker(base.TopicPartition{Topic: topic.Name, Partition: n}, marker, func(err error) {
					res.ErrorCode = c.code(err)
					finish()
				})
			}
		}
	}
	finish()
}

func (b *Broker) writeOneMarker(tp base.TopicPartition, m coord.Marker, done func(error)) {
	if _, err := b.Parts.Get(tp); err != nil {
		done(kerr.UnknownTopicOrPartition) // also for a partition that other brokers have; a follower does not lead
		return
	}
	b.WriteMarker(tp, m, done)
}
