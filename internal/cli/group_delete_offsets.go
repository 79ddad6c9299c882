package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

type offsetDeleted struct {
	Topic     string `json:"topic" col:"TOPIC"`
	Partition int32  `json:"partition" col:"PARTITION"`
	Committed int64  `json:"committed" col:"COMMITTED"`
	Status    string `json:"status" col:"STATUS"`
	Error     string `json:"error,omitempty" col:"ERROR,wide"`
	ErrorCode int16  `json:"kafka_code,omitempty"`
}

func groupDeleteOffsetsCmd(a *App) *cobra.Command {
	var danger dangerFlags
	var topics []string
	c := &cobra.Command{
		Use:   "delete-offsets GROUP --topic TOPIC",
		Short: "Forget a group's place in some topics",
		Long: `Delete the committed offsets of a group in topics that it does not read any more. The rest of the
group stays as it is, and may even be running.`,
		Example: examples(
			"", "logstead group delete-offsets billing --topic old-orders",
			"some partitions", "logstead group delete-offsets billing -t orders:6-11 -y"),
		Args:              exactArgs("GROUP"),
		ValidArgsFunction: a.completeGroups,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(topics) == 0 {
				return usagef("--topic is missing").try("%s", cmd.UseLine())
			}
			return a.groupDeleteOffsets(cmd, args[0], topics, danger)
		},
	}
	c.Flags().StringSliceVarP(&topics, "topic", "t", nil, "`TOPIC` or TOPIC:PARTITIONS (may be repeated)")
	danger.add(c.Flags())
	return c
}

func (a *App) groupDeleteOffsets(cmd *cobra.Command, group string, topics []string, danger dangerFlags) error {
	cn, err := a.dialToWrite(cmd)
	if err != nil {
		return err
	}
	defer cn.close()
	if _, err := cn.findGroups([]string{group}, false); err != nil {
		return err
	}
	set, err := cn.parseTopicPartitions(topics)
	if err != nil {
		return err
	}
	now, err := cn.committedOffsets(group)
	if err != nil {
		return err
	}
	var plan []offsetDeleted
	for _, t := range set.Sorted() {
		for _, p := range t.Partitions {
			if at, ok := now[t.Topic][p]; ok {
				plan = append(plan, offsetDeleted{Topic: t.Topic, Partition: p, Committed: at.offset,
					Status: "would be deleted"})
			}
		}
	}
	if len(plan) == 0 {
		return &Fault{What: fmt.Sprintf("group %q has committed nothing there", group), Exit: exitNotFound,
			Try: "logstead group describe " + shellQuote(group)}
	}
	if danger.dryRun {
		return a.emit(plan)
	}
	if err := a.preview(danger, plan); err != nil {
		return err
	}
	if err := a.confirm(danger, fmt.Sprintf("Forget the place of group %q in %s?", group,
		countOf(len(plan), "partition")), 1); err != nil {
		return err
	}
	return cn.deleteOffsets(group, plan)
}

func (c *conn) deleteOffsets(group string, plan []offsetDeleted) error {
	set := kadm.TopicsSet{}
	for _, r := range plan {
		set.Add(r.Topic, r.Partition)
	}
	what := fmt.Sprintf("cannot delete offsets of group %q", group)
	resps, err := call(c, what, func(ctx context.Context) (kadm.DeleteOffsetsResponses, error) {
		return c.DeleteOffsets(ctx, group, set)
	})
	if err != nil {
		return err
	}
	var results []itemResult
	for i := range plan {
		row := &plan[i]
		res := itemResult{Name: fmt.Sprintf("%s-%d", row.Topic, row.Partition)}
		row.Status = "deleted"
		if err, ok := resps.Lookup(row.Topic, row.Partition); ok && err != nil {
			res.fail(asFault(what, err))
			row.Status, row.Error, row.ErrorCode = "failed", res.Error, res.ErrorCode
		}
		results = append(results, res)
	}
	if err := c.app.emit(plan); err != nil {
		return err
	}
	return finish(what, results)
}
