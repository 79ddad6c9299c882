package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
)

func errorForCode(code int16) error { return kerr.ErrorForCode(code) }

func configGetCmd(a *App) *cobra.Command {
	var all, docs bool
	c := &cobra.Command{
		Use:     "get KIND NAME [KEY...]",
		Aliases: []string{"describe"},
		Short:   "Show settings: the ones that were set, or all with --all",
		Long: `Show the settings of a topic, broker, group, logger or metrics subscription. Without KEY only those
that were set on it are listed; --all adds the ones it inherits. KEY may hold * and ?.
SOURCE says where a value comes from: topic, broker, all brokers, group, file or default.`,
		Example: examples(
			"", "logstead config get topic orders",
			"every retention setting, set or not", "logstead config get topic orders 'retention.*'",
			"one value for a script", "logstead config get topic orders retention.ms -o json | jq -r '.[0].value'",
			"what a setting means", "logstead config describe broker 1 num.io.threads --docs"),
		Args:              minArgs("KIND", "NAME"),
		ValidArgsFunction: a.completeConfig,
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, err := parseKind(args[0])
			if err != nil {
				return err
			}
			cn, err := a.dial(cmd)
			if err != nil {
				return err
			}
			defer cn.close()
			return a.configGet(cn, kind, args[1], args[2:], all, docs)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "also list settings at their default")
	c.Flags().BoolVar(&docs, "docs", false, "print what each setting does")
	return c
}

func (a *App) configGet(cn *conn, kind, name string, keys []string, all, docs bool) error {
	if kind == configTopic {
		if _, err := cn.topics([]string{name}, false); err != nil {
			return err
		}
	}
	rows, err := cn.describeConfigs(kind, name, nil, docs)
	if err != nil {
		return err
	}
	picked, err := pickConfigs(rows, keys, all)
	if err != nil {
		return err
	}
	if len(picked) == 0 && !all {
		a.say("nothing is set on %s %s; --all lists what it inherits", kind, name)
	}
	if docs && (a.format() == "table" || a.format() == "wide") {
		return a.emit(documented(picked))
	}
	return a.emit(picked)
}

// pickConfigs keeps the rows that keys ask for. A literal key that does not exist is an error.
func pickConfigs(rows []configRow, keys []string, all bool) ([]configRow, error) {
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.Key
	}
	for _, k := range keys {
		if !isGlob(k) && !slices.Contains(names, k) {
			return nil, &Fault{What: fmt.Sprintf("there is no setting %q", k), Exit: exitNotFound,
				Similar: similar(k, names)}
		}
	}
	var out []configRow
	for _, r := range rows {
		switch {
		case len(keys) > 0 && matchesAny(r.Key, keys), len(keys) == 0 && (all || isOwn(r)):
			out = append(out, r)
		}
	}
	return out, nil
}

func isOwn(r configRow) bool {
	switch r.Source {
	case "topic", "broker", "all brokers", "logger", "metrics", "group":
		return true
	}
	return false
}

// documented prints settings as paragraphs with their documentation.
type documented []configRow

func (d documented) sections(bool) []section {
	var out []section
	for _, r := range d {
		facts := []fact{{r.Key, valueText(r.Value)}, {"source", r.Source}}
		out = append(out, section{facts: facts, text: "  " + r.Doc})
	}
	return out
}

func valueText(v *string) string {
	if v == nil {
		return "-"
	}
	if *v == "" {
		return `""`
	}
	return *v
}
