package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The groups of the top-level help.
const (
	groupServer = "server"
	groupData   = "data"
	groupAdmin  = "admin"
	groupTools  = "tools"
)

// newRoot builds the whole command tree for one App. A new top-level command is added in
// rootCommands and nowhere else.
func newRoot(a *App) *cobra.Command {
	root := &cobra.Command{
		Use:   "logstead",
		Short: "An event-streaming platform that speaks the Apache Kafka protocol",
		Long: `logstead is an event-streaming platform that speaks the Apache Kafka protocol: broker,
tools and command line in one program. The client commands work against any Kafka cluster.`,
		Example: examples(
			"write a record, read the topic from its start", "logstead produce orders -k 1 '{\"amount\":3}'",
			"", "logstead consume orders -o start",
			"what is there, and who is behind", "logstead topic list",
			"", "logstead group list",
		),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          subcommandsOnly,
		Args:          cobra.ArbitraryArgs,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.prepare(cmd)
		},
	}
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddGroup(
		&cobra.Group{ID: groupServer, Title: "Run a broker"},
		&cobra.Group{ID: groupData, Title: "Read and write"},
		&cobra.Group{ID: groupAdmin, Title: "Look after a cluster"},
		&cobra.Group{ID: groupTools, Title: "Tools"},
	)
	a.addGlobalFlags(root.PersistentFlags())
	for _, c := range rootCommands(a) {
		root.AddCommand(c)
	}
	root.AddCommand(helpTopics()...)
	root.SetHelpCommand(helpCmd())
	root.SetHelpFunc(a.printHelp)
	root.SetFlagErrorFunc(flagFault)
	return root
}

func (a *App) addGlobalFlags(f *pflag.FlagSet) {
	g := &a.flags
	f.StringSliceVarP(&g.bootstrap, "bootstrap-server", "b", nil, "broker `HOST:PORT` to start from (may be a list)")
	f.StringVarP(&g.context, "context", "c", "", "saved context to use (see logstead ctx)")
	f.StringArrayVarP(&g.props, "property", "X", nil, "client property `KEY=VALUE`, as in Kafka or librdkafka")
	f.StringVarP(&g.propsFile, "client-config", "F", "", "Java properties `FILE` with client settings")
	f.StringVarP(&g.output, "output", "o", "", "output `FORMAT`: "+strings.Join(outputFormats,
		", ")+" (help shows the shape)")
	f.DurationVar(&g.timeout, "timeout", 0, "longest wait for an answer (default "+humanTimeout(defaultTimeout)+")")
	f.StringVar(&g.timezone, "timezone", "", "time zone for times shown: UTC, local or a `NAME` (default UTC)")
	f.StringVar(&g.color, "color", "auto", "colour output: auto, always or never")
	f.BoolVarP(&g.quiet, "quiet", "q", false, "no remarks on stderr, only errors")
	f.CountVarP(&g.verbose, "verbose", "v", "more detail on stderr (-vv for the client's own log)")
}

func humanTimeout(d time.Duration) string { return d.String() }

// prepare checks the global flags that every command shares, before it runs.
func (a *App) prepare(cmd *cobra.Command) error {
	switch a.flags.color {
	case "auto", "always", "never":
	default:
		return usagef("--color %q is not one of auto, always, never", a.flags.color)
	}
	if a.flags.timeout < 0 {
		return usagef("--timeout %s is negative", a.flags.timeout)
	}
	if cmd.Annotations["own-output"] != "" {
		return nil // it has formats of its own and checks them itself
	}
	return checkFormat(a.flags.output)
}

// family makes a command that only holds others, such as "topic".
func family(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: subcommandsOnly}
	c.AddCommand(subs...)
	return c
}

// inGroup puts a top-level command under a heading of the help.
func inGroup(id string, c *cobra.Command) *cobra.Command {
	c.GroupID = id
	return c
}

// subcommandsOnly shows help for a bare family and explains an unknown member.
func subcommandsOnly(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
			names = append(names, c.Aliases...)
		}
	}
	f := usagef("%q is not a command of %q", args[0], cmd.CommandPath())
	f.Similar = similar(args[0], names)
	return f.try("%s --help", cmd.CommandPath())
}

// flagFault explains a wrong flag and names the nearest one.
func flagFault(cmd *cobra.Command, err error) error {
	msg := strings.TrimPrefix(err.Error(), "pflag: ")
	f := usagef("%s", msg)
	if _, name, ok := strings.Cut(msg, "unknown flag: --"); ok {
		var names []string
		cmd.Flags().VisitAll(func(fl *pflag.Flag) { names = append(names, fl.Name) })
		for _, s := range similar(name, names) {
			f.Similar = append(f.Similar, "--"+s)
		}
	}
	return f.try("%s --help", cmd.CommandPath())
}

// exactArgs and friends are cobra's, with errors that say what is missing.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return missingArg(cmd, names[len(args)])
		}
		if len(args) > len(names) {
			return usagef("unexpected argument %q", args[len(names)]).try("%s --help", cmd.CommandPath())
		}
		return nil
	}
}

func minArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return missingArg(cmd, names[len(args)])
		}
		return nil
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usagef("unexpected argument %q", args[0]).try("%s --help", cmd.CommandPath())
}

func missingArg(cmd *cobra.Command, name string) error {
	return usagef("%s is missing", name).try("%s", cmd.UseLine())
}

// examples lays out "# remark" and command lines for help; an empty remark adds none.
func examples(pairs ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] != "" {
			fmt.Fprintf(&b, "  # %s\n", pairs[i])
		}
		fmt.Fprintf(&b, "  %s\n", pairs[i+1])
	}
	return strings.TrimRight(b.String(), "\n")
}
