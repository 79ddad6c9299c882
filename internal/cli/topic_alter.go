package cli

import "github.com/spf13/cobra"

func topicAlterCmd(a *App) *cobra.Command {
	var set, unset []string
	var dryRun, regex bool
	c := &cobra.Command{
		Use:   "alter TOPIC...",
		Short: "Change the settings of topics",
		Long: `Change settings of topics. Only the settings named are touched; --unset returns one to the broker's
default. The values before and after are printed.`,
		Example: examples(
			"keep records for a day", "logstead topic alter orders --set retention.ms=86400000",
			"two settings at once", "logstead topic alter orders --set cleanup.policy=compact --set min.cleanable.dirty.ratio=0.1",
			"back to the default", "logstead topic alter orders --unset retention.ms"),
		Args:              minArgs("TOPIC"),
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(set)+len(unset) == 0 {
				return usagef("nothing to change").try("--set KEY=VALUE or --unset KEY")
			}
			if err := a.guardWrite(); err != nil {
				return err
			}
			ops, err := configOps(set, unset)
			if err != nil {
				return err
			}
			cn, err := a.dial(cmd)
			if err != nil {
				return err
			}
			defer cn.close()
			details, err := cn.topics(args, regex)
			if err != nil {
				return err
			}
			return cn.alterConfigs(configTopic, details.Names(), ops, dryRun)
		},
	}
	f := c.Flags()
	f.StringArrayVar(&set, "set", nil, "set `KEY=VALUE` (may be repeated)")
	f.StringArrayVar(&unset, "unset", nil, "return `KEY` to its default (may be repeated)")
	f.BoolVar(&dryRun, "dry-run", false, "let the broker check the request, and change nothing")
	f.BoolVarP(&regex, "regex", "r", false, "take TOPIC as a regular expression")
	return c
}
