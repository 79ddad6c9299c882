package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

type electRow struct {
	Topic     string `json:"topic" col:"TOPIC"`
	Partition int32  `json:"partition" col:"PARTITION,left"`
	Status    string `json:"status" col:"STATUS"`
	Error     string `json:"error,omitempty" col:"ERROR,wide"`
	fault     *Fault
}

func partitionElectCmd(a *App) *cobra.Command {
	var unclean bool
	var danger dangerFlags
	c := &cobra.Command{
		Use:   "elect [TOPIC[:PARTITIONS]...]",
		Short: "Give partitions to their preferred leaders",
		Long: `Make the first replica of each partition its leader, if it is in sync. Only partitions that another broker
leads are asked for.

--unclean is for a partition without a leader whose in-sync replicas are all gone for good: a replica that
is not in sync takes over, and the records that it lacks are lost. It asks first.`,
		Example: examples(
			"everywhere", "logstead partition elect",
			"", "logstead partition elect orders:0,3",
			"give up records to get a partition back", "logstead partition elect orders:2 --unclean"),
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.guardWrite(); err != nil {
				return err
			}
			if unclean && len(args) == 0 {
				return usagef("--unclean needs the partitions by name").try("logstead partition elect orders:2 --unclean")
			}
			cn, err := a.dial(cmd)
			if err != nil {
				return err
			}
			defer cn.close()
			return cn.electAsked(args, unclean, danger)
		},
	}
	c.Flags().BoolVar(&unclean, "unclean", false, "let a replica lead that lacks records, where no other is left")
	danger.add(c.Flags())
	return c
}

func (c *conn) electAsked(args []string, unclean bool, danger dangerFlags) error {
	l, err := c.layout(false)
	if err != nil {
		return err
	}
	parts, err := l.choose(args)
	if err != nil {
		return err
	}
	how := kadm.ElectPreferredReplica
	if unclean {
		how = kadm.ElectLiveReplica
	}
	parts = slices.DeleteFunc(parts, func(p *layoutPart) bool {
		if unclean {
			return p.leader >= 0
		}
		return len(p.replicas) == 0 || p.leader == p.replicas[0]
	})
	rows := []electRow{}
	for _, p := range parts {
		rows = append(rows, electRow{Topic: p.topic, Partition: p.partition, Status: "would be elected"})
	}
	if danger.dryRun || len(rows) == 0 {
		return c.app.emit(rows)
	}
	if unclean {
		if err := c.app.preview(danger, rows); err != nil {
			return err
		}
		if err := c.app.confirm(danger, "Elect replicas that lack records? Those records are lost.", len(rows)); err != nil {
			return err
		}
	}
	rows, err = c.elect(setOf(parts), how)
	if err != nil {
		return err
	}
	results := make([]itemResult, len(rows))
	for i, r := range rows {
		results[i].Name = fmt.Sprintf("%s-%d", r.Topic, r.Partition)
		if r.fault != nil {
			results[i].fail(r.fault)
		}
	}
	if err := c.app.emit(rows); err != nil {
		return err
	}
	return finish("cannot elect every leader", results)
}

// elect asks for leaders and tells what came of each.
func (c *conn) elect(set kadm.TopicsSet, how kadm.ElectLeadersHow) ([]electRow, error) {
	resps, err := call(c, "cannot elect leaders", func(ctx context.Context) (kadm.ElectLeadersResults, error) {
		return c.ElectLeaders(ctx, how, set)
	})
	if err != nil {
		return nil, err
	}
	rows := []electRow{}
	for _, ps := range resps {
		for _, r := range ps {
			row := electRow{Topic: r.Topic, Partition: r.Partition, Status: "elected"}
			switch {
			case kafkaCode(r.Err) == 84:
				row.Status = "not needed"
			case r.Err != nil:
				row.fault = kafkaFault(fmt.Sprintf("cannot elect a leader for %s-%d", r.Topic, r.Partition), r.Err, r.ErrMessage)
				row.Status, row.Error = moveFailed, row.fault.Why
			}
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b electRow) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return rows, nil
}
