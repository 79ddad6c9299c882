package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

type groupDeleted struct {
	Name      string `json:"name" col:"GROUP"`
	Type      string `json:"type" col:"TYPE"`
	State     string `json:"state" col:"STATE"`
	Status    string `json:"status" col:"STATUS"`
	Error     string `json:"error,omitempty" col:"ERROR,wide"`
	ErrorCode int16  `json:"kafka_code,omitempty"`
}

func groupDeleteCmd(a *App) *cobra.Command {
	var danger dangerFlags
	var ifExists, regex bool
	c := &cobra.Command{
		Use:     "delete GROUP...",
		Aliases: []string{"rm"},
		Short:   "Delete groups and their committed offsets",
		Long:    "Delete groups without running members, and with them their place in every topic.",
		Example: examples(
			"", "logstead group delete old-billing",
			"several, look first", "logstead group delete 'test-*' --dry-run"),
		Args:              minArgs("GROUP"),
		ValidArgsFunction: a.completeGroups,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.groupDelete(cmd, args, regex, ifExists, danger)
		},
	}
	danger.add(c.Flags())
	c.Flags().BoolVar(&ifExists, "if-exists", false, "a missing group is no error")
	c.Flags().BoolVarP(&regex, "regex", "r", false, "take GROUP as a regular expression")
	return c
}

func (a *App) groupDelete(cmd *cobra.Command, args []string, regex, ifExists bool, danger dangerFlags) error {
	cn, err := a.dialToWrite(cmd)
	if err != nil {
		return err
	}
	defer cn.close()
	listed, err := cn.findGroups(args, regex)
	if err != nil {
		if ifExists && kafkaCode(err) == 69 {
			a.say("%s", asFault("", err).What)
			return a.emit([]groupDeleted{})
		}
		return err
	}
	var plan []groupDeleted
	for _, g := range listed {
		plan = append(plan, groupDeleted{Name: g.name, Type: g.kind, State: g.state, Status: "would be deleted"})
	}
	if danger.dryRun {
		return a.emit(plan)
	}
	if err := a.preview(danger, plan); err != nil {
		return err
	}
	question := fmt.Sprintf("Delete %s and the place in every topic?", countOf(len(plan), "group"))
	if err := a.confirm(danger, question, len(plan)); err != nil {
		return err
	}
	return cn.deleteGroups(plan)
}

func (c *conn) deleteGroups(plan []groupDeleted) error {
	names := make([]string, len(plan))
	for i, p := range plan {
		names[i] = p.Name
	}
	resps, err := call(c, "cannot delete groups", func(ctx context.Context) (kadm.DeleteGroupResponses, error) {
		return c.DeleteGroups(ctx, names...)
	})
	if err != nil && len(resps) == 0 {
		return err
	}
	results := make([]itemResult, len(plan))
	for i := range plan {
		row := &plan[i]
		results[i].Name, row.Status = row.Name, "deleted"
		r, ok := resps[row.Name]
		what := fmt.Sprintf("cannot delete group %q", row.Name)
		switch {
		case !ok:
			results[i].fail(&Fault{What: what, Why: "the broker did not answer for it"})
		case r.Err != nil:
			f := kafkaFault(what, r.Err, r.ErrMessage)
			if f.Kafka == 68 {
				if busy := c.groupInUse(row.Name); busy != nil {
					f.Why, f.Try = "NON_EMPTY_GROUP (68): "+busy.Why, busy.Try
				}
			}
			results[i].fail(f)
		default:
			continue
		}
		row.Status, row.Error, row.ErrorCode = "failed", results[i].Error, results[i].ErrorCode
	}
	err = finish("cannot delete every group", results)
	if err != nil && len(plan) == 1 {
		return err
	}
	if eerr := c.app.emit(plan); eerr != nil {
		return eerr
	}
	return err
}
