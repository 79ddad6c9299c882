package cli

import "github.com/spf13/cobra"

func configSetCmd(a *App) *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:   "set KIND NAME KEY=VALUE...",
		Short: "Set settings",
		Long: `Set settings of a topic, broker, group, logger or metrics subscription. Settings not named stay as
they are. For a list, KEY+=VALUE adds an item and KEY-=VALUE takes it away.`,
		Example: examples(
			"", "logstead config set topic orders retention.ms=86400000",
			"for every broker", "logstead config set broker default log.retention.hours=72",
			"make one logger chatty", "logstead config set logger 1 root=DEBUG"),
		Args:              minArgs("KIND", "NAME", "KEY=VALUE"),
		ValidArgsFunction: a.completeConfig,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.configAlter(cmd, args[0], args[1], args[2:], nil, dryRun)
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "let the broker check the request, and change nothing")
	return c
}

func (a *App) configAlter(cmd *cobra.Command, kindArg, name string, set, unset []string, dryRun bool) error {
	kind, err := parseKind(kindArg)
	if err != nil {
		return err
	}
	ops, err := configOps(set, unset)
	if err != nil {
		return err
	}
	cn, err := a.dialToWrite(cmd)
	if err != nil {
		return err
	}
	defer cn.close()
	if kind == configTopic {
		if _, err := cn.topics([]string{name}, false); err != nil {
			return err
		}
	}
	return cn.alterConfigs(kind, []string{name}, ops, dryRun)
}
