package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

type producerRow struct {
	Topic       string     `json:"topic" col:"TOPIC"`
	Partition   int32      `json:"partition" col:"PARTITION"`
	ProducerID  int64      `json:"producer_id" col:"PRODUCER"`
	Epoch       int16      `json:"producer_epoch" col:"EPOCH"`
	Sequence    int32      `json:"last_sequence" col:"SEQUENCE"`
	LastWrite   *time.Time `json:"last_write" col:"LAST-WRITE"`
	TxnStart    *int64     `json:"txn_start_offset" col:"OPEN-FROM"`
	Coordinator int32      `json:"coordinator_epoch" col:"COORDINATOR-EPOCH,wide,count"`
	Leader      int32      `json:"leader" col:"LEADER,wide,left"`
}

func txnProducersCmd(a *App) *cobra.Command {
	var partitions string
	c := &cobra.Command{
		Use:   "producers TOPIC...",
		Short: "List the producers that a topic's partitions remember",
		Long: `List idempotent and transactional producers that wrote to a topic recently. OPEN-FROM is the offset
at which a producer's open transaction begins; read-committed readers cannot pass it.`,
		Example:           examples("", "logstead txn producers orders", "", "logstead txn producers orders -p 0"),
		Args:              minArgs("TOPIC"),
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			want, err := parsePartitions(partitions)
			if err != nil {
				return err
			}
			return show(a, cmd, func(cn *conn) ([]producerRow, error) { return cn.producers(args, want) })
		},
	}
	c.Flags().StringVarP(&partitions, "partitions", "p", "", "only these partitions, such as 0,2,5-8")
	return c
}

func (c *conn) producers(topics []string, want []int32) ([]producerRow, error) {
	details, err := c.topics(topics, false)
	if err != nil {
		return nil, err
	}
	set := kadm.TopicsSet{}
	for _, d := range details.Sorted() {
		ps, err := checkPartitions(d, want)
		if err != nil {
			return nil, err
		}
		set.Add(d.Topic, ps...)
	}
	resps, err := call(c, "cannot list producers", func(ctx context.Context) (kadm.DescribedProducersTopics, error) {
		return c.DescribeProducers(ctx, set)
	})
	if err != nil {
		return nil, err
	}
	var rows []producerRow
	for _, t := range resps.Sorted() {
		for _, p := range t.Partitions.Sorted() {
			if p.Err != nil {
				return nil, kafkaFault(fmt.Sprintf("cannot list the producers of %s-%d", t.Topic, p.Partition),
					p.Err, p.ErrMessage)
			}
			for _, pr := range p.ActiveProducers.Sorted() {
				rows = append(rows, rowOfProducer(pr))
			}
		}
	}
	return rows, nil
}

func rowOfProducer(p kadm.DescribedProducer) producerRow {
	row := producerRow{Topic: p.Topic, Partition: p.Partition, ProducerID: p.ProducerID, Epoch: p.ProducerEpoch,
		Sequence: p.LastSequence, LastWrite: timeOf(p.LastTimestamp), Coordinator: p.CoordinatorEpoch, Leader: p.Leader}
	if p.CurrentTxnStartOffset >= 0 {
		start := p.CurrentTxnStartOffset
		row.TxnStart = &start
	}
	return row
}
