package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type txnAborted struct {
	ID         string `json:"transactional_id,omitempty" col:"TRANSACTIONAL-ID"`
	Topic      string `json:"topic,omitempty" col:"TOPIC"`
	Partition  *int32 `json:"partition,omitempty" col:"PARTITION"`
	ProducerID int64  `json:"producer_id" col:"PRODUCER"`
	Epoch      int16  `json:"producer_epoch" col:"EPOCH"`
	Start      *int64 `json:"txn_start_offset,omitempty" col:"OPEN-FROM"`
	State      string `json:"state,omitempty" col:"STATE"`
	Status     string `json:"status" col:"STATUS"`
}

type txnAbortFlags struct {
	topic     string
	partition int32
	start     int64
	producer  int64
	danger    dangerFlags
}

func txnAbortCmd(a *App) *cobra.Command {
	fl := txnAbortFlags{}
	c := &cobra.Command{
		Use:   "abort [TRANSACTIONAL-ID]",
		Short: "End a transaction without its records being seen",
		Long: `End a transaction. With a transactional id, the producer that uses it is fenced, which aborts what it
has open; it will fail at its next step.

A hanging transaction, of which the coordinator knows nothing, is ended in its partition:
  --topic, --partition and either --start-offset (see logstead txn hanging) or --producer`,
		Example: examples(
			"", "logstead txn abort billing-1",
			"a hanging one", "logstead txn abort --topic orders --partition 0 --start-offset 4711"),
		ValidArgsFunction: a.completeTxns,
		Args:              cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (fl.topic != "") {
				return usagef("name a transactional id, or a partition with --topic").try("%s --help",
					cmd.CommandPath())
			}
			cn, err := a.dialToWrite(cmd)
			if err != nil {
				return err
			}
			defer cn.close()
			if fl.topic != "" {
				return cn.abortHanging(fl)
			}
			return cn.abortByID(args[0], fl.danger)
		},
	}
	f := c.Flags()
	f.StringVarP(&fl.topic, "topic", "t", "", "topic of a hanging transaction")
	f.Int32VarP(&fl.partition, "partition", "p", -1, "its partition")
	f.Int64Var(&fl.start, "start-offset", -1, "the offset at which it begins")
	f.Int64Var(&fl.producer, "producer", -1, "or the producer id that has it open")
	fl.danger.add(f)
	return c
}

// abortByID fences the producer: taking a new epoch for the id aborts what is open under it.
func (c *conn) abortByID(id string, danger dangerFlags) error {
	ds, err := c.describeTxns([]string{id})
	if err != nil {
		return err
	}
	row := txnAborted{ID: id, ProducerID: ds[0].ProducerID, Epoch: ds[0].Epoch, State: ds[0].State,
		Status: "would be aborted"}
	if danger.dryRun {
		return c.app.emit([]txnAborted{row})
	}
	if err := c.app.preview(danger, ds); err != nil {
		return err
	}
	if err := c.app.confirm(danger, fmt.Sprintf("Abort the transaction of %q and fence its producer?", id),
		1); err != nil {
		return err
	}
	if err := c.fence(id, ds[0].TimeoutMs); err != nil {
		return err
	}
	row.Status = "aborted"
	if after, err := c.describeTxns([]string{id}); err == nil {
		row.State, row.Epoch, row.ProducerID = after[0].State, after[0].Epoch, after[0].ProducerID
	}
	return c.app.emit([]txnAborted{row})
}

// fence takes a new epoch for the id. The coordinator answers CONCURRENT_TRANSACTIONS for as long as
// it is writing the abort markers, and is asked again.
func (c *conn) fence(id string, timeoutMs int32) error {
	what := fmt.Sprintf("cannot abort the transaction of %q", id)
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID = &id
	req.TransactionTimeoutMillis = max(1, timeoutMs)
	_, err := call(c, what, func(ctx context.Context) (*kmsg.InitProducerIDResponse, error) {
		for {
			resp, err := req.RequestWith(ctx, c.cl)
			if err != nil {
				return nil, err
			}
			err = errorForCode(resp.ErrorCode)
			if !isKafka(err, kerr.ConcurrentTransactions) || !pause(ctx, coordinatorRetry) {
				return resp, err
			}
		}
	})
	return err
}

// abortHanging writes an abort marker straight into the partition.
func (c *conn) abortHanging(fl txnAbortFlags) error {
	if fl.partition < 0 || (fl.start < 0) == (fl.producer < 0) {
		return usagef("a hanging transaction is named by --topic, --partition and --start-offset (or --producer)")
	}
	producers, err := c.producers([]string{fl.topic}, []int32{fl.partition})
	if err != nil {
		return err
	}
	for _, p := range producers {
		if p.TxnStart == nil || (fl.start >= 0 && *p.TxnStart != fl.start) ||
			(fl.producer >= 0 && p.ProducerID != fl.producer) {
			continue
		}
		return c.writeAbort(p, fl)
	}
	return &Fault{What: fmt.Sprintf("no such transaction is open in %s-%d", fl.topic, fl.partition), Exit: exitNotFound,
		Try: fmt.Sprintf("logstead txn producers %s -p %d", shellQuote(fl.topic), fl.partition)}
}

func (c *conn) writeAbort(p producerRow, fl txnAbortFlags) error {
	row := txnAborted{Topic: p.Topic, Partition: &p.Partition, ProducerID: p.ProducerID, Epoch: p.Epoch,
		Start: p.TxnStart, Status: "would be aborted"}
	if fl.danger.dryRun {
		return c.app.emit([]txnAborted{row})
	}
	if err := c.app.preview(fl.danger, []txnAborted{row}); err != nil {
		return err
	}
	question := fmt.Sprintf("Abort the transaction of producer %d in %s-%d?", p.ProducerID, p.Topic, p.Partition)
	if err := c.app.confirm(fl.danger, question, 1); err != nil {
		return err
	}
	what := fmt.Sprintf("cannot abort the transaction in %s-%d", p.Topic, p.Partition)
	set := kadm.TopicsSet{}
	set.Add(p.Topic, p.Partition)
	// The broker takes a marker only from a coordinator at least as new as the last it saw.
	marker := kadm.TxnMarkers{ProducerID: p.ProducerID, ProducerEpoch: p.Epoch,
		CoordinatorEpoch: max(0, p.Coordinator), Topics: set}
	resps, err := call(c, what, func(ctx context.Context) (kadm.TxnMarkersResponses, error) {
		return c.WriteTxnMarkers(ctx, marker)
	})
	if err != nil {
		return err
	}
	for _, r := range resps.SortedPartitions() {
		if r.Err != nil {
			return asFault(what, r.Err)
		}
	}
	row.Status = "aborted"
	return c.app.emit([]txnAborted{row})
}
