package cli

import (
	"github.com/spf13/cobra"
)

type groupRow struct {
	Name        string   `json:"name" col:"GROUP"`
	Type        string   `json:"type" col:"TYPE"`
	State       string   `json:"state" col:"STATE"`
	Members     *int64   `json:"members" col:"MEMBERS"`
	Topics      []string `json:"topics" col:"TOPICS,wide"`
	Lag         *int64   `json:"lag" col:"LAG"`
	Coordinator int32    `json:"coordinator" col:"COORDINATOR,wide,left"`
	Protocol    string   `json:"protocol" col:"PROTOCOL,wide"`
}

func groupListCmd(a *App) *cobra.Command {
	var states, types []string
	var regex, fast bool
	c := &cobra.Command{
		Use:     "list [PATTERN...]",
		Aliases: []string{"ls"},
		Short:   "List groups with their members and lag",
		Long: `List groups. LAG is the number of records between what the group has committed and the end, over all
its partitions; "-" means nothing was committed or it may not be read.`,
		Example: examples(
			"", "logstead group list",
			"only those that nobody reads in", "logstead group list --state empty",
			"names alone", "logstead group list 'billing-*' -o name"),
		ValidArgsFunction: a.completeGroups,
		RunE: func(cmd *cobra.Command, args []string) error {
			cn, err := a.dial(cmd)
			if err != nil {
				return err
			}
			defer cn.close()
			listed, err := cn.listGroups(states, types)
			if err != nil {
				return err
			}
			rows, err := cn.groupRows(listed, args, regex, fast || a.format() == "name")
			if err != nil {
				return err
			}
			return a.emit(rows)
		},
	}
	f := c.Flags()
	f.StringSliceVar(&states, "state", nil, "only groups in these states, such as stable or empty")
	f.StringSliceVar(&types, "type", nil, "only groups of these types: classic, consumer, share, streams")
	f.BoolVarP(&regex, "regex", "r", false, "take PATTERN as a regular expression")
	f.BoolVar(&fast, "fast", false, "do not ask for members and lag")
	return c
}

func (c *conn) groupRows(listed []listedGroup, patterns []string, regex, fast bool) ([]groupRow, error) {
	byName := map[string]listedGroup{}
	var names []string
	for _, g := range listed {
		byName[g.name] = g
		names = append(names, g.name)
	}
	if len(patterns) > 0 {
		picked, _, err := pickNames(names, patterns, regex)
		if err != nil {
			return nil, err
		}
		names = picked
	}
	rows := make([]groupRow, 0, len(names))
	var chosen []listedGroup
	for _, n := range names {
		g := byName[n]
		chosen = append(chosen, g)
		rows = append(rows, groupRow{Name: n, Type: g.kind, State: g.state, Coordinator: g.coordinator,
			Protocol: g.protocol})
	}
	if fast {
		return rows, nil
	}
	described := c.describeGroups(chosen)
	for i, d := range described {
		rows[i].Topics = d.topicNames()
		if d.Error != "" {
			c.app.debug("group %s: %s", d.Name, d.Error)
		}
		if d.membersKnown {
			n := int64(len(d.Members))
			rows[i].Members = &n
		}
		if d.hasCommit {
			lag := d.Lag
			rows[i].Lag = &lag
		}
	}
	return rows, nil
}
