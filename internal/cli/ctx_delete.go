package cli

import "github.com/spf13/cobra"

func ctxDeleteCmd(a *App) *cobra.Command {
	return &cobra.Command{
		Use:               "delete NAME",
		Aliases:           []string{"rm"},
		Short:             "Delete a context",
		Example:           examples("", "logstead ctx delete old"),
		Args:              exactArgs("NAME"),
		ValidArgsFunction: a.completeContexts,
		RunE: func(_ *cobra.Command, args []string) error {
			store := a.contextStore()
			f, err := store.load()
			if err != nil {
				return err
			}
			if _, ok := f.Contexts[args[0]]; !ok {
				return noSuchContext(args[0], f)
			}
			delete(f.Contexts, args[0])
			if err := store.save(f); err != nil {
				return &Fault{What: "cannot save the contexts", Why: err.Error()}
			}
			a.say("context %q deleted", args[0])
			return nil
		},
	}
}
