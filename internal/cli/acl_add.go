package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type aclAddFlags struct {
	target                         aclTarget
	allow, deny, hosts, ops        []string
	producer, consumer, idempotent bool
	dryRun                         bool
}

func aclAddCmd(a *App) *cobra.Command {
	fl := aclAddFlags{}
	c := &cobra.Command{
		Use:   "add",
		Short: "Allow or deny principals operations on resources",
		Long: `Add access control entries: one for each principal, host, resource and operation. An entry that is there
already is no error.

--producer stands for what a producer needs: write, describe and create on its topics, write and describe
on its transactional ids. --consumer stands for read and describe on topics and read on groups. With
--idempotent a producer also gets idempotent_write on the cluster, which brokers before Kafka 3.0 ask for.`,
		Example: examples(
			"", "logstead acl add --allow ana --producer --topic orders",
			"every topic whose name begins so", "logstead acl add --allow ana --op read,describe --topic team-a. --prefixed",
			"a consumer", "logstead acl add --allow bob --consumer --topic orders --group billing",
			"nobody deletes it, whatever else is allowed", "logstead acl add --deny '*' --op delete --topic orders",
			"look first", "logstead acl add --allow ana --op all --cluster --dry-run"),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.addACLs(cmd, &fl) },
	}
	f := c.Flags()
	fl.target.add(f)
	f.StringSliceVar(&fl.allow, "allow", nil, "`PRINCIPAL` to allow: a user's name, or type:name; '*' is everybody")
	f.StringSliceVar(&fl.deny, "deny", nil, "`PRINCIPAL` to deny")
	f.StringSliceVar(&fl.hosts, "host", nil, "only from these addresses")
	f.StringSliceVar(&fl.ops, "op", nil, "`OPERATION`: read, write, create, delete, alter, describe, all, ...")
	f.BoolVar(&fl.producer, "producer", false, "what a producer needs on --topic and --txn")
	f.BoolVar(&fl.consumer, "consumer", false, "what a consumer needs on --topic and --group")
	f.BoolVar(&fl.idempotent, "idempotent", false, "with --producer: write idempotently")
	f.BoolVar(&fl.dryRun, "dry-run", false, "show what would be added, and add nothing")
	a.completeTarget(c)
	return c
}

// grant is an operation on a resource.
type grant struct {
	on aclResource
	op kmsg.ACLOperation
}

// grants are what the options ask for.
func (fl *aclAddFlags) grants() (all []grant, err error) {
	shortcut := fl.producer || fl.consumer
	switch {
	case fl.idempotent && !fl.producer:
		return nil, usagef("--idempotent goes with --producer")
	case shortcut && len(fl.ops) > 0:
		return nil, usagef("--op and --producer or --consumer exclude each other: they say which operations")
	case shortcut && len(fl.deny) > 0:
		return nil, usagef("--producer and --consumer allow, and take no --deny")
	case shortcut && (fl.target.cluster || len(fl.target.users)+len(fl.target.tokens) > 0):
		return nil, usagef("--producer and --consumer are about topics, groups and transactional ids")
	case shortcut && len(fl.target.topics) == 0:
		return nil, usagef("--producer or --consumer: of which topics?").try("--topic NAME")
	case fl.consumer && len(fl.target.groups) == 0:
		return nil, usagef("--consumer: in which group?").try("--group NAME, or --group '*'")
	case !fl.consumer && shortcut && len(fl.target.groups) > 0:
		return nil, usagef("--group goes with --consumer")
	case !fl.producer && shortcut && len(fl.target.txns) > 0:
		return nil, usagef("--txn goes with --producer")
	case !shortcut && len(fl.ops) == 0:
		return nil, usagef("which operations?").try("--op OPERATION, --producer or --consumer")
	}
	resources := fl.target.resources()
	if len(resources) == 0 {
		return nil, usagef("on what?").try("--topic, --group, --txn, --cluster, --token or --user-resource")
	}
	add := func(kind kmsg.ACLResourceType, ops ...kmsg.ACLOperation) {
		for _, r := range resources {
			for _, op := range ops {
				if g := (grant{r, op}); r.kind == kind && !slices.Contains(all, g) {
					all = append(all, g)
				}
			}
		}
	}
	if fl.producer {
		add(kmsg.ACLResourceTypeTopic, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe, kmsg.ACLOperationCreate)
		add(kmsg.ACLResourceTypeTransactionalId, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe)
		if fl.idempotent {
			all = append(all, grant{aclResource{kmsg.ACLResourceTypeCluster, clusterResource}, kmsg.ACLOperationIdempotentWrite})
		}
	}
	if fl.consumer {
		add(kmsg.ACLResourceTypeTopic, kmsg.ACLOperationRead, kmsg.ACLOperationDescribe)
		add(kmsg.ACLResourceTypeGroup, kmsg.ACLOperationRead)
	}
	for _, name := range fl.ops {
		op, err := parseOperation(name)
		if err != nil {
			return nil, err
		}
		for _, r := range resources {
			if op != kmsg.ACLOperationAll && !slices.Contains(aclOperations[r.kind], op) {
				return nil, usagef("--op %s: a %s knows no such operation", name, word(r.kind.String())).try(
					"one of %s", strings.Join(operationsOf(r.kind), ", "))
			}
			if g := (grant{r, op}); !slices.Contains(all, g) {
				all = append(all, g)
			}
		}
	}
	return all, nil
}

func operationsOf(kind kmsg.ACLResourceType) (names []string) {
	for _, op := range aclOperations[kind] {
		names = append(names, word(op.String()))
	}
	return append(names, "all")
}

// creations are the entries that the options ask for.
func (fl *aclAddFlags) creations() ([]kmsg.CreateACLsRequestCreation, error) {
	if len(fl.allow)+len(fl.deny) == 0 {
		return nil, usagef("whom?").try("--allow PRINCIPAL or --deny PRINCIPAL")
	}
	grants, err := fl.grants()
	if err != nil {
		return nil, err
	}
	hosts := fl.hosts
	if len(hosts) == 0 {
		hosts = []string{everyResource}
	}
	var all []kmsg.CreateACLsRequestCreation
	for _, of := range []struct {
		principals []string
		permission kmsg.ACLPermissionType
	}{{fl.allow, kmsg.ACLPermissionTypeAllow}, {fl.deny, kmsg.ACLPermissionTypeDeny}} {
		for _, p := range of.principals {
			if p == "" {
				return nil, usagef("a principal is empty")
			}
			for _, host := range hosts {
				for _, g := range grants {
					c := kmsg.NewCreateACLsRequestCreation()
					c.ResourceType, c.ResourceName, c.ResourcePatternType = g.on.kind, g.on.name, fl.target.pattern(g.on)
					c.Principal, c.Host, c.Operation, c.PermissionType = principalOf(p), host, g.op, of.permission
					all = append(all, c)
				}
			}
		}
	}
	return all, nil
}

func (a *App) addACLs(cmd *cobra.Command, fl *aclAddFlags) error {
	req := kmsg.NewPtrCreateACLsRequest()
	var err error
	if req.Creations, err = fl.creations(); err != nil {
		return err
	}
	rows := make([]aclRow, len(req.Creations))
	for i, c := range req.Creations {
		rows[i] = newACLRow(c.ResourceType, c.ResourceName, c.ResourcePatternType, c.Principal, c.Host, c.Operation, c.PermissionType)
		rows[i].Status = "would be added"
	}
	if fl.dryRun {
		return a.emit(rows)
	}
	cn, err := a.dialToWrite(cmd)
	if err != nil {
		return err
	}
	defer cn.close()
	const what = "cannot add access control entries"
	resp, err := call(cn, what, func(ctx context.Context) (*kmsg.CreateACLsResponse, error) { return req.RequestWith(ctx, cn.cl) })
	if err != nil {
		return err
	}
	if len(resp.Results) != len(rows) {
		return &Fault{What: what, Why: fmt.Sprintf("the broker answered for %d of %d", len(resp.Results), len(rows))}
	}
	results := make([]itemResult, len(rows))
	for i, r := range resp.Results {
		row := &rows[i]
		results[i].Name, row.Status = row.Principal, "added"
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			results[i].fail(kafkaFault(what, err, textOf(r.ErrorMessage)))
			row.Status, row.Error, row.ErrorCode = "failed", results[i].Error, results[i].ErrorCode
		}
	}
	return a.emitResults(rows, finish(what, results), results)
}

// emitResults prints rows unless all failed in one way: then the fault says it.
func (a *App) emitResults(rows []aclRow, err error, results []itemResult) error {
	first := (*Fault)(nil)
	same := err != nil
	for i, r := range results {
		if i == 0 {
			first = r.fault
		}
		same = same && r.fault != nil && r.fault.Kafka == first.Kafka
	}
	if same {
		return first
	}
	if eerr := a.emit(rows); eerr != nil {
		return eerr
	}
	return err
}
