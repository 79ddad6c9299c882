package api

import (
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/kit/base"
)

// nearReplica is the broker that a consumer of a rack should read a partition from instead of this one,
// as Kafka's RackAwareReplicaSelector chooses; -1 for none: this broker is in the rack, or no follower there
// is in sync and has the offset.
func (b *Broker) nearReplica(conn *Conn, part *partition.Partition, rack string, offset int64) int32 {
	im := b.Image()
	inRack := func(id int32) bool {
		br := im.Broker(id)
		return br != nil && !br.Fenced && br.Rack != nil && *br.Rack == rack && br.Reachable(conn.Listener)
	}
	if inRack(b.NodeID) {
		return base.NoBroker
	}
	return part.NearReplica(offset, inRack)
}
