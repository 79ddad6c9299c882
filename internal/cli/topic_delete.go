package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

type topicDeleted struct {
	Name       string `json:"name" col:"TOPIC"`
	Partitions int    `json:"partitions" col:"PARTITIONS"`
	Records    *int64 `json:"records" col:"RECORDS"`
	Status     string `json:"status" col:"STATUS"`
	Error      string `json:"error,omitempty" col:"ERROR,wide"`
	ErrorCode  int16  `json:"kafka_code,omitempty"`
}

func topicDeleteCmd(a *App) *cobra.Command {
	var danger dangerFlags
	var ifExists, regex bool
	c := &cobra.Command{
		Use:     "delete TOPIC...",
		Aliases: []string{"rm"},
		Short:   "Delete topics and all their records",
		Long: `Delete topics with all their records. What will go is listed first; on a terminal the question
must be answered, and for more than one topic the count typed.`,
		Example: examples(
			"", "logstead topic delete old-orders",
			"look first", "logstead topic delete 'tmp-*' --dry-run",
			"in a script", "logstead topic delete tmp-orders --if-exists -y"),
		Args:              minArgs("TOPIC"),
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.topicDelete(cmd, args, regex, ifExists, danger)
		},
	}
	danger.add(c.Flags())
	c.Flags().BoolVar(&ifExists, "if-exists", false, "a missing topic is no error")
	c.Flags().BoolVarP(&regex, "regex", "r", false, "take TOPIC as a regular expression")
	return c
}

func (a *App) topicDelete(cmd *cobra.Command, args []string, regex, ifExists bool, danger dangerFlags) error {
	cn, err := a.dialToWrite(cmd)
	if err != nil {
		return err
	}
	defer cn.close()
	plan, err := cn.planDelete(args, regex, ifExists)
	if err != nil || len(plan) == 0 {
		if err == nil {
			err = a.emit(plan)
		}
		return err
	}
	if danger.dryRun {
		return a.emit(plan)
	}
	if err := a.preview(danger, plan); err != nil {
		return err
	}
	question := fmt.Sprintf("Delete %s and every record in it?", countOf(len(plan), "topic"))
	if err := a.confirm(danger, question, len(plan)); err != nil {
		return err
	}
	return cn.deleteTopics(plan)
}

func (c *conn) planDelete(args []string, regex, ifExists bool) ([]topicDeleted, error) {
	all, err := call(c, "cannot list topics", func(ctx context.Context) (kadm.TopicDetails, error) {
		return c.ListTopicsWithInternal(ctx)
	})
	if err != nil {
		return nil, err
	}
	wanted := args
	if ifExists {
		wanted = nil
		for _, n := range args {
			if picked, _, err := pickNames(all.Names(), []string{n}, regex); err == nil && len(picked) == 0 {
				c.app.say("topic %q does not exist", n)
				continue
			}
			wanted = append(wanted, n)
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	details, err := c.topics(wanted, regex)
	if err != nil {
		return nil, err
	}
	e, err := c.listEnds(details.Names(), nil, false)
	if err != nil {
		c.app.debug("record counts are missing: %v", err)
	}
	var plan []topicDeleted
	for _, d := range details.Sorted() {
		row := topicDeleted{Name: d.Topic, Partitions: len(d.Partitions), Status: "would be deleted"}
		if n, ok := e.records(d.Topic); ok {
			row.Records = &n
		}
		plan = append(plan, row)
	}
	return plan, nil
}

func (c *conn) deleteTopics(plan []topicDeleted) error {
	names := make([]string, len(plan))
	for i, p := range plan {
		names[i] = p.Name
	}
	resps, err := call(c, "cannot delete topics", func(ctx context.Context) (kadm.DeleteTopicResponses, error) {
		return c.DeleteTopics(ctx, names...)
	})
	if err != nil {
		return err
	}
	results := make([]itemResult, len(plan))
	for i := range plan {
		row := &plan[i]
		results[i].Name, row.Status = row.Name, "deleted"
		r, ok := resps[row.Name]
		switch {
		case !ok:
			results[i].fail(&Fault{What: fmt.Sprintf("cannot delete topic %q", row.Name),
				Why: "the broker did not answer for it"})
		case r.Err != nil:
			results[i].fail(kafkaFault(fmt.Sprintf("cannot delete topic %q", row.Name), r.Err, r.ErrMessage))
		default:
			continue
		}
		row.Status, row.Error, row.ErrorCode = "failed", results[i].Error, results[i].ErrorCode
	}
	err = finish("cannot delete every topic", results)
	if err != nil && len(plan) == 1 {
		return err
	}
	if eerr := c.app.emit(plan); eerr != nil {
		return eerr
	}
	return err
}
