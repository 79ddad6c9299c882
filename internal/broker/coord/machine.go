package coord

import "time"

// Record is one record of an internal topic. A nil Value is a tombstone.
type Record struct {
	Key   []byte
	Value []byte
}

// Txn names the producer that a batch of records belongs to.
type Txn struct {
	ProducerID    int64 // -1: not transactional
	ProducerEpoch int16
}

// NoTxn is the Txn of records outside any transaction.
var NoTxn = Txn{ProducerID: -1, ProducerEpoch: -1}

// Marker is a control marker that ends a transaction on the shard's partition.
type Marker struct {
	Txn
	CoordinatorEpoch   int32
	TransactionVersion int8
	Commit             bool
}

// Result is what a Machine wants done after it handled an input. The shell appends Records (as one
// transactional batch when Txn names a producer) or Marker, replays them into the machine, and calls
// every Done once they are committed.
type Result struct {
	Records []Record
	Txn     Txn
	Marker  *Marker
	// Done is called on the shard's goroutine: with nil once Records are committed (or, with no
	// Records, once everything appended before is), with a *kerr.Error if the append failed or the
	// shard was lost.
	Done []func(err error)
}

// Machine is the replicated state machine of one shard. One goroutine drives it. It never blocks and
// never reads a clock; the state that its records keep changes only in Replay and ReplayMarker.
type Machine interface {
	Replay(offset int64, txn Txn, rec Record) error
	ReplayMarker(txn Txn, commit bool)
	Loaded(now time.Time) Result
	Tick(now time.Time) (r Result, next time.Time)
	Unload(err error)
}
