package cli

import "github.com/spf13/cobra"

func ctxUseCmd(a *App) *cobra.Command {
	return &cobra.Command{
		Use:               "use NAME",
		Short:             "Make a context the current one (- is the one before)",
		Example:           examples("", "logstead ctx use prod", "", "logstead ctx use -"),
		Args:              exactArgs("NAME"),
		ValidArgsFunction: a.completeContexts,
		RunE: func(_ *cobra.Command, args []string) error {
			if args[0] == "-" {
				return a.usePreviousContext()
			}
			return a.useContext(args[0])
		},
	}
}

func ctxPreviousCmd(a *App) *cobra.Command {
	return &cobra.Command{
		Use:     "previous",
		Short:   "Go back to the context that was current before",
		Example: examples("", "logstead ctx previous"),
		Args:    noArgs,
		RunE:    func(*cobra.Command, []string) error { return a.usePreviousContext() },
	}
}

func (a *App) useContext(name string) error {
	f, _, err := a.contexts()
	if err != nil {
		return err
	}
	c, ok := f.Contexts[name]
	if !ok {
		return noSuchContext(name, f)
	}
	if err := a.contextStore().setCurrent(name); err != nil {
		return &Fault{What: "cannot remember the current context", Why: err.Error()}
	}
	a.say("context %q is current", name)
	return a.emitContext(name, c)
}

// emitContext prints the row where a format was asked for; otherwise the remark is enough.
func (a *App) emitContext(name string, c *clientContext) error {
	if a.flags.output == "" {
		return nil
	}
	return a.emit([]ctxRow{rowOfContext(name, c, name)})
}

func (a *App) usePreviousContext() error {
	_, previous, err := a.contextStore().current()
	if err != nil {
		return &Fault{What: "cannot read which context is current", Why: err.Error()}
	}
	if previous == "" {
		return &Fault{What: "no context was current before", Exit: exitNotFound, Try: "logstead ctx use NAME"}
	}
	return a.useContext(previous)
}
