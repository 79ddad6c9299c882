package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
)

type errorRow struct {
	Name      string `json:"name" col:"NAME"`
	Code      int16  `json:"code" col:"CODE"`
	Retriable bool   `json:"retriable" col:"RETRY"`
	Cause     string `json:"cause" col:"CAUSE"`
	Fix       string `json:"fix" col:"FIX,wide"`
}

// errorRows prints one error as a paragraph and several as a table.
type errorRows []errorRow

func (rs errorRows) sections(bool) []section {
	if len(rs) != 1 {
		return []section{{rows: []errorRow(rs)}}
	}
	r := rs[0]
	retry := "no: the same request would fail again"
	if r.Retriable {
		retry = "yes: clients retry by themselves"
	}
	return []section{{facts: []fact{{"Error", fmt.Sprintf("%s (%d)", r.Name, r.Code)}, {"Cause", r.Cause},
		{"Try", r.Fix}, {"Retriable", retry}}}}
}

func errorsCmd(a *App) *cobra.Command {
	return &cobra.Command{
		Use:     "errors [CODE|NAME]...",
		Aliases: []string{"error"},
		Short:   "Explain Kafka error codes: what they mean and what to do",
		Example: examples(
			"", "logstead errors 3",
			"by name, or part of it", "logstead errors not_enough_replicas",
			"the whole list", "logstead errors"),
		ValidArgs: errorNames(),
		RunE: func(_ *cobra.Command, args []string) error {
			rows, err := findErrors(args)
			if err != nil {
				return err
			}
			return a.emit(errorRows(rows))
		},
	}
}

// knownErrors lists every error of the protocol in the order of codes.
func knownErrors() []errorRow {
	var rows []errorRow
	for code := int16(-1); code < 200; code++ {
		if code == 0 {
			continue
		}
		e := kerr.TypedErrorForCode(code)
		if e == nil || e.Code != code {
			continue
		}
		x := explanations[code]
		if x.Cause == "" {
			x.Cause = strings.TrimSuffix(e.Description, ".")
		}
		rows = append(rows, errorRow{Name: e.Message, Code: code, Retriable: e.Retriable, Cause: x.Cause, Fix: x.Try})
	}
	return rows
}

func errorNames() []string {
	var names []string
	for _, r := range knownErrors() {
		names = append(names, r.Name)
	}
	return names
}

// errorAliases are the names that Apache Kafka uses where the client library's differ.
var errorAliases = map[string]string{"NOT_LEADER_OR_FOLLOWER": "NOT_LEADER_FOR_PARTITION"}

func findErrors(args []string) ([]errorRow, error) {
	all := knownErrors()
	if len(args) == 0 {
		return all, nil
	}
	var out []errorRow
	for _, arg := range args {
		found, err := findError(all, arg)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

func findError(all []errorRow, arg string) ([]errorRow, error) {
	if n, err := strconv.ParseInt(arg, 10, 16); err == nil {
		for _, r := range all {
			if int64(r.Code) == n {
				return []errorRow{r}, nil
			}
		}
		return nil, &Fault{What: fmt.Sprintf("there is no Kafka error %d", n), Exit: exitNotFound,
			Try: "logstead errors"}
	}
	name := strings.ToUpper(strings.NewReplacer("-", "_", " ", "_").Replace(arg))
	// Java shows errors as exceptions: UnknownTopicOrPartitionException.
	squeezed := strings.ReplaceAll(strings.TrimSuffix(name, "EXCEPTION"), "_", "")
	for theirs, ours := range errorAliases {
		if strings.ReplaceAll(theirs, "_", "") == squeezed {
			name, squeezed = ours, strings.ReplaceAll(ours, "_", "")
		}
	}
	var partial []errorRow
	for _, r := range all {
		plain := strings.ReplaceAll(r.Name, "_", "")
		if r.Name == name || plain == squeezed {
			return []errorRow{r}, nil
		}
		if strings.Contains(plain, squeezed) {
			partial = append(partial, r)
		}
	}
	if len(partial) > 0 && squeezed != "" {
		return partial, nil
	}
	return nil, &Fault{What: fmt.Sprintf("there is no Kafka error %q", arg), Exit: exitNotFound,
		Similar: similar(name, errorNames()), Try: "logstead errors"}
}
