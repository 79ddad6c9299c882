package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

type txnDescription struct {
	ID          string         `json:"transactional_id"`
	State       string         `json:"state"`
	ProducerID  int64          `json:"producer_id"`
	Epoch       int16          `json:"producer_epoch"`
	Coordinator int32          `json:"coordinator"`
	TimeoutMs   int32          `json:"timeout_ms"`
	Started     *time.Time     `json:"started"`
	OpenMs      *int64         `json:"open_ms"`
	Partitions  []txnPartition `json:"partitions"`
}

type txnPartition struct {
	Topic     string `json:"topic" col:"TOPIC"`
	Partition int32  `json:"partition" col:"PARTITION"`
}

type txnDescriptions []txnDescription

func (ds txnDescriptions) names() []string {
	out := make([]string, len(ds))
	for i, d := range ds {
		out[i] = d.ID
	}
	return out
}

func (ds txnDescriptions) sections(bool) []section {
	var out []section
	for _, d := range ds {
		facts := []fact{
			{"Transactional id", d.ID}, {"State", d.State},
			{"Producer", fmt.Sprintf("%d, epoch %d", d.ProducerID, d.Epoch)}, {"Coordinator",
				fmt.Sprint(d.Coordinator)},
			{"Timeout", humanDuration(time.Duration(d.TimeoutMs) * time.Millisecond)},
		}
		if d.Started != nil && d.OpenMs != nil {
			name := "Last begun"
			if d.open() {
				name = "Open since"
			}
			facts = append(facts, fact{name, fmt.Sprintf("%s (%s)", d.Started.Format(time.RFC3339),
				ago(*d.Started, d.Started.Add(time.Duration(*d.OpenMs)*time.Millisecond)))})
		}
		sec := section{facts: facts}
		if len(d.Partitions) > 0 {
			sec.rows = d.Partitions
		}
		out = append(out, sec)
	}
	return out
}

// open says that the transaction has not been ended, so that readers wait for it.
func (d txnDescription) open() bool {
	switch d.State {
	case "Ongoing", "PrepareCommit", "PrepareAbort":
		return true
	}
	return false
}

func txnDescribeCmd(a *App) *cobra.Command {
	return &cobra.Command{
		Use:               "describe TRANSACTIONAL-ID...",
		Short:             "Show a transaction: producer, state, since when, partitions",
		Example:           examples("", "logstead txn describe billing-1"),
		Args:              minArgs("TRANSACTIONAL-ID"),
		ValidArgsFunction: a.completeTxns,
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(a, cmd, func(cn *conn) (txnDescriptions, error) { return cn.describeTxns(args) })
		},
	}
}

func (c *conn) describeTxns(ids []string) (txnDescriptions, error) {
	resps, err := call(c, "cannot describe transactions", func(ctx context.Context) (kadm.DescribedTransactions,
		error) {
		return c.DescribeTransactions(ctx, ids...)
	})
	if err != nil {
		return nil, err
	}
	var out txnDescriptions
	for _, id := range ids {
		d, ok := resps[id]
		if !ok || kafkaCode(d.Err) == 105 {
			return nil, c.noSuchTxn(id)
		}
		if d.Err != nil {
			return nil, asFault(fmt.Sprintf("cannot describe transaction %q", id), d.Err)
		}
		row := txnDescription{ID: id, State: d.State, ProducerID: d.ProducerID, Epoch: d.ProducerEpoch,
			Coordinator: d.Coordinator, TimeoutMs: d.TimeoutMillis, Started: timeOf(
				d.StartTimestamp), OpenMs: c.app.since(d.StartTimestamp)}
		for _, t := range d.Topics.Sorted() {
			for _, p := range t.Partitions {
				row.Partitions = append(row.Partitions, txnPartition{t.Topic, p})
			}
		}
		out = append(out, row)
	}
	return out, nil
}

func (c *conn) noSuchTxn(id string) error {
	f := &Fault{What: fmt.Sprintf("transactional id %q is not known", id), Why: "TRANSACTIONAL_ID_NOT_FOUND (105)",
		Kafka: 105, Exit: exitNotFound}
	ctx, cancel := c.step()
	defer cancel()
	if all, err := c.ListTransactions(ctx, nil, nil); err == nil {
		f.Similar = similar(id, all.TransactionalIDs())
	}
	return f.try("logstead txn list")
}
