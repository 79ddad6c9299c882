package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func ctxCmd(a *App) *cobra.Command {
	c := family("ctx", "Contexts: named addresses and logins",
		ctxListCmd(a), ctxUseCmd(a), ctxPreviousCmd(a), ctxShowCmd(a), ctxCreateCmd(a), ctxDeleteCmd(a), ctxPromptCmd(
			a))
	c.Aliases = []string{"context"}
	c.Long = `Contexts are named sets of address, login and habits, kept in $XDG_CONFIG_HOME/logstead/config.yaml
(readable by you alone). Which one is current is kept in a file beside it. A file .logstead.yaml in a
project, up to the root of its git checkout, may choose or add contexts; it must not hold passwords.

In a context: bootstrap, tls (ca, cert, key, server_name, insecure), sasl (mechanism, username, and
password, password_file or password_command), properties, read_only, confirm: always, color, timeout,
timezone.`
	c.Example = examples(
		"", "logstead ctx create prod --bootstrap b1:9093,b2:9093 --tls-ca ca.pem --sasl SCRAM-SHA-512 --user ana --password-command 'pass kafka/prod'",
		"", "logstead ctx use prod",
		"the one before", "logstead ctx use -",
		"once", "logstead -c staging topic list")
	return c
}

type ctxRow struct {
	Name      string   `json:"name" col:"CONTEXT"`
	Current   bool     `json:"current" col:"CURRENT"`
	Bootstrap []string `json:"bootstrap" col:"BOOTSTRAP"`
	Login     string   `json:"login,omitempty" col:"LOGIN"`
	ReadOnly  bool     `json:"read_only" col:"READ-ONLY"`
}

func rowOfContext(name string, c *clientContext, current string) ctxRow {
	row := ctxRow{Name: name, Current: name == current, Bootstrap: c.Bootstrap, ReadOnly: c.ReadOnly}
	var how []string
	if c.TLS != nil {
		how = append(how, "TLS")
	}
	if c.SASL != nil {
		how = append(how, firstOf(c.SASL.Mechanism, "PLAIN")+" "+c.SASL.Username)
	}
	row.Login = strings.Join(how, ", ")
	return row
}

func ctxListCmd(a *App) *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"},
		Short:   "List contexts",
		Example: examples("", "logstead ctx list"),
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			f, project, err := a.contexts()
			if err != nil {
				return err
			}
			current, _ := a.contextName(f, project)
			rows := []ctxRow{}
			for _, n := range f.names() {
				rows = append(rows, rowOfContext(n, f.Contexts[n], current))
			}
			if len(rows) == 0 {
				a.say("there are no contexts; logstead ctx create NAME --bootstrap HOST:PORT makes one")
			}
			return a.emit(rows)
		},
	}
}

func noSuchContext(name string, f contextFile) error {
	fault := &Fault{What: fmt.Sprintf("context %q does not exist", name), Exit: exitNotFound,
		Similar: similar(name, f.names())}
	return fault.try("logstead ctx list")
}
