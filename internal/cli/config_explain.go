package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/logstead/logstead/internal/conf"
)

type configExplanation struct {
	Key        string   `json:"key" col:"KEY"`
	Scope      string   `json:"scope" col:"SCOPE"`
	Value      *string  `json:"value" col:"VALUE"`
	Origin     string   `json:"origin" col:"FROM"`
	Default    *string  `json:"default" col:"DEFAULT,wide"`
	Type       string   `json:"type" col:"TYPE,wide"`
	Valid      string   `json:"valid,omitempty" col:"VALID,wide"`
	Changes    string   `json:"changes" col:"CHANGES,wide"`
	Effect     string   `json:"effect,omitempty"`
	BrokerKeys []string `json:"broker_keys,omitempty"`
	Doc        string   `json:"doc"`
}

// configExplanations print one as a paragraph and several as a table.
type configExplanations []configExplanation

func (xs configExplanations) sections(bool) []section {
	if len(xs) > 2 { // a key can be both a broker's and a topic's
		return []section{{rows: []configExplanation(xs)}}
	}
	var out []section
	for _, x := range xs {
		facts := []fact{{x.Key, valueText(x.Value)}, {"from", x.Origin}}
		if x.Scope != "broker" {
			facts[1].name = "of a " + x.Scope + ", from"
		}
		if x.Default != nil && x.Origin != builtIn {
			facts = append(facts, fact{"default", valueText(x.Default)})
		}
		typ := x.Type
		if x.Valid != "" {
			typ += ", " + x.Valid
		}
		facts = append(facts, fact{"type", typ}, fact{"changes", x.Changes})
		if len(x.BrokerKeys) > 0 {
			facts = append(facts, fact{"else taken from", strings.Join(x.BrokerKeys, ", ") + " of the broker"})
		}
		text := x.Doc
		if x.Effect != "" {
			text += "\nIt has no effect in this version: it " + x.Effect + "."
		}
		out = append(out, section{facts: facts, text: text})
	}
	return out
}

func configExplainCmd(a *App) *cobra.Command {
	var file string
	var set []string
	c := &cobra.Command{
		Use:   "explain KEY...",
		Short: "Say what a server setting means, its value, and where that came from",
		Long: `Explain settings of the server, a topic or a group: meaning, type, default, and the value that a server
started here would have, with the file and line, variable or flag that gives it. Nothing is asked of a
running broker; that is what logstead config get does.`,
		Example: examples(
			"", "logstead config explain log.dirs --config server.properties",
			"what a topic setting means", "logstead config explain retention.ms",
			"everything about retention", "logstead config explain '*retention*'"),
		Args:              minArgs("KEY"),
		ValidArgsFunction: completeKeys,
		RunE: func(_ *cobra.Command, args []string) error {
			static, err := loadServerConfig(file, set)
			if err != nil {
				return err
			}
			out, err := explainKeys(conf.NewLive(static, nil, nil), args)
			if err != nil {
				return err
			}
			return a.emit(out)
		},
	}
	c.Flags().StringVar(&file, "config", "", "the server's configuration `FILE`")
	c.Flags().StringArrayVar(&set, "set", nil, "`KEY=VALUE` as given to the server (may be repeated)")
	return c
}

// builtIn is how the origin of a default reads.
var builtIn = (conf.Origin{}).String()

var explainedScopes = []conf.Scope{conf.ScopeBroker, conf.ScopeTopic, conf.ScopeGroup, conf.ScopeClientMetrics}

func completeKeys(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return withPrefix(confKeyNames(), prefix), cobra.ShellCompDirectiveNoFileComp
}

// confKeyNames lists every known setting once.
func confKeyNames() []string {
	var names []string
	for _, s := range explainedScopes {
		for _, k := range conf.Keys(s) {
			names = append(names, k.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func explainKeys(live *conf.Live, args []string) (configExplanations, error) {
	var out configExplanations
	for _, arg := range args {
		match, err := matcher(arg, false)
		if err != nil {
			return nil, err
		}
		found := false
		for _, scope := range explainedScopes {
			for _, k := range conf.Keys(scope) {
				if !match(k.Name) {
					continue
				}
				found = true
				x, err := explainKey(live, k)
				if err != nil {
					return nil, err
				}
				out = append(out, x)
			}
		}
		if !found {
			return nil, &Fault{What: fmt.Sprintf("there is no setting %q", arg), Exit: exitNotFound,
				Similar: similar(arg, confKeyNames()),
				Try:     "logstead config explain '*WORD*'"}
		}
	}
	return out, nil
}

func explainKey(live *conf.Live, k *conf.Key) (configExplanation, error) {
	x := configExplanation{Key: k.Name, Scope: k.Scope.String(), Type: fmt.Sprint(k.Type), Valid: k.Valid(), Doc: k.Doc,
		Changes: fmt.Sprint(k.Dynamic), Effect: k.Effect.String(), BrokerKeys: k.Synonyms(), Origin: builtIn}
	if def, ok := k.Default(); ok {
		x.Default = &def
		x.Value = &def
	}
	if k.Scope != conf.ScopeBroker {
		return x, inheritValue(live, k, &x)
	}
	ex, err := live.Explain(k.Name)
	if err != nil {
		return x, err
	}
	x.Value, x.Origin = nil, ex.Origin.String()
	if ex.IsSet {
		x.Value = &ex.Value
	}
	return x, nil
}

// inheritValue finds what a topic or group gets from the broker where it does not set the key itself:
// the first of the key's synonyms that was given.
func inheritValue(live *conf.Live, k *conf.Key, x *configExplanation) error {
	for _, name := range k.Synonyms() {
		ex, err := live.Explain(name)
		if err != nil {
			continue // a synonym of another version
		}
		if ex.IsSet && ex.Origin.Kind != conf.FromDefault {
			x.Value, x.Origin = &ex.Value, name+", "+ex.Origin.String()
			return nil
		}
	}
	return nil
}
