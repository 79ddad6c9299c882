package group

import (
	"encoding/binary"
	"iter"
	"slices"
	"unicode/utf16"

	"github.com/zeebo/xxh3"

	"github.com/logstead/logstead/internal/kit/base"
)

// Topic is what a coordinator needs to know of a topic.
type Topic struct {
	ID         base.TopicID
	Name       string
	Partitions int32
}

// Topics is one immutable view of the cluster's topics.
type Topics interface {
	// Version changes with every topic that is created, deleted or grown, and never goes back, over
	// restarts included. It may change more often.
	Version() int64
	ByName(name string) (Topic, bool)
	ByID(id base.TopicID) (Topic, bool)
	Names() iter.Seq[string]
	// Racks are the racks of a partition's replicas, without those of brokers that have none.
	Racks(id base.TopicID, partition int32) []string
}

// topicHashMagic starts what a topic's hash is made of. Another way to compute it gets another byte.
const topicHashMagic = 0

// metadataHash is Kafka's hash of what a consumer group's assignment depends on: the subscribed
// topics that exist, their ids, partition counts and racks (KIP-1101). Without topics it is 0.
func metadataHash(names []string, topics Topics) int64 {
	var sums []byte
	for _, name := range names {
		if t, ok := topics.ByName(name); ok {
			sums = binary.LittleEndian.AppendUint64(sums, topicHash(t, topics))
		}
	}
	if sums == nil {
		return 0
	}
	return int64(xxh3.Hash(sums))
}

func topicHash(t Topic, topics Topics) uint64 {
	b := []byte{topicHashMagic}
	b = binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(t.ID[:8]))
	b = binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(t.ID[8:]))
	b = appendHashString(b, t.Name)
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Partitions))
	for p := range t.Partitions {
		b = binary.LittleEndian.AppendUint32(b, uint32(p))
		racks := slices.Sorted(slices.Values(topics.Racks(t.ID, p)))
		for _, rack := range racks {
			b = binary.LittleEndian.AppendUint32(b, uint32(javaLength(rack)))
			b = appendHashString(b, rack)
		}
	}
	return xxh3.Hash(b)
}

// appendHashString writes s as the hash library of Kafka feeds strings: UTF-16 units, then their count.
func appendHashString(b []byte, s string) []byte {
	units := utf16.Encode([]rune(s))
	for _, u := range units {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return binary.LittleEndian.AppendUint32(b, uint32(len(units)))
}

// javaLength is the length of a string as Java counts it, which is what Kafka's limits mean.
func javaLength(s string) int {
	n := 0
	for _, r := range s {
		n += max(utf16.RuneLen(r), 1)
	}
	return n
}
