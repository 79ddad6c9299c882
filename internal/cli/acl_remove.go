package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func aclRemoveCmd(a *App) *cobra.Command {
	fl := aclFilter{}
	var danger dangerFlags
	var all bool
	c := &cobra.Command{
		Use:     "remove",
		Aliases: []string{"rm", "delete"},
		Short:   "Remove access control entries",
		Long: `Remove the access control entries that fit everything that is given. To remove one that denies may allow
what it denied; to remove the last one of a resource gives that to everybody where the brokers have
allow.everyone.if.no.acl.found.`,
		Example: examples(
			"look first", "logstead acl remove --principal ana --topic orders --dry-run",
			"", "logstead acl remove --principal ana --topic orders",
			"everything about a user", "logstead acl remove --principal ana"),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filters, err := fl.filters()
			if err != nil {
				return err
			}
			if len(fl.target.resources()) == 0 && fl.principal == "" && !all {
				return usagef("this would remove entries of everybody about everything").try("--principal, a resource such as --topic, or --all")
			}
			return a.removeACLs(cmd, filters, danger)
		},
	}
	fl.add(c.Flags())
	danger.add(c.Flags())
	c.Flags().BoolVar(&all, "all", false, "of every principal and resource")
	a.completeTarget(c)
	return c
}

func (a *App) removeACLs(cmd *cobra.Command, filters []kmsg.DeleteACLsRequestFilter, danger dangerFlags) error {
	cn, err := a.dialToWrite(cmd)
	if err != nil {
		return err
	}
	defer cn.close()
	plan, err := cn.acls(filters)
	if err != nil {
		return err
	}
	if len(plan) == 0 {
		return &Fault{What: "there is nothing to remove", Why: "no access control entry fits", Exit: exitNotFound, Try: "logstead acl list"}
	}
	for i := range plan {
		plan[i].Status = "would be removed"
	}
	if danger.dryRun {
		return a.emit(plan)
	}
	if err := a.preview(danger, plan); err != nil {
		return err
	}
	if err := a.confirm(danger, fmt.Sprintf("Remove %s?", countOf(len(plan), "access control entry")), len(plan)); err != nil {
		return err
	}
	return cn.removeACLs(filters)
}

func (c *conn) removeACLs(filters []kmsg.DeleteACLsRequestFilter) error {
	const what = "cannot remove access control entries"
	req := kmsg.NewPtrDeleteACLsRequest()
	req.Filters = filters
	resp, err := call(c, what, func(ctx context.Context) (*kmsg.DeleteACLsResponse, error) { return req.RequestWith(ctx, c.cl) })
	if err != nil {
		return err
	}
	rows := []aclRow{}
	for _, r := range resp.Results {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return kafkaFault(what, err, textOf(r.ErrorMessage))
		}
		for _, m := range r.MatchingACLs {
			row := newACLRow(m.ResourceType, m.ResourceName, m.ResourcePatternType, m.Principal, m.Host, m.Operation, m.PermissionType)
			row.Status = "removed"
			if err := kerr.ErrorForCode(m.ErrorCode); err != nil {
				f := kafkaFault(what, err, textOf(m.ErrorMessage))
				row.Status, row.Error, row.ErrorCode = "failed", f.Why, m.ErrorCode
			}
			rows = append(rows, row)
		}
	}
	sortACLs(rows)
	return c.app.emit(rows)
}
