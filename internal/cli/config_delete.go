package cli

import "github.com/spf13/cobra"

func configDeleteCmd(a *App) *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:     "delete KIND NAME KEY...",
		Aliases: []string{"unset"},
		Short:   "Return settings to their default",
		Example: examples(
			"", "logstead config delete topic orders retention.ms",
			"", "logstead config delete broker default log.retention.hours"),
		Args:              minArgs("KIND", "NAME", "KEY"),
		ValidArgsFunction: a.completeConfig,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.configAlter(cmd, args[0], args[1], nil, args[2:], dryRun)
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "let the broker check the request, and change nothing")
	return c
}
