package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/logstead/logstead/internal/conf"
)

type lintRow struct {
	File    string `json:"file" col:"FILE"`
	Level   string `json:"level" col:"LEVEL"`
	Message string `json:"message" col:"MESSAGE"`
}

func configLintCmd(a *App) *cobra.Command {
	return &cobra.Command{
		Use:   "lint FILE...",
		Short: "Check server configuration files without starting a server",
		Long: `Check configuration files of the server: unknown settings with the nearest name, values that are not
allowed, settings that contradict each other, and ones that have no effect here. Variables of the
environment are left out. The exit code is 1 when a server would refuse a file.`,
		Example: examples("", "logstead config lint server.properties", "",
			"logstead config lint deploy/*.yaml -o json"),
		Args: minArgs("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			rows := []lintRow{}
			refused := 0
			for _, file := range args {
				found, ok := lintFile(file)
				if !ok {
					refused++
				}
				rows = append(rows, found...)
			}
			if len(rows) == 0 {
				a.say("%s: nothing to remark", countOf(len(args), "file"))
			}
			if err := a.emit(rows); err != nil {
				return err
			}
			if refused > 0 {
				return &Fault{What: countOf(refused, "file") + " would be refused", Exit: exitFailed,
					Try: "logstead config explain KEY"}
			}
			return nil
		},
	}
}

func lintFile(file string) (rows []lintRow, ok bool) {
	static, err := conf.Load(conf.Source{File: file, Defaults: serverDefaults})
	if err != nil {
		for _, line := range strings.Split(strings.TrimSpace(err.Error()), "\n") {
			rows = append(rows, lintRow{File: file, Level: "error", Message: strings.TrimSpace(line)})
		}
		return rows, false
	}
	for _, w := range static.Warnings() {
		rows = append(rows, lintRow{File: file, Level: "warning", Message: w})
	}
	return rows, true
}
