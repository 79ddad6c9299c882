package cli

import "github.com/spf13/cobra"

func debugCmd(a *App) *cobra.Command {
	c := family("debug", "Look inside: files on disk", debugDumpLogCmd(a))
	c.Example = examples("", "logstead debug dump-log data/orders-0")
	return c
}
