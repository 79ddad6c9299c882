package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// shownContext is a context as it may be shown: without secrets.
type shownContext struct {
	Name    string        `json:"name"`
	Context clientContext `json:"context"`
	Address []string      `json:"effective_bootstrap"`
	Source  string        `json:"address_from"`
	User    string        `json:"user,omitempty"`
}

func (s shownContext) sections(bool) []section {
	facts := []fact{{"Context", firstOf(s.Name, "(none)")}, {"Address", strings.Join(s.Address, ",")},
		{"From", s.Source}}
	c := s.Context
	if c.TLS != nil {
		facts = append(facts, fact{"TLS", firstOf(c.TLS.CA, "system authorities")})
	}
	if s.User != "" {
		facts = append(facts, fact{"User", s.User})
	}
	if c.ReadOnly {
		facts = append(facts, fact{"Read-only", "yes"})
	}
	if c.Confirm != "" {
		facts = append(facts, fact{"Confirm", c.Confirm})
	}
	if c.Timeout != "" {
		facts = append(facts, fact{"Timeout", c.Timeout})
	}
	return []section{{facts: facts}}
}

func ctxShowCmd(a *App) *cobra.Command {
	return &cobra.Command{
		Use:     "show [NAME]",
		Aliases: []string{"current"},
		Short:   "Show a context, or which address and user are in effect",
		Example: examples("what would be used now", "logstead ctx show", "",
			"logstead ctx show prod -o yaml"),
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeContexts,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				a.flags.context = args[0]
			}
			s, err := a.settings()
			if err != nil {
				return err
			}
			out := shownContext{Name: s.context, Address: s.props.bootstrap, Source: s.source,
				User: s.props.sasl.username}
			if f, _, err := a.contexts(); err == nil && f.Contexts[s.context] != nil {
				out.Context = withoutSecrets(*f.Contexts[s.context])
			}
			if out.User == "" && out.Context.SASL != nil {
				out.User = out.Context.SASL.Username
			}
			return a.emit(out)
		},
	}
}

func withoutSecrets(c clientContext) clientContext {
	if c.SASL != nil {
		sasl := *c.SASL
		if sasl.Password != "" {
			sasl.Password = "***"
		}
		c.SASL = &sasl
	}
	props := map[string]string{}
	for k, v := range c.Props {
		props[k] = hideSecret(k, v)
	}
	c.Props = props
	return c
}

func ctxPromptCmd(a *App) *cobra.Command {
	return &cobra.Command{
		Use:   "prompt",
		Short: "Print the current context for a shell prompt, in its colour",
		Long: `Print the name of the current context, for a shell prompt; nothing when there is none. A context with
"color: red" prints red, so that production is seen.`,
		Example: examples("bash", `PS1='$(logstead ctx prompt)\w\$ '`),
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			f, project, err := a.contexts()
			if err != nil {
				return err
			}
			name, _ := a.contextName(f, project)
			if name == "" {
				return nil
			}
			text := name
			if c := f.Contexts[name]; c != nil {
				// A prompt is never a terminal for us: the colour is wanted anyway.
				if code, ok := promptColours[c.Color]; ok && a.flags.color != "never" && a.Getenv("NO_COLOR") == "" {
					text = "\x1b[" + string(code) + "m" + name + "\x1b[0m"
				}
			}
			_, err = fmt.Fprintf(a.Stdout, "(%s) ", text)
			return err
		},
	}
}

var promptColours = map[string]colour{"red": red, "green": green, "yellow": yellow, "blue": blue, "cyan": cyan}
