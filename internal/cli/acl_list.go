package cli

import (
	"cmp"
	"context"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// aclFilter are the options that choose entries.
type aclFilter struct {
	target          aclTarget
	match           bool
	principal, host string
	op              string
	allow, deny     bool
}

func (fl *aclFilter) add(f *pflag.FlagSet) {
	fl.target.add(f)
	f.BoolVar(&fl.match, "match", false, "entries that fit the name, by a prefix or by '*' too")
	f.StringVar(&fl.principal, "principal", "", "of this principal: a user's name, or type:name")
	f.StringVar(&fl.host, "host", "", "for this host; '*' is that of entries for every host")
	f.StringVar(&fl.op, "op", "", "about this operation")
	f.BoolVar(&fl.allow, "only-allow", false, "that allow")
	f.BoolVar(&fl.deny, "only-deny", false, "that deny")
}

func aclListCmd(a *App) *cobra.Command {
	fl := aclFilter{}
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List access control entries",
		Example: examples(
			"", "logstead acl list",
			"what decides about a topic", "logstead acl list --topic orders --match",
			"of a user", "logstead acl list --principal ana"),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filters, err := fl.filters()
			if err != nil {
				return err
			}
			return show(a, cmd, func(c *conn) ([]aclRow, error) { return c.acls(filters) })
		},
	}
	fl.add(c.Flags())
	a.completeTarget(c)
	return c
}

// filters are one for each resource, or one for all.
func (fl *aclFilter) filters() ([]kmsg.DeleteACLsRequestFilter, error) {
	of := kmsg.NewDeleteACLsRequestFilter()
	of.ResourceType, of.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny
	of.Operation, of.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
	switch {
	case fl.allow && fl.deny:
		return nil, usagef("--only-allow and --only-deny exclude each other")
	case fl.match && fl.target.prefixed:
		return nil, usagef("--match and --prefixed exclude each other")
	case fl.allow:
		of.PermissionType = kmsg.ACLPermissionTypeAllow
	case fl.deny:
		of.PermissionType = kmsg.ACLPermissionTypeDeny
	}
	if fl.op != "" {
		op, err := parseOperation(fl.op)
		if err != nil {
			return nil, err
		}
		of.Operation = op
	}
	if fl.principal != "" {
		of.Principal = new(principalOf(fl.principal))
	}
	if fl.host != "" {
		of.Host = new(fl.host)
	}
	resources := fl.target.resources()
	if len(resources) == 0 {
		if fl.match {
			return nil, usagef("--match: which resource is it to fit?").try("--topic, --group, --txn or another resource")
		}
		if fl.target.prefixed {
			of.ResourcePatternType = kmsg.ACLResourcePatternTypePrefixed
		}
		return []kmsg.DeleteACLsRequestFilter{of}, nil
	}
	var all []kmsg.DeleteACLsRequestFilter
	for _, r := range resources {
		f := of
		f.ResourceType, f.ResourceName, f.ResourcePatternType = r.kind, new(r.name), fl.target.pattern(r)
		if fl.match {
			f.ResourcePatternType = kmsg.ACLResourcePatternTypeMatch
		}
		all = append(all, f)
	}
	return all, nil
}

// acls are the entries that any of the filters matches, each once.
func (c *conn) acls(filters []kmsg.DeleteACLsRequestFilter) ([]aclRow, error) {
	rows := []aclRow{}
	for _, f := range filters {
		req := kmsg.NewPtrDescribeACLsRequest()
		req.ResourceType, req.ResourceName, req.ResourcePatternType = f.ResourceType, f.ResourceName, f.ResourcePatternType
		req.Principal, req.Host, req.Operation, req.PermissionType = f.Principal, f.Host, f.Operation, f.PermissionType
		const what = "cannot list access control entries"
		resp, err := call(c, what, func(ctx context.Context) (*kmsg.DescribeACLsResponse, error) { return req.RequestWith(ctx, c.cl) })
		if err != nil {
			return nil, err
		}
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return nil, kafkaFault(what, err, textOf(resp.ErrorMessage))
		}
		for _, r := range resp.Resources {
			for _, e := range r.ACLs {
				row := newACLRow(r.ResourceType, r.ResourceName, r.ResourcePatternType, e.Principal, e.Host, e.Operation, e.PermissionType)
				if !slices.Contains(rows, row) {
					rows = append(rows, row)
				}
			}
		}
	}
	sortACLs(rows)
	return rows, nil
}

func newACLRow(kind kmsg.ACLResourceType, name string, pattern kmsg.ACLResourcePatternType, principal, host string,
	op kmsg.ACLOperation, permission kmsg.ACLPermissionType,
) aclRow {
	return aclRow{
		Resource: word(kind.String()), Name: name, Pattern: word(pattern.String()), Principal: principal, Host: host,
		Operation: word(op.String()), Permission: word(permission.String()),
	}
}

func sortACLs(rows []aclRow) {
	slices.SortFunc(rows, func(x, y aclRow) int {
		return cmp.Or(cmp.Compare(x.Resource, y.Resource), cmp.Compare(x.Name, y.Name), cmp.Compare(x.Pattern, y.Pattern),
			cmp.Compare(x.Principal, y.Principal), cmp.Compare(x.Host, y.Host), cmp.Compare(x.Operation, y.Operation),
			cmp.Compare(x.Permission, y.Permission))
	})
}

// textOf is the text of a broker, empty for none.
func textOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
