package cli

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

type quotaRow struct {
	Entity string  `json:"entity" col:"FOR"`
	User   *string `json:"user,omitempty"`
	Client *string `json:"client_id,omitempty"`
	IP     *string `json:"ip,omitempty"`
	Key    string  `json:"key" col:"LIMIT"`
	Value  float64 `json:"value" col:"VALUE"`
	Status string  `json:"status,omitempty" col:"STATUS,wide"`
}

func clusterQuotasCmd(a *App) *cobra.Command {
	c := &cobra.Command{
		Use:   "quotas",
		Short: "List the limits set for users, client ids and addresses",
		Long: `List client quotas. The limits are producer_byte_rate and consumer_byte_rate (bytes a second for each
broker), request_percentage, controller_mutation_rate and, for addresses, connection_creation_rate.`,
		Example: examples(
			"", "logstead cluster quotas",
			"", "logstead cluster quotas set --user ana producer_byte_rate=1048576",
			"", "logstead cluster quotas delete --user ana producer_byte_rate"),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(a, cmd, (*conn).quotas)
		},
	}
	c.AddCommand(quotaChangeCmd(a, "set", "KEY=VALUE...", "Set limits"),
		quotaChangeCmd(a, "delete", "KEY...", "Remove limits"))
	return c
}

func (c *conn) quotas() ([]quotaRow, error) {
	qs, err := call(c, "cannot read quotas", func(ctx context.Context) (kadm.DescribedClientQuotas, error) {
		return c.DescribeClientQuotas(ctx, false, nil)
	})
	if err != nil {
		return nil, err
	}
	rows := []quotaRow{}
	for _, q := range qs {
		for _, v := range q.Values {
			rows = append(rows, quotaRowOf(q.Entity, v.Key, v.Value))
		}
	}
	sort.Slice(rows, func(i, j int) bool {
		if rows[i].Entity != rows[j].Entity {
			return rows[i].Entity < rows[j].Entity
		}
		return rows[i].Key < rows[j].Key
	})
	return rows, nil
}

func quotaRowOf(entity kadm.ClientQuotaEntity, key string, value float64) quotaRow {
	row := quotaRow{Key: key, Value: value}
	var parts []string
	for _, e := range entity {
		name := "default"
		if e.Name != nil {
			name = *e.Name
		}
		parts = append(parts, e.Type+"="+name)
		switch e.Type {
		case "user":
			row.User = &name
		case "client-id":
			row.Client = &name
		case "ip":
			row.IP = &name
		}
	}
	sort.Sort(sort.Reverse(sort.StringSlice(parts))) // user before client-id
	row.Entity = strings.Join(parts, " ")
	return row
}

type quotaFlags struct {
	user, client, ip string
	dryRun           bool
}

func quotaChangeCmd(a *App, verb, args, short string) *cobra.Command {
	fl := quotaFlags{}
	c := &cobra.Command{
		Use:   verb + " " + args,
		Short: short,
		Long: short +
			" for a user, a client id, both together, or an address.\nThe name \"default\" stands for everyone without one of their own.",
		Example: map[string]string{
			"set": examples("", "logstead cluster quotas set --user ana producer_byte_rate=1048576", "",
				"logstead cluster quotas set --client default consumer_byte_rate=10485760"),
			"delete": examples("", "logstead cluster quotas delete --user ana producer_byte_rate"),
		}[verb],
		Args: minArgs(strings.TrimSuffix(args, "...")),
		RunE: func(cmd *cobra.Command, args []string) error {
			ops, err := quotaOps(verb == "delete", args)
			if err != nil {
				return err
			}
			return a.changeQuotas(cmd, fl, ops)
		},
	}
	f := c.Flags()
	f.StringVar(&fl.user, "user", "", "for this user, or default")
	f.StringVar(&fl.client, "client", "", "for this client id, or default")
	f.StringVar(&fl.ip, "ip", "", "for this address, or default")
	f.BoolVar(&fl.dryRun, "dry-run", false, "let the broker check the request, and change nothing")
	return c
}

func quotaOps(remove bool, args []string) ([]kadm.AlterClientQuotaOp, error) {
	var ops []kadm.AlterClientQuotaOp
	for _, arg := range args {
		if remove {
			ops = append(ops, kadm.AlterClientQuotaOp{Key: arg, Remove: true})
			continue
		}
		k, v, err := splitPair(arg)
		if err != nil {
			return nil, usagef("limit %v", err)
		}
		n, err := strconv.ParseFloat(v, 64)
		if err != nil {
			b, berr := parseBytes(v)
			if berr != nil {
				return nil, usagef("limit %s=%s: want a number", k, v)
			}
			n = float64(b)
		}
		ops = append(ops, kadm.AlterClientQuotaOp{Key: k, Value: n})
	}
	return ops, nil
}

func (fl quotaFlags) entity() kadm.ClientQuotaEntity {
	var e kadm.ClientQuotaEntity
	for _, part := range []struct{ kind, name string }{{"user", fl.user}, {"client-id", fl.client}, {"ip", fl.ip}} {
		if part.name == "" {
			continue
		}
		comp := kadm.ClientQuotaEntityComponent{Type: part.kind}
		if part.name != "default" {
			comp.Name = kadm.StringPtr(part.name)
		}
		e = append(e, comp)
	}
	return e
}

func (a *App) changeQuotas(cmd *cobra.Command, fl quotaFlags, ops []kadm.AlterClientQuotaOp) error {
	entity := fl.entity()
	if len(entity) == 0 {
		return usagef("for whom?").try("--user NAME, --client ID or --ip ADDRESS")
	}
	cn, err := a.dialToWrite(cmd)
	if err != nil {
		return err
	}
	defer cn.close()
	entries := []kadm.AlterClientQuotaEntry{{Entity: entity, Ops: ops}}
	resps, err := call(cn, "cannot change quotas", func(ctx context.Context) (kadm.AlteredClientQuotas, error) {
		if fl.dryRun {
			return cn.ValidateAlterClientQuotas(ctx, entries)
		}
		return cn.AlterClientQuotas(ctx, entries)
	})
	if err != nil {
		return err
	}
	for _, r := range resps {
		if r.Err != nil {
			return kafkaFault(fmt.Sprintf("cannot change the quotas of %s", quotaRowOf(entity, "", 0).Entity), r.Err,
				r.ErrMessage)
		}
	}
	var rows []quotaRow
	for _, op := range ops {
		row := quotaRowOf(entity, op.Key, op.Value)
		row.Status = "set"
		if op.Remove {
			row.Status = "removed"
		}
		if fl.dryRun {
			row.Status = "would be " + row.Status
		}
		rows = append(rows, row)
	}
	return a.emit(rows)
}
