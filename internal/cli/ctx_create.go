package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

type ctxCreateFlags struct {
	bootstrap                    string
	tls                          bool
	ca, cert, key, serverName    string
	mechanism, user, pass        string
	passFile, passCommand        string
	props                        []string
	color, confirm, zone         string
	readOnly, force, use, insecu bool
	timeout                      string
}

func ctxCreateCmd(a *App) *cobra.Command {
	fl := ctxCreateFlags{}
	c := &cobra.Command{
		Use:   "create NAME --bootstrap HOST:PORT",
		Short: "Save a context",
		Long: `Save a context under a name. A password given with --password lies in the file in the clear (which only
you can read); --password-command and --password-file keep it elsewhere.`,
		Example: examples(
			"", "logstead ctx create local --bootstrap 127.0.0.1:9092 --use",
			"", "logstead ctx create prod --bootstrap b1:9093 --tls-ca ca.pem --sasl SCRAM-SHA-512 --user ana --password-command 'pass kafka/prod' --color red --read-only"),
		Args: exactArgs("NAME"),
		RunE: func(_ *cobra.Command, args []string) error { return a.createContext(args[0], fl) },
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&fl.bootstrap, "bootstrap", "", "`HOST:PORT`, or a list with commas")
	f.BoolVar(&fl.tls, "tls", false, "use TLS with the system's authorities")
	f.StringVar(&fl.ca, "tls-ca", "", "use TLS and trust the authorities in this PEM `FILE`")
	f.StringVar(&fl.cert, "tls-cert", "", "client certificate, a PEM `FILE`")
	f.StringVar(&fl.key, "tls-key", "", "its key, a PEM `FILE`")
	f.StringVar(&fl.serverName, "tls-server-name", "", "name expected in the broker's certificate")
	f.BoolVar(&fl.insecu, "tls-insecure", false, "do not check the broker's certificate")
	f.StringVar(&fl.mechanism, "sasl", "", "`MECHANISM`: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
	f.StringVar(&fl.user, "user", "", "user `NAME`")
	f.StringVar(&fl.pass, "password", "", "password, kept in the clear")
	f.StringVar(&fl.passFile, "password-file", "", "`FILE` whose first line is the password")
	f.StringVar(&fl.passCommand, "password-command", "", "shell `COMMAND` that prints the password")
	f.StringArrayVar(&fl.props, "set", nil, "client property `KEY=VALUE` (may be repeated)")
	f.BoolVar(&fl.readOnly, "read-only", false, "refuse everything that changes the cluster")
	f.StringVar(&fl.confirm, "confirm", "", "always: ask before harmless changes too")
	f.StringVar(&fl.color, "prompt-color", "", "colour of ctx prompt: red, green, yellow, blue, cyan")
	f.StringVar(&fl.timeout, "default-timeout", "", "timeout to use with it, such as 30s")
	f.StringVar(&fl.zone, "default-timezone", "", "time zone to use with it")
	f.BoolVar(&fl.force, "force", false, "replace a context of the same name")
	f.BoolVar(&fl.use, "use", false, "make it the current one")
	return c
}

func (fl ctxCreateFlags) build() (*clientContext, error) {
	c := &clientContext{Bootstrap: splitList(fl.bootstrap), ReadOnly: fl.readOnly, Confirm: fl.confirm, Color: fl.color,
		Timeout: fl.timeout, Timezone: fl.zone}
	if len(c.Bootstrap) == 0 {
		return nil, usagef("--bootstrap is missing")
	}
	if fl.confirm != "" && fl.confirm != "always" {
		return nil, usagef("--confirm %q is not always", fl.confirm)
	}
	if fl.color != "" && promptColours[fl.color] == "" {
		return nil, usagef("--prompt-color %q is not one of %s", fl.color,
			strings.Join(sortedKeys(promptColours), ", "))
	}
	if _, err := c.timeout(); err != nil {
		return nil, usagef("--default-timeout: %v", err)
	}
	if fl.tls || fl.ca != "" || fl.cert != "" || fl.insecu {
		c.TLS = &contextTLS{CA: fl.ca, Cert: fl.cert, Key: fl.key, ServerName: fl.serverName, Insecure: fl.insecu}
	}
	if fl.mechanism != "" || fl.user != "" {
		c.SASL = &contextSASL{Mechanism: fl.mechanism, Username: fl.user, Password: fl.pass, PasswordFile: fl.passFile,
			PasswordCommand: fl.passCommand}
	}
	for _, kv := range fl.props {
		k, v, err := splitPair(kv)
		if err != nil {
			return nil, usagef("--set %v", err)
		}
		if err := (&clientProps{}).set(k, v); err != nil {
			return nil, err
		}
		if c.Props == nil {
			c.Props = map[string]string{}
		}
		c.Props[k] = v
	}
	return c, nil
}

func (a *App) createContext(name string, fl ctxCreateFlags) error {
	if name == "-" || strings.ContainsAny(name, " \t\n/") || name == "" {
		return usagef("context name %q: want a name without blanks and slashes", name)
	}
	c, err := fl.build()
	if err != nil {
		return err
	}
	store := a.contextStore()
	f, err := store.load()
	if err != nil {
		return err
	}
	if _, exists := f.Contexts[name]; exists && !fl.force {
		return &Fault{What: fmt.Sprintf("context %q exists already", name), Exit: exitConflict,
			Try: "--force to replace it"}
	}
	if err := store.saveContext(name, c, fl.use); err != nil {
		return &Fault{What: "cannot save the context", Why: err.Error()}
	}
	a.say("context %q saved in %s", name, store.configPath())
	if fl.use {
		a.say("context %q is current", name)
	}
	return a.emitContext(name, c)
}
