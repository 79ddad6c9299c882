package txn

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// State is where a transaction stands; the values are those in the log.
type State int8

// The states, with Kafka's numbers. Dead and PrepareEpochFence are never written.
const (
	Empty             State = 0
	Ongoing           State = 1
	PrepareCommit     State = 2
	PrepareAbort      State = 3
	CompleteCommit    State = 4
	CompleteAbort     State = 5
	Dead              State = 6
	PrepareEpochFence State = 7
)

var stateNames = [...]string{
	"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead",
	"PrepareEpochFence",
}

// String is Kafka's name of the state.
func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return fmt.Sprintf("State(%d)", int8(s))
	}
	return stateNames[s]
}

// StateByName finds a state by Kafka's name, which is case-sensitive.
func StateByName(name string) (State, bool) {
	i := slices.Index(stateNames[:], name)
	return State(i), i >= 0
}

// prepared tells whether the transaction's end is decided but not yet known to every partition.
func (s State) prepared() bool { return s == PrepareCommit || s == PrepareAbort }

// idle tells whether no transaction is open and none is ending.
func (s State) idle() bool { return s == Empty || s == CompleteCommit || s == CompleteAbort }

const (
	noProducerID    = base.NoProducerID
	noProducerEpoch = base.NoProducerEpoch
	// maxEpoch is the last epoch that a client is given. One more is left for fencing it.
	maxEpoch int16 = math.MaxInt16 - 1
	// epochBump is the transaction version (KIP-890) from which ending a transaction bumps the epoch.
	epochBump int16 = 2
)

// meta is what one record says of a transactional id.
type meta struct {
	producerID     int64
	prevProducerID int64 // the producer id before the last transition
	nextProducerID int64 // takes over at completion, because the epoch is used up
	epoch          int16
	timeoutMs      int32
	state          State
	partitions     []base.TopicPartition // sorted, without duplicates; never changed in place
	startMs        int64                 // -1 while no transaction was begun
	updatedMs      int64
	clientVersion  int16 // the transaction version that the client used last
}

// exhausted tells whether the producer id has no epoch left for a client.
func (t *meta) exhausted() bool { return t.epoch >= maxEpoch }

// transit starts a transition: a copy that remembers the producer id it came from.
func (t *meta) transit(to State, nowMs int64) meta {
	next := *t
	next.prevProducerID = t.producerID
	next.state = to
	next.updatedMs = nowMs
	return next
}

func compareTP(a, b base.TopicPartition) int {
	if c := strings.Compare(a.Topic, b.Topic); c != 0 {
		return c
	}
	return int(a.Partition) - int(b.Partition)
}

func (t *meta) has(tp base.TopicPartition) bool {
	_, found := slices.BinarySearchFunc(t.partitions, tp, compareTP)
	return found
}

func (t *meta) hasAll(tps []base.TopicPartition) bool {
	for _, tp := range tps {
		if !t.has(tp) {
			return false
		}
	}
	return true
}

// union is the transaction's partitions with more added.
func (t *meta) union(more []base.TopicPartition) []base.TopicPartition {
	all := slices.Concat(t.partitions, more)
	slices.SortFunc(all, compareTP)
	return slices.Compact(all)
}

// Transaction log versions: the key has one, the value is flexible from 1 on, which every server
// transaction version but 0 writes.
const (
	valueVersionOld      int16 = 0
	valueVersionFlexible int16 = 1
)

// encode is the record that puts id into the state t.
func encode(id string, t *meta, serverVersion int16) coord.Record {
	v := kmsg.NewTransactionLogValue()
	v.ProducerId = t.producerID
	v.PreviousProducerId = t.prevProducerID
	v.NextProducerId = t.nextProducerID
	v.ProducerEpoch = t.epoch
	v.TransactionTimeoutMs = t.timeoutMs
	v.TransactionStatus = int8(t.state)
	v.TransactionLastUpdateTimestampMs = t.updatedMs
	v.TransactionStartTimestampMs = t.startMs
	v.ClientTransactionVersion = t.clientVersion
	v.TransactionPartitions = nil
	if t.state != Empty {
		v.TransactionPartitions = []kmsg.TransactionLogValuePartitionsSchema{}
		for _, tp := range t.partitions {
			n := len(v.TransactionPartitions)
			if n == 0 || v.TransactionPartitions[n-1].Topic != tp.Topic {
				v.TransactionPartitions = append(v.TransactionPartitions,
					kmsg.TransactionLogValuePartitionsSchema{Topic: tp.Topic})
				n++
			}
			p := &v.TransactionPartitions[n-1]
			p.PartitionIds = append(p.PartitionIds, tp.Partition)
		}
	}
	version := valueVersionFlexible
	if serverVersion < 1 {
		version = valueVersionOld
	}
	return coord.Record{Key: encodeKey(id), Value: kmsg.AppendVersioned(nil, version, &v)}
}

func encodeKey(id string) []byte {
	return kmsg.AppendKey(nil, &kmsg.TransactionLogKey{TransactionalId: id})
}

// decodeKey reads a record's key; ok is false for a kind of record that this release does not know,
// which an aborted upgrade may leave behind.
func decodeKey(b []byte) (id string, ok bool, err error) {
	kind, err := kmsg.KeyType(b)
	if err != nil || kind != kmsg.TransactionLogKeyType {
		return "", false, err
	}
	var k kmsg.TransactionLogKey
	err = kmsg.ReadKey(b, &k)
	return k.TransactionalId, err == nil, err
}

// decode reads a record's value; ok is false for a version from a later release.
func decode(b []byte) (t meta, ok bool, err error) {
	if len(b) >= 2 {
		if v := int16(b[0])<<8 | int16(b[1]); v < valueVersionOld || v > valueVersionFlexible {
			return meta{}, false, nil
		}
	}
	var v kmsg.TransactionLogValue
	if _, err := kmsg.ReadVersioned(b, &v); err != nil {
		return meta{}, false, err
	}
	t = meta{
		producerID:     v.ProducerId,
		prevProducerID: v.PreviousProducerId,
		nextProducerID: v.NextProducerId,
		epoch:          v.ProducerEpoch,
		timeoutMs:      v.TransactionTimeoutMs,
		state:          State(v.TransactionStatus),
		startMs:        v.TransactionStartTimestampMs,
		updatedMs:      v.TransactionLastUpdateTimestampMs,
		clientVersion:  v.ClientTransactionVersion,
	}
	if t.state < Empty || t.state > PrepareEpochFence {
		return meta{}, false, fmt.Errorf("transaction status %d: known are %d to %d", t.state, Empty, PrepareEpochFence)
	}
	if t.state != Empty {
		for _, p := range v.TransactionPartitions {
			for _, n := range p.PartitionIds {
				t.partitions = append(t.partitions, base.TopicPartition{Topic: p.Topic, Partition: n})
			}
		}
		t.partitions = (&meta{}).union(t.partitions)
	}
	return t, true, nil
}
