package cli

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

type txnRow struct {
	ID          string `json:"transactional_id" col:"TRANSACTIONAL-ID"`
	State       string `json:"state" col:"STATE"`
	ProducerID  int64  `json:"producer_id" col:"PRODUCER"`
	Coordinator int32  `json:"coordinator" col:"COORDINATOR,left"`
}

func txnListCmd(a *App) *cobra.Command {
	var states []string
	var regex bool
	c := &cobra.Command{
		Use:     "list [PATTERN...]",
		Aliases: []string{"ls"},
		Short:   "List transactional ids and their state",
		Example: examples(
			"", "logstead txn list",
			"only open ones", "logstead txn list --state Ongoing"),
		ValidArgsFunction: a.completeTxns,
		RunE: func(cmd *cobra.Command, args []string) error {
			cn, err := a.dial(cmd)
			if err != nil {
				return err
			}
			defer cn.close()
			listed, err := call(cn, "cannot list transactions",
				func(ctx context.Context) (kadm.ListedTransactions, error) {
					return cn.ListTransactions(ctx, nil, states)
				})
			if err != nil {
				return err
			}
			names := listed.TransactionalIDs()
			if len(args) > 0 {
				if names, _, err = pickNames(names, args, regex); err != nil {
					return err
				}
			}
			rows := make([]txnRow, 0, len(names))
			for _, n := range names {
				t := listed[n]
				rows = append(rows, txnRow{ID: n, State: t.State, ProducerID: t.ProducerID, Coordinator: t.Coordinator})
			}
			return a.emit(rows)
		},
	}
	c.Flags().StringSliceVar(&states, "state", nil,
		"only these states: Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort")
	c.Flags().BoolVarP(&regex, "regex", "r", false, "take PATTERN as a regular expression")
	return c
}
