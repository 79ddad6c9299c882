package coord

import "time"

// Record is one record of a coordinator's log, key and value already serialised in Kafka's own
// coordinator formats. A nil Value is a tombstone.
type Record struct {
	Key   []byte
	Value []byte
}

// NoProducerID is the ProducerID of a Txn that means "not transactional".
const NoProducerID int64 = -1

// Txn names the producer on whose behalf records are written inside a transaction.
type Txn struct {
	ProducerID    int64 // NoProducerID = not transactional
	ProducerEpoch int16
}

// NoTxn is the Txn of ordinary records.
var NoTxn = Txn{ProducerID: NoProducerID, ProducerEpoch: -1}

// Transactional tells whether t names a producer.
func (t Txn) Transactional() bool { return t.ProducerID != NoProducerID }

// Marker is a control marker that ends a transaction on the shard's partition.
type Marker struct {
	Txn
	CoordinatorEpoch   int32
	TransactionVersion int8 // 2 = the epoch rule of KIP-890 (strictly greater), else the older one
	Commit             bool
}

// Result is what a machine wants done after it has handled one input. The zero Result asks for
// nothing.
type Result struct {
	// Records are appended in this order, in one batch, all or none. They come back through
	// Machine.Replay before the next input is handled.
	Records []Record
	// Txn, if not nil, makes Records one transactional batch of that producer (TxnOffsetCommit). It is
	// a pointer because the zero Txn names producer 0, which exists.
	Txn *Txn
	// Guard goes with a transactional batch to Partition.Append (KIP-890): it is what the log gave
	// before the transaction coordinator was asked. 0 is none.
	Guard uint64
	// Marker, if not nil, is appended after Records and comes back through Machine.ReplayMarker.
	Marker *Marker
	// Done is called in order on the shard's goroutine, exactly once each: with nil when Records and
	// Marker, and everything that was appended to the shard before, are committed (the high watermark
	// has passed them), else with the *kerr.Error that says why they are not. A Done must not block.
	//
	// Two kinds of failure reach a Done. MESSAGE_TOO_LARGE and whatever the partition answers to a
	// transactional batch or a marker concern this Result alone: nothing of it was replayed and the
	// machine goes on. NOT_COORDINATOR means that the shard is lost with everything it held.
	Done []func(err error)
}

// Machine is one shard of a coordinator: the state that follows from one partition of an internal
// topic. One goroutine drives it; it never blocks and never reads a clock.
//
// State that is kept in records changes only in Replay and ReplayMarker, which see the same records
// in the same order when the log is loaded and when it is live. Everything else (sessions, parked
// replies, timers) is soft: it is rebuilt in Loaded and lost in Unload.
type Machine interface {
	// Replay applies one record. txn is NoTxn for ordinary records. An error while loading fails the
	// load; an error while live drops the shard.
	Replay(offset int64, txn Txn, rec Record) error
	// ReplayMarker ends the transaction of txn.ProducerID.
	ReplayMarker(txn Txn, commit bool)
	// Loaded is called once, after the last record of the log was replayed.
	Loaded(now time.Time) Result
	// Tick handles everything that is due at now and says when the next thing will be: the zero time
	// means never. It is called after Loaded, after every run of inputs (so a machine need not say
	// when its next deadline moves) and when the time it returned last has come.
	Tick(now time.Time) (Result, time.Time)
	// Unload fails every reply that the machine holds. Nothing else is called afterwards. Replies
	// that wait in a Done of an earlier Result are failed by the runtime, not by Unload.
	Unload(err error)
}
