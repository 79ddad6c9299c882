package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
)

type partitionsAdded struct {
	Topic  string `json:"topic" col:"TOPIC"`
	Before int    `json:"partitions_before" col:"BEFORE"`
	After  int    `json:"partitions_after" col:"AFTER"`
	Status string `json:"status" col:"STATUS"`
	Error  string `json:"error,omitempty" col:"ERROR,wide"`
}

func topicAddPartitionsCmd(a *App) *cobra.Command {
	var add, to int
	var danger dangerFlags
	c := &cobra.Command{
		Use:   "add-partitions TOPIC...",
		Short: "Give topics more partitions",
		Long: `Give topics more partitions. It cannot be undone, and records with a key may go to another
partition than before: the order of a key holds only from then on.`,
		Example: examples(
			"three more", "logstead topic add-partitions orders -n 3",
			"so that there are twelve", "logstead topic add-partitions orders --to 12 -y"),
		Args:              minArgs("TOPIC"),
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (add > 0) == (to > 0) {
				return usagef("how many partitions?").try("-n 3 for three more, or --to 12 for twelve in all")
			}
			return a.addPartitions(cmd, args, add, to, danger)
		},
	}
	c.Flags().IntVarP(&add, "num", "n", 0, "how many to add")
	c.Flags().IntVar(&to, "to", 0, "how many there shall be")
	danger.add(c.Flags())
	return c
}

func (a *App) addPartitions(cmd *cobra.Command, args []string, add, to int, danger dangerFlags) error {
	cn, err := a.dialToWrite(cmd)
	if err != nil {
		return err
	}
	defer cn.close()
	details, err := cn.topics(args, false)
	if err != nil {
		return err
	}
	var plan []partitionsAdded
	for _, d := range details.Sorted() {
		row := partitionsAdded{Topic: d.Topic, Before: len(d.Partitions), After: len(d.Partitions) + add,
			Status: "planned"}
		if to > 0 {
			row.After = to
		}
		if row.After <= row.Before {
			return usagef("topic %q has %s already; partitions can only be added", d.Topic,
				countOf(row.Before, "partition"))
		}
		plan = append(plan, row)
	}
	if !danger.dryRun {
		if err := a.preview(danger, plan); err != nil {
			return err
		}
		if err := a.confirm(danger, "Add partitions? This cannot be undone.", 1); err != nil {
			return err
		}
	}
	return cn.applyPartitions(plan, danger.dryRun)
}

func (c *conn) applyPartitions(plan []partitionsAdded, dryRun bool) error {
	results := make([]itemResult, len(plan))
	for i := range plan {
		row := &plan[i]
		results[i].Name = row.Topic
		if err := c.setPartitions(row.Topic, row.After, dryRun); err != nil {
			results[i].fail(asFault(fmt.Sprintf("cannot add partitions to topic %q", row.Topic), err))
			row.Status, row.Error, row.After = "failed", results[i].Error, row.Before
			continue
		}
		row.Status = "added"
		if dryRun {
			row.Status = "would be added"
		}
	}
	err := finish("cannot add partitions to every topic", results)
	if err != nil && len(plan) == 1 {
		return err
	}
	if eerr := c.app.emit(slices.Clone(plan)); eerr != nil {
		return eerr
	}
	return err
}

func (c *conn) setPartitions(topic string, count int, dryRun bool) error {
	ctx, cancel := c.step()
	defer cancel()
	update := c.UpdatePartitions
	if dryRun {
		update = c.ValidateUpdatePartitions
	}
	resps, err := update(ctx, count, topic)
	if err != nil {
		return c.fault("cannot add partitions", err)
	}
	for _, r := range resps {
		if r.Err != nil {
			return kafkaFault(fmt.Sprintf("cannot add partitions to topic %q", r.Topic), r.Err, r.ErrMessage)
		}
	}
	return nil
}
