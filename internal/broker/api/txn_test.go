package api

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/batch"
)

func TestTxnSupport(t *testing.T) {
	for version, want := range map[int16]txnSupport{
		3: txnVerify, 10: txnVerify, 11: txnVerifyAbort, 12: txnAdd, 13: txnAdd,
	} {
		if got := produceTxnSupport(version); got != want {
			t.Errorf("Produce v%d: %d, want %d", version, got, want)
		}
	}
	for version, want := range map[int16]txnSupport{0: txnVerify, 3: txnVerify, 4: txnVerifyAbort, 5: txnAdd} {
		if got := commitTxnSupport(version); got != want {
			t.Errorf("TxnOffsetCommit v%d: %d, want %d", version, got, want)
		}
	}
}

func TestVerdicts(t *testing.T) {
	a := base.TopicPartition{Topic: "t", Partition: 0}
	b := base.TopicPartition{Topic: "t", Partition: 1}
	for _, c := range []struct {
		name    string
		support txnSupport
		err     error
		missing []base.TopicPartition
		a, b    error
	}{
		{"both in", txnVerify, nil, nil, nil, nil},
		{"one missing, old client", txnVerify, nil, []base.TopicPartition{b}, nil, kerr.InvalidTxnState},
		{"one missing", txnVerifyAbort, nil, []base.TopicPartition{b}, nil, kerr.TransactionAbortable},
		{"fenced", txnAdd, kerr.ProducerFenced, nil, kerr.InvalidProducerEpoch, kerr.InvalidProducerEpoch},
		{
			"other producer", txnAdd, kerr.InvalidProducerIDMapping, nil,
			kerr.InvalidProducerIDMapping, kerr.InvalidProducerIDMapping,
		},
	} {
		writes := []*txnWrite{
			{part: &partition.Partition{TP: a}, asks: true},
			{part: &partition.Partition{TP: b}, asks: true},
			{part: &partition.Partition{TP: b}}, // its transaction is open: nothing to settle
		}
		fillVerdicts(writes, c.support, c.err, c.missing)
		if !errors.Is(writes[0].err, c.a) || !errors.Is(writes[1].err, c.b) || writes[2].err != nil {
			t.Errorf("%s: %v, %v, %v", c.name, writes[0].err, writes[1].err, writes[2].err)
		}
	}
}

// TestProduceTxnError: what passes by itself makes every client retry, old ones included.
func TestProduceTxnError(t *testing.T) {
	for _, c := range []struct {
		err     error
		support txnSupport
		want    *kerr.Error
		text    bool
	}{
		{nil, txnAdd, nil, false},
		{kerr.InvalidTxnState, txnVerify, kerr.InvalidTxnState, true},
		{kerr.TransactionAbortable, txnVerifyAbort, kerr.TransactionAbortable, false},
		{kerr.InvalidProducerEpoch, txnAdd, kerr.InvalidProducerEpoch, false},
		{kerr.NotCoordinator, txnAdd, kerr.NotEnoughReplicas, true},
		{kerr.CoordinatorLoadInProgress, txnVerify, kerr.NotEnoughReplicas, true},
		{kerr.CoordinatorNotAvailable, txnVerify, kerr.NotEnoughReplicas, true},
		{kerr.NetworkException, txnVerify, kerr.NotEnoughReplicas, true},
		{kerr.ConcurrentTransactions, txnVerify, kerr.NotEnoughReplicas, true},
		{kerr.ConcurrentTransactions, txnAdd, kerr.ConcurrentTransactions, false},
	} {
		got := produceTxnError(c.err, c.support)
		if kafkaError(got) != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
		var be *batch.Error
		if errors.As(got, &be) != c.text {
			t.Errorf("%v: text in the answer: %v", c.err, got)
		}
	}
}
