package cli

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func completionCmd() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print the completion script for a shell",
		Long: `Print a script that completes commands, options, and the names of topics and groups, which it asks
the cluster for.`,
		Example: examples(
			"bash, for this session", "source <(logstead completion bash)",
			"bash, for good", "logstead completion bash > /etc/bash_completion.d/logstead",
			"zsh", "logstead completion zsh > \"${fpath[1]}/_logstead\"",
			"fish", "logstead completion fish > ~/.config/fish/completions/logstead.fish"),
		Args:      exactArgs("SHELL"),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root, w := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(w, true)
			case "zsh":
				return root.GenZshCompletion(w)
			case "fish":
				return root.GenFishCompletion(w, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(w)
			}
			f := usagef("there is no completion for %q", args[0])
			f.Similar = similar(args[0], shells)
			return f.try("one of %s", strings.Join(shells, ", "))
		},
	}
}

// completionTimeout bounds what a tab key may wait for.
const completionTimeout = 2 * time.Second

// ask runs a quick request for a completion; any trouble just completes nothing.
func (a *App) ask(cmd *cobra.Command, fn func(context.Context, *conn) ([]string, error)) ([]string,
	cobra.ShellCompDirective) {
	if a.flags.timeout == 0 {
		a.flags.timeout = completionTimeout
	}
	if cmd.Context() == nil {
		cmd.SetContext(context.Background())
	}
	cn, err := a.dial(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer cn.close()
	ctx, cancel := cn.step()
	defer cancel()
	names, err := fn(ctx, cn)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeTopics completes topic names in every position.
func (a *App) completeTopics(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return a.ask(cmd, func(ctx context.Context, cn *conn) ([]string, error) {
		list := cn.ListTopics
		if strings.HasPrefix(prefix, "_") {
			list = cn.ListTopicsWithInternal
		}
		td, err := list(ctx)
		if err != nil {
			return nil, err
		}
		return withPrefix(td.Names(), prefix), nil
	})
}

// completeFirstTopic completes a topic name as the first argument only.
func (a *App) completeFirstTopic(cmd *cobra.Command, args []string, prefix string) ([]string,
	cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeTopics(cmd, args, prefix)
}

// completeBrokers completes the ids of brokers, for the first argument.
func (a *App) completeBrokers(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.ask(cmd, func(ctx context.Context, cn *conn) ([]string, error) {
		bs, err := cn.ListBrokers(ctx)
		if err != nil {
			return nil, err
		}
		var ids []string
		for _, id := range bs.NodeIDs() {
			ids = append(ids, strconv.Itoa(int(id)))
		}
		return withPrefix(ids, prefix), nil
	})
}

// completeQuorum completes the ids of the quorum's voters or observers, for the first argument.
func (a *App) completeQuorum(role string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.ask(cmd, func(_ context.Context, cn *conn) ([]string, error) {
			q, err := cn.quorum()
			if err != nil {
				return nil, err
			}
			var ids []string
			for _, n := range q.Nodes {
				if (n.Role == "observer") == (role == "observer") {
					ids = append(ids, strconv.Itoa(int(n.ID)))
				}
			}
			return withPrefix(ids, prefix), nil
		})
	}
}

// completeFlagBrokers completes the ids of brokers after the flags.
func (a *App) completeFlagBrokers(c *cobra.Command, flags ...string) {
	for _, f := range flags {
		err := c.RegisterFlagCompletionFunc(f, func(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
			return a.completeBrokers(cmd, nil, prefix)
		})
		if err != nil {
			panic(err) // the flag is not there, which every test of the command tree would see
		}
	}
}

// completeGroups completes group names in every position.
func (a *App) completeGroups(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return a.ask(cmd, func(ctx context.Context, cn *conn) ([]string, error) {
		groups, err := cn.ListGroups(ctx)
		if err != nil {
			return nil, err
		}
		return withPrefix(groups.Groups(), prefix), nil
	})
}

// completeTxns completes transactional ids.
func (a *App) completeTxns(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return a.ask(cmd, func(ctx context.Context, cn *conn) ([]string, error) {
		txns, err := cn.ListTransactions(ctx, nil, nil)
		if err != nil {
			return nil, err
		}
		return withPrefix(txns.TransactionalIDs(), prefix), nil
	})
}

// completeConfig completes KIND, then NAME, then setting names.
func (a *App) completeConfig(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return withPrefix(kindNames(), prefix), cobra.ShellCompDirectiveNoFileComp
	}
	kind, err := parseKind(args[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if len(args) > 1 && cmd.Name() != "diff" {
		return a.ask(cmd, func(_ context.Context, cn *conn) ([]string, error) {
			rows, err := cn.describeConfigs(kind, args[1], nil, false)
			if err != nil {
				return nil, err
			}
			names := make([]string, len(rows))
			for i, r := range rows {
				names[i] = r.Key
			}
			return withPrefix(names, prefix), nil
		})
	}
	switch kind {
	case configTopic:
		return a.completeTopics(cmd, args, prefix)
	case configGroup:
		return a.completeGroups(cmd, args, prefix)
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// completeContexts completes the names of saved contexts.
func (a *App) completeContexts(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	f, _, err := a.contexts()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return withPrefix(f.names(), prefix), cobra.ShellCompDirectiveNoFileComp
}

func withPrefix(names []string, prefix string) []string {
	var out []string
	for _, n := range names {
		if strings.HasPrefix(n, prefix) {
			out = append(out, n)
		}
	}
	return out
}
