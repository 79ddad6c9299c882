package cli

import (
	"time"

	"github.com/spf13/cobra"
)

func txnCmd(a *App) *cobra.Command {
	c := family("txn", "Transactions: find open ones, see who writes, end stuck ones",
		txnListCmd(a), txnDescribeCmd(a), txnProducersCmd(a), txnHangingCmd(a), txnAbortCmd(a))
	c.Aliases = []string{"transaction", "transactions"}
	c.Example = examples(
		"", "logstead txn list",
		"who writes to a topic", "logstead txn producers orders",
		"transactions that nobody will end", "logstead txn hanging")
	return c
}

// timeOf is a point in time from Kafka milliseconds, nil where Kafka writes -1.
func timeOf(ms int64) *time.Time {
	if ms < 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}

// since is how long ago a Kafka timestamp was, in milliseconds, nil where there is none.
func (a *App) since(ms int64) *int64 {
	if ms < 0 {
		return nil
	}
	d := max(0, a.Now().UnixMilli()-ms)
	return &d
}
