package cli

import "github.com/spf13/cobra"

func clusterCmd(a *App) *cobra.Command {
	c := family("cluster", "The cluster as a whole: brokers, health, features, quotas, balance",
		clusterInfoCmd(a), clusterHealthCmd(a), clusterAPIVersionsCmd(a), clusterFeaturesCmd(a), clusterQuotasCmd(a), clusterBalanceCmd(a))
	c.Example = examples(
		"", "logstead cluster info",
		"wait until it can be used, in a script", "logstead cluster health --exit-when-healthy --timeout 60s")
	return c
}
