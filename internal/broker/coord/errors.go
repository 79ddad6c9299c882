package coord

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// errForeignWrite says that somebody else wrote to a partition that belongs to a shard, so that its
// machine has missed records.
var errForeignWrite = errors.New("the partition holds records that its coordinator did not write")

// lossError is what those who waited on a lost shard are told: to look for the coordinator again,
// or to come back when there are enough replicas.
func lossError(cause error) error {
	var ke *kerr.Error
	if errors.As(cause, &ke) {
		switch ke {
		case kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut:
			return kerr.CoordinatorNotAvailable
		}
	}
	return kerr.NotCoordinator
}

// fatalError marks a failure that leaves the machine and the log apart.
type fatalError struct{ error }

func (e fatalError) Unwrap() error { return e.error }

// rejection tells whether the partition refused one batch for what is in it, which says nothing
// about the next one.
func rejection(err error) bool {
	var fatal fatalError
	var ke *kerr.Error
	if errors.As(err, &fatal) || !errors.As(err, &ke) {
		return false
	}
	switch ke {
	case kerr.InvalidProducerEpoch, kerr.InvalidTxnState, kerr.OutOfOrderSequenceNumber,
		kerr.TransactionCoordinatorFenced, kerr.UnknownProducerID, kerr.InvalidProducerIDMapping,
		kerr.ProducerFenced, kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord,
		kerr.InvalidTimestamp, kerr.TransactionAbortable:
		return true
	}
	return false
}
