package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// ListOffsets (key 2), versions 1 to 11.
//
// A timestamp asks for the first record at or after it; negative ones are special, each from its own
// version on. The latest offset obeys the isolation level. A partition named twice in one request is
// answered with INVALID_REQUEST.
var _ = register(kmsg.KeyListOffsets, (*Broker).listOffsets)

// The special timestamps.
const (
	tsLatest        int64 = -1
	tsEarliest      int64 = -2
	tsMaxTimestamp  int64 = -3 // v7, KIP-734
	tsEarliestLocal int64 = -4 // v8, KIP-405
	tsLatestTiered  int64 = -5 // v9, KIP-1005
	tsPendingUpload int64 = -6 // v11, KIP-1023
)

// tsSince is the first version that knows a special timestamp.
var tsSince = map[int64]int16{
	tsLatest: 1, tsEarliest: 1, tsMaxTimestamp: 7, tsEarliestLocal: 8, tsLatestTiered: 9, tsPendingUpload: 11,
}

func (b *Broker) listOffsets(c *Call, req *kmsg.ListOffsetsRequest) {
	resp := kmsg.NewListOffsetsResponse()
	resp.Topics = make([]kmsg.ListOffsetsResponseListOffsetsTopicResponse, 0, len(req.Topics))
	var refused []kmsg.ListOffsetsResponseListOffsetsTopicResponse
	twice := duplicatePartitions(req)
	answered := map[base.TopicPartition]bool{}
	for i := range req.Topics {
		in := &req.Topics[i]
		out := kmsg.ListOffsetsResponseListOffsetsTopicResponse{Name: in.Name}
		out.Partitions = make([]kmsg.ListOffsetsResponseListOffsetsPartitionResponse, 0, len(in.Partitions))
		if !c.mayTopic(auth.Describe, in.Name) {
			for _, p := range in.Partitions {
				out.Partitions = append(out.Partitions, kmsg.ListOffsetsResponseListOffsetsPartitionResponse{
					PartitionIndex: p.PartitionIndex, ErrorCode: kerr.TopicAuthorizationFailed.Code,
					Offset: none.Offset, Timestamp: none.Timestamp, LeaderEpoch: none.Epoch,
				})
			}
			refused = append(refused, out)
			continue
		}
		topic := b.topic(in.Name)
		for j := range in.Partitions {
			part := &in.Partitions[j]
			tp := base.TopicPartition{Topic: in.Name, Partition: part.PartitionIndex}
			if answered[tp] {
				continue
			}
			err := error(kerr.InvalidRequest)
			found := none
			if twice[tp] {
				answered[tp] = true
			} else {
				found, err = b.listOffset(c.Version, topic, part, req)
			}
			out.Partitions = append(out.Partitions, kmsg.ListOffsetsResponseListOffsetsPartitionResponse{
				PartitionIndex: part.PartitionIndex, ErrorCode: listOffsetsCode(c, err),
				Offset: found.Offset, Timestamp: found.Timestamp, LeaderEpoch: found.Epoch,
			})
		}
		if len(out.Partitions) > 0 || len(in.Partitions) == 0 {
			resp.Topics = append(resp.Topics, out)
		}
	}
	resp.Topics = append(resp.Topics, refused...)
	c.Reply(&resp)
}

// listOffsetsCode is code, in words that old clients know.
func listOffsetsCode(c *Call, err error) int16 {
	code := c.code(err)
	if code == kerr.OffsetNotAvailable.Code && c.Version < 5 {
		return kerr.LeaderNotAvailable.Code
	}
	return code
}

func duplicatePartitions(req *kmsg.ListOffsetsRequest) map[base.TopicPartition]bool {
	seen := map[base.TopicPartition]bool{}
	for i := range req.Topics {
		for _, p := range req.Topics[i].Partitions {
			tp := base.TopicPartition{Topic: req.Topics[i].Name, Partition: p.PartitionIndex}
			if _, again := seen[tp]; again {
				seen[tp] = true
			} else {
				seen[tp] = false
			}
		}
	}
	return seen
}

// none is the answer where there is no such offset: no error, and nothing filled in.
var none = storage.TimestampOffset{Offset: base.NoOffset, Timestamp: base.NoTimestamp, Epoch: base.NoEpoch}

func (b *Broker) listOffset(version int16, topic *partition.Topic, in *kmsg.ListOffsetsRequestListOffsetsPartition,
	req *kmsg.ListOffsetsRequest,
) (storage.TimestampOffset, error) {
	if in.Timestamp < 0 {
		since, known := tsSince[in.Timestamp]
		if !known || version < since {
			return none, kerr.UnsupportedVersion
		}
	}
	p, err := b.partition(topic, in.PartitionIndex)
	if err != nil {
		return none, err
	}
	check := p.CheckLeader
	if req.ReplicaId == debuggingReplica { // which looks at any replica
		check = p.CheckEpoch
	}
	if err := check(in.CurrentLeaderEpoch); err != nil {
		return none, err
	}
	if req.ReplicaId != consumerReplica {
		return lookUp(p, in.Timestamp, p.Log().EndOffset())
	}
	caughtUp := p.CaughtUp()
	bound := p.HighWatermark()
	if partition.Isolation(req.IsolationLevel) == partition.ReadCommitted {
		bound = p.LastStableOffset()
	}
	found, err := lookUp(p, in.Timestamp, bound)
	if err == nil && !caughtUp && (in.Timestamp == tsLatest || found == none) {
		// The end that the last leader told of may lie beyond what this one knows to be committed: an answer now could be
		// one that goes back (KIP-207).
		return none, kerr.OffsetNotAvailable
	}
	return found, err
}

func lookUp(p *partition.Partition, ts, bound int64) (storage.TimestampOffset, error) {
	log := p.Log()
	switch ts {
	case tsLatest:
		return at(bound, p.LeaderEpoch()), nil
	case tsEarliest, tsEarliestLocal:
		start := log.StartOffset()
		epoch, ok := log.EpochAt(start)
		if !ok {
			epoch = p.LeaderEpoch()
		}
		return at(start, epoch), nil
	case tsLatestTiered, tsPendingUpload:
		return none, nil
	case tsMaxTimestamp:
		found, ok, err := log.MaxTimestampOffset(bound)
		if err != nil || !ok {
			return none, err
		}
		return found, nil
	}
	found, ok, err := log.OffsetForTimestamp(ts, bound)
	if err != nil || !ok {
		return none, err
	}
	return found, nil
}

func at(offset int64, epoch int32) storage.TimestampOffset {
	return storage.TimestampOffset{Offset: offset, Timestamp: base.NoTimestamp, Epoch: epoch}
}
