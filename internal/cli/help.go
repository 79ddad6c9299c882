package cli

import (
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// printHelp writes a command's help. The flags every command shares are listed by "logstead help
// flags" and not repeated, so that a command's own options can be seen.
func (a *App) printHelp(cmd *cobra.Command, _ []string) {
	w := a.Stdout
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	fmt.Fprintln(w, strings.TrimSpace(text))
	if !cmd.Runnable() && !cmd.HasSubCommands() {
		return // a help topic is only text
	}
	fmt.Fprintf(w, "\n%s\n  %s\n", a.paint(bold, "Usage"), useLine(cmd))
	if len(cmd.Aliases) > 0 {
		fmt.Fprintf(w, "\n%s\n  %s\n", a.paint(bold, "Aliases"), strings.Join(cmd.Aliases, ", "))
	}
	if cmd.Example != "" {
		fmt.Fprintf(w, "\n%s\n%s\n", a.paint(bold, "Examples"), cmd.Example)
	}
	a.printCommands(w, cmd)
	if own := ownFlags(cmd); own.HasAvailableFlags() {
		fmt.Fprintf(w, "\n%s\n%s", a.paint(bold, "Options"), own.FlagUsagesWrapped(a.helpWidth()))
	}
	if cmd.HasParent() {
		fmt.Fprintf(w, "\nAddress, login and output options are the same everywhere: logstead help flags\n")
		return
	}
	fmt.Fprintf(w, "\nMore: logstead COMMAND --help · logstead help %s\n", strings.Join(topicNames(cmd), " | "))
	fmt.Fprintf(w, "Shell completion: logstead completion bash|zsh|fish|powershell\n")
}

func (a *App) helpWidth() int {
	if w := a.width(); w >= 60 {
		return min(w, 120)
	}
	return 100
}

func useLine(cmd *cobra.Command) string {
	if cmd.HasAvailableSubCommands() {
		return cmd.CommandPath() + " COMMAND"
	}
	return cmd.UseLine()
}

// ownFlags are the flags that belong to the command and not to every command.
func ownFlags(cmd *cobra.Command) *pflag.FlagSet {
	own := pflag.NewFlagSet(cmd.Name(), pflag.ContinueOnError)
	own.SortFlags = false
	if !cmd.HasParent() {
		return own
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" {
			own.AddFlag(f)
		}
	})
	return own
}

func (a *App) printCommands(w io.Writer, cmd *cobra.Command) {
	width := 0
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			width = max(width, len(c.Name()))
		}
	}
	list := func(title, group string) {
		var subs []*cobra.Command
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() && c.GroupID == group {
				subs = append(subs, c)
			}
		}
		if len(subs) == 0 {
			return
		}
		fmt.Fprintf(w, "\n%s\n", a.paint(bold, title))
		for _, c := range subs {
			fmt.Fprintf(w, "  %-*s  %s\n", width, c.Name(), c.Short)
		}
	}
	for _, g := range cmd.Groups() {
		list(g.Title, g.ID)
	}
	list("Commands", "")
}

// helpTopic is a page of text reached with "logstead help NAME".
func helpTopic(name, short, text string) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, Long: strings.TrimSpace(text)}
}

func topicNames(root *cobra.Command) []string {
	var names []string
	for _, c := range root.Commands() {
		if c.IsAdditionalHelpTopicCommand() {
			names = append(names, c.Name())
		}
	}
	sort.Strings(names)
	return names
}

// helpCmd is "logstead help [COMMAND…]".
func helpCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND...]",
		Short: "Explain a command or a subject",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			target, rest, err := cmd.Root().Find(args)
			if err != nil || target == nil || len(rest) > 0 {
				return subcommandsOnly(cmd.Root(), args)
			}
			return target.Help()
		},
	}
}

func helpTopics() []*cobra.Command {
	flags := helpTopic("flags", "Options that every command takes", "")
	// The list depends on the command tree, so it is written when asked for.
	flags.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		w := cmd.Root().OutOrStdout()
		fmt.Fprintf(w, "These options work on every command.\n\n%s%s",
			cmd.Root().PersistentFlags().FlagUsagesWrapped(100), flagsText)
	})
	return []*cobra.Command{
		flags,
		helpTopic("offsets", "How to say where to start and stop reading", offsetsText),
		helpTopic("formats", "How records are printed and read", formatsText),
		helpTopic("properties", "Client properties for -X and -F", propertiesText()),
		helpTopic("exit-codes", "What the exit code tells", exitCodesText),
	}
}

const flagsText = `
Where the address comes from, first match wins:
  -b/--bootstrap-server, -X bootstrap.servers, the -F file, KAFKA_BOOTSTRAP_SERVERS,
  KAFKA_BROKERS, the current context, 127.0.0.1:9092.
An address given by -b or the environment stands alone: the login of the current context is not
sent to it. -c NAME together with -b combines the two.

Output goes to stdout and everything else to stderr. NO_COLOR turns colour off.
`

const offsetsText = `
Where to start and stop reading, for consume --offset and group reset --to.

  start       from the oldest record            end         from now on
  :end        everything up to now              +N          from N after the oldest
  -N          the last N of each partition      N or N:     from offset N
  :N          up to offset N, exclusive         N:M         from offset N up to M, exclusive
  @T or @T:   from time T                       @:T         up to time T, exclusive
  @T:U        from time T up to time U

A time is one of
  1763689000123         milliseconds since 1970 (13 digits)
  1763689000            seconds since 1970 (9 or 10 digits)
  2026-11-21            a day, midnight UTC
  2026-11-21T14:00:00Z  RFC 3339, with zone
  -1h, -90s, -7d        that long ago
  1h                    after @T: that long after T
  end                   after @T: the end, as it is now

Examples:  -o start   -o -10   -o 4711:4720   -o @-1h   -o @2026-11-21:1h   -o @-2h:-1h
`

const formatsText = `
Ways to print records (consume -f) and to read them (produce -f).

  json       one JSON object a line: topic, partition, offset, timestamp, key, value, headers.
             What consume writes, produce reads.
  raw        the value alone, one a line
  pretty     for eyes: a line about the record, then the value (consume only)
  LAYOUT     any text with % in it; the layouts are printf-like:

    %t topic       %p partition   %o offset       %e leader epoch   %i running number
    %k key         %v value       %K %V lengths   %h{%k=%v }        headers, each
    %d timestamp   %d{go[2006-01-02T15:04:05Z07:00]}   %d{strftime[%F %T]}
    %a{compression}   %x producer id   %y producer epoch   \n \t \x00   %% a percent sign

  Keys, values and topics take a modifier: %v{hex} %v{base64} %k{unpack[>I]} (big-endian uint32).
  For produce: %k{hex} %v{base64} %v{json} %v{3} (three bytes) %V{big32}%v (length first).

Examples:  consume orders -f '%p/%o %k %v\n'      produce orders -f '%k %v\n'
`

const exitCodesText = `
  0    done
  1    tried, and failed
  2    the command line is wrong
  3    a named thing does not exist
  4    not authorised
  5    no connection, or no answer in time
  6    it exists already, or is in use
  7    some of several items failed; each is listed
  130  interrupted

--if-exists and --if-not-exists turn 3 and 6 into 0.
`

func propertiesText() string {
	var b strings.Builder
	b.WriteString("Client properties understood by -X KEY=VALUE and -F FILE; Kafka's and librdkafka's names.\n\n")
	for _, n := range propNames() {
		b.WriteString("  " + n + "\n")
	}
	b.WriteString("\nIn a file, properties that only Java clients use are passed over (-v lists them).\n\nExample:\n" +
		"  -X security.protocol=SASL_SSL -X sasl.mechanism=SCRAM-SHA-512 -X sasl.username=ana -X sasl.password=…")
	return b.String()
}
