package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

type hangingRow struct {
	Topic      string     `json:"topic" col:"TOPIC"`
	Partition  int32      `json:"partition" col:"PARTITION"`
	ProducerID int64      `json:"producer_id" col:"PRODUCER"`
	Epoch      int16      `json:"producer_epoch" col:"EPOCH"`
	Start      int64      `json:"txn_start_offset" col:"OPEN-FROM"`
	LastWrite  *time.Time `json:"last_write" col:"LAST-WRITE"`
	OpenMs     *int64     `json:"idle_ms" col:"IDLE,ms"`
	ID         string     `json:"transactional_id,omitempty" col:"TRANSACTIONAL-ID"`
	Why        string     `json:"why" col:"WHY"`
}

// defaultMaxTxn is Kafka's transaction.max.timeout.ms: no transaction may be open for longer.
const defaultMaxTxn = 15 * time.Minute

func txnHangingCmd(a *App) *cobra.Command {
	var maxOpen time.Duration
	c := &cobra.Command{
		Use:     "hanging [TOPIC...]",
		Aliases: []string{"find-hanging"},
		Short:   "Find open transactions that nobody will end",
		Long: `Look for transactions that are open in a partition for longer than any may be, and that their
coordinator knows nothing of. They keep read-committed readers from going on; end one with
  logstead txn abort --topic TOPIC --partition P --start-offset OPEN-FROM`,
		Example: examples("", "logstead txn hanging", "one topic, whatever is open for a minute",
			"logstead txn hanging orders --older-than 1m"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cn, err := a.dial(cmd)
			if err != nil {
				return err
			}
			defer cn.close()
			rows, err := cn.hanging(args, maxOpen)
			if err != nil {
				return err
			}
			if len(rows) == 0 {
				a.say("no hanging transaction found")
			}
			return a.emit(rows)
		},
	}
	c.Flags().DurationVar(&maxOpen, "older-than", defaultMaxTxn+time.Minute,
		"report transactions without a write for this long")
	return c
}

func (c *conn) hanging(topics []string, older time.Duration) ([]hangingRow, error) {
	if len(topics) == 0 {
		topics = []string{"*"}
	}
	details, err := c.topics(topics, false)
	if err != nil {
		if kafkaCode(err) == 0 && asFault("", err).exit() == exitNotFound {
			return nil, nil // a cluster without topics has nothing that hangs
		}
		return nil, err
	}
	producers, err := c.producers(details.Names(), nil)
	if err != nil {
		return nil, err
	}
	owners, err := c.txnOwners()
	if err != nil {
		return nil, err
	}
	var rows []hangingRow
	for _, p := range producers {
		if p.TxnStart == nil || p.LastWrite == nil || c.app.Now().Sub(*p.LastWrite) < older {
			continue
		}
		row := hangingRow{Topic: p.Topic, Partition: p.Partition, ProducerID: p.ProducerID, Epoch: p.Epoch,
			Start: *p.TxnStart, LastWrite: p.LastWrite, OpenMs: c.app.since(p.LastWrite.UnixMilli())}
		if why, hangs := owners.why(p); hangs {
			row.Why, row.ID = why, owners.ids[p.ProducerID]
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// txnOwners is what the transaction coordinators know.
type txnOwners struct {
	ids map[int64]string
	txn map[string]kadm.DescribedTransaction
}

func (c *conn) txnOwners() (txnOwners, error) {
	o := txnOwners{ids: map[int64]string{}}
	listed, err := call(c, "cannot list transactions", func(ctx context.Context) (kadm.ListedTransactions, error) {
		return c.ListTransactions(ctx, nil, nil)
	})
	if err != nil {
		return o, err
	}
	for id, t := range listed {
		o.ids[t.ProducerID] = id
	}
	if len(listed) == 0 {
		return o, nil
	}
	o.txn, err = call(c, "cannot describe transactions", func(ctx context.Context) (kadm.DescribedTransactions, error) {
		return c.DescribeTransactions(ctx, listed.TransactionalIDs()...)
	})
	return o, err
}

// why says why a transaction open in a partition will not be ended by its coordinator.
func (o txnOwners) why(p producerRow) (string, bool) {
	id, ok := o.ids[p.ProducerID]
	if !ok {
		return "its coordinator does not know the producer", true
	}
	d, ok := o.txn[id]
	if !ok || d.Err != nil {
		return "its coordinator cannot describe it", true
	}
	if d.ProducerEpoch != p.Epoch && d.ProducerEpoch > p.Epoch+1 {
		return "its coordinator has gone on to a newer epoch", true
	}
	if !slices.Contains([]string{"Ongoing", "PrepareAbort", "PrepareCommit"}, d.State) {
		return "its coordinator takes it for ended (" + d.State + ")", true
	}
	if !d.Topics.Lookup(p.Topic, p.Partition) {
		return "its coordinator does not know that the partition takes part", true
	}
	return "", false
}
